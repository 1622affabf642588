//! Scenarios restated from Kubernetes' tests of the garbage collector and the pod collector.

use super::cluster::{Cluster, running_pod};
use super::*;
use std::sync::Arc;
use steersman_domain::{ConfigMap, Deployment, Node, OwnerReference, PodPhase, ReplicaSet, Stored, Time};

fn object<T: Resource>(namespace: &str, name: &str, owners: &[OwnerReference]) -> T {
    let mut object = T::default();
    let meta = object.meta_mut();
    (meta.namespace, meta.name) = (namespace.into(), name.into());
    meta.owner_references = owners.to_vec();
    object
}

/// The reference to an owner as `Cluster::put` names uids.
fn owner_of<T: Resource>(name: &str, blocks: bool) -> OwnerReference {
    OwnerReference {
        uid: format!("uid-{}-{name}", T::KIND.info().singular).as_str().into(),
        block_owner_deletion: Some(blocks),
        ..object::<T>("ns", name, &[]).controller_reference()
    }
}

fn map(name: &str, owners: &[OwnerReference]) -> ConfigMap {
    object("ns", name, owners)
}

/// A cluster with the namespace `ns`.
fn fresh() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.put(object::<Namespace>("", "ns", &[]));
    cluster
}

/// A deployment `d` that owns a replica set `r` that owns two pods without a node.
fn family() -> Cluster {
    let mut cluster = fresh();
    cluster.put(object::<Deployment>("ns", "d", &[]));
    cluster.put(object::<ReplicaSet>("ns", "r", &[owner_of::<Deployment>("d", true)]));
    for name in ["p1", "p2"] {
        cluster.put(object::<Pod>("ns", name, &[owner_of::<ReplicaSet>("r", true)]));
    }
    assert_eq!(cluster.settle(&mut Garbage::default()), 0);
    cluster
}

fn delete_deployment(cluster: &mut Cluster, policy: Propagation) {
    let key = Key::new(Kind::Deployment, "ns", "d");
    let options = DeleteOptions { propagation: Some(policy), ..DeleteOptions::default() };
    cluster.write(Write::Delete(key, options)).expect("it is there");
}

fn counts(cluster: &Cluster) -> [usize; 3] {
    [Kind::Deployment, Kind::ReplicaSet, Kind::Pod].map(|k| cluster.names(k, "ns").len())
}

#[test]
fn in_the_background_dependents_follow_their_owner() {
    let mut cluster = family();
    delete_deployment(&mut cluster, Propagation::Background);
    assert_eq!(counts(&cluster), [0, 1, 2]);
    assert_eq!(cluster.react(&mut Garbage::default()), 3);
    assert_eq!(counts(&cluster), [0, 0, 0]);
}

#[test]
fn dependents_are_looked_at_only_when_an_owner_goes() {
    let mut cluster = family();
    let added = |cluster: &mut Cluster, name: &str, owner: &str| {
        cluster.put(object::<Pod>("ns", name, &[owner_of::<ReplicaSet>(owner, true)]));
        let key = Key::new(Kind::Pod, "ns", name);
        let pod = cluster.world.object(&key).cloned().expect("it was put");
        let after = Arc::new(Stored::new(key, pod.meta().resource_version, pod));
        Garbage::default().triggers(&Change::Put { before: None, after }, &cluster.world)
    };
    assert_eq!(added(&mut cluster, "p3", "r"), []);
    assert_eq!(added(&mut cluster, "p4", "nobody"), [Key::new(Kind::Pod, "ns", "p4")]);
    assert_eq!(cluster.react(&mut Garbage::default()), 1);
    cluster.remove(&Key::new(Kind::ReplicaSet, "ns", "r"));
    assert_eq!(cluster.react(&mut Garbage::default()), 3);
    assert_eq!(counts(&cluster), [1, 0, 0]);
}

#[test]
fn in_the_foreground_dependents_go_first() {
    let mut cluster = family();
    cluster.edit::<Pod>("ns", "p2", |p| p.metadata.finalizers = vec!["example.com/wait".into()]);
    delete_deployment(&mut cluster, Propagation::Foreground);
    let mut garbage = Garbage::default();
    cluster.react(&mut garbage);
    assert_eq!(counts(&cluster), [1, 1, 1], "all wait for the pod that is held");
    assert!(cluster.get::<ReplicaSet>("ns", "r").metadata.has_finalizer(FOREGROUND));
    cluster.remove(&Key::new(Kind::Pod, "ns", "p2"));
    cluster.react(&mut garbage);
    assert_eq!(counts(&cluster), [0, 0, 0]);
}

#[test]
fn dependents_that_do_not_block_are_not_waited_for() {
    let mut cluster = fresh();
    cluster.put(object::<Deployment>("ns", "d", &[]));
    let mut held = map("m", &[owner_of::<Deployment>("d", false)]);
    held.metadata.finalizers = vec!["example.com/wait".into()];
    cluster.put(held);
    delete_deployment(&mut cluster, Propagation::Foreground);
    cluster.react(&mut Garbage::default());
    assert!(cluster.find::<Deployment>("ns", "d").is_none());
    assert!(cluster.get::<ConfigMap>("ns", "m").metadata.is_deleting());
}

#[test]
fn orphans_stay_without_their_owner() {
    let mut cluster = family();
    delete_deployment(&mut cluster, Propagation::Orphan);
    cluster.react(&mut Garbage::default());
    assert_eq!(counts(&cluster), [0, 1, 2]);
    assert!(cluster.get::<ReplicaSet>("ns", "r").metadata.owner_references.is_empty());
    assert_eq!(cluster.get::<Pod>("ns", "p1").metadata.owner_references.len(), 1);
}

#[test]
fn a_finalizer_of_orphans_goes_only_when_none_is_left_to_free() {
    let mut cluster = family();
    delete_deployment(&mut cluster, Propagation::Orphan);
    let outcome = Garbage::default().reconcile(&cluster.world, &Key::new(Kind::Deployment, "ns", "d"), cluster.now);
    let kinds: Vec<_> = outcome.writes.iter().map(|w| matches!(w, Write::Update(Object::ReplicaSet(_), _))).collect();
    assert_eq!(kinds, [true], "the owner waits until it is seen that its dependents are free");
}

#[test]
fn one_owner_that_stays_is_enough() {
    let mut cluster = fresh();
    cluster.put(map("stays", &[]));
    cluster.put(map("m", &[owner_of::<ConfigMap>("gone", true), owner_of::<ConfigMap>("stays", true)]));
    cluster.settle(&mut Garbage::default());
    let left = cluster.get::<ConfigMap>("ns", "m").metadata.owner_references.clone();
    assert_eq!(left, [owner_of::<ConfigMap>("stays", true)]);
}

#[test]
fn an_owner_of_the_same_name_is_not_the_owner() {
    let mut cluster = fresh();
    let mut other = map("o", &[]);
    other.metadata.uid = "another".into();
    cluster.put(other);
    cluster.put(map("m", &[owner_of::<ConfigMap>("o", true)]));
    cluster.settle(&mut Garbage::default());
    assert_eq!(cluster.names(Kind::ConfigMap, "ns"), ["o"]);
}

#[test]
fn an_owner_that_cannot_be_judged_is_not_absent() {
    let mut cluster = fresh();
    let unknown = OwnerReference { api_version: "example.com/v1".into(), ..owner_of::<ConfigMap>("x", true) };
    cluster.put(map("m", &[unknown, owner_of::<ConfigMap>("gone", true)]));
    // A cluster-scoped object cannot name an owner in a namespace.
    cluster.put(object::<Node>("", "n", &[owner_of::<ConfigMap>("gone", true)]));
    cluster.settle(&mut Garbage::default());
    assert_eq!(cluster.get::<ConfigMap>("ns", "m").metadata.owner_references.len(), 1);
    assert!(cluster.find::<Node>("", "n").is_some());
}

#[test]
fn owners_are_cluster_scoped_or_in_the_same_namespace() {
    let mut cluster = fresh();
    cluster.put(object::<Namespace>("", "other", &[]));
    cluster.put(object::<Node>("", "n", &[]));
    cluster.put(object::<ConfigMap>("other", "o", &[]));
    cluster.put(map("of-node", &[owner_of::<Node>("n", true)]));
    cluster.put(map("of-other", &[owner_of::<ConfigMap>("o", true)]));
    let key = Key::new(Kind::ConfigMap, "ns", "of-other");
    let outcome = Garbage::default().reconcile(&cluster.world, &key, cluster.now);
    assert_eq!(outcome.notes.iter().map(|n| n.reason).collect::<Vec<_>>(), ["OwnerRefInvalidNamespace"]);
    cluster.settle(&mut Garbage::default());
    assert_eq!(cluster.names(Kind::ConfigMap, "ns"), ["of-node"]);
    cluster.remove(&Key::cluster(Kind::Node, "n"));
    cluster.react(&mut Garbage::default());
    assert!(cluster.names(Kind::ConfigMap, "ns").is_empty());
}

#[test]
fn a_circle_of_owners_ends() {
    for policy in [Propagation::Foreground, Propagation::Background] {
        let mut cluster = fresh();
        cluster.put(object::<Deployment>("ns", "d", &[owner_of::<ConfigMap>("m", true)]));
        cluster.put(map("m", &[owner_of::<Deployment>("d", true)]));
        delete_deployment(&mut cluster, policy);
        cluster.react(&mut Garbage::default());
        assert_eq!((counts(&cluster)[0], cluster.names(Kind::ConfigMap, "ns").len()), (0, 0), "{policy:?}");
    }
}

#[test]
fn crashes_and_stale_input_do_no_harm() {
    for policy in [Propagation::Background, Propagation::Foreground, Propagation::Orphan] {
        let (mut calm, mut crashing) = (family(), family());
        for cluster in [&mut calm, &mut crashing] {
            delete_deployment(cluster, policy);
        }
        calm.settle(&mut Garbage::default());
        crashing.settle_through_crashes(Garbage::default);
        assert_eq!(counts(&calm)[0], 0, "{policy:?}");
        assert_eq!(counts(&calm), counts(&crashing), "{policy:?}");
    }
    let mut cluster = family();
    delete_deployment(&mut cluster, Propagation::Background);
    let outcome = Garbage::default().reconcile(&cluster.world, &Key::new(Kind::ReplicaSet, "ns", "r"), cluster.now);
    // Meanwhile somebody adopts it: what was decided does not hold any more.
    cluster.edit::<ReplicaSet>("ns", "r", |r| r.metadata.owner_references.clear());
    assert!(cluster.write(outcome.writes[0].clone()).is_err());
    cluster.edit::<ReplicaSet>("ns", "r", |r| r.metadata.owner_references = vec![owner_of::<Deployment>("d", true)]);
    let outcome = Garbage::default().reconcile(&cluster.world, &Key::new(Kind::ReplicaSet, "ns", "r"), cluster.now);
    cluster.perform_twice(&outcome);
}

#[test]
fn pods_of_a_vanished_node_are_removed_after_a_while() {
    let mut cluster = fresh();
    cluster.put(object::<Node>("", "n1", &[]));
    cluster.put(running_pod("ns", "a", "n1", "10.0.0.1"));
    let mut ending = running_pod("ns", "b", "n1", "10.0.0.2");
    (ending.metadata.deletion_timestamp, ending.metadata.deletion_grace_period_seconds) =
        (Some(Time::from_secs(1)), Some(30));
    cluster.put(ending);
    let mut garbage = Garbage::default();
    let node = Key::cluster(Kind::Node, "n1");
    cluster.settle(&mut garbage);
    cluster.remove(&node);
    assert_eq!(cluster.react(&mut garbage), 0);
    cluster.advance(30);
    let outcome = garbage.reconcile(&cluster.world, &node, cluster.now);
    assert_eq!((outcome.is_settled(), outcome.requeue_after), (true, Some(Duration::from_secs(10))));
    // It comes back, and goes again: a whole new grace.
    cluster.put(object::<Node>("", "n1", &[]));
    cluster.react(&mut garbage);
    cluster.remove(&node);
    cluster.react(&mut garbage);
    cluster.advance(39);
    assert!(garbage.reconcile(&cluster.world, &node, cluster.now).is_settled());
    cluster.advance(1);
    assert_eq!(cluster.settle(&mut garbage), 2);
    assert!(cluster.names(Kind::Pod, "ns").is_empty());
    // One who starts now knows nothing of that time and waits for the whole of it.
    cluster.put(running_pod("ns", "c", "n1", "10.0.0.1"));
    let outcome = Garbage::default().reconcile(&cluster.world, &node, cluster.now);
    assert_eq!((outcome.is_settled(), outcome.requeue_after), (true, Some(Duration::from_secs(40))));
}

#[test]
fn the_oldest_of_too_many_ended_pods_go() {
    let config = GarbageConfig { ended_pods: 2, ..GarbageConfig::default() };
    let mut cluster = fresh();
    for (name, created, phase) in [
        ("a", 40, PodPhase::Succeeded),
        ("b", 10, PodPhase::Failed),
        ("c", 30, PodPhase::Failed),
        ("d", 20, PodPhase::Succeeded),
        ("e", 1, PodPhase::Running),
    ] {
        let mut pod = running_pod("ns", name, "n1", "");
        (pod.metadata.creation_timestamp, pod.status.phase) = (Some(Time::from_secs(created)), phase);
        cluster.put(pod);
    }
    cluster.put(object::<Node>("", "n1", &[]));
    let mut garbage = Garbage::new(config);
    assert_eq!(cluster.settle(&mut garbage), 2);
    assert_eq!(cluster.names(Kind::Pod, "ns"), ["a", "c", "e"]);
    // The next that ends is counted, but not at once: every count looks at all pods.
    cluster.edit::<Pod>("ns", "e", |p| p.status.phase = PodPhase::Failed);
    assert_eq!(cluster.react(&mut garbage), 0);
    let outcome = garbage.reconcile(&cluster.world, &pods::ended_key(), cluster.now);
    assert_eq!(outcome.requeue_after, Some(Duration::from_secs(20)));
    cluster.advance(20);
    assert_eq!(cluster.settle(&mut garbage), 1);
    assert_eq!(cluster.names(Kind::Pod, "ns"), ["a", "c"]);
}

#[test]
fn the_order_of_input_does_not_matter() {
    let put = |reverse: bool| {
        let mut cluster = fresh();
        let mut names: Vec<String> = (0..20).map(|i| format!("m{i}")).collect();
        if reverse {
            names.reverse();
        }
        for name in names {
            cluster.put(map(&name, &[owner_of::<ConfigMap>("o", true)]));
        }
        let mut owner = map("o", &[]);
        owner.metadata.deletion_timestamp = Some(Time::from_secs(1));
        owner.metadata.finalizers = vec![ORPHAN.into()];
        cluster.put(owner);
        let outcome = Garbage::default().reconcile(&cluster.world, &Key::new(Kind::ConfigMap, "ns", "o"), cluster.now);
        outcome.writes.iter().map(|w| matches!(w, Write::Update(..)).then(|| name_of(w))).collect::<Vec<_>>()
    };
    fn name_of(write: &Write) -> Str {
        match write {
            Write::Update(object, _) => object.meta().name.clone(),
            Write::Create(_) | Write::Delete(..) | Write::Bind { .. } => Str::default(),
        }
    }
    assert_eq!(put(false), put(true));
}
