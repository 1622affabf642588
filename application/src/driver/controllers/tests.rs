use super::*;
use crate::client::Write;
use crate::reconcile::deployment::Deployments;
use crate::reconcile::replica_set::ReplicaSets;
use crate::reconcile::testing::TestCluster;
use crate::reconcile::{Note, Outcome, Reconciler};
use std::sync::{Mutex, MutexGuard};
use steersman_domain::ports::{Change, ListPage, StoreError};
use steersman_domain::testing::ManualClock;
use steersman_domain::{
    ConfigMap, Deployment, Event, Key, Kind, Object, Pod, ReplicaSet, Resource, Revision, Stored, Str,
};
use tokio::sync::Notify;

fn deployment(replicas: i32) -> Deployment {
    let labels = || [("app", Str::from("web"))].into_iter().collect();
    let mut deployment = Deployment::default();
    deployment.metadata.name = "web".into();
    deployment.spec.replicas = Some(replicas);
    deployment.spec.selector.match_labels = labels();
    std::sync::Arc::make_mut(&mut deployment.spec.template).metadata.labels = labels();
    deployment
}

fn host(reconcilers: Vec<Box<dyn Reconciler>>) -> ControllerHost {
    ControllerHost::new(reconcilers, Whys::default())
}

fn page(cluster: &TestCluster) -> ListPage {
    let objects = Kind::ALL.iter().flat_map(|&kind| cluster.world.objects_in(kind, "d"));
    let stored = |o: &Object| {
        let meta = o.meta();
        Stored::new(Key::new(o.kind(), &meta.namespace, &meta.name), meta.resource_version, o.clone())
    };
    ListPage { items: objects.map(|o| Arc::new(stored(o))).collect(), revision: cluster.world.revision(), remaining: 0 }
}

/// Sends a pass and answers the events, which are written too.
fn send(host: &mut ControllerHost, cluster: &mut TestCluster) -> (usize, Vec<Write>) {
    let pass = host.pass(cluster.now());
    let (count, answers) = (pass.writes.len(), pass.writes.iter().map(|w| cluster.write(w)).collect::<Vec<_>>());
    let events = host.settle(pass, &answers, cluster.now());
    let answers: Vec<_> = events.iter().map(|w| cluster.write(w)).collect();
    host.recorded(&events, &answers);
    (count, events)
}

#[test]
fn a_key_waits_until_the_world_has_seen_its_writes() {
    let mut cluster = TestCluster::default();
    cluster.create(deployment(3));
    let mut host = host(vec![Box::<Deployments>::default(), Box::<ReplicaSets>::default()]);
    host.reset(&page(&cluster));
    let seen = cluster.log.len();
    let (count, events) = send(&mut host, &mut cluster);
    assert_eq!((count, events.len()), (2, 1), "a set and a status, and an event");
    assert!(host.pass(cluster.now()).is_empty(), "the watch has not brought them yet");
    host.take_in(&cluster.log[seen..]);
    let seen = cluster.log.len();
    let (count, events) = send(&mut host, &mut cluster);
    assert_eq!(cluster.all::<Pod>().len(), 3);
    assert!(count >= 3 && events.len() == 3, "{count} {events:?}");
    host.take_in(&cluster.log[seen..]);
    while host.wait(cluster.now().monotonic) == Some(Duration::ZERO) {
        let seen = cluster.log.len();
        send(&mut host, &mut cluster);
        host.take_in(&cluster.log[seen..]);
    }
    assert_eq!((cluster.all::<ReplicaSet>().len(), cluster.all::<Pod>().len()), (1, 3));
    assert!(host.wait(cluster.now().monotonic) > Some(Duration::from_secs(500)), "only the deadline is left");
}

#[test]
fn refusals_become_one_counted_event_and_back_off() {
    let mut cluster = TestCluster::default();
    cluster.create(deployment(1));
    let mut host = host(vec![Box::<Deployments>::default(), Box::<ReplicaSets>::default()]);
    cluster.forbidden = Some(Kind::Pod);
    host.reset(&page(&cluster));
    let mut seen = cluster.log.len();
    for _ in 0..40 {
        send(&mut host, &mut cluster);
        host.take_in(&cluster.log[seen..]);
        seen = cluster.log.len();
        let wait = host.wait(cluster.now().monotonic).unwrap_or_default();
        cluster.advance(wait.as_secs() + 1);
    }
    let events = cluster.all::<Event>();
    let failed: Vec<_> = events.iter().filter(|e| e.reason == "FailedCreate").collect();
    assert_eq!(failed.len(), 1, "{events:?}");
    assert!(failed[0].count > 5 && failed[0].kind == "Warning", "{failed:?}");
    assert!(failed[0].message.starts_with("Error creating: pods \"web-"), "{}", failed[0].message);
    assert_eq!(failed[0].involved_object.kind, "ReplicaSet");
    let scaled: Vec<_> = events.iter().filter(|e| e.reason == "ScalingReplicaSet").collect();
    assert_eq!(scaled.len(), 1);
    assert_eq!(scaled[0].source.component, "deployment-controller");
}

/// Writes a note and asks for a timer for every ConfigMap that it sees.
#[derive(Debug, Default)]
struct Notes;

impl Reconciler for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }
    fn triggers(&self, change: &Change, _: &crate::driver::world::World) -> Vec<Key> {
        Some(change.key().clone()).filter(|k| k.kind == Kind::ConfigMap).into_iter().collect()
    }
    fn all(&self, world: &crate::driver::world::World) -> Vec<Key> {
        world.all::<ConfigMap>().map(|c| c.key()).collect()
    }
    fn reconcile(&mut self, world: &crate::driver::world::World, key: &Key, _: Moment) -> Outcome {
        let Some(map) = world.get::<ConfigMap>(&key.namespace, &key.name) else { return Outcome::default() };
        let uid = map.metadata.uid.clone();
        let note = Note { about: key.clone(), uid, is_warning: false, reason: "Seen", message: "seen".into() };
        let why = vec!["it is there".to_owned()];
        Outcome { notes: vec![note], requeue_after: Some(Duration::from_secs(60)), why, ..Outcome::default() }
    }
}

#[test]
fn passes_are_bounded_and_reasons_are_kept() {
    let mut cluster = TestCluster::default();
    for n in 0..1200 {
        let mut map = ConfigMap::default();
        map.metadata.name = format!("c{n:04}").into();
        cluster.create(map);
    }
    let whys = Whys::default();
    let mut host = ControllerHost::new(vec![Box::new(Notes)], whys.clone());
    host.reset(&page(&cluster));
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let pass = host.pass(cluster.now());
        sizes.push(pass.len());
        let events = host.settle(pass, &[], cluster.now());
        assert_eq!(events.len(), *sizes.last().expect("one"));
    }
    assert_eq!(sizes, [500, 500, 200, 0]);
    assert_eq!(host.wait(cluster.now().monotonic), Some(Duration::from_secs(60)));
    let why = whys.get(&Key::new(Kind::ConfigMap, "d", "c0007"));
    assert_eq!((why[0].controller, why[0].reasons.as_slice()), ("notes", &["it is there".to_owned()][..]));
    cluster.advance(60);
    assert_eq!(host.pass(cluster.now()).len(), 500, "the timers rang");
}

/// The cluster behind the port, with one failure of each kind to come.
struct Shared {
    cluster: Mutex<TestCluster>,
    changed: Notify,
    /// What goes wrong, one after the other: the list, the watch.
    failures: Mutex<Vec<&'static str>>,
}

impl Shared {
    fn cluster(&self) -> MutexGuard<'_, TestCluster> {
        self.cluster.lock().expect("no holder panics")
    }

    fn fails(&self, what: &'static str) -> bool {
        let mut failures = self.failures.lock().expect("no holder panics");
        let at = failures.iter().position(|f| *f == what);
        at.map(|at| failures.remove(at)).is_some()
    }
}

struct Fake(Arc<Shared>);

struct FakeWatch(Arc<Shared>, usize);

#[async_trait::async_trait]
impl WatchStream for FakeWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            let changed = self.0.changed.notified();
            let new: Vec<Change> = self.0.cluster().log[self.1..].to_vec();
            if !new.is_empty() {
                if self.0.fails("watch") {
                    return Err(StoreError::Compacted { wanted: Revision(1), oldest: Revision(2) });
                }
                self.1 += new.len();
                return Ok(new);
            }
            changed.await;
        }
    }

    fn progress(&self) -> Revision {
        Revision(self.1 as u64)
    }
}

#[async_trait::async_trait]
impl Client for Fake {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        Err(ApiError::NotFound(key.clone()))
    }

    async fn list(&self, _: &Selection) -> Result<ListPage, ApiError> {
        if self.0.fails("list") {
            return Err(ApiError::Unavailable("not yet".into()));
        }
        Ok(page(&self.0.cluster()))
    }

    async fn watch(&self, _: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        // Every change of the test cluster takes one revision, so the revision is the place in the log.
        Ok(Box::new(FakeWatch(self.0.clone(), usize::try_from(after.0).expect("small"))))
    }

    async fn write(&self, writes: Vec<Write>, _: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        let answers = writes.iter().map(|w| self.0.cluster().write(w)).collect();
        self.0.changed.notify_waiters();
        answers
    }
}

#[tokio::test]
async fn the_loop_survives_failures_and_comes_to_rest() {
    let mut cluster = TestCluster::default();
    cluster.create(deployment(3));
    let shared = Arc::new(Shared {
        cluster: Mutex::new(cluster),
        changed: Notify::new(),
        failures: Mutex::new(vec!["list", "watch"]),
    });
    let clock = Arc::new(ManualClock::default());
    let host = host(vec![Box::<Deployments>::default(), Box::<ReplicaSets>::default()]);
    let controllers = run(host, Arc::new(Fake(shared.clone())), clock.clone());
    let agents = async {
        for _ in 0..10_000 {
            shared.cluster().agents();
            shared.changed.notify_waiters();
            clock.advance(Duration::from_millis(10));
            let done = shared.cluster().get::<Deployment>("web").status.available_replicas == 3;
            if done && shared.failures.lock().expect("no holder panics").is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never available: {:#?}", shared.cluster().digest());
    };
    tokio::select! {
        biased;
        () = controllers => unreachable!("it runs until it is dropped"),
        () = agents => {}
    }
    assert_eq!(shared.cluster().all::<Pod>().len(), 3);
}
