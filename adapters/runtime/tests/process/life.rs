//! Start, end, exec, errors.

use crate::world::{PATIENCE, World, event, runs, sandbox, until};
use std::time::{Duration, Instant};
use steersman_domain::Uid;
use steersman_domain::ports::{ContainerSpec, LogQuery, Runtime, RuntimeError, RuntimeEvent};

#[tokio::test]
async fn exit_codes_and_signals_are_told_once_to_every_subscription() {
    let world = World::new().await;
    let pod = world.pod("codes").await;
    let mut first = world.runtime().events().await;
    let mut second = world.runtime().events().await;
    let exit = pod.run(&pod.spec("exit 3")).await;
    assert_eq!((exit.exit_code, exit.signal, exit.oom_killed), (3, 0, false));
    assert!(exit.started_at_micros > 0 && exit.finished_at_micros >= exit.started_at_micros);
    let killed = pod.run(&ContainerSpec { attempt: 1, ..pod.spec("kill -9 $$") }).await;
    assert_eq!((killed.exit_code, killed.signal), (137, 9));
    for events in [&mut first, &mut second] {
        let mut seen = Vec::new();
        for _ in 0..2 {
            if let RuntimeEvent::Exited { container, .. } = event(events, |_| true).await {
                seen.push((container.attempt, container.exit.unwrap().exit_code));
            }
        }
        assert_eq!(seen, [(0, 3), (1, 137)]);
        let more = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
        assert!(more.is_err(), "told twice: {more:?}");
    }
}

#[tokio::test]
async fn repeating_a_start_changes_nothing() {
    let world = World::new().await;
    let pod = world.pod("again").await;
    assert_eq!(world.runtime().run_sandbox(&sandbox(&pod.uid, "again")).await.unwrap(), pod.ip);
    let spec = pod.spec("sleep 60");
    let first = pod.start(&spec).await;
    assert_eq!(pod.start(&spec).await, first);
    let other = world.runtime().start_container(&ContainerSpec { attempt: 1, ..spec }).await;
    assert!(matches!(&other, Err(RuntimeError::Unavailable(m)) if m.contains("attempt 0")), "{other:?}");
}

#[tokio::test]
async fn term_ends_a_willing_container_at_once() {
    let world = World::new().await;
    let pod = world.pod("willing").await;
    let pid = pod.start(&pod.spec("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done")).await.pid;
    pod.logged("up").await;
    let begun = Instant::now();
    let exit = world.runtime().stop_container(&pod.uid, "app", Duration::from_secs(60)).await.unwrap();
    assert_eq!((exit.exit_code, exit.signal), (7, 0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!runs(pid.unwrap()));
    assert!(pod.log(LogQuery::default()).await.unwrap().ends_with("bye\n"));
    let again = world.runtime().stop_container(&pod.uid, "app", Duration::ZERO).await.unwrap();
    assert_eq!(again, exit);
}

#[tokio::test]
async fn a_container_that_ignores_term_is_killed_at_the_deadline_with_all_it_started() {
    let world = World::new().await;
    let pod = world.pod("stubborn").await;
    // The grandchild leaves the session and loses its parent, as daemons do.
    let script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo daemon $$; while :; do sleep 1; done' &) ; \
                  while :; do sleep 0.05; done";
    let main = pod.start(&pod.spec(script)).await.pid.unwrap();
    let text = pod.logged("daemon ").await;
    let daemon: u32 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(runs(daemon));
    let begun = Instant::now();
    let exit = world.runtime().stop_container(&pod.uid, "app", Duration::from_millis(300)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!((exit.exit_code, exit.signal), (137, 9));
    assert!(!runs(main) && !runs(daemon), "something is left");
}

#[tokio::test]
async fn a_second_stop_brings_the_deadline_forward() {
    let world = World::new().await;
    let pod = world.pod("hurry").await;
    pod.start(&pod.spec("trap '' TERM; echo up; while :; do sleep 0.05; done")).await;
    pod.logged("up").await;
    let slow = world.runtime().stop_container(&pod.uid, "app", Duration::from_secs(600));
    let fast = async {
        tokio::task::yield_now().await;
        world.runtime().stop_container(&pod.uid, "app", Duration::from_millis(50)).await
    };
    let (slow, fast) = tokio::time::timeout(PATIENCE, async { tokio::join!(slow, fast) }).await.unwrap();
    assert_eq!(slow.unwrap(), fast.unwrap());
}

#[tokio::test]
async fn what_a_container_left_behind_ends_with_it() {
    let world = World::new().await;
    let pod = world.pod("orphan").await;
    let text = pod.output(&pod.spec("(setsid sleep 300 & echo $!) ; exit 0")).await;
    let orphan: u32 = text.trim().parse().unwrap();
    assert!(!runs(orphan));
}

#[tokio::test]
async fn programs_that_cannot_run_say_why() {
    let world = World::new().await;
    let pod = world.pod("cannot").await;
    let dir = world.dir.path();
    std::fs::write(dir.join("plain"), "#!/bin/sh\n").unwrap();
    std::fs::write(dir.join("orphan"), "#!/no/such/interpreter\n").unwrap();
    std::fs::write(dir.join("nonsense"), "nonsense").unwrap();
    for name in ["orphan", "nonsense"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.join(name), mode).unwrap();
    }
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let cases = [
        (
            "no-such-program".to_owned(),
            127,
            "exec: \"no-such-program\": no such file or directory: there is no such program in the directories of",
        ),
        (
            "/no/such/file".to_owned(),
            127,
            "exec: \"/no/such/file\": no such file or directory: there is no such program on this node",
        ),
        (path("plain"), 126, "permission denied"),
        (path("orphan"), 127, "interpreter"),
        (path("nonsense"), 126, "not a program"),
    ];
    for (attempt, (program, code, wanted)) in (0..).zip(cases) {
        let spec = ContainerSpec { command: vec![program], attempt, ..pod.spec("") };
        match world.runtime().start_container(&spec).await {
            Err(RuntimeError::CannotRun { message, exit_code, .. }) => {
                assert_eq!(exit_code, code, "{message}");
                assert!(message.contains(wanted), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    let spec = ContainerSpec { working_dir: Some("/no/such/dir".into()), attempt: 9, ..pod.spec("true") };
    let error = world.runtime().start_container(&spec).await.unwrap_err();
    assert!(error.to_string().contains("working directory /no/such/dir: no such file or directory"), "{error}");
    assert_eq!(pod.record("app").await, None, "a start that failed is no start");
    assert_eq!(pod.run(&pod.spec("exit 0")).await.exit_code, 0);
}

#[tokio::test]
async fn commands_run_beside_a_container() {
    let world = World::new().await;
    let pod = world.pod("exec").await;
    let mut spec = pod.spec("sleep 60");
    spec.env.push(("COLOUR".into(), "blue".into()));
    pod.start(&spec).await;
    let exec = async |script: &str, timeout: Duration| {
        let command = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        world.runtime().exec(&pod.uid, "app", &command, timeout).await
    };
    let got = exec("echo $COLOUR; echo oh >&2; exit 4", PATIENCE).await.unwrap();
    assert_eq!(got.exit_code, 4);
    let text = String::from_utf8(got.output).unwrap();
    assert!(text.contains("blue\n") && text.contains("oh\n"), "{text}");
    let much = exec("head -c 100000 /dev/zero", PATIENCE).await.unwrap();
    assert_eq!((much.exit_code, much.output.len()), (0, 10 * 1024));
    let late = exec("echo $$ > late.pid; sleep 300", Duration::from_millis(100)).await;
    assert!(matches!(&late, Err(RuntimeError::Unavailable(m)) if m.contains("100 ms")), "{late:?}");
    let pid = exec("cat late.pid", PATIENCE).await.unwrap().output;
    let pid: u32 = String::from_utf8(pid).unwrap().trim().parse().unwrap();
    until("the end of a late command", || async { if runs(pid) { Err(pid.to_string()) } else { Ok(()) } }).await;
    let missing = world.runtime().exec(&pod.uid, "app", &["nothing-here".to_owned()], PATIENCE).await;
    assert!(matches!(missing, Err(RuntimeError::CannotRun { exit_code: 127, .. })), "{missing:?}");
    let nobody = world.runtime().exec(&pod.uid, "other", &["true".to_owned()], PATIENCE).await;
    assert!(matches!(nobody, Err(RuntimeError::NotFound(_))), "{nobody:?}");
}

#[tokio::test]
async fn removing_a_pod_leaves_nothing() {
    let world = World::new().await;
    let pod = world.pod("gone").await;
    let pid = pod.start(&pod.spec("trap '' TERM; sleep 300 & wait")).await.pid.unwrap();
    let shim = world.shim_pid(&pod.uid);
    let mut events = world.runtime().events().await;
    world.runtime().remove_sandbox(&pod.uid).await.unwrap();
    assert!(!runs(pid) && !runs(shim));
    assert!(!world.pod_dir(&pod.uid).exists());
    assert!(world.runtime().sandboxes().await.unwrap().is_empty());
    world.runtime().remove_sandbox(&pod.uid).await.unwrap();
    let told = event(&mut events, |_| true).await;
    assert!(matches!(told, RuntimeEvent::Exited { .. }), "{told:?}");
    let unknown = world.runtime().start_container(&pod.spec("true")).await;
    assert!(matches!(unknown, Err(RuntimeError::NotFound(_))), "{unknown:?}");
}

#[tokio::test]
async fn addresses_are_apart_and_rest_after_use() {
    let world = World::new().await;
    let one = world.pod("one").await;
    let two = world.pod("two").await;
    assert_ne!(one.ip, two.ip);
    world.runtime().remove_sandbox(&one.uid).await.unwrap();
    let three = world.pod("three").await;
    assert!(three.ip != one.ip && three.ip != two.ip);
}

#[tokio::test]
async fn a_uid_cannot_leave_the_data_directory() {
    let world = World::new().await;
    let got = world.runtime().run_sandbox(&sandbox(&Uid("../../x".into()), "x")).await;
    assert!(matches!(got, Err(RuntimeError::Refused(_))), "{got:?}");
}
