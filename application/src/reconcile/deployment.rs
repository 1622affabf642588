//! The Deployment controller: rolls pods from one template to the next through ReplicaSets. Each template has one
//! ReplicaSet; the newest is scaled up and the others down within the bounds of the strategy. It touches no pods.
//! Source of the algorithm: Kubernetes `pkg/controller/deployment` (1.32).

mod bounds;
mod conditions;
mod proportion;
pub(super) mod revision;
mod rolling;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{ApiError, Part, Write};
use crate::driver::world::World;
use sets::Set;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::ports::Change;
use steersman_domain::selector::Selector;
use steersman_domain::{Deployment, Key, Kind, Object, Pod, ReplicaSet, Resource, Stored, Time};

/// The Deployment controller. It remembers refused creations, to tell of them in the status.
#[derive(Clone, Debug, Default)]
pub struct Deployments {
    refusals: BTreeMap<Key, String>,
}

impl Reconciler for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        match change.key().kind {
            Kind::Deployment => vec![change.key().clone()],
            Kind::ReplicaSet => {
                let sides = sides(change).filter_map(|s| s.typed::<ReplicaSet>());
                sides.flat_map(|set| concerned(set, world)).collect()
            }
            // Only who recreates waits for pods to be gone; all others follow the ReplicaSets.
            Kind::Pod => {
                let sides = sides(change).filter_map(|s| s.typed::<Pod>());
                sides.filter_map(|pod| recreating(pod, world)).take(1).collect()
            }
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<Deployment>().map(|deployment| deployment.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(deployment) = world.get::<Deployment>(&key.namespace, &key.name) else {
            self.refusals.remove(key);
            return Outcome::default();
        };
        let selector = match Selector::from_labels(&deployment.spec.selector) {
            Ok(selector) if !selector.is_empty() => selector,
            Ok(_) => return explained("the selector is empty: it would claim every ReplicaSet, so nothing is done"),
            Err(error) => return explained(&format!("the selector cannot be read: {error}")),
        };
        let mut rollout = Rollout {
            before: deployment,
            deployment: Deployment::clone(deployment),
            key,
            world,
            sets: Vec::new(),
            new: None,
            now: now.time,
            refusal: self.refusals.get(key).map(String::as_str),
            outcome: Outcome::default(),
        };
        rollout.claim(&selector);
        rollout.sync();
        rollout.finish()
    }

    fn answered(&mut self, key: &Key, refusal: Option<&ApiError>) {
        match refusal {
            Some(error) => self.refusals.insert(key.clone(), error.to_string()),
            None => self.refusals.remove(key),
        };
    }
}

fn explained(why: &str) -> Outcome {
    Outcome { why: vec![why.to_owned()], ..Outcome::default() }
}

/// The object before and after a change.
fn sides(change: &Change) -> impl Iterator<Item = &Arc<Stored>> {
    let (before, after) = match change {
        Change::Put { before, after } => (before.as_ref(), Some(after)),
        Change::Delete { before, .. } => (Some(before), None),
    };
    [before, after].into_iter().flatten()
}

/// The Deployments that a ReplicaSet concerns: the one that manages it, or all that could adopt it.
fn concerned(set: &ReplicaSet, world: &World) -> Vec<Key> {
    if let Some(owner) = set.metadata.controller() {
        return world.by_uid(&owner.uid).filter(|key| key.kind == Kind::Deployment).cloned().into_iter().collect();
    }
    let matches = |d: &Deployment| {
        Selector::from_labels(&d.spec.selector).is_ok_and(|s| !s.is_empty() && s.matches(&set.metadata.labels))
    };
    world
        .in_namespace::<Deployment>(&set.metadata.namespace)
        .filter(|d| matches(d))
        .map(|deployment| deployment.key())
        .collect()
}

/// The Deployment of a pod, when it recreates.
fn recreating(pod: &Pod, world: &World) -> Option<Key> {
    let owner = world.by_uid(&pod.metadata.controller()?.uid).filter(|key| key.kind == Kind::ReplicaSet)?;
    let set = world.get::<ReplicaSet>(&owner.namespace, &owner.name)?;
    let key = world.by_uid(&set.metadata.controller()?.uid).filter(|key| key.kind == Kind::Deployment)?;
    let deployment = world.get::<Deployment>(&key.namespace, &key.name)?;
    (!bounds::is_rolling(deployment)).then(|| key.clone())
}

/// One look at one Deployment. Everything is decided on working copies; `finish` turns what differs into writes, one for
/// each object.
struct Rollout<'a> {
    before: &'a Arc<Deployment>,
    deployment: Deployment,
    key: &'a Key,
    world: &'a World,
    /// The ReplicaSets of the Deployment, the oldest first.
    sets: Vec<Set>,
    /// Which of them has the present template.
    new: Option<usize>,
    now: Time,
    /// Why the last writes were refused.
    refusal: Option<&'a str>,
    outcome: Outcome,
}

impl Rollout<'_> {
    fn sync(&mut self) {
        self.find_new();
        if self.before.metadata.is_deleting() {
            self.why("it is being deleted: only the status is kept".into());
            return self.observe();
        }
        self.check_paused();
        if self.deployment.spec.paused {
            self.take_new();
            self.scale();
            self.clean_up();
            self.why("it is paused: a new template is not rolled out".into());
            return self.observe();
        }
        if self.is_scaling() {
            self.take_new();
            self.scale();
            return self.observe();
        }
        if bounds::is_rolling(&self.deployment) { self.roll() } else { self.recreate() }
    }

    fn why(&mut self, why: String) {
        self.outcome.why.push(why);
    }

    fn note(&self, reason: &'static str, message: String) -> Note {
        let uid = self.before.metadata.uid.clone();
        Note { about: self.key.clone(), uid, is_warning: false, reason, message }
    }

    /// The writes that turn what is into what was decided.
    fn finish(mut self) -> Outcome {
        for set in std::mem::take(&mut self.sets) {
            if let Some((write, note)) = set.into_write() {
                match note {
                    Some(note) => self.outcome.write_noting(write, note),
                    None => self.outcome.writes.push(write),
                }
            }
        }
        if self.deployment != **self.before {
            let changed = Object::Deployment(Arc::new(self.deployment));
            self.outcome.writes.push(Write::Update(changed, Part::Status));
        }
        self.outcome
    }
}
