//! The status of a StatefulSet.

use super::Work;
use crate::client::{Part, Write};
use crate::reconcile::Outcome;
use std::sync::Arc;
use steersman_domain::{Object, Pod, REVISION_HASH, StatefulSet, StatefulSetStatus};

/// Writes the status, if it differs.
pub(super) fn report(work: &Work<'_>, collisions: Option<i32>, outcome: &mut Outcome) {
    let set = work.set;
    let pods = || work.pods.values();
    let count =
        |which: &dyn Fn(&Pod) -> bool| i32::try_from(pods().filter(|pod| which(pod)).count()).unwrap_or(i32::MAX);
    let of = |pod: &Pod, name: &str| pod.metadata.labels.get(REVISION_HASH).is_some_and(|hash| hash == name);
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: collisions,
        conditions: set.status.conditions.clone(),
        current_revision: work.current.name.clone(),
        update_revision: work.update.name.clone(),
        ready_replicas: count(&|pod| pod.is_active() && pod.is_ready()),
        current_replicas: count(&|pod| pod.is_active() && of(pod, &work.current.name)),
        updated_replicas: count(&|pod| pod.is_active() && of(pod, &work.update.name)),
        ..StatefulSetStatus::default()
    };
    status.replicas.0 = count(&|pod| !pod.is_terminal());
    status.available_replicas.0 = count(&|pod| pod.is_active() && work.available(pod));
    let all = set.replicas();
    let done = status.updated_replicas == all && status.ready_replicas == all && status.replicas.0 == all;
    if done && set.spec.update_strategy.kind != "OnDelete" && status.current_revision != status.update_revision {
        outcome.why.push(format!("all pods are of revision {}", work.update.name));
        status.current_revision = work.update.name.clone();
        status.current_replicas = status.updated_replicas;
    }
    outcome.why.push(format!("{} of {all} pods are ready", status.ready_replicas));
    if status == set.status {
        return;
    }
    let mut changed = StatefulSet::clone(set);
    changed.status = status;
    outcome.writes.push(Write::Update(Object::StatefulSet(Arc::new(changed)), Part::Status));
}
