//! Binding pods to nodes.

use super::book::Book;
use super::round::{Plan, Round};
use crate::client::ApiError;
use std::sync::Arc;
use steersman_domain::meta::set_condition;
use steersman_domain::{Condition, Key, Pod, Resource, Str, Uid};

impl Round<'_> {
    /// Binds a pod to a node, if it is still free, is the same pod, and fits beside what the node has.
    pub(super) async fn plan_bind(&mut self, key: &Key, uid: &Uid, node: &Str) -> Result<Plan, ApiError> {
        let old = self.stored(key).await?;
        let conflict = |message: String| ApiError::Conflict { key: key.clone(), message };
        let Some(pod) = old.typed::<Pod>() else {
            return Err(ApiError::BadRequest(format!("{key} is not a pod and cannot be bound")));
        };
        if !uid.0.is_empty() && *uid != pod.metadata.uid {
            return Err(conflict(precondition_uid(uid, &pod.metadata.uid)));
        }
        if pod.metadata.is_deleting() {
            return Err(conflict(format!("pod {} is being deleted, cannot be assigned to a host", key.name)));
        }
        if !pod.spec.node_name.is_empty() {
            let taken = &pod.spec.node_name;
            return Err(conflict(format!("pod {} is already assigned to node \"{taken}\"", key.name)));
        }
        let Some(index) = self.node_book(node).await? else {
            return Err(conflict(format!("node \"{node}\" does not exist")));
        };
        let mut bound = (**pod).clone();
        bound.spec.node_name = node.clone();
        // The place that was kept for it is now its own.
        bound.status.nominated_node_name = Str::default();
        let (now, generation) = (self.now.truncated(), bound.metadata.generation);
        let Some((ledger, allocatable)) = self.book(index).and_then(Book::node) else {
            return Err(conflict(format!("node \"{node}\" has no ledger")));
        };
        let obstacles = ledger.obstacles(allocatable, &bound);
        if !obstacles.is_empty() {
            return Err(conflict(format!("it does not fit on node \"{node}\": {}", obstacles.join(", "))));
        }
        ledger.enter(&bound);
        set_condition(&mut bound.status.conditions, scheduled(now));
        bound.metadata.generation = generation + 1;
        Ok(Plan::replace(&old, Pod::into_object(Arc::new(bound)), Some(index)))
    }
}

/// What a bound pod says of itself.
pub(super) fn scheduled(now: steersman_domain::Time) -> Condition {
    Condition::new("PodScheduled", true, "", "", now)
}

pub(super) fn precondition_uid(wanted: &Uid, found: &Uid) -> String {
    format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}")
}
