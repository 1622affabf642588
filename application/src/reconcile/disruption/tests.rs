use super::*;
use crate::reconcile::testing::TestCluster;
use serde_json::{Value, json};

fn budget(spec: Value) -> PodDisruptionBudget {
    let mut whole = json!({"metadata": {"name": "b", "namespace": "d"}, "spec": spec});
    if whole["spec"]["selector"].is_null() {
        whole["spec"]["selector"] = json!({"matchLabels": {"app": "a"}});
    }
    serde_json::from_value(whole).expect("a budget")
}

/// A ReplicaSet of so many pods, of which so many are there and ready.
fn cluster(replicas: i32, ready: usize) -> TestCluster {
    let mut cluster = TestCluster::default();
    let mut set = ReplicaSet::default();
    set.metadata.name = "s".into();
    set.spec.replicas = Some(replicas);
    let set = cluster.create(set);
    for n in 0..ready {
        let mut pod = Pod::default();
        pod.metadata.name = format!("p{n}").into();
        pod.metadata.labels.insert("app", "a".into());
        pod.metadata.owner_references = vec![crate::reconcile::claims::controller_reference(&*set)];
        cluster.create(pod);
    }
    cluster.agents();
    cluster.agents();
    cluster
}

fn counted(cluster: &mut TestCluster, spec: Value) -> (i32, i32, i32, i32) {
    cluster.create(budget(spec));
    cluster.look(&mut Disruptions, &Key::new(Kind::PodDisruptionBudget, "d", "b"));
    let status = &cluster.get::<PodDisruptionBudget>("b").status;
    let numbers = [status.expected_pods, status.desired_healthy, status.current_healthy, status.disruptions_allowed];
    let [expected, desired, current, allowed] = numbers.map(|n| n.0);
    (expected, desired, current, allowed)
}

#[test]
fn bounds_are_numbers_or_parts_of_what_is_wanted() {
    for (replicas, ready, spec, wanted) in [
        (4, 4, json!({"minAvailable": 3}), (4, 3, 4, 1)),
        (4, 2, json!({"minAvailable": 3}), (2, 3, 2, 0)),
        (4, 4, json!({"minAvailable": "60%"}), (4, 3, 4, 1)),
        (4, 3, json!({"minAvailable": "50%"}), (4, 2, 3, 1)),
        (4, 4, json!({"maxUnavailable": 1}), (4, 3, 4, 1)),
        (4, 3, json!({"maxUnavailable": "25%"}), (4, 3, 3, 0)),
        (4, 4, json!({"maxUnavailable": "100%"}), (4, 0, 4, 4)),
        (4, 4, json!({"maxUnavailable": 9}), (4, 0, 4, 4)),
        (2, 2, json!({}), (2, 1, 2, 1)),
        (2, 0, json!({"minAvailable": 0}), (0, 0, 0, 0)),
        (2, 2, json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "other"}}}), (0, 1, 0, 0)),
        (2, 2, json!({"minAvailable": 1, "selector": {}}), (2, 1, 2, 1)),
    ] {
        let told = format!("{replicas} {ready} {spec}");
        assert_eq!(counted(&mut cluster(replicas, ready), spec), wanted, "{told}");
    }
}

#[test]
fn pods_that_nobody_scales_are_told_of() {
    let mut cluster = cluster(1, 1);
    let mut alone = Pod::default();
    alone.metadata.name = "alone".into();
    alone.metadata.labels.insert("app", "a".into());
    cluster.create(alone);
    assert_eq!(counted(&mut cluster, json!({"maxUnavailable": 1})).3, 0);
    let status = &cluster.get::<PodDisruptionBudget>("b").status;
    let condition = &status.conditions[0];
    assert_eq!((condition.reason.as_str(), condition.is_true()), ("SyncFailed", false));
    assert_eq!(condition.message, "found no controller ref for pod \"d/alone\"");
}

#[test]
fn evictions_on_their_way_count_until_they_are_done_or_overdue() {
    let mut cluster = cluster(3, 3);
    let key = Key::new(Kind::PodDisruptionBudget, "d", "b");
    assert_eq!(counted(&mut cluster, json!({"minAvailable": 2})), (3, 2, 3, 1));
    let now = cluster.now().time;
    cluster.edit_status::<PodDisruptionBudget>("b", |b| {
        b.status.disrupted_pods.insert("p0", now);
        b.status.disrupted_pods.insert("gone", now);
    });
    cluster.look(&mut Disruptions, &key);
    let status = cluster.get::<PodDisruptionBudget>("b").status.clone();
    assert_eq!((status.current_healthy.0, status.disruptions_allowed.0), (2, 0));
    assert_eq!(status.disrupted_pods.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["p0"]);
    cluster.advance(EVICTION.as_secs());
    cluster.look(&mut Disruptions, &key);
    assert_eq!(cluster.get::<PodDisruptionBudget>("b").status.disruptions_allowed.0, 1, "it was never carried out");
}
