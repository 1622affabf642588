//! The pod names another node.

use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct NodeName;

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn basis(&self) -> Basis {
        Basis::Room
    }

    fn concerns(&self, pod: &Demand) -> bool {
        !pod.pod.spec.node_name.is_empty()
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        let named = &pod.pod.spec.node_name;
        named.is_empty() || *named == node.name
    }

    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) didn't match the requested node name".into()
    }
}
