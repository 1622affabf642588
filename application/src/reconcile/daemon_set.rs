//! The DaemonSet controller: a pod on every node that suits, one after the other replaced when the template changes. The
//! scheduler binds the pods: each names its node in a rule that no other node keeps.
//! Source of the algorithm: Kubernetes `pkg/controller/daemon`.

mod places;
mod pods;
mod rolling;
mod status;

use super::claims::claim;
use super::replica_set::{is_gone, sides};
use super::revisions::Revisions;
use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{ApiError, DeleteOptions, Write};
use crate::driver::world::World;
use places::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::Change;
use steersman_domain::selector::Selector;
use steersman_domain::{DaemonSet, Key, Kind, Namespace, Node, Object, Pod, REVISION_HASH, Resource, Stored, Str, Uid};

/// Pods created or deleted for one DaemonSet in one pass at most: the rest follows in the next.
const BURST: usize = 250;
/// The wait before a pod that failed is replaced: doubled each time, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(15 * 60);

/// What is remembered of a DaemonSet between passes. Losing it costs a back-off, or a name used twice at different times.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: Uid,
    /// Failures in a row of each node's pods, and the uid of the last that failed, with when it may be replaced.
    failures: BTreeMap<Str, (u32, Uid, Duration)>,
    /// For each node, how many names its pods have had; and the last, whose pod has not been seen yet.
    names: BTreeMap<Str, (u64, Option<Str>)>,
    /// Why its last creations were refused.
    refusal: Option<String>,
}

/// The DaemonSet controller.
#[derive(Clone, Debug, Default)]
pub struct DaemonSets {
    memory: BTreeMap<Key, Memory>,
}

impl Reconciler for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        match change.key().kind {
            Kind::DaemonSet => vec![change.key().clone()],
            Kind::Node if matters(change) => self.all(world),
            Kind::Pod => sides(change).flat_map(|pod| concerned(pod, world)).collect(),
            Kind::ControllerRevision => owner_of(change, world).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<DaemonSet>().map(|set| set.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(set) = world.get::<DaemonSet>(&key.namespace, &key.name) else {
            self.memory.remove(key);
            return Outcome::default();
        };
        let memory = self.memory.entry(key.clone()).or_default();
        if memory.uid != set.metadata.uid {
            *memory = Memory { uid: set.metadata.uid.clone(), ..Memory::default() };
        }
        let mut outcome = Outcome::default();
        let selector = match Selector::from_labels(&set.spec.selector) {
            Ok(selector) if !selector.is_empty() => selector,
            _ => {
                outcome.why.push("the selector is empty or cannot be read: nothing is done".into());
                return outcome;
            }
        };
        let claimed = claim(&**set, &selector, world, |_| true, &mut outcome);
        let revisions = Revisions::of(&**set, &set.spec.template, set.status.collision_count, world, &mut outcome);
        let places = Place::all(set, world, &claimed);
        let work = Work { set, key, world, now, revisions: &revisions };
        if !set.metadata.is_deleting() {
            work.manage(&places, memory, &mut outcome);
            let live = claimed.iter().filter_map(|pod| pod.metadata.labels.get(REVISION_HASH).cloned()).collect();
            revisions.forget(set.spec.revision_history_limit, &live, &mut outcome);
        }
        status::report(&work, &places, &mut outcome);
        outcome
    }

    fn answered(&mut self, key: &Key, refusal: Option<&ApiError>) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.refusal = refusal.map(ToString::to_string);
        }
    }
}

/// Whether a change of a node can change where pods go.
fn matters(change: &Change) -> bool {
    let node = |stored: &Arc<Stored>| stored.typed::<Node>().cloned();
    match change {
        Change::Put { before: Some(before), after } => match (node(before), node(after)) {
            (Some(before), Some(after)) => before.spec != after.spec || before.metadata.labels != after.metadata.labels,
            _ => true,
        },
        Change::Put { before: None, .. } | Change::Delete { .. } => true,
    }
}

fn concerned(pod: &Pod, world: &World) -> Vec<Key> {
    if let Some(owner) = pod.metadata.controller() {
        return world.by_uid(&owner.uid).filter(|key| key.kind == Kind::DaemonSet).cloned().into_iter().collect();
    }
    let matches = |set: &&Arc<DaemonSet>| {
        Selector::from_labels(&set.spec.selector).is_ok_and(|s| !s.is_empty() && s.matches(&pod.metadata.labels))
    };
    world.in_namespace::<DaemonSet>(&pod.metadata.namespace).filter(matches).map(|set| set.key()).collect()
}

/// The DaemonSet that a revision belongs to.
fn owner_of(change: &Change, world: &World) -> Option<Key> {
    let stored = match change {
        Change::Put { after, .. } => after,
        Change::Delete { last, .. } => last,
    };
    let owner = stored.object.meta().controller()?;
    world.by_uid(&owner.uid).filter(|key| key.kind == Kind::DaemonSet).cloned()
}

/// What a decision about a DaemonSet looks at.
struct Work<'a> {
    set: &'a Arc<DaemonSet>,
    key: &'a Key,
    world: &'a World,
    now: Moment,
    revisions: &'a Revisions,
}

impl Work<'_> {
    fn manage(&self, places: &[Place<'_>], memory: &mut Memory, outcome: &mut Outcome) {
        let mut going: Vec<Arc<Pod>> = Vec::new();
        let mut missing: Vec<Str> = Vec::new();
        for place in places {
            self.look(place, memory, (&mut going, &mut missing), outcome);
        }
        let known: BTreeSet<&Str> = places.iter().map(|place| &place.name).collect();
        memory.failures.retain(|node, _| known.contains(node));
        memory.names.retain(|node, _| known.contains(node));
        if self.set.spec.update_strategy.kind != "OnDelete" {
            let gone: BTreeSet<Uid> = going.iter().map(|pod| pod.metadata.uid.clone()).collect();
            let step = rolling::step(self, places, &gone);
            going.extend(step.going);
            missing.extend(step.missing);
        }
        self.delete(&going, outcome);
        self.create(missing, memory, outcome);
    }

    /// What a node lacks, or has too much.
    fn look(
        &self,
        place: &Place<'_>,
        memory: &mut Memory,
        (going, missing): (&mut Vec<Arc<Pod>>, &mut Vec<Str>),
        outcome: &mut Outcome,
    ) {
        if let Some((used, offered)) = memory.names.get_mut(&place.name)
            && place.pods.iter().any(|pod| Some(&pod.metadata.name) == offered.as_ref())
        {
            (*used, *offered) = (*used + 1, None);
        }
        let staying = || place.pods.iter().copied().filter(|pod| !pod.metadata.is_deleting());
        if !place.may_stay {
            going.extend(staying().cloned());
            return;
        }
        let (ended, running): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = staying().partition(|pod| pod.is_terminal());
        for pod in ended {
            if self.may_replace(pod, &place.name, memory, outcome) {
                outcome.why.push(format!("pod {} on {} has ended: it is replaced", pod.metadata.name, place.name));
                going.push(pod.clone());
            }
        }
        if place.pods.is_empty() && place.wanted {
            missing.push(place.name.clone());
        }
        if running.iter().any(|pod| pod.is_ready()) {
            memory.failures.remove(&place.name);
        }
        // One of each template at most: the one that came first stays.
        let update = &self.revisions.update.hash;
        let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            running.into_iter().partition(|pod| pod.metadata.labels.get(REVISION_HASH) == Some(update));
        for mut alike in [new, old] {
            alike.sort_by_key(|pod| {
                (pod.spec.node_name.is_empty(), pod.metadata.creation_timestamp, pod.metadata.name.clone())
            });
            going.extend(alike.into_iter().skip(1).cloned());
        }
    }

    fn may_replace(&self, pod: &Pod, node: &Str, memory: &mut Memory, outcome: &mut Outcome) -> bool {
        let now = self.now.monotonic;
        let (count, last, due) = memory.failures.entry(node.clone()).or_default();
        if *last != pod.metadata.uid {
            let wait = match *count {
                0 => Duration::ZERO,
                n => FIRST_BACKOFF.saturating_mul(1 << (n - 1).min(16)).min(LAST_BACKOFF),
            };
            (*count, *last, *due) = (count.saturating_add(1), pod.metadata.uid.clone(), now + wait);
        }
        if *due > now {
            outcome.why.push(format!("pods on {node} end again and again: the next follows in {:?}", *due - now));
            outcome.look_again(*due - now);
            return false;
        }
        true
    }

    fn delete(&self, pods: &[Arc<Pod>], outcome: &mut Outcome) {
        for pod in pods.iter().take(BURST) {
            let options = DeleteOptions { uid: Some(pod.metadata.uid.clone()), ..DeleteOptions::default() };
            let note = self.note("SuccessfulDelete", format!("Deleted pod: {}", pod.metadata.name));
            outcome.write_noting(Write::Delete(pod.key(), options), note);
        }
    }

    fn create(&self, nodes: Vec<Str>, memory: &mut Memory, outcome: &mut Outcome) {
        if nodes.is_empty() {
            memory.refusal = None;
            return;
        }
        if self.set.metadata.controller().is_some_and(|owner| is_gone(owner, self.world)) {
            outcome.why.push("its owner is gone: it waits to be deleted".into());
            return;
        }
        if self.world.get::<Namespace>("", &self.key.namespace).is_some_and(|n| n.is_terminating()) {
            outcome.why.push("its namespace is terminating: no pod is made".into());
            return;
        }
        // After a refusal one pod finds out whether the cause is gone.
        let most = if memory.refusal.is_some() { 1 } else { BURST };
        outcome.why.push(format!("{} nodes lack a pod: creates {}", nodes.len(), nodes.len().min(most)));
        for node in nodes.into_iter().take(most) {
            let (used, offered) = memory.names.entry(node.clone()).or_default();
            let pod = pods::for_node(self.set, &self.revisions.update, (&node, *used), self.world);
            *offered = Some(pod.metadata.name.clone());
            let note = self.note("SuccessfulCreate", format!("Created pod: {}", pod.metadata.name));
            outcome.write_noting(Write::Create(Object::Pod(Arc::new(pod))), note);
        }
    }

    fn note(&self, reason: &'static str, message: String) -> Note {
        Note { about: self.key.clone(), uid: self.set.metadata.uid.clone(), is_warning: false, reason, message }
    }
}
