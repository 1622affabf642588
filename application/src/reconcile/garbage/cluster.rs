//! A cluster small enough to be read at a glance, for the tests of reconcilers: it keeps the rules of the API that they
//! rely on (preconditions, parts, grace, finalizers, terminating namespaces) and brings their writes back as changes.

use crate::client::{DeleteOptions, Part, Propagation, Write};
use crate::driver::world::World;
use crate::reconcile::{Moment, Outcome, Reconciler};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::Change;
use steersman_domain::{Key, Kind, Namespace, Object, Pod, Resource, Revision, Stored, Str, Time};

/// When the clocks of these tests start.
pub(in crate::reconcile) const START: Time = Time::from_secs(1_000_000);
/// More writes than any scenario needs: a reconciler that does not settle is found by it.
const MOST_WRITES: usize = 5_000;

pub(in crate::reconcile) struct Cluster {
    pub(in crate::reconcile) world: World,
    pub(in crate::reconcile) now: Moment,
    changes: Vec<Change>,
}

impl Cluster {
    pub(in crate::reconcile) fn new() -> Self {
        let now = Moment { time: START, monotonic: Duration::from_secs(5) };
        Cluster { world: World::default(), now, changes: Vec::new() }
    }

    pub(in crate::reconcile) fn advance(&mut self, secs: u64) {
        let by = Duration::from_secs(secs);
        self.now = Moment { time: self.now.time.after(by), monotonic: self.now.monotonic + by };
    }

    /// Puts an object as it is; its uid becomes `uid-KIND-NAME` when it has none.
    pub(in crate::reconcile) fn put<T: Resource>(&mut self, mut object: T) -> Arc<T> {
        let key = object.key();
        let meta = object.meta_mut();
        if meta.uid.0.is_empty() {
            meta.uid = format!("uid-{}-{}", key.kind.info().singular, key.name).as_str().into();
        }
        meta.creation_timestamp = meta.creation_timestamp.or(Some(self.now.time));
        self.store(key.clone(), T::into_object(Arc::new(object)));
        self.get::<T>(&key.namespace, &key.name)
    }

    pub(in crate::reconcile) fn get<T: Resource>(&self, namespace: &str, name: &str) -> Arc<T> {
        self.find::<T>(namespace, name).unwrap_or_else(|| panic!("no {} {namespace}/{name}", T::KIND))
    }

    pub(in crate::reconcile) fn find<T: Resource>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.world.get::<T>(namespace, name).cloned()
    }

    /// Changes an object in place, as somebody else would.
    pub(in crate::reconcile) fn edit<T: Resource>(&mut self, namespace: &str, name: &str, edit: impl FnOnce(&mut T)) {
        let mut object = (*self.get::<T>(namespace, name)).clone();
        edit(&mut object);
        self.store(object.key(), T::into_object(Arc::new(object)));
    }

    pub(in crate::reconcile) fn remove(&mut self, key: &Key) {
        let object = self.world.object(key).cloned().unwrap_or_else(|| panic!("no {key}"));
        let before = Arc::new(Stored::new(key.clone(), object.meta().resource_version, object.clone()));
        let last = Arc::new(Stored::new(key.clone(), self.next(), object));
        self.apply(Change::Delete { before, last });
    }

    fn next(&self) -> Revision {
        Revision(self.world.revision().0 + 1)
    }

    fn store(&mut self, key: Key, object: Object) {
        let before = self.world.object(&key).cloned();
        let before = before.map(|o| Arc::new(Stored::new(key.clone(), o.meta().resource_version, o)));
        let after = Arc::new(Stored::new(key, self.next(), object));
        self.apply(Change::Put { before, after });
    }

    fn apply(&mut self, change: Change) {
        self.world.apply(&change);
        self.changes.push(change);
    }

    /// Performs a write by the rules of the API.
    pub(in crate::reconcile) fn write(&mut self, write: Write) -> Result<(), String> {
        match write {
            Write::Create(object) => self.create(object),
            Write::Update(object, part) => self.update(object, part),
            Write::Delete(key, options) => self.delete(&key, &options),
            Write::Bind { pod, .. } => Err(format!("nobody here binds {pod}")),
        }
    }

    fn create(&mut self, mut object: Object) -> Result<(), String> {
        let key = key(&object);
        if self.world.object(&key).is_some() {
            return Err(format!("{key} exists"));
        }
        if self.world.get::<Namespace>("", &key.namespace).is_some_and(|n| n.is_terminating()) {
            return Err(format!("{} is terminating", key.namespace));
        }
        let uid = format!("uid-{}-{}-{}", key.kind.info().singular, key.name, self.next());
        object.meta_mut().uid = uid.as_str().into();
        object.meta_mut().creation_timestamp = Some(self.now.time);
        self.store(key, object);
        Ok(())
    }

    fn update(&mut self, new: Object, part: Part) -> Result<(), String> {
        let key = key(&new);
        let old = self.world.object(&key).cloned().ok_or_else(|| format!("no {key}"))?;
        let seen = new.meta().resource_version;
        if seen != old.meta().resource_version || new.meta().uid != old.meta().uid {
            return Err(format!("{key} has moved on"));
        }
        let whole = merge(&old, &new, part);
        if whole == old {
            return Ok(());
        }
        if is_free_to_go(&whole) {
            self.remove(&key);
        } else {
            self.store(key, whole);
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key, options: &DeleteOptions) -> Result<(), String> {
        let mut object = self.world.object(key).cloned().ok_or_else(|| format!("no {key}"))?;
        let meta = object.meta();
        let same = options.uid.as_ref().is_none_or(|u| *u == meta.uid);
        if !same || options.resource_version.is_some_and(|r| r != meta.resource_version) {
            return Err(format!("{key} has moved on"));
        }
        let before = object.clone();
        let grace = match &object {
            Object::Pod(pod) if !pod.spec.node_name.is_empty() && !pod.is_terminal() => {
                options.grace_period_seconds.unwrap_or_else(|| pod.grace_seconds())
            }
            _ => 0,
        };
        let now = self.now.time;
        let meta = object.meta_mut();
        meta.deletion_timestamp = meta.deletion_timestamp.or(Some(now));
        meta.deletion_grace_period_seconds = Some(meta.deletion_grace_period_seconds.unwrap_or(grace).min(grace));
        if let Some(policy) = options.propagation {
            let finalizer: Option<Str> = match policy {
                Propagation::Background => None,
                Propagation::Foreground => Some("foregroundDeletion".into()),
                Propagation::Orphan => Some("orphan".into()),
            };
            meta.finalizers.retain(|f| f != "orphan" && f != "foregroundDeletion");
            meta.finalizers.extend(finalizer);
        }
        if let Object::Namespace(namespace) = &mut object {
            Arc::make_mut(namespace).status.phase = "Terminating".into();
        }
        if is_free_to_go(&object) {
            self.remove(key);
        } else if object != before {
            self.store(key.clone(), object);
        }
        Ok(())
    }

    /// Lets a reconciler see everything, then what its writes change, until it has nothing more to write. Returns the
    /// number of writes. Then it must have nothing to say about anything it is responsible for.
    pub(in crate::reconcile) fn settle(&mut self, reconciler: &mut dyn Reconciler) -> usize {
        let mut queue: BTreeSet<Key> = reconciler.all(&self.world).into_iter().collect();
        self.changes.clear();
        self.follow(reconciler, &mut queue)
    }

    /// Like [`Cluster::settle`], from the changes alone that have happened since the last time.
    pub(in crate::reconcile) fn react(&mut self, reconciler: &mut dyn Reconciler) -> usize {
        self.follow(reconciler, &mut BTreeSet::new())
    }

    fn follow(&mut self, reconciler: &mut dyn Reconciler, queue: &mut BTreeSet<Key>) -> usize {
        let mut count = 0;
        loop {
            for change in std::mem::take(&mut self.changes) {
                queue.extend(reconciler.triggers(&change, &self.world));
            }
            let Some(key) = queue.pop_first() else { break };
            for write in reconciler.reconcile(&self.world, &key, self.now).writes {
                count += 1;
                assert!(count < MOST_WRITES, "{} does not settle", reconciler.name());
                let shown = format!("{write:?}");
                self.write(write).unwrap_or_else(|e| panic!("{e}: {shown}"));
            }
        }
        for key in reconciler.all(&self.world) {
            let outcome = reconciler.reconcile(&self.world, &key, self.now);
            assert!(outcome.is_settled(), "{key} is not settled: {:?}", outcome.writes);
        }
        count
    }

    /// As if the process died after every single write: each time a fresh reconciler starts from a list.
    pub(in crate::reconcile) fn settle_through_crashes<R: Reconciler>(&mut self, fresh: impl Fn() -> R) -> usize {
        for count in 0..MOST_WRITES {
            let mut reconciler = fresh();
            let keys = reconciler.all(&self.world);
            let mut outcomes = keys.iter().map(|key| reconciler.reconcile(&self.world, key, self.now));
            let first = outcomes.find_map(|outcome| outcome.writes.into_iter().next());
            let Some(write) = first else { return count };
            self.write(write).expect("what was seen is what there is");
        }
        panic!("does not settle");
    }

    /// Performs an outcome twice: the second time, everything is refused or changes nothing.
    pub(in crate::reconcile) fn perform_twice(&mut self, outcome: &Outcome) {
        assert!(!outcome.is_settled(), "there is nothing to perform");
        for write in &outcome.writes {
            self.write(write.clone()).expect("fresh");
        }
        let revision = self.world.revision();
        for write in &outcome.writes {
            let _ = self.write(write.clone());
        }
        assert_eq!(self.world.revision(), revision, "a write that was decided on an old snapshot was performed again");
    }

    /// The names of all objects of a kind in a namespace.
    pub(in crate::reconcile) fn names(&self, kind: Kind, namespace: &str) -> Vec<Str> {
        self.world.objects_in(kind, namespace).map(|o| o.meta().name.clone()).collect()
    }
}

fn key(object: &Object) -> Key {
    let meta = object.meta();
    Key { kind: object.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
}

fn is_free_to_go(object: &Object) -> bool {
    let held = matches!(object, Object::Namespace(n) if !n.spec.finalizers.is_empty());
    let meta = object.meta();
    meta.is_deleting() && meta.finalizers.is_empty() && meta.deletion_grace_period_seconds.unwrap_or(0) == 0 && !held
}

fn merge(old: &Object, new: &Object, part: Part) -> Object {
    let (mut whole, from) = match part {
        Part::Main => (new.clone(), old),
        Part::Status | Part::Finalize => (old.clone(), new),
    };
    match (&mut whole, from, part) {
        (Object::Namespace(to), Object::Namespace(from), Part::Main) => {
            let to = Arc::make_mut(to);
            (to.status, to.spec) = (from.status.clone(), from.spec.clone());
        }
        (Object::Namespace(to), Object::Namespace(from), Part::Finalize) => {
            Arc::make_mut(to).spec = from.spec.clone();
        }
        (Object::Namespace(to), Object::Namespace(from), Part::Status) => {
            Arc::make_mut(to).status = from.status.clone();
        }
        (Object::Node(to), Object::Node(from), _) => Arc::make_mut(to).status = from.status.clone(),
        (Object::Pod(to), Object::Pod(from), _) => Arc::make_mut(to).status = from.status.clone(),
        (_, _, Part::Main) => {}
        (_, _, Part::Status | Part::Finalize) => panic!("{part:?} of {} is not known here", old.kind()),
    }
    whole
}

/// A pod that runs on a node and is ready, at this address.
pub(in crate::reconcile) fn running_pod(namespace: &str, name: &str, node: &str, ip: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.into();
    pod.metadata.namespace = namespace.into();
    pod.metadata.labels.insert("app", "web".into());
    pod.spec.node_name = node.into();
    pod.status.phase = steersman_domain::PodPhase::Running;
    pod.status.pod_ip = ip.into();
    pod.status.conditions = vec![steersman_domain::Condition::new("Ready", true, "", "", START)];
    pod
}
