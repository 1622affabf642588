//! Control groups keep limits.

use crate::world::World;
use steersman_domain::ports::{ContainerSpec, Limits, LogQuery, Runtime};

/// A world on a host that lets root limit these resources.
async fn limiting(resources: &[&str]) -> World {
    let world = World::new().await;
    let conditions = world.runtime().conditions().await;
    let limits = conditions.iter().find(|c| c.kind == "ResourceLimits").unwrap();
    for resource in resources {
        let missing = limits.status != "True" && limits.message.contains(&format!("{resource}:"));
        assert!(!missing, "run this where root may make control groups: {}", limits.message);
    }
    world
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_container_over_its_memory_limit_is_seen_to_be_killed() {
    let world = limiting(&["memory"]).await;
    let pod = world.pod("memory").await;
    let limits = Limits { memory_limit_bytes: 24 << 20, ..Limits::default() };
    // The shell itself collects the text.
    let script = "x=0123456789abcdef; while :; do x=$x$x; done";
    let exit = pod.run(&ContainerSpec { limits, ..pod.spec(script) }).await;
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!((exit.exit_code, exit.signal), (137, 9));
    let fine = pod.run(&ContainerSpec { limits, attempt: 1, ..pod.spec("exit 1") }).await;
    assert!(!fine.oom_killed, "{fine:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_container_cannot_start_more_processes_than_its_limit() {
    let world = limiting(&["pids"]).await;
    let pod = world.pod("pids").await;
    let limits = Limits { pids_limit: 4, ..Limits::default() };
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 30 & done; echo never";
    let exit = pod.run(&ContainerSpec { limits, ..pod.spec(script) }).await;
    let text = pod.log(LogQuery::default()).await.unwrap();
    assert!(exit.exit_code != 0 && text.contains("fork"), "{exit:?}: {text}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_cpu_limit_holds_a_busy_container_back() {
    let world = limiting(&["cpu"]).await;
    let pod = world.pod("cpu").await;
    let limits = Limits { cpu_limit_milli: 100, cpu_request_milli: 50, ..Limits::default() };
    // One second of wall time at a tenth of a core.
    let script = "timeout 1 sh -c 'while :; do :; done'; cat /proc/$$/stat | cut -d' ' -f16";
    let text = pod.output(&ContainerSpec { limits, ..pod.spec(script) }).await;
    let ticks: u64 = text.trim().parse().unwrap();
    assert!(ticks <= 40, "a tenth of 100 ticks was allowed, but {ticks} were used");
}

#[tokio::test]
#[ignore = "needs root"]
async fn groups_go_with_their_containers() {
    let world = limiting(&["memory", "pids", "cpu"]).await;
    let pod = world.pod("tidy").await;
    let limits = Limits { memory_limit_bytes: 64 << 20, pids_limit: 50, cpu_limit_milli: 500, cpu_request_milli: 100 };
    let groups = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let trees = mounts.lines().filter(|l| l.split(' ').nth(2).is_some_and(|k| k.starts_with("cgroup")));
        let roots = trees.map(|l| std::path::Path::new(l.split(' ').nth(1).unwrap()).join(&world.config.cgroup_parent));
        roots.map(|r| r.join(format!("pod-{}", pod.uid))).filter(|p| p.exists()).count()
    };
    pod.start(&ContainerSpec { limits, ..pod.spec("sleep 60") }).await;
    assert!(groups() > 0);
    world.runtime().remove_sandbox(&pod.uid).await.unwrap();
    assert_eq!(groups(), 0);
}
