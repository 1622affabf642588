//! Why an object is as it is: what the scheduler and the controllers know, as data.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::{Key, Str, Time};

/// Who can explain: the scheduler's driver for pods, the controllers' for everything else.
pub trait Explainer: Send + Sync + 'static {
    /// What is known of the object; `None` when it was never seen. Answers from memory and never blocks for long.
    fn explain(&self, key: &Key) -> Option<Explanation>;
}

/// What is known of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// Where a pod stands: `Queued`, `BackingOff`, `Unschedulable`, `Binding`, `Bound`; other objects are `Reconciled`.
    pub phase: String,
    /// One sentence: `0/3 nodes are available: 2 Insufficient cpu, …`.
    pub summary: String,
    /// Every node that was looked at, in name order.
    pub nodes: Vec<ExplainedNode>,
    /// What each score of the nodes measures, by its name.
    pub scores: BTreeMap<Str, Str>,
    /// What would make the scheduler look again.
    pub waiting_for: Vec<String>,
    /// What happened, oldest first.
    pub history: Vec<ExplainedEvent>,
}

/// What one node said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainedNode {
    /// The name of the node.
    pub node: Str,
    /// Whether the pod could go there.
    pub feasible: bool,
    /// Why not; empty when feasible.
    pub reason: String,
    /// 0 to 100 each, before weights.
    pub scores: BTreeMap<Str, i64>,
    /// The weighted sum.
    pub total: i64,
}

/// One thing that was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainedEvent {
    /// When.
    pub time: Time,
    /// What was done.
    pub what: String,
    /// Why.
    pub why: String,
}
