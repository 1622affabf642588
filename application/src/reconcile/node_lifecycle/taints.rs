//! The taints that follow from the state of a node.

use super::status;
use crate::client::{Part, Write};
use crate::reconcile::Outcome;
use std::sync::Arc;
use steersman_domain::meta::condition;
use steersman_domain::{Condition, Node, Resource, Taint, Time};

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that keep new pods away while they are true.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Every taint that is set and removed here, and whether the node is to have it now.
fn wanted(node: &Node) -> Vec<(&'static str, &'static str, bool)> {
    let (unknown, not_ready) = (status(node) == Some("Unknown"), status(node) == Some("False"));
    let mut list = vec![
        (NOT_READY, "NoSchedule", not_ready),
        (UNREACHABLE, "NoSchedule", unknown),
        (UNSCHEDULABLE, "NoSchedule", node.spec.unschedulable),
        (NOT_READY, "NoExecute", not_ready),
        (UNREACHABLE, "NoExecute", unknown),
    ];
    let holds = |kind: &str| condition(&node.status.conditions, kind).is_some_and(Condition::is_true);
    list.extend(PRESSURES.iter().map(|(kind, key)| (*key, "NoSchedule", holds(kind))));
    list
}

/// Plans the taints of a node. Those of others stay; a `NoExecute` taint without a time gets one, because evictions count
/// from it.
pub(super) fn plan(node: &Arc<Node>, now: Time, outcome: &mut Outcome) {
    let mut taints = node.spec.taints.clone();
    for (key, effect, is_wanted) in wanted(node) {
        let has = |t: &Taint| t.key == key && t.effect == effect;
        match (is_wanted, taints.iter().any(has)) {
            (true, false) => taints.push(Taint { key: key.into(), effect: effect.into(), ..Taint::default() }),
            (false, true) => taints.retain(|t| !has(t)),
            (true, true) | (false, false) => {}
        }
    }
    for taint in taints.iter_mut().filter(|t| t.effect == "NoExecute" && t.time_added.is_none()) {
        taint.time_added = Some(now.truncated());
    }
    if taints == node.spec.taints {
        return;
    }
    let list: Vec<String> = taints.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect();
    outcome.why.push(format!("node {} gets the taints [{}]", node.metadata.name, list.join(", ")));
    let mut tainted = (**node).clone();
    tainted.spec.taints = taints;
    outcome.writes.push(Write::Update(Node::into_object(Arc::new(tainted)), Part::Main));
}
