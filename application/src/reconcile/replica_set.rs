//! The ReplicaSet controller: keeps the wanted number of pods of one template. Adopts pods that its selector matches,
//! releases those it no longer matches, creates what is missing, deletes what is too much, and tells of it in the status.
//! It does not replace pods whose template has changed (the Deployment does), and does not remove pods that have ended.
//! Source of the algorithm: Kubernetes `pkg/controller/replicaset/replica_set.go` and `pkg/controller/controller_utils.go`.

mod rank;
mod status;
#[cfg(test)]
mod tests;

use super::claims::claim;
use super::pod_names::Names;
use super::template::pod_of;
use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{ApiError, DeleteOptions, Write};
use crate::driver::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::ports::Change;
use steersman_domain::selector::Selector;
use steersman_domain::{Key, Kind, Namespace, Object, OwnerReference, Pod, ReplicaSet, Resource, Stored, Str, Uid};

/// Pods created or deleted for one ReplicaSet in one pass at most, as in Kubernetes: the rest follows in the next.
const BURST: usize = 500;

/// What is remembered of a ReplicaSet between passes. Losing it costs a name used twice at different times, or one
/// status later.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: Uid,
    names: Names,
    /// Why its last creations or deletions were refused.
    refusal: Option<String>,
}

/// The ReplicaSet controller.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSets {
    memory: BTreeMap<Key, Memory>,
}

impl Reconciler for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        match change.key().kind {
            Kind::ReplicaSet => vec![change.key().clone()],
            Kind::Pod => sides(change).flat_map(|pod| concerned(pod, world)).collect(),
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<ReplicaSet>().map(|set| set.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(set) = world.get::<ReplicaSet>(&key.namespace, &key.name) else {
            self.memory.remove(key);
            return Outcome::default();
        };
        if let Some(owner) = set.metadata.controller().filter(|owner| is_gone(owner, world)) {
            // To go on would not only be in vain: each write would make the snapshot stale on which the deletion rests.
            return explained(&format!("its owner {} {} is gone: it waits to be deleted", owner.kind, owner.name));
        }
        let memory = self.memory.entry(key.clone()).or_default();
        if memory.uid != set.metadata.uid {
            *memory = Memory { uid: set.metadata.uid.clone(), ..Memory::default() };
        }
        let mut outcome = Outcome::default();
        let selector = match Selector::from_labels(&set.spec.selector) {
            Ok(selector) if !selector.is_empty() => selector,
            Ok(_) => return explained("the selector is empty: it would claim every pod, so nothing is done"),
            Err(error) => return explained(&format!("the selector cannot be read: {error}")),
        };
        let mut pods = claim(&**set, &selector, world, Pod::is_active, &mut outcome);
        if !set.metadata.is_deleting() {
            let work = Work { set, key, world, pods: &pods };
            let going = work.manage(memory, &mut outcome);
            // The status never promises a pod that is about to go: a rollout would rely on it.
            pods.retain(|pod| !going.contains(&pod.metadata.name));
        }
        status::report(set, &pods, memory.refusal.as_deref(), now.time, &mut outcome);
        outcome
    }

    fn answered(&mut self, key: &Key, refusal: Option<&ApiError>) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.refusal = refusal.map(ToString::to_string);
        }
    }
}

fn explained(why: &str) -> Outcome {
    Outcome { why: vec![why.to_owned()], ..Outcome::default() }
}

/// Whether an owner of a known kind is not there any more. Of other kinds nothing can be said.
pub(super) fn is_gone(owner: &OwnerReference, world: &World) -> bool {
    let known = Kind::find_api(&owner.api_version, &owner.kind).is_some_and(|kind| kind.info().served);
    known && world.by_uid(&owner.uid).is_none()
}

/// The pod before and after a change.
pub(super) fn sides(change: &Change) -> impl Iterator<Item = &Arc<Pod>> {
    let (before, after): (Option<&Arc<Stored>>, Option<&Arc<Stored>>) = match change {
        Change::Put { before, after } => (before.as_ref(), Some(after)),
        Change::Delete { before, .. } => (Some(before), None),
    };
    [before, after].into_iter().flatten().filter_map(|stored| stored.typed::<Pod>())
}

/// The ReplicaSets that a pod concerns: the one that manages it, or all that could adopt it.
fn concerned(pod: &Pod, world: &World) -> Vec<Key> {
    if let Some(owner) = pod.metadata.controller() {
        return world.by_uid(&owner.uid).filter(|key| key.kind == Kind::ReplicaSet).cloned().into_iter().collect();
    }
    world
        .in_namespace::<ReplicaSet>(&pod.metadata.namespace)
        .filter(|set| matches(set, pod))
        .map(|set| set.key())
        .collect()
}

fn matches(set: &ReplicaSet, pod: &Pod) -> bool {
    Selector::from_labels(&set.spec.selector).is_ok_and(|s| !s.is_empty() && s.matches(&pod.metadata.labels))
}

/// What a decision about the number of pods looks at.
struct Work<'a> {
    set: &'a Arc<ReplicaSet>,
    key: &'a Key,
    world: &'a World,
    pods: &'a [Arc<Pod>],
}

impl Work<'_> {
    /// Creates or deletes; answers the names of the pods that go.
    fn manage(&self, memory: &mut Memory, outcome: &mut Outcome) -> BTreeSet<Str> {
        let wanted = usize::try_from(self.set.replicas()).unwrap_or(0);
        let has = self.pods.len();
        memory.names.seen(self.world, &self.set.metadata.namespace);
        if has == wanted {
            memory.refusal = None;
            outcome.why.push(format!("{has} of {wanted} pods are there"));
        } else if has < wanted {
            self.create(wanted - has, memory, outcome);
        } else {
            return self.delete(has - wanted, outcome);
        }
        BTreeSet::new()
    }

    fn create(&self, missing: usize, memory: &mut Memory, outcome: &mut Outcome) {
        let namespace = &self.set.metadata.namespace;
        if self.world.get::<Namespace>("", namespace).is_some_and(|n| n.is_terminating()) {
            outcome.why.push(format!("{missing} pods are missing, but namespace {namespace} is terminating"));
            return;
        }
        // After a refusal one pod finds out whether the cause is gone; a burst would only repeat it.
        let count = if memory.refusal.is_some() { 1 } else { missing.min(BURST) };
        outcome.why.push(format!("{missing} pods are missing: creates {count}"));
        for name in memory.names.offer(&self.set.metadata, self.world, count) {
            let note = self.note("SuccessfulCreate", format!("Created pod: {name}"));
            outcome.write_noting(
                Write::Create(Object::Pod(Arc::new(pod_of(&**self.set, &self.set.spec.template, name)))),
                note,
            );
        }
    }

    fn delete(&self, surplus: usize, outcome: &mut Outcome) -> BTreeSet<Str> {
        let mut going = BTreeSet::new();
        let count = surplus.min(BURST);
        outcome.why.push(format!("{surplus} pods are too many: deletes {count}"));
        for pod in rank::to_delete(self.set, self.pods, self.world).into_iter().take(count) {
            let options = DeleteOptions { uid: Some(pod.metadata.uid.clone()), ..DeleteOptions::default() };
            let note = self.note("SuccessfulDelete", format!("Deleted pod: {}", pod.metadata.name));
            outcome.write_noting(Write::Delete(pod.key(), options), note);
            going.insert(pod.metadata.name.clone());
        }
        going
    }

    fn note(&self, reason: &'static str, message: String) -> Note {
        Note { about: self.key.clone(), uid: self.set.metadata.uid.clone(), is_warning: false, reason, message }
    }
}
