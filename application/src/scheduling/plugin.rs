//! What filters and scores are to the scheduler. Each is one file, says what its answers depend on, and can put each of
//! them into words. Hosts add their own beside the built-in ones.

use super::topology::Eligible;
use super::{Demand, NodeInfo, Nodes};
use std::borrow::Cow;
use std::fmt::Debug;
use steersman_domain::Pod;

/// Why a node is not feasible, as the summary of all nodes counts it: `Insufficient cpu`.
pub type Reason = Cow<'static, str>;

/// What the answers of a plug-in depend on, and so how long they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// On the node object and on what pods of one class have in common: node selector, node affinity, tolerations, runtime
    /// class, images, and the names of extended resources. Asked once for each class and node, and again when the node
    /// changes.
    Node,
    /// Also on what is taken on the node and on all of the pod's spec. Asked for nodes that are looked at closely.
    Room,
    /// Also on the pods of other nodes. Prepared once for each decision, by `begin`.
    Pods,
}

/// What a decision about one pod looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What it needs, prepared.
    pub demand: &'a Demand,
    /// All nodes.
    pub nodes: &'a Nodes,
    /// Which nodes count for topology spread; empty when the pod has no spread constraint.
    pub eligible: &'a Eligible,
}

/// A filter: one reason why a node cannot take a pod. Pure.
pub trait Filter: Send + Sync + Debug {
    /// The name, as profiles and explanations write it.
    fn name(&self) -> &'static str;

    /// What its answers depend on.
    fn basis(&self) -> Basis;

    /// Whether it can say no to pods of this demand at all; asked once for each decision. For the basis `Room`.
    fn concerns(&self, _pod: &Demand) -> bool {
        true
    }

    /// Whether the node can take the pod, as far as this filter can see. For the bases `Node` and `Room`.
    fn passes(&self, _pod: &Demand, _node: &NodeInfo) -> bool {
        true
    }

    /// Why a node that does not pass does not.
    fn explain(&self, pod: &Demand, node: &NodeInfo) -> Reason;

    /// For the basis `Pods`: what is worked out for one decision; `None`: the filter has nothing to say about the pod.
    fn begin<'a>(&'a self, _at: &Situation<'a>) -> Option<Box<dyn Check + 'a>> {
        None
    }
}

/// A filter in the middle of a decision.
pub trait Check {
    /// See [`Filter::passes`].
    fn passes(&self, node: &NodeInfo) -> bool;

    /// See [`Filter::explain`].
    fn explain(&self, node: &NodeInfo) -> Reason;
}

/// A score: ranks feasible nodes from 0 (worst) to 100 (best), in integers, so that every machine ranks alike. Pure.
pub trait Score: Send + Sync + Debug {
    /// The name, as profiles and explanations write it.
    fn name(&self) -> &'static str;

    /// What it measures, in one sentence: explanations show it beside the number.
    fn explain(&self) -> &'static str;

    /// What its answers depend on.
    fn basis(&self) -> Basis;

    /// 0 to 100. For the bases `Node` and `Room`.
    fn of(&self, _pod: &Demand, _node: &NodeInfo) -> i64 {
        0
    }

    /// For the basis `Pods`: what is worked out for one decision; `None`: all nodes are alike to it.
    fn begin<'a>(&'a self, _at: &Situation<'a>) -> Option<Box<dyn Measure + 'a>> {
        None
    }

    /// Whether the score likes nodes the fuller they are, or the emptier: the scheduler then looks at nodes in that order.
    fn order(&self) -> Option<Preference> {
        None
    }
}

/// A score in the middle of a decision.
pub trait Measure {
    /// See [`Score::of`].
    fn of(&self, node: &NodeInfo) -> i64;
}

/// In which order nodes are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// By name.
    #[default]
    Name,
    /// The emptiest first.
    Emptiest,
    /// The fullest first.
    Fullest,
}
