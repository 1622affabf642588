//! The runtime that the pod asks for is not offered.

use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeOffered;

impl Filter for RuntimeOffered {
    fn name(&self) -> &'static str {
        "RuntimeOffered"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        node.node.as_ref().is_some_and(|n| n.offers_runtime(&pod.handler))
    }

    fn explain(&self, pod: &Demand, _: &NodeInfo) -> Reason {
        format!("node(s) didn't offer the runtime {:?}", pod.handler).into()
    }
}
