//! The scheduler, a decision port: which pods go to which nodes, and why.

use crate::{Pod, Str};
use std::sync::Arc;

/// What one node said to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    pub node: Str,
    /// The filter that rejected the node and its reason; `None`: feasible.
    pub rejected: Option<(&'static str, String)>,
    /// Scores by name, 0 to 100 each before weights; empty when rejected.
    pub scores: Vec<(&'static str, i64)>,
    /// The weighted sum.
    pub total: i64,
}

/// The outcome for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Goes to this node.
    Node(Str),
    /// Fits nowhere now: the summary as Kubernetes words it, `0/3 nodes are available: 2 Insufficient cpu, …`.
    Unschedulable(String),
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub pod: Arc<Pod>,
    pub placement: Placement,
    /// Every node that was looked at, in name order.
    pub verdicts: Arc<Vec<NodeVerdict>>,
}
