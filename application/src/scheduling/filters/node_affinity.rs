//! `nodeSelector` and required node affinity.

use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct NodeAffinity;

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        let Some(node) = &node.node else { return false };
        let labels = &node.metadata.labels;
        let affinity = pod.pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required.as_ref());
        pod.selector.matches(labels) && required.is_none_or(|r| r.matches(&node.metadata.name, labels))
    }

    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) didn't match Pod's node affinity/selector".into()
    }
}
