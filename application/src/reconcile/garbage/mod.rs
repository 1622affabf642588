//! Garbage collection: objects whose owners are all gone are deleted, dependents of owners that are deleted in the
//! foreground or as orphans are dealt with before their owner goes, pods of vanished nodes and pods that ended long ago
//! are cleared away.
//! Source of the rules: Kubernetes `pkg/controller/garbagecollector/garbagecollector.go` and `pkg/controller/podgc`. Where
//! Kubernetes asks the API whether an owner is really absent, the snapshot suffices here: it is of one revision across all
//! kinds, and a uid that was removed never comes back.

#[cfg(test)]
pub(in crate::reconcile) mod cluster;
mod owners;
mod pods;
#[cfg(test)]
mod tests;

use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{DeleteOptions, Part, Propagation, Write};
use crate::driver::world::World;
use owners::{Owners, owner_key};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use steersman_domain::ports::Change;
use steersman_domain::{Key, Kind, Namespace, Object, Pod, Resource, Str, Uid};

/// Holds a deleted owner until its dependents are on their own.
pub const ORPHAN: &str = "orphan";
/// Holds a deleted owner until the dependents that block it are gone.
pub const FOREGROUND: &str = "foregroundDeletion";

/// Dependents that one pass makes orphans: one group of writes that does not hold others up. Each that is seen to be one
/// brings the next pass.
const MOST_ORPHANS: usize = 500;

/// What is kept of ended pods and pods of vanished nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GarbageConfig {
    /// How long a node must be away before its pods are removed: the grace of the node controller.
    pub node_grace: Duration,
    /// How many ended pods are kept.
    pub ended_pods: usize,
}

impl Default for GarbageConfig {
    /// 40 s and 12,500 pods, as in Kubernetes.
    fn default() -> Self {
        GarbageConfig { node_grace: Duration::from_secs(40), ended_pods: 12_500 }
    }
}

/// Collects garbage. What it remembers are spans: since when a node is missed, and when ended pods were counted last.
#[derive(Debug, Default)]
pub struct Garbage {
    config: GarbageConfig,
    /// Since when (monotonic) nodes are missed that pods are bound to.
    missing: BTreeMap<Str, Duration>,
    /// When (monotonic) ended pods were counted last.
    counted: Option<Duration>,
}

impl Garbage {
    /// Collects by this configuration.
    pub fn new(config: GarbageConfig) -> Self {
        Garbage { config, ..Garbage::default() }
    }
}

impl Reconciler for Garbage {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        let mut keys = BTreeSet::new();
        match change {
            Change::Put { before, after } => {
                let before = before.as_ref().map(|s| &s.object);
                put_triggers(&after.key, before, &after.object, world, &mut keys);
            }
            Change::Delete { before, .. } => {
                keys.extend(world.dependents(&before.object.meta().uid).cloned());
                keys.extend(held_owners(&before.object, world));
                if before.key.kind == Kind::Node {
                    keys.insert(before.key.clone());
                }
            }
        }
        keys.into_iter().collect()
    }

    fn all(&self, world: &World) -> Vec<Key> {
        let mut keys = BTreeSet::from([pods::ended_key()]);
        let named = world.all::<Namespace>().map(|n| n.metadata.name.clone());
        let namespaces: Vec<Str> = std::iter::once(Str::default()).chain(named).collect();
        for kind in Kind::ALL.iter().filter(|k| k.info().served) {
            for namespace in &namespaces {
                let in_scope = kind.info().namespaced != namespace.is_empty();
                let objects = world.objects_in(*kind, namespace).filter(|o| in_scope && concerns(o));
                keys.extend(objects.map(key_of));
            }
        }
        let lost = world.all::<Pod>().map(|p| &p.spec.node_name).filter(|n| is_missing(world, n));
        keys.extend(lost.map(|n| Key::cluster(Kind::Node, n)));
        keys.into_iter().collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let mut outcome = Outcome::default();
        if *key == pods::ended_key() {
            self.clear_ended(world, now, &mut outcome);
            return outcome;
        }
        if key.kind == Kind::Node {
            self.clear_lost(world, &key.name, now, &mut outcome);
        }
        if let Some(object) = world.object(key) {
            let meta = object.meta();
            if meta.is_deleting() {
                owner(world, key, object, &mut outcome);
            } else if !meta.owner_references.is_empty() {
                dependent(world, key, object, &mut outcome);
            }
        }
        outcome
    }
}

fn key_of(object: &Object) -> Key {
    let meta = object.meta();
    Key { kind: object.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
}

/// Whether there may ever be something to do about an object for its own sake.
fn concerns(object: &Object) -> bool {
    !object.meta().owner_references.is_empty() || is_held(object)
}

/// Whether some owner of an object is gone or waits for it to go. While all of them stay there is nothing to do for it, and
/// whatever becomes of one of them asks for it anew: to look at every new dependent would keep the deletion of its owner
/// waiting behind them all.
fn lacks_owner(world: &World, object: &Object) -> bool {
    let owners = Owners::of(world, object);
    !owners.absent.is_empty() || !owners.waiting.is_empty()
}

/// Whether an object that is being deleted waits for its dependents.
fn is_held(object: &Object) -> bool {
    let meta = object.meta();
    meta.is_deleting() && (meta.has_finalizer(ORPHAN) || meta.has_finalizer(FOREGROUND))
}

fn is_missing(world: &World, node: &Str) -> bool {
    !node.is_empty() && world.object(&Key::cluster(Kind::Node, node)).is_none()
}

/// The owners of an object that wait for their dependents.
fn held_owners<'a>(object: &'a Object, world: &'a World) -> impl Iterator<Item = Key> + 'a {
    let owners = object.meta().owner_references.iter().filter_map(|o| world.by_uid(&o.uid));
    owners.filter(|key| world.object(key).is_some_and(is_held)).cloned()
}

fn put_triggers(key: &Key, before: Option<&Object>, after: &Object, world: &World, keys: &mut BTreeSet<Key>) {
    let (new, old) = (after.meta(), before.map(Object::meta));
    let moved = old.is_none_or(|old| {
        old.owner_references != new.owner_references
            || old.finalizers != new.finalizers
            || old.is_deleting() != new.is_deleting()
    });
    if moved {
        if is_held(after) || lacks_owner(world, after) {
            keys.insert(key.clone());
        }
        if is_held(after) {
            keys.extend(world.dependents(&new.uid).cloned());
        }
        if let Some(before) = before {
            keys.extend(held_owners(before, world));
        }
    }
    if key.kind == Kind::Node && before.is_none() {
        // It is back: it is no longer missed.
        keys.insert(key.clone());
    }
    if let (Object::Pod(pod), was) = (after, before) {
        if is_missing(world, &pod.spec.node_name) {
            keys.insert(Key::cluster(Kind::Node, &pod.spec.node_name));
        }
        let ended = |o: &Object| Pod::from_object(o).is_some_and(|p| p.is_terminal());
        if pod.is_terminal() && !was.is_some_and(ended) {
            keys.insert(pods::ended_key());
        }
    }
}

/// An object that is being deleted and waits for its dependents.
fn owner(world: &World, key: &Key, object: &Object, outcome: &mut Outcome) {
    let meta = object.meta();
    let dependents = || world.dependents(&meta.uid).filter_map(|k| world.object(k));
    // A reference counts only from where it can reach its owner.
    let mine = |o: &&Object| {
        o.meta().owner_references.iter().any(|r| r.uid == meta.uid && owner_key(o, r) == Some(key.clone()))
    };
    if meta.has_finalizer(ORPHAN) {
        let left: Vec<&Object> = dependents().filter(mine).collect();
        if left.is_empty() {
            outcome.writes.push(without_finalizer(object, ORPHAN));
        }
        outcome.why.extend((!left.is_empty()).then(|| format!("{} dependents are to be on their own", left.len())));
        let some = left.into_iter().take(MOST_ORPHANS);
        outcome.writes.extend(some.map(|o| without_owners(o, &BTreeSet::from([&meta.uid]))));
    } else if meta.has_finalizer(FOREGROUND) {
        let blocks = |o: &&Object| {
            let references = &o.meta().owner_references;
            references.iter().any(|r| r.uid == meta.uid && r.block_owner_deletion == Some(true))
        };
        let blocking = dependents().filter(mine).filter(blocks).count();
        if blocking == 0 {
            outcome.writes.push(without_finalizer(object, FOREGROUND));
        } else {
            outcome.why.push(format!("{key} waits for {blocking} dependents to be gone"));
        }
    }
}

/// An object with owners.
fn dependent(world: &World, key: &Key, object: &Object, outcome: &mut Outcome) {
    let meta = object.meta();
    let owners = Owners::of(world, object);
    for reference in &owners.misplaced {
        let (kind, name, namespace) = (&reference.kind, &reference.name, &meta.namespace);
        outcome.notes.push(Note {
            about: key.clone(),
            uid: meta.uid.clone(),
            is_warning: true,
            reason: "OwnerRefInvalidNamespace",
            message: format!(
                "the owner {kind} {name} (uid {}) does not exist in namespace \"{namespace}\"",
                reference.uid
            ),
        });
    }
    let gone: BTreeSet<_> = owners.absent.iter().chain(&owners.waiting).copied().collect();
    if owners.keeps {
        if !gone.is_empty() {
            outcome.why.push(format!("{key} loses {} owners that are gone or going", gone.len()));
            outcome.writes.push(without_owners(object, &gone));
        }
        return;
    }
    let dependents = || world.dependents(&meta.uid).filter_map(|k| world.object(k));
    if !owners.waiting.is_empty() && dependents().next().is_some() {
        // In a circle of owners each would wait for the next: the one that closes it blocks no more.
        let circle = dependents().any(|d| d.meta().is_deleting() && d.meta().has_finalizer(FOREGROUND));
        let mut current = object.clone();
        if circle && meta.owner_references.iter().any(|r| r.block_owner_deletion == Some(true)) {
            for reference in &mut current.meta_mut().owner_references {
                reference.block_owner_deletion = reference.block_owner_deletion.map(|_| false);
            }
            outcome.writes.push(Write::Update(current, Part::Main));
            return;
        }
        outcome.why.push(format!("{key} goes before its owner, and what it owns goes before it"));
        outcome.writes.push(delete(key, object, Propagation::Foreground));
        return;
    }
    let policy = match () {
        () if meta.has_finalizer(ORPHAN) => Propagation::Orphan,
        () if meta.has_finalizer(FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    };
    outcome.why.push(format!("{key} has no owner left"));
    outcome.writes.push(delete(key, object, policy));
}

/// Deletes exactly what was looked at: with other owners it would be another matter.
fn delete(key: &Key, object: &Object, policy: Propagation) -> Write {
    let options = DeleteOptions {
        uid: Some(object.meta().uid.clone()),
        resource_version: Some(object.meta().resource_version),
        propagation: Some(policy),
        ..DeleteOptions::default()
    };
    Write::Delete(key.clone(), options)
}

fn without_finalizer(object: &Object, finalizer: &str) -> Write {
    let mut free = object.clone();
    free.meta_mut().finalizers.retain(|f| f != finalizer);
    Write::Update(free, Part::Main)
}

fn without_owners(object: &Object, gone: &BTreeSet<&Uid>) -> Write {
    let mut free = object.clone();
    free.meta_mut().owner_references.retain(|r| !gone.contains(&r.uid));
    Write::Update(free, Part::Main)
}
