use super::*;
use crate::reconcile::claims::controller_reference;
use crate::reconcile::testing::TestCluster;
use proptest::prelude::*;
use steersman_domain::meta::{condition, set_condition};
use steersman_domain::{Condition, Map, PodPhase, PodTemplateSpec, Time};

fn labels(value: &str) -> Map<Str> {
    [("app", Str::from(value))].into_iter().collect()
}

fn set(replicas: i32) -> ReplicaSet {
    let mut set = ReplicaSet::default();
    set.metadata.name = "web".into();
    set.spec.replicas = Some(replicas);
    set.spec.selector.match_labels = labels("web");
    let mut template = PodTemplateSpec::default();
    template.metadata.labels = labels("web");
    set.spec.template = Arc::new(template);
    set
}

fn controller() -> Vec<Box<dyn Reconciler>> {
    vec![Box::<ReplicaSets>::default()]
}

fn key() -> Key {
    Key::new(Kind::ReplicaSet, "d", "web")
}

#[test]
fn creates_what_is_missing_and_tells_of_it() {
    let mut cluster = TestCluster::default();
    cluster.create(set(3));
    let mut sets = ReplicaSets::default();
    let first = sets.reconcile(&cluster.world, &key(), cluster.now());
    assert_eq!(first.writes.len(), 4, "three pods and a status: {:?}", first.why);
    assert_eq!(sets.reconcile(&cluster.world, &key(), cluster.now()), first, "the same names on the same snapshot");
    cluster.settle(&mut controller());
    let status = cluster.get::<ReplicaSet>("web").status.clone();
    assert_eq!((status.replicas.0, status.ready_replicas, status.available_replicas), (3, 3, 3));
    assert_eq!((status.fully_labeled_replicas, status.observed_generation), (3, 1));
    let pod = &cluster.all::<Pod>()[0];
    assert_eq!(pod.metadata.controller().map(|c| (c.kind.as_str(), c.name.as_str())), Some(("ReplicaSet", "web")));
    assert!(cluster.notes.contains(&format!("SuccessfulCreate Created pod: {}", pod.metadata.name)));
}

#[test]
fn does_nothing_once_its_owner_is_gone() {
    for (api_version, kind, writes) in [("apps/v1", "Deployment", 0), ("example.org/v1", "Widget", 4)] {
        let mut cluster = TestCluster::default();
        let mut owned = set(3);
        owned.metadata.owner_references = vec![OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            name: "gone".into(),
            uid: "gone".into(),
            controller: Some(true),
            ..OwnerReference::default()
        }];
        cluster.create(owned);
        let outcome = ReplicaSets::default().reconcile(&cluster.world, &key(), cluster.now());
        assert_eq!(outcome.writes.len(), writes, "{kind}: {:?}", outcome.why);
    }
}

#[test]
fn adopts_and_releases() {
    let mut cluster = TestCluster::default();
    cluster.create(set(2));
    let mut stray = Pod::default();
    (stray.metadata.name, stray.metadata.labels) = ("stray".into(), labels("web"));
    cluster.create(stray);
    cluster.settle(&mut controller());
    assert_eq!(cluster.all::<Pod>().len(), 2, "the stray one counts");
    assert!(cluster.get::<Pod>("stray").metadata.controller().is_some());
    cluster.edit::<Pod>("stray", |pod| pod.metadata.labels = labels("debug"));
    cluster.settle(&mut controller());
    assert!(cluster.get::<Pod>("stray").metadata.controller().is_none());
    assert_eq!(cluster.all::<Pod>().len(), 3, "the released one was replaced");
}

#[test]
fn ended_and_ending_pods_are_replaced_under_new_names() {
    let mut cluster = TestCluster::default();
    cluster.create(set(2));
    let mut reconcilers = controller();
    cluster.settle(&mut reconcilers);
    let before: Vec<_> = cluster.all::<Pod>().iter().map(|p| p.metadata.name.clone()).collect();
    cluster.fail_pod(&before[0]);
    cluster.write(&Write::Delete(cluster.get::<Pod>(&before[1]).key(), DeleteOptions::default())).expect("deleted");
    cluster.settle(&mut reconcilers);
    let active: Vec<_> = cluster.all::<Pod>().into_iter().filter(|p| p.is_active()).collect();
    assert_eq!(active.len(), 2);
    assert!(active.iter().all(|pod| !before.contains(&pod.metadata.name)), "{before:?}");
    assert!(!cluster.get::<Pod>(&before[0]).is_active(), "a failed pod is left to be read");
}

#[test]
fn deletes_in_the_order_of_kubernetes() {
    let mut cluster = TestCluster::default();
    let owner = cluster.create(set(0));
    let at = Time::from_secs;
    let mut pod = |name: &str, node: &str, ready: Option<i64>, change: &dyn Fn(&mut Pod)| {
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.labels) = (name.into(), labels("web"));
        pod.metadata.owner_references = vec![controller_reference(&*owner)];
        pod.spec.node_name = node.into();
        pod.status.phase = PodPhase::Running;
        if let Some(since) = ready {
            set_condition(&mut pod.status.conditions, Condition::new("Ready", true, "", "", at(since)));
        }
        change(&mut pod);
        cluster.create(pod);
    };
    pod("h-old", "n3", Some(10), &|_| {});
    pod("g-restarted", "n4", Some(10), &|p| {
        p.status.container_statuses = vec![Default::default()];
        p.status.container_statuses[0].restart_count.0 = 4;
    });
    pod("f-newly-ready", "n5", Some(90), &|_| {});
    pod("e1-crowded", "n1", Some(5), &|_| {});
    pod("e2-crowded", "n1", Some(1), &|_| {});
    pod("d-cheap", "n6", Some(1), &|p| {
        p.metadata.annotations.insert("controller.kubernetes.io/pod-deletion-cost", "-5".into());
    });
    pod("c-not-ready", "n7", None, &|_| {});
    pod("b-pending", "n8", None, &|p| p.status.phase = PodPhase::Pending);
    pod("a-unbound", "", None, &|p| p.status.phase = PodPhase::Pending);
    let outcome = ReplicaSets::default().reconcile(&cluster.world, &key(), cluster.now());
    let order: Vec<_> = outcome
        .writes
        .iter()
        .filter_map(|w| match w {
            Write::Delete(key, _) => Some(key.name.as_str()),
            _ => None,
        })
        .collect();
    let expected = [
        "a-unbound",
        "b-pending",
        "c-not-ready",
        "d-cheap",
        "e1-crowded",
        "e2-crowded",
        "f-newly-ready",
        "g-restarted",
        "h-old",
    ];
    assert_eq!(order, expected);
}

#[test]
fn availability_takes_its_time() {
    let mut cluster = TestCluster::default();
    let mut wanted = set(1);
    wanted.spec.min_ready_seconds = 10;
    cluster.create(wanted);
    cluster.settle(&mut controller());
    let status = cluster.get::<ReplicaSet>("web").status.clone();
    assert_eq!((status.ready_replicas, status.available_replicas), (1, 0));
    cluster.advance(4);
    let outcome = ReplicaSets::default().reconcile(&cluster.world, &key(), cluster.now());
    assert_eq!(outcome.requeue_after, Some(std::time::Duration::from_secs(6)));
    cluster.advance(6);
    cluster.settle(&mut controller());
    assert_eq!(cluster.get::<ReplicaSet>("web").status.available_replicas, 1);
}

#[test]
fn a_refusal_is_told_and_overcome() {
    let mut cluster = TestCluster::default();
    cluster.forbidden = Some(Kind::Pod);
    cluster.create(set(5));
    let mut reconcilers = controller();
    for expected in [6, 2, 1] {
        assert_eq!(cluster.round(&mut reconcilers), expected, "all, then one to try and the status, then one to try");
    }
    let failing = cluster.get::<ReplicaSet>("web");
    let failure = condition(&failing.status.conditions, "ReplicaFailure").expect("told");
    assert_eq!((failure.reason.as_str(), failure.is_true()), ("FailedCreate", true));
    assert!(failure.message.contains("exceeded quota"), "{}", failure.message);
    cluster.forbidden = None;
    cluster.settle(&mut reconcilers);
    assert_eq!(cluster.all::<Pod>().len(), 5);
    assert!(condition(&cluster.get::<ReplicaSet>("web").status.conditions, "ReplicaFailure").is_none());
}

#[test]
fn a_burst_is_bounded() {
    let mut cluster = TestCluster::default();
    cluster.create(set(5000));
    let outcome = ReplicaSets::default().reconcile(&cluster.world, &key(), cluster.now());
    assert_eq!(outcome.writes.len(), BURST + 1);
}

#[test]
fn stale_input_doubles_nothing() {
    let mut cluster = TestCluster::default();
    cluster.create(set(4));
    let stale = cluster.world.clone();
    let mut first = ReplicaSets::default();
    cluster.look(&mut first, &key());
    for sets in [&mut first, &mut ReplicaSets::default()] {
        let outcome = sets.reconcile(&stale, &key(), cluster.now());
        let answers: Vec<_> = outcome.writes.iter().map(|w| cluster.write(w)).collect();
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
    }
    assert_eq!(cluster.all::<Pod>().len(), 4);
}

#[test]
fn triggers_find_owners_and_adopters() {
    let mut cluster = TestCluster::default();
    cluster.create(set(1));
    cluster.settle(&mut controller());
    let sets = ReplicaSets::default();
    for change in &cluster.log {
        assert!(sets.triggers(change, &cluster.world).contains(&key()), "{change:?}");
    }
    let mut stray = Pod::default();
    stray.metadata.name = "stray".into();
    cluster.create(stray.clone());
    assert!(sets.triggers(cluster.log.last().expect("a change"), &cluster.world).is_empty());
    (stray.metadata.name, stray.metadata.labels) = ("match".into(), labels("web"));
    cluster.create(stray);
    assert_eq!(sets.triggers(cluster.log.last().expect("a change"), &cluster.world), [key()]);
}

proptest! {
    /// A crash after any write leads to the same end, in any order of sizes.
    #[test]
    fn converges_from_a_crash_after_any_write(sizes in prop::collection::vec(0_i32..6, 1..4), allowance in 0_usize..25) {
        let run = |allowance| {
            let mut cluster = TestCluster::default();
            cluster.create(set(1));
            for size in &sizes {
                cluster.edit::<ReplicaSet>("web", |set| set.spec.replicas = Some(*size));
                cluster.allowance = allowance;
                cluster.settle(&mut controller());
                cluster.allowance = usize::MAX;
            }
            cluster.settle(&mut controller());
            assert_eq!(cluster.round(&mut controller()), 0, "a fixpoint");
            cluster.digest()
        };
        prop_assert_eq!(run(allowance), run(usize::MAX));
    }
}
