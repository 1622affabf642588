//! Evictions by `NoExecute` taints: when each is due follows from the taint's time and the pod's tolerations alone.

use crate::client::{DeleteOptions, Write};
use crate::driver::world::World;
use crate::reconcile::{Note, Outcome};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::condition;
use steersman_domain::{Node, Pod, Resource, Taint, Time};

/// Plans the evictions from a node, and another look when the next is due. Pods that are being deleted already stay until
/// their agent, or the removal of the node, ends them.
pub(super) fn plan(world: &World, node: &Arc<Node>, now: Time, outcome: &mut Outcome) {
    if !node.spec.taints.iter().any(|t| t.effect == "NoExecute") {
        return;
    }
    for pod in world.pods_on(&node.metadata.name).filter(|p| !p.metadata.is_deleting()) {
        match due(pod, &node.spec.taints, now) {
            None => {}
            Some(at) if at <= now => {
                let meta = &pod.metadata;
                let options = DeleteOptions { uid: Some(meta.uid.clone()), ..DeleteOptions::default() };
                let why = format!("{} does not tolerate the taints of node {}", pod.key(), node.metadata.name);
                outcome.why.push(why);
                let note = Note {
                    about: pod.key(),
                    uid: meta.uid.clone(),
                    is_warning: false,
                    reason: "TaintManagerEviction",
                    message: format!("Marking for deletion Pod {}/{}", meta.namespace, meta.name),
                };
                outcome.write_noting(Write::Delete(pod.key(), options), note);
            }
            Some(at) => outcome.look_again(at.since(now)),
        }
    }
}

/// When a pod is to leave because of these taints; `None`: it may stay. A taint without a time counts from now.
pub(super) fn due(pod: &Pod, taints: &[Taint], now: Time) -> Option<Time> {
    let arrived = condition(&pod.status.conditions, "PodScheduled").and_then(|c| c.last_transition_time);
    let arrived = arrived.or(pod.metadata.creation_timestamp).unwrap_or_default();
    taints.iter().filter(|t| t.effect == "NoExecute").filter_map(|t| leaves_at(pod, t, arrived, now)).min()
}

fn leaves_at(pod: &Pod, taint: &Taint, arrived: Time, now: Time) -> Option<Time> {
    // The first toleration that matches decides, as in Kubernetes.
    let Some(toleration) = pod.spec.tolerations.iter().find(|t| t.tolerates(taint)) else { return Some(now) };
    let secs = toleration.toleration_seconds?;
    let patience = Duration::from_secs(u64::try_from(secs).unwrap_or(0));
    Some(taint.time_added.unwrap_or(now).max(arrived).after(patience))
}
