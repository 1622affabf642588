//! The status of a ReplicaSet: how many pods there are, are ready, and have been ready long enough.

use crate::client::{Part, Write};
use crate::reconcile::Outcome;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::selector::Selector;
use steersman_domain::{AlwaysI32, Condition, Object, Pod, ReplicaSet, ReplicaSetStatus, Time, meta};

/// The condition that tells of refused creations and deletions.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Adds the write of the status when it differs, and asks for another look when a ready pod becomes available by time.
pub(super) fn report(
    set: &Arc<ReplicaSet>,
    pods: &[Arc<Pod>],
    refusal: Option<&str>,
    now: Time,
    outcome: &mut Outcome,
) {
    let status = observe(set, pods, refusal, now);
    let minimum = Duration::from_secs(u64::try_from(set.spec.min_ready_seconds).unwrap_or(0));
    for pod in pods.iter().filter(|p| p.is_ready() && !p.is_available(set.spec.min_ready_seconds, now)) {
        let since = meta::condition(&pod.status.conditions, "Ready").and_then(|c| c.last_transition_time);
        if let Some(since) = since {
            outcome.look_again(since.after(minimum).since(now));
        }
    }
    if status != set.status {
        let mut changed = ReplicaSet::clone(set);
        changed.status = status;
        outcome.writes.push(Write::Update(Object::ReplicaSet(Arc::new(changed)), Part::Status));
    }
}

fn observe(set: &ReplicaSet, pods: &[Arc<Pod>], refusal: Option<&str>, now: Time) -> ReplicaSetStatus {
    let labels = Selector::from_map(&set.spec.template.metadata.labels);
    let count =
        |which: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| which(pod)).count()).unwrap_or(i32::MAX);
    let mut status = set.status.clone();
    status.replicas = AlwaysI32(count(&|_| true));
    status.fully_labeled_replicas = count(&|pod| labels.matches(&pod.metadata.labels));
    status.ready_replicas = count(&Pod::is_ready);
    status.available_replicas = count(&|pod| pod.is_available(set.spec.min_ready_seconds, now));
    status.observed_generation = set.metadata.generation;
    match refusal {
        None => status.conditions.retain(|c| c.kind != REPLICA_FAILURE),
        // The first cause stays until it is overcome: the words of later ones may differ in nothing but a name.
        Some(_) if meta::condition(&status.conditions, REPLICA_FAILURE).is_some() => {}
        Some(refusal) => {
            let missing = status.replicas.0 < set.replicas();
            let reason = if missing { "FailedCreate" } else { "FailedDelete" };
            set_condition(
                &mut status.conditions,
                Condition::new(REPLICA_FAILURE, true, reason, refusal, now.truncated()),
            );
        }
    }
    status
}
