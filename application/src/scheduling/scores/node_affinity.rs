//! Preferred node affinity, by weight.

use super::share::percent;
use crate::scheduling::{Basis, Demand, NodeInfo, Score};
use steersman_domain::PreferredSchedulingTerm;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct NodeAffinity;

impl Score for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn explain(&self) -> &'static str {
        "weight of the preferences of node affinity that match, in percent of all"
    }

    fn basis(&self) -> Basis {
        Basis::Node
    }

    fn of(&self, pod: &Demand, node: &NodeInfo) -> i64 {
        let rules = pod.pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let (Some(rules), Some(node)) = (rules, &node.node) else { return 0 };
        let matches = |p: &&PreferredSchedulingTerm| p.preference.matches(&node.metadata.name, &node.metadata.labels);
        let weight = |p: &PreferredSchedulingTerm| i64::from(p.weight.max(0));
        let all: i64 = rules.preferred.iter().map(weight).sum();
        let matching: i64 = rules.preferred.iter().filter(matches).map(weight).sum();
        if all == 0 { 0 } else { percent(matching, all) }
    }
}
