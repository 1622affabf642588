//! The scheduler, a decision port: which pods go to which nodes, and why.

use crate::{Key, Pod, Str};
use std::borrow::Cow;
use std::sync::Arc;

/// Scores of one profile at most.
pub const MOST_SCORES: usize = 16;

/// The scores of a node by name, 0 to 100 each, before weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    names: Option<Arc<[&'static str]>>,
    values: [u8; MOST_SCORES],
}

impl Scores {
    /// Scores in the order of their names; those beyond [`MOST_SCORES`] are left out.
    pub fn new(names: &Arc<[&'static str]>, scores: impl Iterator<Item = i64>) -> Self {
        let mut values = [0; MOST_SCORES];
        for (value, score) in values.iter_mut().zip(scores) {
            *value = u8::try_from(score.clamp(0, 100)).unwrap_or(100);
        }
        Scores { names: Some(names.clone()), values }
    }

    /// Name and score, in the order of the profile.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> + '_ {
        let names = self.names.iter().flat_map(|names| names.iter());
        names.zip(&self.values).map(|(name, value)| (*name, i64::from(*value)))
    }

    /// Whether there is none: the node was rejected.
    pub fn is_empty(&self) -> bool {
        self.names.is_none()
    }
}

/// What one node said to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    /// The name of the node.
    pub node: Str,
    /// The filter that rejected the node and its reason; `None`: feasible.
    pub rejected: Option<(&'static str, Cow<'static, str>)>,
    /// Empty when rejected.
    pub scores: Scores,
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
    /// Fits nowhere now, but will on this node once these pods of lower priority have ended.
    Preempt(Preemption),
}

/// A place that is made by ending pods of lower priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// The node on which room is made.
    pub node: Str,
    /// The pods to end, lowest priority first. Empty: those that are ending already make room enough.
    pub victims: Vec<Key>,
    /// Why this node, and at what price.
    pub why: String,
    /// Why it fits nowhere as it is.
    pub unschedulable: String,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The pod, as it was when it was looked at.
    pub pod: Arc<Pod>,
    /// What was decided.
    pub placement: Placement,
    /// The nodes that were looked at closely, in name order: all of a small cluster; of a large one the best, or, when there
    /// was none, some of those that said no.
    pub verdicts: Arc<Vec<NodeVerdict>>,
    /// How many nodes there were.
    pub nodes: usize,
}
