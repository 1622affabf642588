//! Scenarios restated from Kubernetes' tests of node life and taint eviction.

use super::*;
use crate::reconcile::garbage::cluster::{Cluster, START, running_pod};
use std::time::Duration;
use steersman_domain::{Shared, Taint, Toleration};

fn node(name: &str) -> Node {
    let mut node = Node::default();
    node.metadata.name = name.into();
    node.status.conditions = ["MemoryPressure", "Ready"]
        .map(|kind| {
            let mut condition = Condition::new(kind, kind == "Ready", "", "", START);
            condition.last_heartbeat_time = Some(START);
            condition
        })
        .to_vec();
    node
}

fn renew(cluster: &mut Cluster, name: &str) {
    let mut lease = Lease::default();
    (lease.metadata.name, lease.metadata.namespace) = (name.into(), LEASE_NAMESPACE.into());
    lease.spec.renew_time = Some(MicroTime(cluster.now.time));
    cluster.put(lease);
}

fn tolerating(name: &str, key: &str, secs: Option<i64>) -> Pod {
    let mut pod = running_pod("ns", name, "n1", "10.0.0.1");
    pod.spec.tolerations = vec![Shared::new(Toleration {
        key: key.into(),
        operator: "Exists".into(),
        effect: "NoExecute".into(),
        toleration_seconds: secs,
        ..Toleration::default()
    })];
    pod
}

fn cluster() -> (Cluster, NodeLifecycle) {
    let mut cluster = Cluster::new();
    cluster.put(node("n1"));
    renew(&mut cluster, "n1");
    let mut life = NodeLifecycle::default();
    assert_eq!(cluster.settle(&mut life), 0);
    (cluster, life)
}

fn key() -> Key {
    Key::cluster(Kind::Node, "n1")
}

fn taints(cluster: &Cluster) -> Vec<String> {
    let node = cluster.get::<Node>("", "n1");
    let mut list: Vec<String> = node.spec.taints.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect();
    list.sort();
    list
}

fn set_ready(cluster: &mut Cluster, status: &str) {
    let status = Str::from(status);
    cluster.edit::<Node>("", "n1", |n| {
        n.status.conditions.iter_mut().for_each(|c| {
            c.status = if c.kind == "Ready" { status.clone() } else { "False".into() };
        })
    });
}

#[test]
fn a_silent_node_becomes_unknown_at_the_end_of_its_grace() {
    let (mut cluster, mut life) = cluster();
    cluster.advance(15);
    renew(&mut cluster, "n1");
    cluster.react(&mut life);
    cluster.advance(39);
    let outcome = life.reconcile(&cluster.world, &key(), cluster.now);
    assert_eq!((outcome.is_settled(), outcome.requeue_after), (true, Some(Duration::from_secs(1))));
    cluster.advance(1);
    let outcome = life.reconcile(&cluster.world, &key(), cluster.now);
    assert_eq!(outcome.notes_of_writes.iter().map(|(_, n)| n.reason).collect::<Vec<_>>(), ["NodeNotReady"]);
    cluster.settle(&mut life);
    let node = cluster.get::<Node>("", "n1");
    for condition in &node.status.conditions {
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("Unknown", "NodeStatusUnknown"));
        assert_eq!(condition.message, "Kubelet stopped posting node status.");
        assert_eq!(condition.last_heartbeat_time, Some(START), "the last that was heard of it");
        assert_eq!(condition.last_transition_time, Some(cluster.now.time));
    }
    assert_eq!(
        taints(&cluster),
        ["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"]
    );
    assert!(node.spec.taints.iter().any(|t| t.effect == "NoExecute" && t.time_added == Some(cluster.now.time)));
}

#[test]
fn the_clock_of_the_node_does_not_matter() {
    let (mut cluster, mut life) = cluster();
    for _ in 0..10 {
        cluster.advance(30);
        cluster.edit::<Lease>(LEASE_NAMESPACE, "n1", |l| {
            let before = l.spec.renew_time.expect("renewed").0;
            l.spec.renew_time = Some(MicroTime(Time::from_micros(before.micros() - 1_000_000_000)));
        });
        assert_eq!(cluster.react(&mut life), 0, "it is heard of, whatever time it believes it is");
    }
}

#[test]
fn after_a_start_every_node_has_a_full_grace() {
    let (mut cluster, _) = cluster();
    cluster.advance(3_600);
    let mut fresh = NodeLifecycle::default();
    let outcome = fresh.reconcile(&cluster.world, &key(), cluster.now);
    assert_eq!((outcome.is_settled(), outcome.requeue_after), (true, Some(NODE_GRACE)));
}

#[test]
fn who_has_not_been_watching_blames_no_node() {
    let (mut cluster, mut life) = cluster();
    // The whole machine sleeps for an hour, the agent with it.
    cluster.advance(3_600);
    let outcome = life.reconcile(&cluster.world, &key(), cluster.now);
    assert_eq!((outcome.is_settled(), outcome.requeue_after), (true, Some(NODE_GRACE)));
    cluster.advance(40);
    assert!(!life.reconcile(&cluster.world, &key(), cluster.now).is_settled(), "now the silence is the node's");
}

#[test]
fn a_node_that_never_spoke_is_unknown_too() {
    let mut cluster = Cluster::new();
    let mut mute = node("n1");
    mute.status.conditions.clear();
    cluster.put(mute);
    let mut life = NodeLifecycle::new(Duration::from_secs(5));
    cluster.settle(&mut life);
    assert_eq!(taints(&cluster), Vec::<String>::new());
    cluster.advance(5);
    cluster.settle(&mut life);
    let conditions = &cluster.get::<Node>("", "n1").status.conditions;
    let said: Vec<_> = conditions.iter().map(|c| (c.kind.as_str(), c.status.as_str(), c.reason.as_str())).collect();
    assert_eq!(said, [("Ready", "Unknown", "NodeStatusNeverUpdated")]);
}

#[test]
fn a_node_that_is_made_anew_has_a_grace_of_its_own() {
    let (mut cluster, mut life) = cluster();
    cluster.advance(39);
    cluster.remove(&key());
    let mut again = node("n1");
    again.metadata.uid = "another".into();
    cluster.put(again);
    cluster.react(&mut life);
    cluster.advance(39);
    assert!(life.reconcile(&cluster.world, &key(), cluster.now).is_settled());
}

#[test]
fn taints_follow_the_state_and_leave_others_alone() {
    let (mut cluster, mut life) = cluster();
    let own = Taint { key: "gpu".into(), effect: "NoSchedule".into(), ..Taint::default() };
    cluster.edit::<Node>("", "n1", |n| {
        n.spec.taints.push(own);
        n.spec.unschedulable = true;
    });
    cluster.react(&mut life);
    assert_eq!(taints(&cluster), ["gpu:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule"]);
    cluster.edit::<Node>("", "n1", |n| n.spec.unschedulable = false);
    set_ready(&mut cluster, "False");
    cluster.react(&mut life);
    let not_ready = ["NoExecute", "NoSchedule"].map(|e| format!("node.kubernetes.io/not-ready:{e}"));
    assert_eq!(taints(&cluster), [&["gpu:NoSchedule".to_owned()], &not_ready[..]].concat());
    set_ready(&mut cluster, "True");
    cluster.edit::<Node>("", "n1", |n| n.status.conditions[0].status = "True".into());
    cluster.react(&mut life);
    assert_eq!(taints(&cluster), ["gpu:NoSchedule", "node.kubernetes.io/memory-pressure:NoSchedule"]);
}

#[test]
fn a_node_that_is_back_loses_its_taints() {
    let (mut cluster, mut life) = cluster();
    cluster.advance(40);
    cluster.settle(&mut life);
    assert_eq!(taints(&cluster).len(), 2);
    renew(&mut cluster, "n1");
    cluster.react(&mut life);
    assert_eq!(taints(&cluster).len(), 2, "its agent has yet to say how it is");
    set_ready(&mut cluster, "True");
    cluster.react(&mut life);
    assert_eq!(taints(&cluster), Vec::<String>::new());
}

#[test]
fn pods_of_a_silent_node_take_no_traffic() {
    let (mut cluster, mut life) = cluster();
    cluster.put(tolerating("a", "", None));
    cluster.settle(&mut life);
    cluster.advance(40);
    cluster.settle(&mut life);
    let pod = cluster.get::<Pod>("ns", "a");
    let ready = condition(&pod.status.conditions, "Ready").expect("said");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "NodeNotReady"));
    assert_eq!(ready.last_transition_time, Some(cluster.now.time));
    // A node that speaks answers for its pods itself, ready or not.
    let (mut other, mut life) = super::tests::cluster();
    other.put(tolerating("a", "", None));
    set_ready(&mut other, "False");
    other.settle(&mut life);
    assert!(other.get::<Pod>("ns", "a").is_ready());
}

#[test]
fn pods_leave_when_their_patience_ends() {
    let (mut cluster, mut life) = cluster();
    cluster.put(running_pod("ns", "none", "n1", "10.0.0.1"));
    cluster.put(tolerating("ever", "node.kubernetes.io/unreachable", None));
    cluster.put(tolerating("long", "node.kubernetes.io/unreachable", Some(300)));
    cluster.put(tolerating("negative", "node.kubernetes.io/unreachable", Some(-1)));
    cluster.put(tolerating("other", "example.com/else", Some(300)));
    cluster.settle(&mut life);
    cluster.advance(40);
    cluster.settle(&mut life);
    let leaving = |cluster: &Cluster| -> Vec<Str> {
        let pods = cluster.world.in_namespace::<Pod>("ns").filter(|p| p.metadata.is_deleting());
        pods.map(|p| p.metadata.name.clone()).collect()
    };
    assert_eq!(leaving(&cluster), ["negative", "none", "other"]);
    cluster.advance(299);
    let outcome = life.reconcile(&cluster.world, &key(), cluster.now);
    assert_eq!((outcome.is_settled(), outcome.requeue_after), (true, Some(Duration::from_secs(1))));
    cluster.advance(1);
    let outcome = life.reconcile(&cluster.world, &key(), cluster.now);
    let notes: Vec<_> = outcome.notes_of_writes.iter().map(|(_, n)| (n.reason, n.message.as_str())).collect();
    assert_eq!(notes, [("TaintManagerEviction", "Marking for deletion Pod ns/long")]);
    cluster.settle(&mut life);
    assert_eq!(leaving(&cluster), ["long", "negative", "none", "other"]);
    cluster.advance(100_000);
    assert_eq!(cluster.settle(&mut life), 0, "what is ending stays until the node is gone");
}

#[test]
fn patience_counts_from_the_taint_or_from_the_arrival() {
    let at = |secs| Some(Time::from_secs(secs));
    let taint = |key: &str, added| Taint {
        key: key.into(),
        effect: "NoExecute".into(),
        time_added: at(added),
        ..Taint::default()
    };
    let check = |secs: Option<i64>, created: i64, taints: &[Taint], expect: Option<Time>| {
        let mut pod = tolerating("p", "", secs);
        pod.metadata.creation_timestamp = at(created);
        assert_eq!(eviction::due(&pod, taints, Time::from_secs(5_000)), expect);
    };
    check(Some(300), 0, &[taint("a", 1_000)], at(1_300));
    check(Some(300), 2_000, &[taint("a", 1_000)], at(2_300));
    check(Some(300), 0, &[taint("a", 1_000), taint("b", 900)], at(1_200));
    check(Some(0), 0, &[taint("a", 1_000)], at(1_000));
    check(None, 0, &[taint("a", 1_000)], None);
    check(Some(300), 0, &[], None);
    let soft = Taint { effect: "NoSchedule".into(), ..taint("a", 1_000) };
    check(None, 0, &[soft], None);
}

#[test]
fn a_taint_set_by_hand_evicts_and_gets_its_time() {
    let (mut cluster, mut life) = cluster();
    cluster.put(tolerating("p", "example.com/broken", Some(60)));
    cluster.edit::<Node>("", "n1", |n| {
        let (key, effect) = ("example.com/broken".into(), "NoExecute".into());
        n.spec.taints.push(Taint { key, effect, ..Taint::default() });
    });
    cluster.react(&mut life);
    assert_eq!(cluster.get::<Node>("", "n1").spec.taints[0].time_added, Some(cluster.now.time));
    cluster.advance(30);
    renew(&mut cluster, "n1");
    cluster.react(&mut life);
    cluster.advance(30);
    renew(&mut cluster, "n1");
    assert_eq!(cluster.react(&mut life), 1);
    // Whoever comes to the tainted node without tolerating it is sent away at once.
    cluster.put(running_pod("ns", "late", "n1", "10.0.0.2"));
    assert_eq!(cluster.react(&mut life), 1);
}

#[test]
fn crashes_stale_input_and_order_do_no_harm() {
    let (mut crashing, mut life) = cluster();
    for at in 0..3 {
        crashing.put(running_pod("ns", &format!("p{at}"), "n1", "10.0.0.1"));
    }
    crashing.advance(40);
    let outcome = life.reconcile(&crashing.world, &key(), crashing.now);
    assert_eq!(outcome.writes.len(), 4, "the node and its pods");
    crashing.perform_twice(&outcome);
    // A successor that has only just started knows no silence, but goes on with what is written.
    let writes = crashing.settle_through_crashes(NodeLifecycle::default);
    assert_eq!((writes, taints(&crashing).len()), (4, 2));
    assert!(crashing.world.in_namespace::<Pod>("ns").all(|p| p.metadata.is_deleting()));

    let build = |names: [&str; 2]| {
        let mut cluster = Cluster::new();
        for name in names {
            cluster.put(tolerating(name, "", Some(10)));
        }
        let mut tainted = node("n1");
        set_condition(&mut tainted.status.conditions, Condition::new("Ready", false, "", "", START));
        cluster.put(tainted);
        let outcome = NodeLifecycle::default().reconcile(&cluster.world, &key(), cluster.now);
        (outcome.notes_of_writes, outcome.why, outcome.requeue_after)
    };
    assert_eq!(build(["a", "b"]), build(["b", "a"]));
}
