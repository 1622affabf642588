//! Nodes that fall silent, come back, shrink, and go for good.

use std::time::Duration;

use steersman_application::client::Propagation;
use steersman_domain::ledger::Resources;
use steersman_domain::meta::condition;
use steersman_domain::{Kind, Node, Pod};

use crate::Web;
use crate::history::State;
use crate::world::{Setup, check, node_name};

/// The pods that are neither ended nor ending on a node.
fn on<'a>(state: &'a State, node: &str) -> Vec<&'a Pod> {
    state.active("web").into_iter().filter(|p| p.spec.node_name == node).collect()
}

fn ready(state: &State, node: &str) -> bool {
    state.get::<Node>(node).is_some_and(|n| n.is_ready() && n.spec.taints.is_empty())
}

#[test]
fn a_silent_node_loses_its_pods_and_is_taken_back() {
    let lost = node_name(0);
    check(
        Setup::default(),
        async |world| {
            world.create(Web::default().deployment()).await;
            world.until("web serves", |s| s.rolled_out("web", "v1", 3)).await;
            world.silence(&lost);
            let silent = world.now();
            let state = world
                .within(Duration::from_secs(60), "the node is unknown", |s| {
                    let node = s.get::<Node>(&lost).expect("there");
                    condition(&node.status.conditions, "Ready").is_some_and(|c| c.status == "Unknown")
                })
                .await;
            assert!(world.now() - silent >= Duration::from_secs(30), "not at the first missed renewal");
            let node = state.get::<Node>(&lost).expect("there");
            let told = condition(&node.status.conditions, "Ready").expect("there");
            assert!(told.message.contains("stopped posting node status"), "{told:?}");
            assert_eq!(on(&state, &lost).len(), 1, "its pods are given time\n{state}");
            world.until("its pods serve no more", |s| s.available("web") == 2).await;
            let state = world
                .within(Duration::from_secs(400), "the pod is replaced elsewhere", |s| s.available("web") == 3)
                .await;
            assert!(world.now() - silent >= Duration::from_secs(300), "five minutes are tolerated");
            assert_eq!(on(&state, &lost).len(), 0, "{state}");
            assert_eq!(world.running_on(&lost).await, 1, "nobody could stop what runs there");

            world.start_agent(&lost);
            world.until("the node is taken back", |s| ready(s, &lost)).await;
            let state = world.until("the old pod is gone", |s| s.pods("web").len() == 3).await;
            assert_eq!((world.running_on(&lost).await, state.available("web")), (0, 3), "{state}");
            world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = 6.into()).await;
            let state = world.until("web is larger", |s| s.rolled_out("web", "v1", 6)).await;
            assert!(!on(&state, &lost).is_empty(), "it takes pods again\n{state}");
        },
        |_| {},
    );
}

#[test]
fn what_crashes_on_a_node_that_is_cut_off_starts_again_there() {
    let alone = node_name(0);
    check(
        Setup { nodes: 1, ..Setup::default() },
        async |world| {
            world.create(Web::service()).await;
            world.create(Web::default().pod("web")).await;
            world.until("web serves", |s| s.available("web") == 1).await;
            world.cut(&alone, true);
            world.cluster.crash_pod("default", "web", 7).await.expect("it runs");
            world.cluster.sleep(Duration::from_secs(5)).await;
            let found = world.cluster.sandboxes(&alone).await.expect("there");
            let attempts: Vec<_> =
                found.iter().flat_map(|s| &s.containers).map(|c| (c.attempt, c.exit.is_none())).collect();
            assert_eq!(attempts, [(1, true)], "it was started again without the API");
            world.cut(&alone, false);
            world
                .until("the API knows", |s| {
                    s.get::<Pod>("web")
                        .is_some_and(|p| p.is_ready() && p.status.container_statuses[0].restart_count.0 == 1)
                })
                .await;
        },
        |_| {},
    );
}

#[test]
fn a_node_that_is_cut_off_runs_on_and_gives_up_what_was_replaced() {
    let lost = node_name(2);
    check(
        Setup::default(),
        async |world| {
            world.create(Web::default().deployment()).await;
            world.until("web serves", |s| s.rolled_out("web", "v1", 3)).await;
            world.cut(&lost, true);
            let replaced = |s: &State| s.available("web") == 3 && on(s, &lost).is_empty();
            world.within(Duration::from_secs(500), "its pod is replaced", replaced).await;
            assert_eq!(world.running_on(&lost).await, 1, "nobody could stop what runs there");
            world.cut(&lost, false);
            world.until("it is taken back", |s| ready(s, &lost) && s.pods("web").len() == 3).await;
            assert_eq!(world.running_on(&lost).await, 0);
        },
        |_| {},
    );
}

#[test]
fn a_short_silence_moves_nothing() {
    let lost = node_name(1);
    check(
        Setup::default(),
        async |world| {
            world.create(Web::default().deployment()).await;
            let before = world.until("web serves", |s| s.rolled_out("web", "v1", 3)).await;
            world.silence(&lost);
            world.pass(Duration::from_secs(120)).await;
            assert!(!ready(&world.state().await, &lost), "the silence was noticed");
            world.start_agent(&lost);
            let after = world.until("all is as it was", |s| ready(s, &lost) && s.rolled_out("web", "v1", 3)).await;
            let who = |s: &State| -> Vec<String> {
                s.pods("web")
                    .iter()
                    .map(|p| format!("{} {}", p.metadata.uid, p.status.container_statuses[0].restart_count.0))
                    .collect()
            };
            assert_eq!(who(&before), who(&after), "the same pods, and none was restarted");
        },
        |_| {},
    );
}

#[test]
fn a_node_that_is_gone_leaves_no_pods_behind() {
    let lost = node_name(0);
    check(
        Setup::default(),
        async |world| {
            world.create(Web::default().deployment()).await;
            world.create(Web::default().pod("alone")).await;
            world.until("all serve", |s| s.available("web") == 4).await;
            world.silence(&lost);
            world.delete(Kind::Node, &lost, Propagation::Background).await;
            let state = world
                .within(Duration::from_secs(120), "its pods are collected and replaced", |s| {
                    s.pods("web").iter().all(|p| p.spec.node_name != lost) && s.available("web") >= 3
                })
                .await;
            assert!(state.get::<Node>(&lost).is_none(), "{state}");
        },
        |_| {},
    );
}

#[test]
fn a_deleted_node_whose_agent_lives_is_there_again() {
    let node = node_name(0);
    check(
        Setup { nodes: 1, ..Setup::default() },
        async |world| {
            world.create(Web::default().deployment()).await;
            let before = world.until("web serves", |s| s.rolled_out("web", "v1", 3)).await;
            let uid = before.get::<Node>(&node).expect("there").metadata.uid.clone();
            world.delete(Kind::Node, &node, Propagation::Background).await;
            let again = |s: &State| s.get::<Node>(&node).is_some_and(|n| n.is_ready() && n.metadata.uid != uid);
            world.until("it has registered again", again).await;
            world.pass(Duration::from_secs(300)).await;
            world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = 5.into()).await;
            let after = world.until("web is larger", |s| s.rolled_out("web", "v1", 5)).await;
            let kept = |p: &&&Pod| before.pods("web").iter().any(|b| b.metadata.uid == p.metadata.uid);
            assert_eq!(after.pods("web").iter().filter(kept).count(), 3, "what ran runs on\n{after}");
        },
        |_| {},
    );
}

#[test]
fn a_node_that_shrank_keeps_what_it_has_and_takes_nothing_more() {
    let node = node_name(0);
    let size = |cpu: i64| Resources { cpu_milli: cpu, memory_bytes: 1 << 30, pods: 110, ..Resources::default() };
    check(
        Setup { nodes: 1, size: size(4000), ..Setup::default() },
        async |world| {
            let web = Web { replicas: 4, cpu: "1", ..Web::default() };
            world.create(web.deployment()).await;
            let before = world.until("web serves", |s| s.rolled_out("web", "v1", 4)).await;
            world.resize(&node, size(2000));
            world
                .until("the node is smaller", |s| {
                    s.get::<Node>(&node)
                        .is_some_and(|n| n.status.allocatable.get("cpu").is_some_and(|c| c.milli() == 2000))
                })
                .await;
            world.create(Web { cpu: "500m", ..Web::default() }.pod("more")).await;
            let told = |s: &State| {
                let scheduled = s.get::<Pod>("more").and_then(|p| condition(&p.status.conditions, "PodScheduled"));
                scheduled.is_some_and(|c| c.status == "False" && c.message.contains("cpu"))
            };
            let state = world.until("the new pod is told why it waits", told).await;
            let uids = |s: &State| -> Vec<String> {
                s.pods("web").iter().filter(|p| p.metadata.name != "more").map(|p| p.metadata.uid.to_string()).collect()
            };
            assert_eq!(uids(&before), uids(&state), "what ran runs on\n{state}");
            // Three have to go before there is room for a half again.
            world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = 2.into()).await;
            world.until("two are left", |s| s.pods("web").len() == 3).await;
            assert!(told(&world.state().await), "full is full");
            world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = 1.into()).await;
            world.until("the new pod runs", |s| s.get::<Pod>("more").is_some_and(Pod::is_ready)).await;
        },
        |_| {},
    );
}

#[test]
fn agents_that_start_again_and_again_lose_no_container() {
    check(
        Setup::default(),
        async |world| {
            world.create(Web::default().deployment()).await;
            for round in 0..20 {
                // Once a third of a second, so that starts, port checks and status writes are all cut off somewhere.
                world.pass(Duration::from_millis(330)).await;
                let node = node_name(round % 3);
                world.silence(&node);
                world.start_agent(&node);
            }
            let state = world.until("web serves", |s| s.rolled_out("web", "v1", 3)).await;
            for pod in state.pods("web") {
                assert_eq!(pod.status.container_statuses[0].restart_count.0, 0, "taken over, not restarted\n{state}");
            }
            let mut running = 0;
            for index in 0..3 {
                running += world.running_on(&node_name(index)).await;
            }
            assert_eq!(running, 3, "nothing runs that no pod tells of");
        },
        |history| {
            history.keeps_bounds("web", |_| true, 0, 3);
        },
    );
}

#[test]
fn what_fits_nowhere_waits_for_a_node() {
    check(
        Setup { nodes: 1, ..Setup::default() },
        async |world| {
            world.create(Web { cpu: "20", ..Web::default() }.pod("large")).await;
            world
                .until("it is told why it waits", |s| {
                    let scheduled = s.get::<Pod>("large").and_then(|p| condition(&p.status.conditions, "PodScheduled"));
                    scheduled.is_some_and(|c| c.message.to_lowercase().contains("insufficient cpu"))
                })
                .await;
            let size = Resources { cpu_milli: 32_000, memory_bytes: 1 << 30, pods: 10, ..Resources::default() };
            world.cluster.add_node("large-node", size);
            let state = world.until("it runs", |s| s.get::<Pod>("large").is_some_and(Pod::is_ready)).await;
            assert_eq!(state.get::<Pod>("large").map(|p| p.spec.node_name.as_str()), Some("large-node"));
        },
        |_| {},
    );
}
