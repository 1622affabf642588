//! Crashes: back-off by the clock, the proxies first, events counted, failures to start.

use super::fixture::{World, waiting_reason};
use crate::driver::agent::SimulatedLife;
use std::time::Duration;
use steersman_domain::PodPhase;
use steersman_domain::ports::RuntimeError;

const SERVER: &str = r#"{"containers":[{"name":"web","ports":[{"containerPort":8080}]}]}"#;

#[tokio::test]
async fn a_crash_restarts_at_once_then_backs_off() {
    let world = World::new(|_| SimulatedLife::default());
    world.create_pod("p", SERVER);
    world.until("p", |p| p.is_ready()).await;
    let uid = world.uid("p");
    assert!(world.runtime.inner.exit(&uid, "web", 137));
    let pod = world.until("p", |p| p.is_ready() && p.status.container_statuses[0].restart_count.0 == 1).await;
    let last = pod.status.container_statuses[0].last_state.terminated.clone().expect("an end");
    assert_eq!((last.exit_code.0, last.reason.as_str()), (137, "Error"));
    assert!(world.journal.position("down uid-p") < world.journal.position("start web 1"));
    world.until_line("up uid-p").await;
    for (attempt, seconds) in [(2, 10), (3, 20), (4, 40)] {
        assert!(world.runtime.inner.exit(&uid, "web", 1));
        world.until("p", |p| waiting_reason(p, "web") == "CrashLoopBackOff").await;
        world.advance(Duration::from_secs(seconds - 1)).await;
        assert!(!world.journal.lines().contains(&format!("start web {attempt}")), "too early");
        world.advance(Duration::from_secs(1)).await;
        world.until("p", |p| p.status.container_statuses[0].restart_count.0 == attempt && p.is_ready()).await;
    }
    world.advance(Duration::from_secs(600)).await;
    assert!(world.runtime.inner.exit(&uid, "web", 1));
    world.until("p", |p| p.status.container_statuses[0].restart_count.0 == 5 && p.is_ready()).await;
    let events = world.api.events();
    let started = events.iter().find(|e| e.reason == "Started").expect("told");
    assert_eq!((started.message.as_str(), started.count), ("Started container web", 6));
    assert!(events.iter().any(|e| e.reason == "BackOff" && e.kind == "Warning"));
}

#[tokio::test]
async fn a_program_that_cannot_run_says_so_and_backs_off() {
    let world = World::new(|_| SimulatedLife::default());
    let cannot = || RuntimeError::CannotRun {
        reason: "StartError",
        message: "exec: \"/no\": no such file or directory".into(),
        exit_code: 127,
    };
    *world.runtime.refusals.lock().unwrap() = vec![cannot(), cannot()];
    world.create_pod("p", SERVER);
    let pod = world.until("p", |p| waiting_reason(p, "web") == "CrashLoopBackOff").await;
    let last = pod.status.container_statuses[0].last_state.terminated.clone().expect("an end");
    assert_eq!((last.exit_code.0, last.reason.as_str()), (127, "StartError"));
    assert!(last.message.contains("no such file"));
    world.advance(Duration::from_secs(10)).await;
    world.until("p", |p| p.is_ready()).await;
}

#[tokio::test]
async fn a_refused_setting_waits_with_its_message() {
    let world = World::new(|_| SimulatedLife::default());
    *world.runtime.refusals.lock().unwrap() = vec![RuntimeError::Refused("runAsUser 5: not root".into())];
    world.create_pod("p", SERVER);
    let pod = world.until("p", |p| waiting_reason(p, "web") == "CreateContainerConfigError").await;
    let waiting = pod.status.container_statuses[0].state.waiting.clone().expect("waiting");
    assert_eq!((waiting.message.as_str(), pod.status.phase), ("runAsUser 5: not root", PodPhase::Pending));
}

#[tokio::test]
async fn a_pod_comes_out_by_its_policy_and_the_status_survives_an_outage() {
    let world = World::new(|spec| SimulatedLife {
        exit: Some((Duration::from_secs(1), i32::from(spec.name == "bad"))),
        ..SimulatedLife::default()
    });
    world.create_pod("good", r#"{"restartPolicy":"Never","containers":[{"name":"c"}]}"#);
    world.create_pod("bad", r#"{"restartPolicy":"Never","containers":[{"name":"bad"}]}"#);
    world.until("good", |p| p.status.phase == PodPhase::Running).await;
    world.until("bad", |p| p.status.phase == PodPhase::Running).await;
    world.api.outages.store(3, std::sync::atomic::Ordering::Relaxed);
    world.advance(Duration::from_secs(1)).await;
    for _ in 0..4 {
        world.advance(Duration::from_secs(5)).await;
    }
    let good = world.until("good", |p| p.status.phase == PodPhase::Succeeded).await;
    assert_eq!(
        good.status.container_statuses[0].state.terminated.as_ref().map(|t| t.reason.as_str()),
        Some("Completed")
    );
    let bad = world.until("bad", |p| p.status.phase == PodPhase::Failed).await;
    assert!(bad.status.conditions.iter().any(|c| c.kind == "Ready" && c.reason == "PodFailed"));
}
