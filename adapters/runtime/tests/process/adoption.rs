//! Pods outlive the agent.

use crate::world::{World, event, is_root, runs, sandbox, until};
use std::time::Duration;
use steersman_domain::ports::{ContainerSpec, LogQuery, Runtime, RuntimeEvent};

#[tokio::test]
async fn a_new_agent_takes_over_what_runs_and_learns_what_ended() {
    let mut world = World::new().await;
    let (uid, ip, pid) = {
        let pod = world.pod("kept").await;
        let pid = pod.start(&pod.spec("trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done")).await.pid;
        pod.logged("up").await;
        let other =
            ContainerSpec { name: "side".into(), ..pod.spec("while [ ! -e go ]; do sleep 0.01; done; exit 42") };
        pod.start(&other).await;
        (pod.uid.clone(), pod.ip, pid.unwrap())
    };
    // The agent is gone, and nobody is there when the second container ends.
    world.close();
    let dir = world.pod_dir(&uid);
    std::fs::write(dir.join("work/side/go"), "").unwrap();
    let record = dir.join("containers/side/0/exit.json");
    until("the record of an exit", || async { if record.exists() { Ok(()) } else { Err(String::new()) } }).await;
    world.reopen().await;
    let all = world.runtime().sandboxes().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].ip, &all[0].spec), (ip, &sandbox(&uid, "kept")));
    let shown: Vec<_> =
        all[0].containers.iter().map(|c| (c.name.as_str(), c.pid, c.exit.as_ref().map(|e| e.exit_code))).collect();
    assert_eq!(shown, [("app", Some(pid), None), ("side", None, Some(42))]);
    assert_ne!(world.pod("new").await.ip, ip, "its address stays taken");
    let mut events = world.runtime().events().await;
    let exit = world.runtime().stop_container(&uid, "app", Duration::from_secs(20)).await.unwrap();
    assert_eq!(exit.exit_code, 5, "the real exit code: {exit:?}");
    let told = event(&mut events, |_| true).await;
    assert!(matches!(&told, RuntimeEvent::Exited { container, .. } if container.name == "app"), "{told:?}");
}

#[tokio::test]
async fn a_container_that_ended_while_its_agent_was_away_keeps_its_log() {
    let mut world = World::new().await;
    let uid = {
        let pod = world.pod("log").await;
        pod.run(&pod.spec("echo words; exit 9")).await;
        pod.uid
    };
    world.reopen().await;
    let pod = world.pod("log").await;
    assert_eq!(pod.uid, uid);
    assert_eq!(pod.exit("app").await.exit_code, 9);
    assert_eq!(pod.log(LogQuery::default()).await.unwrap(), "words\n");
}

#[tokio::test]
async fn a_killed_shim_takes_its_containers_along_and_can_be_replaced() {
    let world = World::new().await;
    let pod = world.pod("lost").await;
    let script = "(setsid sleep 300 & echo stray $!); while :; do sleep 0.05; done";
    let main = pod.start(&pod.spec(script)).await.pid.unwrap();
    let text = pod.logged("stray ").await;
    let stray: u32 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let mut events = world.runtime().events().await;
    let shim = rustix::process::Pid::from_raw(i32::try_from(world.shim_pid(&pod.uid)).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    let lost = event(&mut events, |e| matches!(e, RuntimeEvent::SandboxLost { .. })).await;
    assert!(matches!(&lost, RuntimeEvent::SandboxLost { pod: p, .. } if *p == pod.uid));
    let exit = pod.exit("app").await;
    assert!(exit.message.contains("not known"), "{exit:?}");
    until("the end of the container", || async { if runs(main) { Err(main.to_string()) } else { Ok(()) } }).await;
    if is_root() {
        until("the end of its stray", || async { if runs(stray) { Err(stray.to_string()) } else { Ok(()) } }).await;
    }
    // The same pod goes on under a new shim.
    assert_eq!(world.runtime().run_sandbox(&sandbox(&pod.uid, "lost")).await.unwrap(), pod.ip);
    let again = pod.run(&ContainerSpec { attempt: 1, ..pod.spec("exit 6") }).await;
    assert_eq!(again.exit_code, 6);
}

#[tokio::test]
async fn damaged_records_do_not_keep_the_runtime_from_opening() {
    let mut world = World::new().await;
    let pods = world.config.data_dir.join("pods");
    std::fs::create_dir_all(pods.join("half-made/containers")).unwrap();
    std::fs::create_dir_all(pods.join("damaged")).unwrap();
    std::fs::write(pods.join("damaged/sandbox.json"), "{").unwrap();
    world.reopen().await;
    assert!(world.runtime().sandboxes().await.unwrap().is_empty());
    assert!(!pods.join("half-made").exists() && pods.join("damaged").exists());
}
