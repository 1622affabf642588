//! Cordoned nodes take only pods that tolerate it.

use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};
use steersman_domain::Taint;

/// The taint that stands for `spec.unschedulable`.
pub(super) const CORDON: &str = "node.kubernetes.io/unschedulable";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        if !node.node.as_ref().is_some_and(|n| n.spec.unschedulable) {
            return true;
        }
        let cordon = Taint { key: CORDON.into(), effect: "NoSchedule".into(), ..Taint::default() };
        pod.tolerations.iter().any(|t| t.tolerates(&cordon))
    }

    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) were unschedulable".into()
    }
}
