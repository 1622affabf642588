//! Logs of real containers.

use crate::world::{PATIENCE, World};
use std::time::Duration;
use steersman_domain::Time;
use steersman_domain::ports::{ContainerSpec, LogQuery, Runtime, RuntimeError};

#[tokio::test]
async fn a_log_turns_over_and_is_read_over_its_files() {
    let world = World::with(|config| (config.log_max_bytes, config.log_max_files) = (4096, 3)).await;
    let pod = world.pod("loud").await;
    pod.run(&pod.spec("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; printf end")).await;
    let text = pod.log(LogQuery::default()).await.unwrap();
    assert!(text.ends_with("line 998\nline 999\nend"), "{text:.200}");
    assert!(!text.contains("line 5\n"), "old files go");
    let tail = pod.log(LogQuery { tail: Some(150), ..LogQuery::default() }).await.unwrap();
    assert_eq!(tail.lines().count(), 150);
    assert!(text.ends_with(&tail) && tail.starts_with("line 851\n"), "{tail:.100}");
    let some = pod.log(LogQuery { tail: Some(2), limit_bytes: Some(6), ..LogQuery::default() }).await.unwrap();
    assert_eq!(some, "line 9");
    let size: u64 = std::fs::read_dir(world.pod_dir(&pod.uid).join("containers/app/0"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 4096 * 3 + 2048, "{size}");
}

#[tokio::test]
async fn times_are_shown_and_asked_for() {
    let world = World::new().await;
    let pod = world.pod("times").await;
    pod.run(&pod.spec("echo early; echo err >&2")).await;
    let text = pod.log(LogQuery { timestamps: true, ..LogQuery::default() }).await.unwrap();
    let line = text.lines().find(|l| l.ends_with(" early")).unwrap();
    let time = Time::parse(line.split(' ').next().unwrap()).unwrap();
    let since = |t: Time| LogQuery { since: Some(t), ..LogQuery::default() };
    assert!(pod.log(since(time)).await.unwrap().contains("early"));
    assert_eq!(pod.log(since(time.after(Duration::from_secs(9)))).await.unwrap(), "");
}

#[tokio::test]
async fn a_followed_log_ends_when_its_container_has_ended() {
    let world = World::with(|config| (config.log_max_bytes, config.log_max_files) = (2048, 20)).await;
    let pod = world.pod("follow").await;
    pod.start(&pod.spec("echo first; while [ ! -e go ]; do sleep 0.01; done; seq 1 300; echo last")).await;
    let query = LogQuery { pod: pod.uid.clone(), container: "app".into(), follow: true, ..LogQuery::default() };
    let mut log = world.runtime().logs(query).await.unwrap();
    let mut text = Vec::new();
    let read = async {
        let mut told = false;
        while let Some(more) = log.next().await.unwrap() {
            text.extend_from_slice(&more);
            if !told && text.starts_with(b"first\n") {
                told = true;
                std::fs::write(world.pod_dir(&pod.uid).join("work/app/go"), "").unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the end of a followed log");
    let numbers: String = (1..=300).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(text).unwrap(), format!("first\n{numbers}last\n"));
}

#[tokio::test]
async fn the_log_before_is_kept_and_older_ones_go() {
    let world = World::new().await;
    let pod = world.pod("previous").await;
    for attempt in 0..3 {
        pod.run(&ContainerSpec { attempt, ..pod.spec(&format!("echo start {attempt}")) }).await;
    }
    let log = async |attempt| pod.log(LogQuery { attempt, ..LogQuery::default() }).await;
    assert_eq!(log(None).await.unwrap(), "start 2\n");
    assert_eq!(log(Some(1)).await.unwrap(), "start 1\n");
    assert!(matches!(log(Some(0)).await, Err(RuntimeError::NotFound(_))));
    let nobody = pod.log(LogQuery { container: "other".into(), ..LogQuery::default() }).await;
    assert!(matches!(nobody, Err(RuntimeError::NotFound(_))), "{nobody:?}");
}
