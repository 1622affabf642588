use super::*;
use crate::reconcile::replica_set::ReplicaSets;
use crate::reconcile::testing::{BROKEN, TestCluster};
use proptest::prelude::*;
use steersman_domain::meta::condition;
use steersman_domain::{Container, IntOrString, Map, PodTemplateSpec, RollingUpdateDeployment, Str};

fn template(image: &str) -> Arc<PodTemplateSpec> {
    let mut template = PodTemplateSpec::default();
    template.metadata.labels = [("app", Str::from("web"))].into_iter().collect();
    template.spec.containers = vec![Arc::new(Container { image: image.into(), ..Container::default() })];
    Arc::new(template)
}

fn deployment(replicas: i32) -> Deployment {
    let mut deployment = Deployment::default();
    deployment.metadata.name = "web".into();
    deployment.spec.replicas = Some(replicas);
    deployment.spec.selector.match_labels = [("app", Str::from("web"))].into_iter().collect::<Map<Str>>();
    deployment.spec.template = template("v1");
    deployment
}

fn bounded(replicas: i32, surge: i32, unavailable: i32) -> Deployment {
    let mut deployment = deployment(replicas);
    deployment.spec.strategy.rolling_update = Some(RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(surge)),
        max_unavailable: Some(IntOrString::Int(unavailable)),
        ..RollingUpdateDeployment::default()
    });
    deployment
}

fn controllers() -> Vec<Box<dyn Reconciler>> {
    vec![Box::<Deployments>::default(), Box::<ReplicaSets>::default()]
}

fn key() -> Key {
    Key::new(Kind::Deployment, "d", "web")
}

/// A cluster in which the Deployment is rolled out.
fn running(deployment: Deployment) -> TestCluster {
    let mut cluster = TestCluster::default();
    cluster.create(deployment);
    cluster.settle(&mut controllers());
    cluster
}

fn set_image(cluster: &mut TestCluster, image: &str) {
    cluster.edit::<Deployment>("web", |d| d.spec.template = template(image));
}

/// Replicas by image, in image order, without empty sets.
fn sizes(cluster: &TestCluster) -> Vec<(String, i32)> {
    let image = |set: &ReplicaSet| set.spec.template.spec.containers[0].image.to_string();
    let sets = cluster.all::<ReplicaSet>();
    let mut list: Vec<_> = sets.iter().filter(|s| s.replicas() > 0).map(|s| (image(s), s.replicas())).collect();
    list.sort();
    list
}

fn progressing(cluster: &TestCluster) -> (String, String) {
    let deployment = cluster.get::<Deployment>("web");
    let condition = condition(&deployment.status.conditions, "Progressing").expect("told");
    (condition.status.to_string(), condition.reason.to_string())
}

fn of_image(cluster: &TestCluster, image: &str) -> Arc<ReplicaSet> {
    let sets = cluster.all::<ReplicaSet>();
    sets.into_iter().find(|s| s.spec.template.spec.containers[0].image == image).expect("a set")
}

fn annotation(meta: &steersman_domain::ObjectMeta, key: &str) -> String {
    meta.annotations.get(key).map(ToString::to_string).unwrap_or_default()
}

#[test]
fn rolls_out_the_first_template() {
    let mut cluster = TestCluster::default();
    let mut wanted = deployment(3);
    for (key, value) in
        [("kubernetes.io/change-cause", "first"), ("kubectl.kubernetes.io/last-applied-configuration", "{}")]
    {
        wanted.metadata.annotations.insert(key, value.into());
    }
    cluster.create(wanted);
    cluster.round(&mut controllers());
    assert_eq!(progressing(&cluster), ("True".into(), "NewReplicaSetCreated".into()));
    cluster.settle(&mut controllers());
    let deployment = cluster.get::<Deployment>("web");
    let status = &deployment.status;
    assert_eq!(
        (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas),
        (3, 3, 3, 3)
    );
    assert_eq!((status.unavailable_replicas, status.observed_generation), (0, deployment.metadata.generation));
    assert_eq!(annotation(&deployment.metadata, revision::REVISION), "1");
    assert_eq!(progressing(&cluster), ("True".into(), "NewReplicaSetAvailable".into()));
    let available = condition(&status.conditions, "Available").expect("told");
    assert_eq!((available.is_true(), available.reason.as_str()), (true, "MinimumReplicasAvailable"));
    let set = &cluster.all::<ReplicaSet>()[0];
    let hash = set.metadata.labels.get(revision::HASH).expect("labelled").clone();
    assert_eq!(set.metadata.name, format!("web-{hash}"));
    assert_eq!(set.spec.selector.match_labels.get(revision::HASH), Some(&hash));
    assert_eq!(set.spec.template.metadata.labels.get(revision::HASH), Some(&hash));
    let copied: Vec<_> = set.metadata.annotations.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let expected = [
        "deployment.kubernetes.io/desired-replicas=3",
        "deployment.kubernetes.io/max-replicas=4",
        "deployment.kubernetes.io/revision=1",
        "kubernetes.io/change-cause=first",
    ];
    assert_eq!(copied, expected);
    let note = format!("ScalingReplicaSet Scaled up replica set web-{hash} from 0 to 3");
    assert!(cluster.notes.contains(&note), "{:?}", cluster.notes);
}

/// The sizes after each step of a rolling update, when every step is seen through.
#[test]
fn rolls_step_by_step_within_its_bounds() {
    for (replicas, surge, unavailable, steps) in [
        (4, 1, 0, &["4+1", "3+1", "3+2", "2+2", "2+3", "1+3", "1+4", "0+4"][..]),
        (4, 0, 1, &["3+0", "3+1", "2+1", "2+2", "1+2", "1+3", "0+3", "0+4"][..]),
        (3, 3, 0, &["3+3", "0+3"][..]),
        (1, 0, 0, &["0+0", "0+1"][..]),
        (4, 2, 2, &["2+2", "2+4", "0+4"][..]),
    ] {
        let mut cluster = running(bounded(replicas, surge, unavailable));
        let mut reconcilers = controllers();
        set_image(&mut cluster, "v2");
        let mut seen = vec![format!("{replicas}+0")];
        for _ in 0..100 {
            cluster.look(&mut *reconcilers[0], &key());
            let size = |image: &str| sizes(&cluster).iter().find(|(i, _)| i == image).map_or(0, |(_, n)| *n);
            let step = format!("{}+{}", size("v1"), size("v2"));
            if seen.last() != Some(&step) {
                seen.push(step);
            }
            // All pods move and are seen before the next step.
            for _ in 0..4 {
                cluster.agents();
                for set in reconcilers[1].all(&cluster.world) {
                    cluster.look(&mut *reconcilers[1], &set);
                }
            }
        }
        assert_eq!(seen[1..], *steps, "{replicas} replicas, surge {surge}, unavailable {unavailable}");
        assert_eq!(progressing(&cluster).1, "NewReplicaSetAvailable");
    }
}

#[test]
fn undo_makes_an_old_set_the_newest() {
    let mut cluster = running(deployment(2));
    for image in ["v2", "v1", "v2"] {
        set_image(&mut cluster, image);
        cluster.settle(&mut controllers());
    }
    let of = |image| of_image(&cluster, image).metadata.clone();
    assert_eq!(cluster.all::<ReplicaSet>().len(), 2);
    assert_eq!(
        (annotation(&of("v1"), revision::REVISION), annotation(&of("v2"), revision::REVISION)),
        ("3".into(), "4".into())
    );
    assert_eq!(
        (annotation(&of("v1"), revision::HISTORY), annotation(&of("v2"), revision::HISTORY)),
        ("1".into(), "2".into())
    );
    assert_eq!(annotation(&cluster.get::<Deployment>("web").metadata, revision::REVISION), "4");
    assert_eq!(sizes(&cluster), [("v2".to_owned(), 2)]);
}

#[test]
fn a_broken_template_stops_at_the_bounds_and_can_be_undone() {
    let mut cluster = running(bounded(4, 1, 1));
    set_image(&mut cluster, BROKEN);
    cluster.settle(&mut controllers());
    assert_eq!(sizes(&cluster), [(BROKEN.to_owned(), 2), ("v1".to_owned(), 3)]);
    let available = cluster.get::<Deployment>("web").status.available_replicas;
    assert_eq!((available, progressing(&cluster).1.as_str()), (3, "ReplicaSetUpdated"));
    let outcome = Deployments::default().reconcile(&cluster.world, &key(), cluster.now());
    assert_eq!(outcome.requeue_after, Some(std::time::Duration::from_secs(601)));
    cluster.advance(601);
    cluster.settle(&mut controllers());
    assert_eq!(progressing(&cluster), ("False".into(), "ProgressDeadlineExceeded".into()));
    // A third template takes the place of the unhealthy pods first.
    set_image(&mut cluster, "v3");
    cluster.settle(&mut controllers());
    assert_eq!(sizes(&cluster), [("v3".to_owned(), 4)]);
    assert_eq!(progressing(&cluster), ("True".into(), "NewReplicaSetAvailable".into()));
}

#[test]
fn recreates_only_after_the_old_pods_are_gone() {
    let mut wanted = deployment(2);
    wanted.spec.strategy.kind = "Recreate".into();
    let mut cluster = running(wanted);
    set_image(&mut cluster, "v2");
    let mut reconcilers = controllers();
    for _ in 0..4 {
        cluster.round(&mut reconcilers);
    }
    assert!(cluster.all::<Pod>().iter().all(|p| p.metadata.is_deleting()), "they are still ending");
    assert_eq!((cluster.all::<Pod>().len(), cluster.all::<ReplicaSet>().len()), (2, 1));
    let pod = cluster.all::<Pod>()[0].metadata.name.clone();
    cluster.agent(&pod);
    let change = cluster.log.last().expect("a change").clone();
    assert_eq!(Deployments::default().triggers(&change, &cluster.world), [key()], "an ended pod wakes it");
    cluster.settle(&mut reconcilers);
    assert_eq!(sizes(&cluster), [("v2".to_owned(), 2)]);
    assert_eq!(progressing(&cluster).1, "NewReplicaSetAvailable");
}

#[test]
fn paused_it_scales_in_proportion_but_does_not_roll() {
    let mut cluster = running(bounded(10, 3, 2));
    set_image(&mut cluster, BROKEN);
    cluster.settle(&mut controllers());
    assert_eq!(sizes(&cluster), [(BROKEN.to_owned(), 5), ("v1".to_owned(), 8)]);
    cluster.edit::<Deployment>("web", |d| d.spec.paused = true);
    cluster.settle(&mut controllers());
    assert_eq!(progressing(&cluster), ("Unknown".into(), "DeploymentPaused".into()));
    cluster.edit::<Deployment>("web", |d| d.spec.replicas = Some(15));
    cluster.settle(&mut controllers());
    assert_eq!(sizes(&cluster), [(BROKEN.to_owned(), 7), ("v1".to_owned(), 11)], "the example of the documentation");
    set_image(&mut cluster, "v3");
    cluster.settle(&mut controllers());
    assert_eq!(cluster.all::<ReplicaSet>().len(), 2, "a new template waits");
    cluster.edit::<Deployment>("web", |d| d.spec.paused = false);
    cluster.round(&mut controllers());
    assert_eq!(progressing(&cluster).1, "NewReplicaSetCreated");
    cluster.settle(&mut controllers());
    assert_eq!(sizes(&cluster), [("v3".to_owned(), 15)]);
}

#[test]
fn scales_and_keeps_the_history_within_its_limit() {
    let mut wanted = deployment(2);
    wanted.spec.revision_history_limit = Some(1);
    let mut cluster = running(wanted);
    for image in ["v2", "v3", "v4"] {
        set_image(&mut cluster, image);
        cluster.settle(&mut controllers());
    }
    let left: Vec<_> = cluster.all::<ReplicaSet>().iter().map(|s| revision::of(&s.metadata)).collect();
    assert_eq!(left.iter().sum::<i64>(), 3 + 4, "{left:?}");
    for replicas in [5, 0, 1] {
        cluster.edit::<Deployment>("web", |d| d.spec.replicas = Some(replicas));
        cluster.settle(&mut controllers());
        assert_eq!((of_image(&cluster, "v4").replicas(), cluster.all::<Pod>().len()), (replicas, replicas as usize));
        let metadata = of_image(&cluster, "v4").metadata.clone();
        assert_eq!(annotation(&metadata, revision::DESIRED), replicas.to_string());
    }
}

#[test]
fn adopts_releases_and_avoids_collisions() {
    let mut cluster = TestCluster::default();
    let mut adopted = ReplicaSet::default();
    adopted.metadata.name = "older".into();
    adopted.metadata.labels = deployment(1).spec.selector.match_labels.clone();
    adopted.spec.selector.match_labels = adopted.metadata.labels.clone();
    (adopted.spec.template, adopted.spec.replicas) = (template("v1"), Some(1));
    cluster.create(adopted);
    let mut taken = ReplicaSet::default();
    taken.metadata.name = format!("web-{}", revision::hash(&template("v2"), None)).into();
    taken.spec.replicas = Some(0);
    cluster.create(taken);
    cluster.create(deployment(1));
    cluster.settle(&mut controllers());
    assert_eq!(sizes_named(&cluster), [("older".to_owned(), 1)], "its template is the wanted one");
    set_image(&mut cluster, "v2");
    cluster.settle(&mut controllers());
    let name = format!("web-{}", revision::hash(&template("v2"), Some(1)));
    assert_eq!(sizes_named(&cluster), [(name, 1)]);
    assert_eq!(cluster.get::<Deployment>("web").status.collision_count, Some(1));
    cluster.edit::<ReplicaSet>("older", |s| s.metadata.labels = Map::new());
    cluster.settle(&mut controllers());
    assert!(cluster.get::<ReplicaSet>("older").metadata.controller().is_none(), "released");
}

fn sizes_named(cluster: &TestCluster) -> Vec<(String, i32)> {
    let sets = cluster.all::<ReplicaSet>();
    sets.iter().filter(|s| s.replicas() > 0).map(|s| (s.metadata.name.to_string(), s.replicas())).collect()
}

#[test]
fn failures_of_sets_are_told() {
    let mut cluster = TestCluster::default();
    cluster.forbidden = Some(Kind::Pod);
    cluster.create(deployment(2));
    let mut reconcilers = controllers();
    for _ in 0..5 {
        cluster.round(&mut reconcilers);
    }
    let failure = |c: &TestCluster| condition(&c.get::<Deployment>("web").status.conditions, "ReplicaFailure").cloned();
    assert_eq!(failure(&cluster).map(|f| f.reason.to_string()), Some("FailedCreate".into()));
    cluster.forbidden = None;
    cluster.settle(&mut reconcilers);
    assert_eq!(failure(&cluster), None);
    cluster.forbidden = Some(Kind::ReplicaSet);
    set_image(&mut cluster, "v2");
    for _ in 0..3 {
        cluster.round(&mut reconcilers);
    }
    assert_eq!(progressing(&cluster), ("False".into(), "ReplicaSetCreateError".into()));
    cluster.forbidden = None;
    cluster.settle(&mut reconcilers);
    assert_eq!(progressing(&cluster), ("True".into(), "NewReplicaSetAvailable".into()));
}

#[test]
fn stale_input_starts_no_second_set() {
    let mut cluster = TestCluster::default();
    cluster.create(deployment(2));
    let stale = cluster.world.clone();
    cluster.look(&mut Deployments::default(), &key());
    let outcome = Deployments::default().reconcile(&stale, &key(), cluster.now());
    assert!(outcome.writes.iter().all(|w| cluster.write(w).is_err()));
    assert_eq!(cluster.all::<ReplicaSet>().len(), 1);
}

#[test]
fn decides_the_same_whatever_the_order_of_input() {
    let mut cluster = running(bounded(4, 1, 1));
    let mut reconcilers = controllers();
    for image in ["v2", BROKEN, "v3"] {
        set_image(&mut cluster, image);
        for _ in 0..3 {
            let (world, reversed, now) = (cluster.world.clone(), cluster.reversed(), cluster.now());
            let one = Deployments::default().reconcile(&world, &key(), now);
            assert_eq!(one, Deployments::default().reconcile(&reversed, &key(), now));
            for set in ReplicaSets::default().all(&world) {
                let one = ReplicaSets::default().reconcile(&world, &set, now);
                assert_eq!(one, ReplicaSets::default().reconcile(&reversed, &set, now));
            }
            cluster.round(&mut reconcilers);
            cluster.agents();
        }
    }
}

/// Decisions on every earlier snapshot of a rollout, sent late, change nothing in the end and make no second set of a
/// template.
#[test]
fn late_decisions_do_no_harm() {
    let mut cluster = running(bounded(4, 1, 1));
    let mut reconcilers = controllers();
    set_image(&mut cluster, "v2");
    let mut late = Vec::new();
    for _ in 0..12 {
        let outcome = Deployments::default().reconcile(&cluster.world, &key(), cluster.now());
        late.extend(outcome.writes);
        cluster.round(&mut reconcilers);
        cluster.agents();
    }
    let before = cluster.world.revision();
    assert!(late.len() > 5, "{late:?}");
    assert!(late.iter().all(|write| cluster.write(write).is_err()), "each names the revision it was decided on");
    assert_eq!(cluster.world.revision(), before);
}

/// One thing that happens in the random runs.
#[derive(Clone, Debug)]
enum Step {
    Deployment,
    Set(usize),
    Pod(usize),
    Image(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Deployment),
        6 => (0_usize..8).prop_map(Step::Set),
        8 => (0_usize..20).prop_map(Step::Pod),
        1 => (1_u8..4).prop_map(Step::Image),
    ]
}

fn act(cluster: &mut TestCluster, reconcilers: &mut [Box<dyn Reconciler>], step: &Step) {
    match step {
        Step::Deployment => drop(cluster.look(&mut *reconcilers[0], &key())),
        Step::Set(at) => {
            let sets = reconcilers[1].all(&cluster.world);
            cluster.look(&mut *reconcilers[1], &sets[at % sets.len()].clone());
        }
        Step::Pod(at) => {
            let pods = cluster.all::<Pod>();
            if !pods.is_empty() {
                cluster.agent(&pods[at % pods.len()].metadata.name.clone());
            }
        }
        Step::Image(n) => set_image(cluster, &format!("v{n}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the order in which controllers and agents come to act, and however often the template changes: the wanted
    /// pods never exceed the surge, and the available ones never fall below the minimum.
    #[test]
    fn bounds_hold_at_every_step(
        replicas in 1_i32..7, surge in 0_i32..4, unavailable in 0_i32..4, steps in prop::collection::vec(step(), 0..250)
    ) {
        let wanted = bounded(replicas, surge, unavailable);
        let (most, least) = (bounds::max_total(&wanted), replicas - bounds::max_unavailable(&wanted));
        let mut cluster = running(wanted);
        let mut reconcilers = controllers();
        for step in &steps {
            act(&mut cluster, &mut reconcilers, step);
            let total: i32 = cluster.all::<ReplicaSet>().iter().map(|s| s.replicas()).sum();
            prop_assert!(total <= most, "{total} pods wanted, at most {most} allowed, after {step:?}");
            let pods = cluster.all::<Pod>();
            let available = pods.iter().filter(|p| p.is_active() && p.is_ready()).count() as i32;
            prop_assert!(available >= least, "{available} available, at least {least} promised, after {step:?}");
        }
        cluster.settle(&mut reconcilers);
        prop_assert_eq!(sizes(&cluster).len(), 1);
        prop_assert_eq!(progressing(&cluster).1, "NewReplicaSetAvailable");
        prop_assert_eq!(cluster.round(&mut controllers()), 0, "a fixpoint");
    }

    /// A crash after any write leads to the same end.
    #[test]
    fn converges_from_a_crash_after_any_write(
        images in prop::collection::vec(1_u8..4, 1..4), allowance in 0_usize..40, replicas in 0_i32..5
    ) {
        let run = |allowance| {
            let mut cluster = running(deployment(2));
            for image in &images {
                set_image(&mut cluster, &format!("v{image}"));
                cluster.edit::<Deployment>("web", |d| d.spec.replicas = Some(replicas));
                cluster.allowance = allowance;
                cluster.settle(&mut controllers());
                cluster.allowance = usize::MAX;
            }
            cluster.settle(&mut controllers());
            assert_eq!(cluster.round(&mut controllers()), 0, "a fixpoint");
            (cluster.get::<Deployment>("web").status.available_replicas, sizes(&cluster))
        };
        prop_assert_eq!(run(allowance), run(usize::MAX));
    }
}
