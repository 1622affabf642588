//! The StatefulSet controller: pods with names of their own, made, ended and replaced one after the other. There are never
//! two pods of one name: a pod that ends, or that cannot be reached, keeps its place until it is gone.
//! Source of the algorithm: Kubernetes `pkg/controller/statefulset/stateful_set_control.go`.

mod pods;
mod status;

use super::claims::claim;
use super::replica_set::{is_gone, sides};
use super::revisions::{Revision, Revisions};
use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{DeleteOptions, Write};
use crate::driver::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::Change;
use steersman_domain::selector::Selector;
use steersman_domain::{IntOrString, Key, Kind, Namespace, Object, Pod, REVISION_HASH, Resource, StatefulSet, Str};

/// Pods created or deleted for one StatefulSet in one pass at most.
const BURST: usize = 250;

/// The StatefulSet controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatefulSets;

impl Reconciler for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        match change.key().kind {
            Kind::StatefulSet => vec![change.key().clone()],
            Kind::Pod => sides(change).flat_map(|pod| concerned(pod, world)).collect(),
            Kind::ControllerRevision => {
                let stored = match change {
                    Change::Put { after, .. } => after,
                    Change::Delete { last, .. } => last,
                };
                let owner = stored.object.meta().controller().and_then(|owner| world.by_uid(&owner.uid));
                owner.filter(|key| key.kind == Kind::StatefulSet).cloned().into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<StatefulSet>().map(|set| set.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(set) = world.get::<StatefulSet>(&key.namespace, &key.name) else { return Outcome::default() };
        let mut outcome = Outcome::default();
        let selector = match Selector::from_labels(&set.spec.selector) {
            Ok(selector) if !selector.is_empty() => selector,
            _ => {
                outcome.why.push("the selector is empty or cannot be read: nothing is done".into());
                return outcome;
            }
        };
        let mine = |pod: &Pod| set.ordinal_of(pod).is_some();
        let claimed = claim(&**set, &selector, world, mine, &mut outcome);
        let revisions = Revisions::of(&**set, &set.spec.template, set.status.collision_count, world, &mut outcome);
        let current = revisions.named(&set.status.current_revision).unwrap_or_else(|| revisions.update.clone());
        let pods: BTreeMap<i32, &Arc<Pod>> =
            claimed.iter().filter_map(|pod| Some((set.ordinal_of(pod)?, pod))).collect();
        let work = Work { set, key, world, now, update: &revisions.update, current: &current, pods: &pods };
        if !set.metadata.is_deleting() {
            work.manage(&mut outcome);
            let mut live: BTreeSet<Str> =
                claimed.iter().filter_map(|p| p.metadata.labels.get(REVISION_HASH).cloned()).collect();
            live.insert(current.name.clone());
            revisions.forget(set.spec.revision_history_limit, &live, &mut outcome);
        }
        status::report(&work, revisions.collisions, &mut outcome);
        outcome
    }
}

fn concerned(pod: &Pod, world: &World) -> Vec<Key> {
    if let Some(owner) = pod.metadata.controller() {
        return world.by_uid(&owner.uid).filter(|key| key.kind == Kind::StatefulSet).cloned().into_iter().collect();
    }
    let matches = |set: &&Arc<StatefulSet>| {
        set.ordinal_of(pod).is_some()
            && Selector::from_labels(&set.spec.selector).is_ok_and(|s| !s.is_empty() && s.matches(&pod.metadata.labels))
    };
    world.in_namespace::<StatefulSet>(&pod.metadata.namespace).filter(matches).map(|set| set.key()).collect()
}

/// What a decision about a StatefulSet looks at.
struct Work<'a> {
    set: &'a Arc<StatefulSet>,
    key: &'a Key,
    world: &'a World,
    now: Moment,
    update: &'a Revision,
    current: &'a Revision,
    /// By ordinal, ended and ending ones too.
    pods: &'a BTreeMap<i32, &'a Arc<Pod>>,
}

impl Work<'_> {
    fn wanted(&self) -> std::ops::Range<i32> {
        let first = self.set.first_ordinal();
        first..first.saturating_add(self.set.replicas())
    }

    fn in_order(&self) -> bool {
        self.set.spec.pod_management_policy != "Parallel"
    }

    fn available(&self, pod: &Pod) -> bool {
        pod.is_available(self.set.spec.min_ready_seconds, self.now.time)
    }

    /// The first ordinal that keeps the template it has.
    fn partition(&self) -> i32 {
        let update = self.set.spec.update_strategy.rolling_update.as_ref();
        self.set.first_ordinal().saturating_add(update.and_then(|u| u.partition).unwrap_or(0))
    }

    fn manage(&self, outcome: &mut Outcome) {
        if self.grow(outcome) || self.shrink(outcome) {
            return;
        }
        if self.set.spec.update_strategy.kind != "OnDelete" {
            self.roll(outcome);
        }
    }

    /// Makes what is missing, from the lowest ordinal on; answers whether the rest must wait.
    fn grow(&self, outcome: &mut Outcome) -> bool {
        for ordinal in self.wanted() {
            if outcome.writes.len() >= BURST {
                return true;
            }
            let waits = match self.pods.get(&ordinal) {
                None => self.create(ordinal, outcome),
                Some(pod) if pod.metadata.is_deleting() => {
                    outcome.why.push(format!("pod {} is still ending", pod.metadata.name));
                    true
                }
                Some(pod) if pod.is_terminal() => {
                    outcome.why.push(format!("pod {} has ended: it is made anew", pod.metadata.name));
                    self.delete(pod, outcome);
                    true
                }
                Some(pod) if !pod.is_ready() && self.is_abandoned(pod) => {
                    outcome
                        .why
                        .push(format!("pod {} is of a template that was given up: it is made anew", pod.metadata.name));
                    self.delete(pod, outcome);
                    true
                }
                Some(pod) if !pod.is_ready() => {
                    outcome.why.push(format!("pod {} is not ready yet", pod.metadata.name));
                    true
                }
                Some(pod) if !self.available(pod) => {
                    outcome.why.push(format!("pod {} has not been ready long enough", pod.metadata.name));
                    outcome.look_again(Duration::from_secs(1));
                    true
                }
                Some(_) => false,
            };
            if waits && self.in_order() {
                return true;
            }
        }
        false
    }

    /// Whether a pod is of a template between the current one and the wanted one. If it does not serve nothing is lost with it;
    /// to wait for it, as Kubernetes does, would leave a mistake without a way back.
    fn is_abandoned(&self, pod: &Pod) -> bool {
        let revision = pod.metadata.labels.get(REVISION_HASH);
        self.set.spec.update_strategy.kind != "OnDelete"
            && revision != Some(&self.update.name)
            && revision != Some(&self.current.name)
    }

    /// Ends what is too much, from the highest ordinal down; answers whether the rest must wait.
    fn shrink(&self, outcome: &mut Outcome) -> bool {
        let wanted = self.wanted();
        let surplus: Vec<_> = self.pods.iter().rev().filter(|(ordinal, _)| !wanted.contains(ordinal)).collect();
        for (_, pod) in &surplus {
            if pod.metadata.is_deleting() {
                if self.in_order() {
                    return true;
                }
                continue;
            }
            self.delete(pod, outcome);
            if self.in_order() || outcome.writes.len() >= BURST {
                return true;
            }
        }
        !surplus.is_empty() && self.in_order()
    }

    /// Replaces pods of other templates, from the highest ordinal down, as far as the partition.
    fn roll(&self, outcome: &mut Outcome) {
        let update = self.set.spec.update_strategy.rolling_update.as_ref();
        let most = update.and_then(|u| u.max_unavailable.as_ref()).unwrap_or(&IntOrString::Int(1));
        let most = most.scaled(self.set.replicas(), true).and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1);
        let is_missing =
            |ordinal: &i32| self.pods.get(ordinal).is_none_or(|pod| !pod.is_active() || !self.available(pod));
        let mut missing = self.wanted().filter(is_missing).count();
        for ordinal in self.wanted().rev().take_while(|ordinal| *ordinal >= self.partition()) {
            let Some(pod) = self.pods.get(&ordinal) else { continue };
            let is_old = pod.metadata.labels.get(REVISION_HASH) != Some(&self.update.name);
            if !is_old || pod.metadata.is_deleting() {
                continue;
            }
            // One that does not serve is not missed more than it is.
            let serves = !is_missing(&ordinal);
            if serves && missing >= most {
                outcome.why.push(format!("{missing} pods do not serve: pod {} stays for now", pod.metadata.name));
                return;
            }
            missing += usize::from(serves);
            outcome.why.push(format!("pod {} is of another template: it is replaced", pod.metadata.name));
            self.delete(pod, outcome);
        }
    }

    /// Answers whether those after it must wait.
    fn create(&self, ordinal: i32, outcome: &mut Outcome) -> bool {
        if self.set.metadata.controller().is_some_and(|owner| is_gone(owner, self.world)) {
            outcome.why.push("its owner is gone: it waits to be deleted".into());
            return true;
        }
        if self.world.get::<Namespace>("", &self.key.namespace).is_some_and(|n| n.is_terminating()) {
            outcome.why.push("its namespace is terminating: no pod is made".into());
            return true;
        }
        let revision = if ordinal < self.partition() { self.current } else { self.update };
        let pod = pods::of_ordinal(self.set, revision, ordinal);
        if let Some(other) = self.world.get::<Pod>(&self.key.namespace, &pod.metadata.name) {
            outcome.why.push(format!("pod {} is there already and not its own", other.metadata.name));
            return true;
        }
        let message = format!("create Pod {} in StatefulSet {} successful", pod.metadata.name, self.set.metadata.name);
        let note = self.note("SuccessfulCreate", message);
        outcome.write_noting(Write::Create(Object::Pod(Arc::new(pod))), note);
        true
    }

    fn delete(&self, pod: &Pod, outcome: &mut Outcome) {
        let options = DeleteOptions { uid: Some(pod.metadata.uid.clone()), ..DeleteOptions::default() };
        let message = format!("delete Pod {} in StatefulSet {} successful", pod.metadata.name, self.set.metadata.name);
        outcome.write_noting(Write::Delete(pod.key(), options), self.note("SuccessfulDelete", message));
    }

    fn note(&self, reason: &'static str, message: String) -> Note {
        Note { about: self.key.clone(), uid: self.set.metadata.uid.clone(), is_warning: false, reason, message }
    }
}
