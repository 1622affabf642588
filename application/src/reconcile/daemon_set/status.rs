//! The status of a DaemonSet.

use super::Work;
use super::places::Place;
use crate::client::{Part, Write};
use crate::reconcile::Outcome;
use std::sync::Arc;
use steersman_domain::{AlwaysI32, DaemonSet, DaemonSetStatus, Object, Pod, REVISION_HASH};

/// Writes the status, if it differs.
pub(super) fn report(work: &Work<'_>, places: &[Place<'_>], outcome: &mut Outcome) {
    let (set, now) = (work.set, work.now.time);
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: work.revisions.collisions,
        conditions: set.status.conditions.clone(),
        ..DaemonSetStatus::default()
    };
    for place in places {
        if !place.wanted {
            let there = place.pods.iter().any(|pod| pod.is_active());
            status.number_misscheduled.0 += i32::from(there);
            continue;
        }
        status.desired_number_scheduled.0 += 1;
        if place.pods.is_empty() {
            continue;
        }
        status.current_number_scheduled.0 += 1;
        let active = || place.pods.iter().filter(|pod| pod.is_active());
        let is_new = |pod: &Pod| pod.metadata.labels.get(REVISION_HASH) == Some(&work.revisions.update.hash);
        status.number_ready.0 += i32::from(active().any(|pod| pod.is_ready()));
        let available = |pod: &&&Arc<Pod>| pod.is_available(set.spec.min_ready_seconds, now);
        status.number_available += i32::from(active().any(|pod| available(&pod)));
        status.updated_number_scheduled += i32::from(active().any(|pod| is_new(pod)));
        if active().any(|pod| pod.is_ready() && !available(&pod)) {
            outcome.look_again(std::time::Duration::from_secs(1));
        }
    }
    status.number_unavailable = status.desired_number_scheduled.0 - status.number_available;
    let AlwaysI32(desired) = status.desired_number_scheduled;
    outcome.why.push(format!("{} of {desired} nodes have a pod that serves", status.number_available));
    if status == set.status {
        return;
    }
    let mut changed = DaemonSet::clone(set);
    changed.status = status;
    outcome.writes.push(Write::Update(Object::DaemonSet(Arc::new(changed)), Part::Status));
}
