//! Taints that the pod does not tolerate.

use super::node_unschedulable::CORDON;
use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};
use steersman_domain::Taint;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct TaintToleration;

/// The first taint that repels the pod. A cordon is told by its own filter.
fn repels<'a>(pod: &Demand, node: &'a NodeInfo) -> Option<&'a Taint> {
    let taints = node.node.iter().flat_map(|n| &n.spec.taints).filter(|t| t.key != CORDON);
    taints
        .filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute")
        .find(|taint| !pod.tolerations.iter().any(|t| t.tolerates(taint)))
}

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        repels(pod, node).is_none()
    }

    fn explain(&self, pod: &Demand, node: &NodeInfo) -> Reason {
        match repels(pod, node) {
            Some(t) if t.value.is_empty() => format!("node(s) had untolerated taint {{{}: }}", t.key).into(),
            Some(t) => format!("node(s) had untolerated taint {{{}: {}}}", t.key, t.value).into(),
            None => "node(s) had untolerated taints".into(),
        }
    }
}
