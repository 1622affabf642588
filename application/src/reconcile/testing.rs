//! A cluster in memory for the tests of reconcilers: it applies writes as the API does (uids, revisions, generations,
//! preconditions, grace), and plays the scheduler and the node agents. Nothing waits; time moves when it is told to.

use super::{Moment, Reconciler};
use crate::client::{ApiError, DeleteOptions, Part, Write};
use crate::driver::world::World;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::Change;
use steersman_domain::{
    Condition, Deployment, Key, Kind, Object, Pod, PodPhase, ReplicaSet, Resource, Revision, Stored, Time,
};

/// Where the clock starts.
const START: i64 = 1_700_000_000;
/// Rounds after which a cluster that is not at rest will never be.
const MOST_ROUNDS: usize = 500;
/// The image of containers that never become ready.
pub(crate) const BROKEN: &str = "broken";

type Answer = Result<Arc<Stored>, ApiError>;

/// The cluster.
#[derive(Clone, Debug)]
pub(crate) struct TestCluster {
    pub(crate) world: World,
    /// Every change so far, in order.
    pub(crate) log: Vec<Change>,
    /// What Events would say, in order: reason and message.
    pub(crate) notes: Vec<String>,
    /// The kind whose creation is forbidden.
    pub(crate) forbidden: Option<Kind>,
    /// Writes that are still let through before the process "crashes".
    pub(crate) allowance: usize,
    secs: u64,
    uids: u64,
}

impl Default for TestCluster {
    fn default() -> Self {
        TestCluster {
            world: World::default(),
            log: Vec::new(),
            notes: Vec::new(),
            forbidden: None,
            allowance: usize::MAX,
            secs: 0,
            uids: 0,
        }
    }
}

impl TestCluster {
    pub(crate) fn now(&self) -> Moment {
        let monotonic = Duration::from_secs(self.secs);
        Moment { time: Time::from_secs(START).after(monotonic), monotonic }
    }

    pub(crate) fn advance(&mut self, secs: u64) {
        self.secs += secs;
    }

    pub(crate) fn get<T: Resource>(&self, name: &str) -> Arc<T> {
        self.world.get::<T>("d", name).unwrap_or_else(|| panic!("no {} {name}", T::KIND)).clone()
    }

    pub(crate) fn all<T: Resource>(&self) -> Vec<Arc<T>> {
        self.world.all::<T>().cloned().collect()
    }

    /// Creates an object in namespace `d`.
    pub(crate) fn create<T: Resource>(&mut self, mut object: T) -> Arc<T> {
        object.meta_mut().namespace = "d".into();
        let stored = self.write(&Write::Create(T::into_object(Arc::new(object)))).expect("created");
        stored.typed::<T>().expect("of its kind").clone()
    }

    /// Changes an object as a user would.
    pub(crate) fn edit<T: Resource>(&mut self, name: &str, change: impl FnOnce(&mut T)) {
        self.edit_part(name, Part::Main, change);
    }

    /// Changes the status of an object.
    pub(crate) fn edit_status<T: Resource>(&mut self, name: &str, change: impl FnOnce(&mut T)) {
        self.edit_part(name, Part::Status, change);
    }

    fn edit_part<T: Resource>(&mut self, name: &str, part: Part, change: impl FnOnce(&mut T)) {
        let mut object = T::clone(&*self.get::<T>(name));
        change(&mut object);
        self.write(&Write::Update(T::into_object(Arc::new(object)), part)).expect("updated");
    }

    /// Applies a write as the API does.
    pub(crate) fn write(&mut self, write: &Write) -> Answer {
        match write {
            Write::Create(object) => self.apply_create(object.clone()),
            Write::Update(object, part) => self.apply_update(object.clone(), *part),
            Write::Delete(key, options) => self.apply_delete(key, options),
            Write::Bind { pod, .. } => Err(ApiError::NotFound(pod.clone())),
        }
    }

    fn stored(&self, key: &Key) -> Option<Arc<Stored>> {
        let object = self.world.object(key)?;
        Some(Arc::new(Stored::new(key.clone(), object.meta().resource_version, object.clone())))
    }

    fn put(&mut self, object: Object) -> Arc<Stored> {
        let key = key_of(&object);
        let before = self.stored(&key);
        let after = Arc::new(Stored::new(key, Revision(self.world.revision().0 + 1), object));
        let change = Change::Put { before, after: after.clone() };
        self.world.apply(&change);
        self.log.push(change);
        after
    }

    fn remove(&mut self, before: Arc<Stored>) -> Arc<Stored> {
        let revision = Revision(self.world.revision().0 + 1);
        let last = Arc::new(Stored::new(before.key.clone(), revision, before.object.clone()));
        let change = Change::Delete { before, last: last.clone() };
        self.world.apply(&change);
        self.log.push(change);
        last
    }

    fn apply_create(&mut self, mut object: Object) -> Answer {
        let key = key_of(&object);
        if self.forbidden == Some(key.kind) {
            return Err(ApiError::Forbidden { key, message: "exceeded quota".into() });
        }
        if self.world.object(&key).is_some() {
            return Err(ApiError::AlreadyExists(key));
        }
        self.uids += 1;
        let (uid, now) = (format!("uid-{}", self.uids), self.now().time);
        let meta = object.meta_mut();
        meta.uid = uid.as_str().into();
        meta.creation_timestamp = Some(now);
        meta.generation = 1;
        Ok(self.put(object))
    }

    fn apply_update(&mut self, new: Object, part: Part) -> Answer {
        let key = key_of(&new);
        let old = self.stored(&key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let (asked, found) = (new.meta(), old.object.meta());
        let is_other = !asked.uid.0.is_empty() && asked.uid != found.uid;
        if is_other || asked.resource_version.0 != 0 && asked.resource_version != old.revision {
            return Err(ApiError::Conflict { key, message: "stale".into() });
        }
        let mut whole = complete(new, &old.object, part);
        let meta = whole.meta_mut();
        meta.resource_version = old.revision;
        (meta.uid, meta.creation_timestamp) = (found.uid.clone(), found.creation_timestamp);
        meta.generation = found.generation;
        if whole == old.object {
            return Ok(old);
        }
        if desired_changed(&whole, &old.object) {
            whole.meta_mut().generation = found.generation + 1;
        }
        Ok(self.put(whole))
    }

    fn apply_delete(&mut self, key: &Key, options: &DeleteOptions) -> Answer {
        let old = self.stored(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let meta = old.object.meta();
        let stale = options.uid.as_ref().is_some_and(|uid| *uid != meta.uid)
            || options.resource_version.is_some_and(|revision| revision != old.revision);
        if stale {
            return Err(ApiError::Conflict { key: key.clone(), message: "stale".into() });
        }
        match &old.object {
            Object::Pod(pod) if !pod.spec.node_name.is_empty() && !pod.is_terminal() => {
                let mut object = old.object.clone();
                object.meta_mut().deletion_timestamp.get_or_insert(self.now().time.after(Duration::from_secs(30)));
                Ok(self.put(object))
            }
            _ => Ok(self.remove(old)),
        }
    }

    /// The scheduler and the node agents take one step with every pod: ended ones go, unbound ones start, started ones
    /// become ready.
    pub(crate) fn agents(&mut self) {
        for pod in self.all::<Pod>() {
            self.agent(&pod.metadata.name);
        }
    }

    /// One step with one pod.
    pub(crate) fn agent(&mut self, name: &str) {
        let Some(pod) = self.world.get::<Pod>("d", name).cloned() else { return };
        let now = self.now().time;
        let node = format!("n{}", self.uids % 3);
        if pod.metadata.is_deleting() {
            self.remove(self.stored(&pod.key()).expect("is there"));
        } else if pod.spec.node_name.is_empty() {
            self.edit::<Pod>(name, |pod| pod.spec.node_name = node.as_str().into());
            self.edit_part::<Pod>(name, Part::Status, |pod| pod.status.phase = PodPhase::Running);
        } else if pod.is_active() && !pod.is_ready() && pod.spec.containers.iter().all(|c| c.image != BROKEN) {
            self.edit_part::<Pod>(name, Part::Status, |pod| {
                set_condition(&mut pod.status.conditions, Condition::new("Ready", true, "", "", now));
            });
        }
    }

    /// Ends a pod as a crash would: its phase is `Failed`.
    pub(crate) fn fail_pod(&mut self, name: &str) {
        self.edit_part::<Pod>(name, Part::Status, |pod| {
            pod.status.phase = PodPhase::Failed;
            pod.status.conditions.clear();
        });
    }

    /// Lets a reconciler look at one key and applies its writes; answers how many there were. Writes beyond the allowance
    /// are lost, as in a crash.
    pub(crate) fn look(&mut self, reconciler: &mut dyn Reconciler, key: &Key) -> usize {
        let outcome = reconciler.reconcile(&self.world.clone(), key, self.now());
        let mut refusal = None;
        for (at, write) in outcome.writes.iter().enumerate() {
            if self.allowance == 0 {
                return outcome.writes.len();
            }
            self.allowance -= 1;
            match self.write(write) {
                Ok(_) => {
                    let notes = outcome.notes_of_writes.iter().filter(|(of, _)| *of == at);
                    self.notes.extend(notes.map(|(_, note)| format!("{} {}", note.reason, note.message)));
                }
                Err(error @ ApiError::Forbidden { .. }) => refusal = refusal.or(Some(error)),
                Err(_) => {}
            }
        }
        reconciler.answered(key, refusal.as_ref());
        outcome.writes.len()
    }

    /// Every reconciler looks at all its keys once, in turn; answers how many writes there were.
    pub(crate) fn round(&mut self, reconcilers: &mut [Box<dyn Reconciler>]) -> usize {
        let mut writes = 0;
        for reconciler in reconcilers {
            for key in reconciler.all(&self.world) {
                writes += self.look(&mut **reconciler, &key);
            }
        }
        writes
    }

    /// Rounds and steps of the agents until nothing moves.
    pub(crate) fn settle(&mut self, reconcilers: &mut [Box<dyn Reconciler>]) {
        for _ in 0..MOST_ROUNDS {
            let before = self.world.revision();
            self.agents();
            if self.round(reconcilers) == 0 && self.world.revision() == before || self.allowance == 0 {
                return;
            }
        }
        panic!("never at rest: {:#?}", &self.log[self.log.len().saturating_sub(3)..]);
    }

    /// The same world, taken in backwards.
    pub(crate) fn reversed(&self) -> World {
        let mut world = World::default();
        for &kind in Kind::ALL.iter().rev() {
            let objects: Vec<Object> = self.world.objects_in(kind, "d").cloned().collect();
            for object in objects.into_iter().rev() {
                world.put(&Stored::new(key_of(&object), object.meta().resource_version, object.clone()));
            }
        }
        world
    }

    /// What counts of the state in the end: times, uids and names of pods do not.
    pub(crate) fn digest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for d in self.all::<Deployment>() {
            let s = &d.status;
            lines.push(format!(
                "deployment {} {}/{}/{} {:?}",
                d.metadata.name,
                s.updated_replicas,
                s.available_replicas,
                s.replicas,
                s.conditions.iter().map(|c| (c.kind.as_str(), c.status.as_str())).collect::<Vec<_>>(),
            ));
        }
        for set in self.all::<ReplicaSet>() {
            let pods = self.world.controlled::<Pod>(&set.metadata.uid).count();
            let (meta, ready) = (&set.metadata, set.status.ready_replicas);
            lines.push(format!("set {} wants {} has {pods} ready {ready}", meta.name, set.replicas()));
        }
        lines
    }
}

fn key_of(object: &Object) -> Key {
    let meta = object.meta();
    Key { kind: object.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
}

fn complete(new: Object, old: &Object, part: Part) -> Object {
    match (new, old) {
        (Object::Deployment(new), Object::Deployment(old)) => {
            let mut whole = if part == Part::Main { (*new).clone() } else { (**old).clone() };
            whole.metadata.annotations = new.metadata.annotations.clone();
            whole.status = if part == Part::Main { old.status.clone() } else { new.status.clone() };
            Object::Deployment(Arc::new(whole))
        }
        (Object::ReplicaSet(new), Object::ReplicaSet(old)) => {
            let mut whole = if part == Part::Main { (*new).clone() } else { (**old).clone() };
            whole.status = if part == Part::Main { old.status.clone() } else { new.status.clone() };
            Object::ReplicaSet(Arc::new(whole))
        }
        (Object::Pod(new), Object::Pod(old)) => {
            let mut whole = if part == Part::Main { (*new).clone() } else { (**old).clone() };
            whole.status = if part == Part::Main { old.status.clone() } else { new.status.clone() };
            Object::Pod(Arc::new(whole))
        }
        (new, _) => new,
    }
}

fn desired_changed(new: &Object, old: &Object) -> bool {
    match (new, old) {
        (Object::Deployment(n), Object::Deployment(o)) => {
            n.spec != o.spec || n.metadata.annotations != o.metadata.annotations
        }
        (Object::ReplicaSet(n), Object::ReplicaSet(o)) => n.spec != o.spec,
        (Object::Pod(n), Object::Pod(o)) => n.spec != o.spec,
        _ => false,
    }
}
