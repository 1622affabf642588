//! Scores: each ranks a feasible node from 0 (worst) to 100 (best).

use super::NodeInfo;
use super::filter::Demand;
use steersman_domain::{Node, Pod};

/// A score. Integer arithmetic throughout, so that every machine ranks alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Score {
    /// The more is left free, the better (mean of cpu and memory).
    LeastAllocated,
    /// The fuller, the better: bin packing.
    MostAllocated,
    /// Alike use of cpu and memory.
    BalancedAllocation,
    /// Preferred node affinity, by weight.
    NodeAffinity,
    /// Few `PreferNoSchedule` taints that are not tolerated.
    TaintToleration,
}

impl Score {
    /// The name, as explanations show it.
    pub const fn name(self) -> &'static str {
        match self {
            Score::LeastAllocated => "LeastAllocated",
            Score::MostAllocated => "MostAllocated",
            Score::BalancedAllocation => "BalancedAllocation",
            Score::NodeAffinity => "NodeAffinity",
            Score::TaintToleration => "TaintToleration",
        }
    }

    /// 0 to 100.
    pub fn of(self, demand: &Demand<'_>, node: &Node, info: &NodeInfo) -> i64 {
        match self {
            Score::LeastAllocated => 100 - mean(weighed(demand, info)),
            Score::MostAllocated => mean(weighed(demand, info)),
            Score::BalancedAllocation => {
                let (cpu, memory) = used(demand, info);
                100 - (cpu - memory).abs()
            }
            Score::NodeAffinity => affinity(demand.pod, node),
            Score::TaintToleration => taints(demand.pod, node),
        }
    }
}

/// Percent of cpu and of memory in use once the pod is there.
fn used(demand: &Demand<'_>, info: &NodeInfo) -> (i64, i64) {
    let (taken, request) = (&info.taken.allocated, &demand.request);
    (
        percent(taken.cpu_milli.saturating_add(request.cpu_milli), info.allocatable.cpu_milli),
        percent(taken.memory_bytes.saturating_add(request.memory_bytes), info.allocatable.memory_bytes),
    )
}

/// As `used`, by what pods weigh.
fn weighed(demand: &Demand<'_>, info: &NodeInfo) -> (i64, i64) {
    let (taken, added) = (info.weight, demand.weight);
    (
        percent(taken.cpu_milli.saturating_add(added.cpu_milli), info.allocatable.cpu_milli),
        percent(taken.memory_bytes.saturating_add(added.memory_bytes), info.allocatable.memory_bytes),
    )
}

fn percent(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 100;
    }
    i64::try_from(i128::from(part) * 100 / i128::from(whole)).unwrap_or(100).clamp(0, 100)
}

fn mean((a, b): (i64, i64)) -> i64 {
    (a + b) / 2
}

/// The weight of the preferences that match, in percent of all weights.
fn affinity(pod: &Pod, node: &Node) -> i64 {
    let Some(rules) = pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()) else { return 0 };
    let weight = |matching: bool| -> i64 {
        rules
            .preferred
            .iter()
            .filter(|p| !matching || p.preference.matches(&node.metadata.name, &node.metadata.labels))
            .map(|p| i64::from(p.weight.max(0)))
            .sum()
    };
    percent_or_zero(weight(true), weight(false))
}

fn percent_or_zero(part: i64, whole: i64) -> i64 {
    if whole == 0 { 0 } else { percent(part, whole) }
}

/// 100 without intolerable soft taints, a quarter less for each.
fn taints(pod: &Pod, node: &Node) -> i64 {
    let soft = node.spec.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
    let count = soft.filter(|taint| !pod.spec.tolerations.iter().any(|t| t.tolerates(taint))).count();
    (100 - 25 * i64::try_from(count).unwrap_or(4)).max(0)
}
