//! One agent after another: adoption after a crash, an ordered stop, a reboot, leftovers.

use super::fixture::World;
use crate::driver::agent::{SimulatedLife, Stop};
use std::time::Duration;
use steersman_domain::{Pod, PodPhase};

const ONE: &str = r#"{"containers":[{"name":"a"}]}"#;

fn world() -> World {
    World::new(|_| SimulatedLife { term_code: 143, ..SimulatedLife::default() })
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.container_statuses[0].restart_count.0
}

#[tokio::test]
async fn running_containers_are_adopted_and_ends_meanwhile_are_learned() {
    let world = world();
    world.create_pod("stays", r#"{"containers":[{"name":"a","ports":[{"containerPort":80}]}]}"#);
    world.create_pod("ends", r#"{"restartPolicy":"Never","containers":[{"name":"a"}]}"#);
    world.create_pod("deleted", ONE);
    for name in ["stays", "ends", "deleted"] {
        world.until(name, |p| p.is_ready()).await;
    }
    let (runtime, ends) = (std::sync::Arc::clone(&world.runtime), world.uid("ends"));
    world.stop.send_replace(Stop::LeavePods);
    world.until_stopped().await;
    assert!(runtime.inner.exit(&ends, "a", 7));
    world.delete_pod("deleted", Some(0));
    let starts = world.journal.lines().iter().filter(|l| l.starts_with("start")).count();
    let world = world.restarted(false).await;
    let ended = world.until("ends", |p| p.status.phase == PodPhase::Failed).await;
    assert_eq!(ended.status.container_statuses[0].state.terminated.as_ref().map(|t| t.exit_code.0), Some(7));
    world.until_line("remove uid-deleted").await;
    let stays = world.until("stays", |p| p.is_ready()).await;
    assert_eq!(restarts(&stays), 0);
    let first_ready = world.api.history("stays").iter().position(|p| p.is_ready()).expect("was ready");
    assert!(world.api.history("stays")[first_ready..].iter().all(|p| p.is_ready()), "never out of service");
    assert_eq!(world.journal.lines().iter().filter(|l| l.starts_with("start")).count(), starts, "nothing was started");
    world.delete_pod("stays", None);
    world.until_gone("stays").await;
}

#[tokio::test]
async fn an_ordered_stop_keeps_objects_and_the_next_agent_starts_them() {
    let world = world();
    world.create_pod("p", ONE);
    world.create_pod("job", r#"{"restartPolicy":"Never","containers":[{"name":"a"}]}"#);
    world.until("p", |p| p.is_ready()).await;
    world.until("job", |p| p.is_ready()).await;
    world.stop.send_replace(Stop::StopPods);
    world.until_stopped().await;
    world.until_line("remove uid-p").await;
    for name in ["p", "job"] {
        let pod = world.api.pod(name).expect("the object stays");
        let end = pod.status.container_statuses[0].state.terminated.clone().expect("ended");
        assert_eq!((end.reason.as_str(), end.exit_code.0), ("AgentStopped", 143));
        assert_eq!(pod.status.phase, PodPhase::Running);
    }
    let world = world.restarted(true).await;
    for name in ["p", "job"] {
        let pod = world.until(name, |p| p.is_ready()).await;
        assert_eq!((restarts(&pod), pod.status.phase), (1, PodPhase::Running));
        assert!(pod.status.container_statuses[0].last_state.terminated.is_some());
    }
}

#[tokio::test]
async fn a_hurried_stop_kills_what_takes_its_time() {
    let world = World::new(|_| SimulatedLife { ends_in: Duration::from_secs(1000), ..SimulatedLife::default() });
    world.create_pod("p", ONE);
    world.until("p", |p| p.is_ready()).await;
    world.stop.send_replace(Stop::StopPods);
    world.until_line("stop a 30s").await;
    world.stop.send_replace(Stop::KillPods);
    world.until_line("stop a 0s").await;
    world.until_stopped().await;
    let pod = world.api.pod("p").expect("the object stays");
    let end = pod.status.container_statuses[0].state.terminated.clone().expect("ended");
    assert_eq!((end.reason.as_str(), end.exit_code.0), ("AgentStopped", 137));
}

#[tokio::test]
async fn after_a_reboot_containers_run_again_counted_as_restarts() {
    let world = world();
    world.create_pod("p", ONE);
    world.until("p", |p| p.is_ready()).await;
    let world = world.restarted(true).await;
    let pod = world.until("p", |p| p.is_ready() && restarts(p) == 1).await;
    let last = pod.status.container_statuses[0].last_state.terminated.clone().expect("an end");
    assert_eq!((last.reason.as_str(), last.exit_code.0), ("ContainerStatusUnknown", 137));
    assert_eq!(pod.status.pod_ip, "10.0.0.2");
}

#[tokio::test]
async fn an_end_under_way_goes_on_under_the_next_agent() {
    let world = World::new(|_| SimulatedLife { ends_in: Duration::from_secs(1000), ..SimulatedLife::default() });
    world.create_pod("p", ONE);
    world.until("p", |p| p.is_ready()).await;
    world.delete_pod("p", Some(50));
    world.until_line("stop a 50s").await;
    let world = world.restarted(false).await;
    world.advance(Duration::from_secs(50)).await;
    world.until_gone("p").await;
}

#[tokio::test]
async fn a_lost_sandbox_is_replaced() {
    let world = world();
    world.create_pod("p", ONE);
    world.until("p", |p| p.is_ready()).await;
    assert!(world.runtime.inner.lose(&world.uid("p"), "its shim was killed"));
    let pod = world.until("p", |p| p.is_ready() && restarts(p) == 1).await;
    assert_eq!(pod.status.pod_ip, "10.0.0.2");
    assert!(world.journal.position("down uid-p") < world.journal.position("remove uid-p"));
}
