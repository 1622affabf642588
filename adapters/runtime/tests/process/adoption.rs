//! Pods outlive the agent.

use crate::world::{Pod, World, event, runs, sandbox, until};
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
async fn a_shim_without_a_program_does_not_outlive_its_agent_for_long() {
    let mut world = World::new().await;
    let uid = {
        let pod = world.pod("rests").await;
        pod.run(&pod.spec("echo words; exit 9")).await;
        pod.uid
    };
    let shim = world.shim_pid(&uid);
    world.close();
    until("the end of the shim", || async { if runs(shim) { Err(shim.to_string()) } else { Ok(()) } }).await;
    world.reopen().await;
    let pod = world.pod("rests").await;
    assert_eq!(pod.exit("app").await.exit_code, 9);
    assert_eq!(pod.log(LogQuery::default()).await.unwrap(), "words\n");
    let again = ContainerSpec { attempt: 1, ..pod.spec("exit 3") };
    assert_eq!(pod.run(&again).await.exit_code, 3, "another shim runs it");
    assert_ne!(world.shim_pid(&uid), shim);
}

#[tokio::test]
async fn a_killed_shim_takes_its_containers_along_and_can_be_replaced() {
    let world = World::new().await;
    let pod = world.pod("lost").await;
    let main = pod.start(&pod.spec("while :; do sleep 0.05; done")).await.pid.unwrap();
    let mut events = world.runtime().events().await;
    kill_shim(&pod);
    let lost = event(&mut events, |e| matches!(e, RuntimeEvent::SandboxLost { .. })).await;
    assert!(matches!(&lost, RuntimeEvent::SandboxLost { pod: p, .. } if *p == pod.uid));
    let exit = pod.exit("app").await;
    assert!(exit.message.contains("not known"), "{exit:?}");
    ended(main).await;
    // The same pod goes on under a new shim.
    assert_eq!(world.runtime().run_sandbox(&sandbox(&pod.uid, "lost")).await.unwrap(), pod.ip);
    let again = pod.run(&ContainerSpec { attempt: 1, ..pod.spec("exit 6") }).await;
    assert_eq!(again.exit_code, 6);
}

/// Only control groups, which root can make, find what has left its session and its parent when the shim is gone.
#[tokio::test]
#[ignore = "needs root"]
async fn a_killed_shim_takes_strays_along_too() {
    let world = World::new().await;
    let pod = world.pod("strays").await;
    let main = pod.start(&pod.spec("(setsid sleep 300 & echo stray $!); while :; do sleep 0.05; done")).await;
    let text = pod.logged("stray ").await;
    let stray: u32 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(runs(stray));
    kill_shim(&pod);
    ended(main.pid.unwrap()).await;
    ended(stray).await;
}

fn kill_shim(pod: &Pod<'_>) {
    let shim = i32::try_from(pod.world.shim_pid(&pod.uid)).unwrap();
    let shim = rustix::process::Pid::from_raw(shim).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
}

async fn ended(pid: u32) {
    until("the end of a process", || async { if runs(pid) { Err(pid.to_string()) } else { Ok(()) } }).await;
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

#[tokio::test]
async fn a_pod_that_is_over_keeps_its_records_and_not_its_address() {
    let mut world = World::new().await;
    let (uid, ip) = {
        let pod = world.pod("over").await;
        pod.run(&pod.spec("echo words; exit 9")).await;
        let shim = world.shim_pid(&pod.uid);
        for _ in 0..2 {
            world.runtime().release_sandbox(&pod.uid).await.unwrap();
        }
        assert!(!runs(shim), "nobody waits for a pod that is over");
        assert!(!steersman_runtime::claimed_addresses().unwrap().contains(&pod.ip));
        (pod.uid.clone(), pod.ip)
    };
    world.close();
    // The next address in turn is the one that was given back.
    let last = ip.octets()[3] - 1;
    std::fs::write(world.pod_dir(&uid).join("../../next-address"), last.to_string()).unwrap();
    world.reopen().await;
    let new = world.pod("new").await;
    assert_eq!(new.ip, ip);
    let record = world.runtime().sandboxes().await.unwrap().into_iter().find(|s| s.spec.uid == uid).unwrap();
    assert!(record.released && record.containers[0].exit.as_ref().is_some_and(|e| e.exit_code == 9), "{record:?}");
    let over = Pod { world: &world, uid: uid.clone(), ip };
    assert_eq!(over.log(LogQuery::default()).await.unwrap(), "words\n");
    let again = ContainerSpec { attempt: 1, ..over.spec("exit 0") };
    assert!(over.refused(&again).await.contains("is over"));
    world.runtime().remove_sandbox(&uid).await.unwrap();
    assert!(!world.pod_dir(&uid).exists());
    assert_ne!(world.pod("third").await.ip, ip, "the address is the new pod's");
    assert_eq!(new.output(&new.spec("echo up")).await, "up\n");
}
