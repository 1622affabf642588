//! Few `PreferNoSchedule` taints that are not tolerated.

use crate::scheduling::{Basis, Demand, NodeInfo, Score};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct TaintToleration;

impl Score for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn explain(&self) -> &'static str {
        "100 without soft taints that the pod does not tolerate, a quarter less for each"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn of(&self, pod: &Demand, node: &NodeInfo) -> i64 {
        let soft = node.node.iter().flat_map(|n| &n.spec.taints).filter(|t| t.effect == "PreferNoSchedule");
        let count = soft.filter(|taint| !pod.tolerations.iter().any(|t| t.tolerates(taint))).count();
        (100 - 25 * i64::try_from(count).unwrap_or(4)).max(0)
    }
}
