//! Many pods, many nodes, several schedulers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use steersman_domain::ledger::Resources;
use steersman_domain::meta::condition;
use steersman_domain::{Deployment, Node, Pod};

use crate::Web;
use crate::world::{Setup, check};

/// How many pods each node has.
fn spread(state: &crate::history::State) -> BTreeMap<String, usize> {
    let mut count: BTreeMap<String, usize> = state.all::<Node>().map(|n| (n.metadata.name.to_string(), 0)).collect();
    for pod in state.pods("web") {
        *count.entry(pod.spec.node_name.to_string()).or_default() += 1;
    }
    count
}

#[test]
fn racing_schedulers_never_oversubscribe_a_node() {
    let size = Resources { cpu_milli: 1000, memory_bytes: 1 << 30, pods: 110, ..Resources::default() };
    check(
        Setup { nodes: 5, size, schedulers: 3, ..Setup::default() },
        async |world| {
            // Room for four on each of five nodes: twenty of thirty fit, and the last places are fought over.
            let web = Web { replicas: 30, cpu: "250m", ..Web::default() };
            world.create(web.deployment()).await;
            let state = world
                .until("twenty run and ten are told why they wait", |s| {
                    let waits = |p: &&&Pod| {
                        condition(&p.status.conditions, "PodScheduled").is_some_and(|c| c.status == "False")
                    };
                    s.available("web") == 20 && s.pods("web").iter().filter(waits).count() == 10
                })
                .await;
            let count = spread(&state);
            assert!((0..5).all(|n| count[&crate::world::node_name(n)] == 4), "{count:?}");
            // Let go of some: the room is given away again, once.
            for pod in state.pods("web").iter().filter(|p| p.is_ready()).take(7) {
                world.delete(steersman_domain::Kind::Pod, &pod.metadata.name, Default::default()).await;
            }
            world.until("the room is taken again", |s| s.pods("web").len() == 30 && s.available("web") == 20).await;
        },
        // That no ledger was ever over is held for every history.
        |_| {},
    );
}

#[test]
fn schedulers_that_die_after_every_write_place_every_pod_once() {
    for writes in [1, 3] {
        check(
            Setup { nodes: 4, ..Setup::default() },
            async |world| {
                world.create(Web { replicas: 12, ..Web::default() }.deployment()).await;
                let placed = |s: &crate::history::State| s.rolled_out("web", "v1", 12);
                let deaths = world.with_mortal_scheduler(writes, "all serve", placed).await;
                assert!(deaths >= 12 / writes, "it was hardly disturbed: {deaths} died");
                let count = spread(&world.state().await);
                assert!(count.values().all(|n| *n == 3), "{count:?}");
            },
            |history| {
                history.keeps_bounds("web", |_| true, 0, 12);
            },
        );
    }
}

#[test]
fn host_ports_are_given_once_per_node() {
    check(
        Setup { schedulers: 2, ..Setup::default() },
        async |world| {
            let mut deployment = Web { replicas: 5, ..Web::default() }.deployment();
            let ports = json!([{"containerPort": 8080, "hostPort": 9000}]);
            deployment["spec"]["template"]["spec"]["containers"][0]["ports"] = ports;
            world.create(deployment).await;
            let state = world
                .until("each node has one", |s| {
                    let waits = |p: &&&Pod| {
                        condition(&p.status.conditions, "PodScheduled").is_some_and(|c| c.message.contains("port"))
                    };
                    s.available("web") == 3 && s.pods("web").iter().filter(waits).count() == 2
                })
                .await;
            assert_eq!(spread(&state).values().filter(|n| **n == 1).count(), 3, "{state}");
        },
        |history| {
            history.each(|step| {
                let count = spread(step.state);
                assert!(count.iter().all(|(node, n)| node.is_empty() || *n <= 1), "{count:?}");
            });
        },
    );
}

#[test]
fn a_thousand_pods_come_up_on_a_hundred_nodes() {
    check(
        Setup { nodes: 100, ..Setup::default() },
        async |world| {
            world.create(Web { replicas: 1000, ..Web::default() }.deployment()).await;
            let state = world
                .within(Duration::from_secs(300), "all thousand serve", |s| {
                    s.get::<Deployment>("web").is_some_and(|d| d.status.available_replicas == 1000)
                })
                .await;
            let count = spread(&state);
            assert!(count.values().all(|n| *n == 10), "least allocated spreads evenly: {count:?}");
        },
        |_| {},
    );
}
