//! Why a pod is where it is: what the scheduler knows, as data.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steersman_domain::{Key, Str, Time};

/// Who can explain the placement of pods: the scheduler's driver.
pub trait Explainer: Send + Sync + 'static {
    /// What is known of the pod; `None` when it was never seen. Answers from memory and never blocks for long.
    fn explain(&self, pod: &Key) -> Option<Explanation>;
}

/// What is known of the placement of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// Where the pod stands: `Queued`, `BackingOff`, `Unschedulable`, `Binding`, `Bound`.
    pub phase: String,
    /// One sentence: `0/3 nodes are available: 2 Insufficient cpu, …`.
    pub summary: String,
    /// Every node that was looked at, in name order.
    pub nodes: Vec<ExplainedNode>,
    /// What would make the scheduler look again.
    pub waiting_for: Vec<String>,
    /// What happened, oldest first.
    pub history: Vec<ExplainedEvent>,
}

/// What one node said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainedNode {
    pub node: Str,
    pub feasible: bool,
    /// Why not; empty when feasible.
    pub reason: String,
    /// 0 to 100 each, before weights.
    pub scores: BTreeMap<Str, i64>,
    /// The weighted sum.
    pub total: i64,
}

/// One thing that happened to the pod in the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainedEvent {
    pub time: Time,
    pub what: String,
    pub why: String,
}
