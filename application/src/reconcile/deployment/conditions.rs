//! The conditions of a Deployment, with the words that clients wait for.

use steersman_domain::{Condition, Deployment, Time, meta};

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

pub(super) const NEW_SET_CREATED: &str = "NewReplicaSetCreated";
pub(super) const NEW_SET_FOUND: &str = "FoundNewReplicaSet";
pub(super) const SET_UPDATED: &str = "ReplicaSetUpdated";
pub(super) const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(super) const CREATE_ERROR: &str = "ReplicaSetCreateError";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const PAUSED: &str = "DeploymentPaused";
pub(super) const RESUMED: &str = "DeploymentResumed";

/// A condition as of now; `status` is `True`, `False` or `Unknown`.
pub(super) fn new(kind: &str, status: &str, reason: &str, message: String, now: Time) -> Condition {
    Condition {
        kind: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_update_time: Some(now.truncated()),
        last_transition_time: Some(now.truncated()),
        ..Condition::default()
    }
}

/// Sets a condition, unless status and reason are the same. The transition time moves only when the status does.
pub(super) fn set(list: &mut Vec<Condition>, mut condition: Condition) {
    if let Some(old) = meta::condition(list, &condition.kind) {
        if old.status == condition.status && old.reason == condition.reason {
            return;
        }
        if old.status == condition.status {
            condition.last_transition_time = old.last_transition_time;
        }
    }
    remove(list, &condition.kind.clone());
    list.push(condition);
}

/// Sets a condition even if status and reason are the same, so that its time of update says when it last held anew.
pub(super) fn renew(list: &mut Vec<Condition>, mut condition: Condition) {
    if let Some(old) = meta::condition(list, &condition.kind).filter(|old| old.status == condition.status) {
        condition.last_transition_time = old.last_transition_time;
    }
    remove(list, &condition.kind.clone());
    list.push(condition);
}

/// Drops a condition.
pub(super) fn remove(list: &mut Vec<Condition>, kind: &str) {
    list.retain(|c| c.kind != kind);
}

/// Seconds without progress after which a rollout has failed; `None`: never.
pub(super) fn progress_deadline(deployment: &Deployment) -> Option<u64> {
    match deployment.spec.progress_deadline_seconds {
        None => Some(600),
        Some(i32::MAX) => None,
        Some(seconds) => Some(u64::try_from(seconds).unwrap_or(0)),
    }
}
