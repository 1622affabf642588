//! The ReplicaSets of a Deployment as working copies: claiming them, counting, scaling.

use super::{Rollout, bounds, revision};
use crate::client::{DeleteOptions, Part, Write};
use crate::reconcile::Note;
use crate::reconcile::claims::controller_reference;
use std::sync::Arc;
use steersman_domain::selector::Selector;
use steersman_domain::{Deployment, Object, ReplicaSet, Resource};

/// A ReplicaSet as it is, and as it is to be.
pub(super) struct Set {
    /// `None`: to be created.
    before: Option<Arc<ReplicaSet>>,
    pub(super) now: ReplicaSet,
    /// To be recorded when the write has succeeded.
    pub(super) note: Option<Note>,
    /// To be deleted: nothing else happens to it.
    pub(super) is_surplus: bool,
}

impl Set {
    pub(super) fn existing(set: &Arc<ReplicaSet>) -> Self {
        Set { before: Some(set.clone()), now: ReplicaSet::clone(set), note: None, is_surplus: false }
    }

    pub(super) fn to_create(set: ReplicaSet) -> Self {
        Set { before: None, now: set, note: None, is_surplus: false }
    }

    /// The write that brings it about, when it differs.
    pub(super) fn into_write(self) -> Option<(Write, Option<Note>)> {
        let write = match self.before {
            None => Write::Create(Object::ReplicaSet(Arc::new(self.now))),
            Some(before) if self.is_surplus => {
                let uid = Some(before.metadata.uid.clone());
                let resource_version = Some(before.metadata.resource_version);
                Write::Delete(before.key(), DeleteOptions { uid, resource_version, ..DeleteOptions::default() })
            }
            Some(before) if *before == self.now => return None,
            Some(_) => Write::Update(Object::ReplicaSet(Arc::new(self.now)), Part::Main),
        };
        Some((write, self.note))
    }

    /// The wanted pods.
    pub(super) fn replicas(&self) -> i32 {
        self.now.replicas()
    }

    /// The available pods that will stay: a set that is being scaled down may count some that are about to go.
    pub(super) fn available(&self) -> i32 {
        self.now.status.available_replicas.min(self.replicas())
    }

    /// Whether the status is of the present specification: after a scaling, its counts may be of pods that are gone.
    pub(super) fn is_observed(&self) -> bool {
        self.now.status.observed_generation >= self.now.metadata.generation
    }

    pub(super) fn is_active(&self) -> bool {
        self.replicas() > 0
    }
}

impl Rollout<'_> {
    /// Collects the ReplicaSets; adopts those that match and have no owner, releases those that no longer match.
    pub(super) fn claim(&mut self, selector: &Selector) {
        let meta = &self.before.metadata;
        let mut sets = Vec::new();
        for set in self.world.controlled::<ReplicaSet>(&meta.uid) {
            if selector.matches(&set.metadata.labels) {
                sets.push(Set::existing(set));
            } else if !meta.is_deleting() {
                let mut released = ReplicaSet::clone(set);
                released.metadata.owner_references.retain(|o| o.uid != meta.uid);
                self.outcome.why.push(format!("{} no longer matches the selector: released", set.metadata.name));
                self.outcome.writes.push(Write::Update(Object::ReplicaSet(Arc::new(released)), Part::Main));
            }
        }
        if !meta.is_deleting() {
            for set in self.world.unmanaged::<ReplicaSet>(&meta.namespace) {
                if !set.metadata.is_deleting() && selector.matches(&set.metadata.labels) {
                    let mut adopted = Set::existing(set);
                    adopted.now.metadata.owner_references.push(controller_reference(&**self.before));
                    self.outcome.why.push(format!("{} matches the selector: adopted", set.metadata.name));
                    sets.push(adopted);
                }
            }
        }
        sets.sort_by(|a, b| age(&a.now).cmp(&age(&b.now)));
        self.sets = sets;
    }

    /// Finds the ReplicaSet of the present template; of several equal ones the oldest.
    pub(super) fn find_new(&mut self) {
        let template = &self.deployment.spec.template;
        self.new = self.sets.iter().position(|set| revision::same_template(&set.now.spec.template, template));
    }

    /// The places of all sets but the new one, the oldest first.
    pub(super) fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|at| Some(*at) != self.new).collect()
    }

    /// The wanted pods over all sets.
    pub(super) fn total(&self) -> i32 {
        self.sets.iter().map(Set::replicas).fold(0, i32::saturating_add)
    }

    /// Scales a set and tells of it; answers whether the number changed. What the Deployment wanted then is kept in the
    /// set's annotations, by which a later change of the number of replicas is told from a rollout.
    pub(super) fn scale_to(&mut self, at: usize, replicas: i32) -> bool {
        let (wanted, most) = (self.deployment.replicas(), bounds::max_total(&self.deployment));
        let Some(set) = self.sets.get_mut(at) else { return false };
        revision::set_replicas(&mut set.now.metadata, wanted, most);
        let from = set.now.replicas();
        if from == replicas {
            return false;
        }
        set.now.spec.replicas = Some(replicas);
        let name = set.now.metadata.name.clone();
        let direction = if replicas > from { "up" } else { "down" };
        // A set may be scaled twice in one look (the unhealthy ones first): the event tells of the whole way.
        let start = set.before.as_ref().map_or(0, |before| before.replicas());
        let message = format!("Scaled {direction} replica set {name} from {start} to {replicas}");
        let note = self.note("ScalingReplicaSet", message);
        self.why(format!("scales {name} {direction} from {from} to {replicas}"));
        if let Some(set) = self.sets.get_mut(at) {
            set.note = Some(note);
        }
        true
    }

    /// Deletes old sets without pods beyond the history limit, those of the lowest revision first.
    pub(super) fn clean_up(&mut self) {
        let Some(limit) = history_limit(&self.deployment) else { return };
        let mut old = self.old();
        old.retain(|&at| !self.sets[at].now.metadata.is_deleting());
        let surplus = old.len().saturating_sub(limit);
        old.sort_by_key(|&at| revision::of(&self.sets[at].now.metadata));
        for at in old.into_iter().take(surplus) {
            let set = &mut self.sets[at];
            let status = &set.now.status;
            let is_idle = status.replicas.0 == 0 && set.now.replicas() == 0;
            if is_idle && set.now.metadata.generation <= status.observed_generation {
                set.is_surplus = true;
                let name = set.now.metadata.name.clone();
                self.why(format!("{name} is beyond the revision history limit of {limit}: deleted"));
            }
        }
    }
}

fn age(set: &ReplicaSet) -> impl Ord {
    let meta = &set.metadata;
    (meta.creation_timestamp.is_none(), meta.creation_timestamp, meta.name.clone())
}

/// How many old sets are kept; `None`: all.
fn history_limit(deployment: &Deployment) -> Option<usize> {
    match deployment.spec.revision_history_limit {
        None => Some(10),
        Some(i32::MAX) => None,
        Some(limit) => Some(usize::try_from(limit).unwrap_or(0)),
    }
}
