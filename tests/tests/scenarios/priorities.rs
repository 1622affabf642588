//! Who has to make room for whom, and who goes only together.

use std::time::Duration;

use serde_json::{Value, json};
use steersman_application::client::Write;
use steersman_domain::ledger::Resources;
use steersman_domain::meta::condition;
use steersman_domain::{Event, GANG, GANG_SIZE, Kind, Pod, Uid};

use crate::Web;
use crate::history::State;
use crate::world::{Setup, World, check, key, node_name};

/// Nodes of one core.
fn small(nodes: usize) -> Setup {
    let size = Resources { cpu_milli: 1000, memory_bytes: 1 << 30, pods: 110, ..Resources::default() };
    Setup { nodes, size, ..Setup::default() }
}

fn class(name: &str, value: i32) -> Value {
    json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value})
}

fn pod(name: &str, cpu: &'static str, class: &str) -> Value {
    let mut pod = Web { cpu, ..Web::default() }.pod(name);
    if !class.is_empty() {
        pod["spec"]["priorityClassName"] = class.into();
    }
    pod
}

fn member(name: &str, cpu: &'static str, size: usize) -> Value {
    let mut pod = pod(name, cpu, "");
    pod["metadata"]["annotations"] = json!({GANG: "train", GANG_SIZE: size.to_string()});
    pod
}

fn ready(state: &State, name: &str) -> bool {
    state.get::<Pod>(name).is_some_and(Pod::is_ready)
}

/// What an unbound pod says that it waits for.
fn told(state: &State, name: &str) -> String {
    let pod = state.get::<Pod>(name);
    pod.and_then(|p| condition(&p.status.conditions, "PodScheduled")).map(|c| c.message.to_string()).unwrap_or_default()
}

async fn event(world: &World, reason: &str) -> String {
    let state = world.until(reason, |s| s.all::<Event>().any(|e| e.reason == reason)).await;
    state.all::<Event>().find(|e| e.reason == reason).map(|e| e.message.to_string()).expect("just seen")
}

#[test]
fn an_important_pod_takes_the_place_of_the_least_important_one() {
    check(
        small(2),
        async |world| {
            world.create(class("high", 1000)).await;
            world.create(class("middle", 10)).await;
            world.create(pod("low", "900m", "")).await;
            world.create(pod("middle", "900m", "middle")).await;
            world.until("both run", |s| ready(s, "low") && ready(s, "middle")).await;
            world.create(pod("high", "500m", "high")).await;
            let state = world
                .until("the place is promised", |s| {
                    s.get::<Pod>("high").is_some_and(|p| !p.status.nominated_node_name.is_empty())
                })
                .await;
            let node = state.get::<Pod>("low").expect("it ends with grace").spec.node_name.clone();
            assert_eq!(state.get::<Pod>("high").expect("there").status.nominated_node_name, node);
            // What becomes free meanwhile is not for others.
            world.create(pod("thief", "300m", "")).await;
            let ending = world.until("low ends", |s| s.get::<Pod>("low").is_some_and(|p| !p.is_active())).await;
            let low = ending.get::<Pod>("low").expect("still there");
            let target = condition(&low.status.conditions, "DisruptionTarget").expect("it is told why");
            assert_eq!(target.reason, "PreemptionByScheduler");
            let state = world.until("high runs", |s| ready(s, "high")).await;
            let high = state.get::<Pod>("high").expect("there");
            assert_eq!((&high.spec.node_name, high.status.nominated_node_name.as_str()), (&node, ""));
            assert!(ready(&state, "middle"), "it was not in the way");
            assert_eq!(event(world, "Preempted").await, format!("Preempted by pod default/high on node {node}"));
            world.until("what is left is for others", |s| ready(s, "thief")).await;
        },
        |_| {},
    );
}

#[test]
fn a_scheduler_that_dies_in_the_middle_of_a_preemption_ends_nobody_else() {
    for writes in [1, 2, 3] {
        check(
            small(3),
            async |world| {
                world.create(class("high", 1000)).await;
                for name in ["a", "b", "c"] {
                    world.create(pod(name, "900m", "")).await;
                }
                world.until("all run", |s| ["a", "b", "c"].iter().all(|name| ready(s, name))).await;
                world.create(pod("high", "500m", "high")).await;
                world.with_mortal_scheduler(writes, "high runs", |s| ready(s, "high")).await;
                let state = world.state().await;
                assert_eq!(["a", "b", "c"].iter().filter(|name| ready(&state, name)).count(), 2);
            },
            |_| {},
        );
    }
}

#[test]
fn a_gang_is_bound_in_one_moment_or_not_at_all() {
    let history = check(
        small(3),
        async |world| {
            world.create(pod("other", "900m", "")).await;
            world.until("it runs", |s| ready(s, "other")).await;
            for name in ["m1", "m2"] {
                world.create(member(name, "600m", 3)).await;
            }
            world.until("they wait for the third", |s| told(s, "m1").contains("2 are waiting here")).await;
            world.create(member("m3", "600m", 3)).await;
            let state = world.until("there is no room", |s| told(s, "m3").contains("2 of 3 found a place")).await;
            assert!(["m1", "m2", "m3"].iter().all(|m| told(&state, m) == told(&state, "m3")), "{}", told(&state, "m1"));
            // The room is there for others meanwhile.
            world.create(pod("small", "500m", "")).await;
            world.until("a small one runs", |s| ready(s, "small")).await;
            for name in ["other", "small"] {
                world.delete(Kind::Pod, name, Default::default()).await;
            }
            world.until("the gang runs", |s| ["m1", "m2", "m3"].iter().all(|m| ready(s, m))).await;
        },
        |_| {},
    );
    history.each(|step| {
        let bound = |m: &&&str| step.state.get::<Pod>(m).is_some_and(|p| !p.spec.node_name.is_empty());
        let bound = ["m1", "m2", "m3"].iter().filter(bound).count();
        assert!(!step.whole || bound == 0 || bound == 3, "{bound} of 3 are bound");
    });
}

#[test]
fn a_gang_whose_member_is_snatched_is_bound_without_the_lost_place_or_not_at_all() {
    check(
        Setup { schedulers: 3, ..small(4) },
        async |world| {
            // Three schedulers fight over the members; whoever binds one by hand takes it out of their plans.
            for n in 0..4 {
                world.create(member(&format!("m{n}"), "800m", 4)).await;
            }
            let bind = Write::Bind { pod: key(Kind::Pod, "m0"), uid: Uid::default(), node: node_name(0).into() };
            let _ = world.cluster.client().write(vec![bind], &Default::default()).await;
            world.within(Duration::from_secs(120), "all run", |s| (0..4).all(|n| ready(s, &format!("m{n}")))).await;
        },
        |_| {},
    );
}
