//! Profiles: which filters and scores a scheduler of a name uses.

use super::{Filter, Score};
use steersman_domain::Str;

/// A profile, chosen by a pod's `schedulerName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: Str,
    pub filters: Vec<Filter>,
    /// Scores with their weights.
    pub scores: Vec<(Score, i64)>,
}

const FILTERS: [Filter; 7] = [
    Filter::NodeUnschedulable,
    Filter::NodeName,
    Filter::TaintToleration,
    Filter::NodeAffinity,
    Filter::RuntimeOffered,
    Filter::NodePorts,
    Filter::NodeResourcesFit,
];

/// `default-scheduler` spreads (least allocated); `bin-packing` fills nodes one after the other.
pub fn default_profiles() -> Vec<Profile> {
    let profile = |name: &str, first: Score| Profile {
        name: name.into(),
        filters: FILTERS.to_vec(),
        scores: vec![(first, 1), (Score::BalancedAllocation, 1), (Score::NodeAffinity, 2), (Score::TaintToleration, 3)],
    };
    // Balance would keep bin packing from filling a node, so that profile goes without.
    let mut packing = profile("bin-packing", Score::MostAllocated);
    packing.scores.retain(|(score, _)| *score != Score::BalancedAllocation);
    vec![profile("default-scheduler", Score::LeastAllocated), packing]
}
