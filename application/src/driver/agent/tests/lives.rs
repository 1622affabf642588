//! Whole lives: init containers, hooks, the order of the end, less grace, objects that vanish, the node itself.

use super::fixture::World;
use crate::client::{Part, Write};
use crate::driver::agent::{LEASE_NAMESPACE, SimulatedLife, Stop};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{Condition, Key, Kind, Lease, Node, Object, PodPhase};

fn quick() -> World {
    World::new(|spec| SimulatedLife {
        exit: spec.name.starts_with("init").then_some((Duration::from_secs(1), 0)),
        term_code: 143,
        ..SimulatedLife::default()
    })
}

#[tokio::test]
async fn init_containers_come_first() {
    let world = quick();
    world.create_pod("p", r#"{"initContainers":[{"name":"init1"},{"name":"init2"}],"containers":[{"name":"a"}]}"#);
    world.until_line("start init1 0").await;
    world.advance(Duration::from_secs(1)).await;
    world.until_line("start init2 0").await;
    world.advance(Duration::from_secs(1)).await;
    let pod = world.until("p", |p| p.is_ready()).await;
    assert!(world.journal.position("start init2 0") < world.journal.position("start a 0"));
    let done = |n: usize| pod.status.init_container_statuses[n].state.terminated.as_ref().map(|t| t.reason.to_string());
    assert_eq!((done(0), done(1)), (Some("Completed".into()), Some("Completed".into())));
    assert_eq!(pod.status.pod_ip, "10.0.0.1");
    assert_eq!((pod.status.host_ip.as_str(), pod.status.qos_class.as_str()), ("127.0.0.1", "BestEffort"));
}

#[tokio::test]
async fn the_end_goes_in_order_and_the_object_last() {
    let world = quick();
    world.create_pod(
        "p",
        r#"{"terminationGracePeriodSeconds":20,"containers":[
            {"name":"a","lifecycle":{"preStop":{"exec":{"command":["bye"]}}}},{"name":"b"}]}"#,
    );
    world.until("p", |p| p.is_ready()).await;
    world.delete_pod("p", None);
    world.until_gone("p").await;
    let at = |line: &str| world.journal.position(line);
    assert!(at("drain uid-p 10s") < at("exec a bye"));
    assert!(at("exec a bye") < at("stop a 20s"));
    assert!(at("stop b 20s") < at("remove uid-p"));
    let last = world.api.history("p").pop().expect("a last status");
    assert_eq!(last.status.phase, PodPhase::Failed);
    let end = last.status.container_statuses[0].state.terminated.as_ref().expect("ended");
    assert_eq!(end.exit_code.0, 143);
    let ready = |p: &steersman_domain::Pod| p.is_ready();
    let unready_first = world.api.history("p").iter().any(|p| {
        !ready(p) && p.status.container_statuses.iter().any(|c| c.state.running.is_some()) && p.metadata.is_deleting()
    });
    assert!(unready_first, "the pod is unready before its containers end");
}

#[tokio::test]
async fn a_second_delete_shortens_the_grace() {
    let world = World::new(|_| SimulatedLife { ends_in: Duration::from_secs(1000), ..SimulatedLife::default() });
    world.create_pod("p", r#"{"containers":[{"name":"a"}]}"#);
    world.until("p", |p| p.is_ready()).await;
    world.delete_pod("p", Some(100));
    world.until_line("stop a 100s").await;
    world.delete_pod("p", Some(3));
    world.until_line("stop a 3s").await;
    world.advance(Duration::from_secs(3)).await;
    world.until_gone("p").await;
    let last = world.api.history("p").pop().expect("a last status");
    assert_eq!(last.status.container_statuses[0].state.terminated.as_ref().map(|t| t.exit_code.0), Some(137));
}

#[tokio::test]
async fn an_object_that_vanishes_is_cleaned_up() {
    let world = quick();
    world.create_pod("p", r#"{"containers":[{"name":"a"}]}"#);
    world.until("p", |p| p.is_ready()).await;
    world.delete_pod("p", Some(0));
    world.until_line("remove uid-p").await;
    assert!(!world.runtime.inner.exit(&world.uid("p"), "a", 0), "nothing is left");
}

#[tokio::test]
async fn hooks_and_ports_hold_readiness_back() {
    let world = World::new(|_| SimulatedLife { ports_open_after: Duration::from_secs(5), ..SimulatedLife::default() });
    world.create_pod(
        "p",
        r#"{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"web"}],
            "lifecycle":{"postStart":{"exec":{"command":["/warm"]}}}}]}"#,
    );
    world.until_line("exec a /warm").await;
    let pod = world.until("p", |p| p.status.phase == PodPhase::Running).await;
    assert!(!pod.is_ready());
    world.advance(Duration::from_secs(5)).await;
    world.until("p", |p| p.is_ready()).await;
}

#[tokio::test]
async fn the_node_is_registered_and_its_lease_renewed() {
    let world = quick();
    let node = Key::cluster(Kind::Node, "n1");
    let lease = Key::new(Kind::Lease, LEASE_NAMESPACE, "n1");
    let renewed = || world.api.with(&lease, |s| s.and_then(|s| s.typed::<Lease>()?.spec.renew_time));
    world.advance(Duration::ZERO).await;
    let first = renewed().expect("a lease");
    let ready = world.api.with(&node, |s| {
        s.and_then(|s| s.typed::<Node>()).is_some_and(|n| n.is_ready() && n.offers_runtime("process"))
    });
    assert!(ready);
    let revision = || world.api.with(&node, |s| s.map(|s| s.revision));
    let before = revision();
    world.advance(Duration::from_secs(10)).await;
    assert!(renewed().expect("a lease") > first);
    assert_eq!(revision(), before, "nothing changed, so nothing was written");
    world.advance(Duration::from_secs(300)).await;
    assert_ne!(revision(), before, "the status is refreshed every five minutes");
}

#[tokio::test]
async fn more_pods_than_the_node_has_room_for_fail() {
    let world = quick();
    for n in 0..6 {
        world.create_pod(&format!("p{n}"), r#"{"containers":[{"name":"a"}]}"#);
        world.until(&format!("p{n}"), |p| p.status.start_time.is_some()).await;
    }
    let pod = world.until("p5", |p| p.status.phase == PodPhase::Failed).await;
    assert_eq!(pod.status.reason, "OutOfpods");
    world.stop.send_replace(Stop::LeavePods);
    world.until_stopped().await;
    assert!(world.runtime.inner.exit(&world.uid("p0"), "a", 0), "left running");
}

#[tokio::test]
async fn what_others_write_into_the_status_stays() {
    let world = World::new(|_| SimulatedLife { ports_open_after: Duration::from_secs(5), ..SimulatedLife::default() });
    world.create_pod("p", r#"{"containers":[{"name":"a","ports":[{"containerPort":80}]}]}"#);
    world.until("p", |p| p.status.phase == PodPhase::Running).await;
    world.advance(Duration::ZERO).await;
    // The clock moves and somebody writes before the agent has seen either: its next write conflicts.
    world.clock.advance(Duration::from_secs(5));
    let mut pod = steersman_domain::Pod::clone(&world.api.pod("p").expect("there"));
    let other = Condition::new("DisruptionTarget", true, "Test", "", steersman_domain::Time::from_secs(1));
    pod.status.conditions.push(other);
    world.api.act(Write::Update(Object::Pod(Arc::new(pod)), Part::Status));
    world.until("p", |p| p.is_ready() && p.status.conditions.iter().any(|c| c.kind == "DisruptionTarget")).await;
}

#[tokio::test]
async fn a_delete_that_collides_is_repeated() {
    let world = quick();
    world.create_pod("p", r#"{"containers":[{"name":"a"}]}"#);
    world.until("p", |p| p.is_ready()).await;
    world.delete_pod("p", None);
    world.api.collide(2);
    world.until_line("remove uid-p").await;
    for _ in 0..2 {
        world.advance(Duration::from_secs(5)).await;
    }
    world.until_gone("p").await;
}

#[tokio::test]
async fn a_pod_that_others_called_unready_is_ready_again() {
    let world = quick();
    world.create_pod("p", r#"{"containers":[{"name":"a"}]}"#);
    world.until("p", |p| p.is_ready()).await;
    let disown = || {
        let mut pod = steersman_domain::Pod::clone(&world.api.pod("p").expect("there"));
        let now = steersman_domain::ports::Clock::now(&*world.clock);
        let lost = Condition::new("Ready", false, "NodeNotReady", "the node of the pod is not heard of", now);
        steersman_domain::meta::set_condition(&mut pod.status.conditions, lost);
        world.api.act(Write::Update(Object::Pod(Arc::new(pod)), Part::Status));
    };
    let ready = |p: &steersman_domain::Pod| {
        steersman_domain::meta::condition(&p.status.conditions, "Ready").cloned().expect("told")
    };
    world.advance(Duration::from_secs(60)).await;
    disown();
    let pod = world.until("p", |p| p.is_ready()).await;
    let now = steersman_domain::ports::Clock::now(&*world.clock);
    assert_eq!(ready(&pod).last_transition_time, Some(now), "it was not ready in between");
    // Whoever goes on like that is answered too, but not at once.
    disown();
    world.advance(Duration::from_secs(4)).await;
    assert_eq!(ready(&world.api.pod("p").expect("there")).reason, "NodeNotReady");
    world.advance(Duration::from_secs(1)).await;
    world.until("p", |p| p.is_ready()).await;
}
