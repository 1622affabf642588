//! The status of a Deployment: counts over its sets, whether enough pods are available, and whether the rollout progresses.

use super::Rollout;
use super::bounds;
use super::conditions::{
    self, AVAILABLE, NEW_SET_AVAILABLE, PAUSED, PROGRESSING, REPLICA_FAILURE, RESUMED, SET_UPDATED, TIMED_OUT,
};
use std::time::Duration;
use steersman_domain::{Condition, DeploymentStatus, ReplicaSet, meta};

/// What is added to a deadline before looking, so that whole seconds have surely passed.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

impl Rollout<'_> {
    /// Notes that the Deployment was paused or resumed, so that no deadline runs meanwhile.
    pub(super) fn check_paused(&mut self) {
        if conditions::progress_deadline(self.before).is_none() {
            return;
        }
        let is_paused = self.deployment.spec.paused;
        let list = &mut self.deployment.status.conditions;
        let reason = meta::condition(list, PROGRESSING).map(|c| c.reason.as_str());
        // A failure that was reported is not hidden by a pause.
        let change = match (is_paused, reason) {
            (_, Some(TIMED_OUT)) | (true, Some(PAUSED)) => None,
            (true, _) => Some((PAUSED, "Deployment is paused")),
            (false, Some(PAUSED)) => Some((RESUMED, "Deployment is resumed")),
            (false, _) => None,
        };
        if let Some((reason, message)) = change {
            conditions::set(list, conditions::new(PROGRESSING, "Unknown", reason, message.into(), self.now));
        }
    }

    /// Counts, and the condition of availability.
    pub(super) fn count(&self) -> DeploymentStatus {
        let sum = |of: &dyn Fn(&ReplicaSet) -> i32| self.sets.iter().map(|s| of(&s.now)).fold(0, i32::saturating_add);
        let available = sum(&|s| s.status.available_replicas);
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: sum(&|s| s.status.replicas.0),
            updated_replicas: self.new.map_or(0, |at| self.sets[at].now.status.replicas.0),
            ready_replicas: sum(&|s| s.status.ready_replicas),
            available_replicas: available,
            unavailable_replicas: self.total().saturating_sub(available).max(0),
            ..self.deployment.status.clone()
        };
        let enough = available >= self.deployment.replicas() - bounds::max_unavailable(&self.deployment);
        let (value, reason, message) = match enough {
            true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
            false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
        };
        conditions::set(&mut status.conditions, conditions::new(AVAILABLE, value, reason, message.into(), self.now));
        status
    }

    /// The status while nothing is rolled out: no estimate of progress.
    pub(super) fn observe(&mut self) {
        self.deployment.status = self.count();
    }

    /// Whether all pods are of the new template and available, and no others are left.
    pub(super) fn is_complete(&self, status: &DeploymentStatus) -> bool {
        let wanted = self.deployment.replicas();
        status.updated_replicas == wanted
            && status.replicas == wanted
            && status.available_replicas == wanted
            && status.observed_generation >= self.deployment.metadata.generation
    }

    /// Whether anything moved towards the goal since the last status.
    fn is_progressing(&self, new: &DeploymentStatus) -> bool {
        let old = &self.before.status;
        let of_old_templates = |s: &DeploymentStatus| s.replicas - s.updated_replicas;
        new.updated_replicas > old.updated_replicas
            || of_old_templates(new) < of_old_templates(old)
            || new.ready_replicas > old.ready_replicas
            || new.available_replicas > old.available_replicas
    }

    /// The status of a rollout.
    pub(super) fn report(&mut self) {
        let mut status = self.count();
        match conditions::progress_deadline(self.before) {
            None => conditions::remove(&mut status.conditions, PROGRESSING),
            Some(deadline) => self.estimate(&mut status, Duration::from_secs(deadline)),
        }
        match self.failure() {
            Some(failure) => conditions::set(&mut status.conditions, failure),
            None => conditions::remove(&mut status.conditions, REPLICA_FAILURE),
        }
        if self.is_complete(&status) {
            self.why(format!("complete: {} pods are up to date and available", status.available_replicas));
        } else {
            let (wanted, new, all) = (self.deployment.replicas(), status.updated_replicas, status.available_replicas);
            self.why(format!("rolling out: {wanted} wanted, {new} of the new template, {all} available in all"));
        }
        self.deployment.status = status;
    }

    fn estimate(&mut self, status: &mut DeploymentStatus, deadline: Duration) {
        let current = meta::condition(&self.deployment.status.conditions, PROGRESSING);
        let is_done =
            status.replicas == status.updated_replicas && current.is_some_and(|c| c.reason == NEW_SET_AVAILABLE);
        if is_done {
            return;
        }
        let subject = match self.new.map(|at| &self.sets[at].now.metadata.name) {
            Some(name) => format!("ReplicaSet {name:?}"),
            None => format!("Deployment {:?}", self.before.metadata.name),
        };
        let new =
            |value, reason, what| conditions::new(PROGRESSING, value, reason, format!("{subject} {what}"), self.now);
        let list = &mut status.conditions;
        if self.is_complete_with(status.updated_replicas, status.replicas, status.available_replicas) {
            conditions::set(list, new("True", NEW_SET_AVAILABLE, "has successfully progressed."));
        } else if self.is_progressing(status) {
            conditions::renew(&mut status.conditions, new("True", SET_UPDATED, "is progressing."));
        } else if self.is_late(status, deadline) {
            conditions::set(&mut status.conditions, new("False", TIMED_OUT, "has timed out progressing."));
        }
        self.watch_deadline(status, deadline);
    }

    fn is_complete_with(&self, updated: i32, all: i32, available: i32) -> bool {
        let wanted = self.deployment.replicas();
        [updated, all, available] == [wanted; 3]
    }

    fn is_late(&self, status: &DeploymentStatus, deadline: Duration) -> bool {
        meta::condition(&status.conditions, PROGRESSING).is_some_and(|c| {
            let from = c.last_update_time.unwrap_or_default();
            c.reason == TIMED_OUT || c.reason != NEW_SET_AVAILABLE && from.after(deadline) < self.now
        })
    }

    /// Asks for another look when the deadline will have passed.
    fn watch_deadline(&mut self, status: &DeploymentStatus, deadline: Duration) {
        let Some(condition) = meta::condition(&status.conditions, PROGRESSING) else { return };
        if condition.reason == TIMED_OUT || condition.reason == NEW_SET_AVAILABLE {
            return;
        }
        if let Some(from) = condition.last_update_time {
            self.outcome.look_again(from.after(deadline).since(self.now) + AFTER_DEADLINE);
        }
    }

    /// The failure that a set tells of; the new one's first.
    fn failure(&self) -> Option<Condition> {
        let new = self.new.into_iter();
        let order = new.chain(self.old());
        let mut found = order.filter_map(|at| meta::condition(&self.sets[at].now.status.conditions, REPLICA_FAILURE));
        let failure = found.next()?;
        Some(Condition { last_update_time: failure.last_transition_time, ..failure.clone() })
    }
}
