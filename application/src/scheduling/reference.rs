//! The naive scheduler: looks at every node for every pod, remembers nothing, and says what the quick one must say too.

use super::decide::{Begun, CANDIDATES, CLOSE, Candidate, best};
use super::{Basis, Demand, Eligible, Nodes, SchedulingContext, Situation, eligible};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::{Pod, Str};

/// The node for a pod, which is not entered.
pub(super) fn place(nodes: &mut Nodes, pod: &Arc<Pod>, context: &SchedulingContext) -> Option<Str> {
    let profile = context.profile(pod)?;
    let demand = Arc::new(Demand::new(pod, context));
    nodes.learn(&demand);
    let eligible = if demand.terms.spread.is_empty() { Eligible::default() } else { eligible(&demand, &nodes.infos) };
    let begun = Begun::new(profile, &Situation { pod, demand: &demand, nodes, eligible: &eligible });
    let fixed = |c: &Candidate| -> i64 {
        let scores = profile.scores().iter().zip(c.scores).filter(|((s, _), _)| s.basis() == Basis::Node);
        scores.map(|((_, weight), points)| weight * i64::from(points)).sum()
    };
    let mut suiting = 0;
    let mut groups: BTreeMap<i64, Vec<Candidate>> = BTreeMap::new();
    for (_, info) in nodes.iter() {
        suiting += usize::from(profile.node_filters().all(|f| f.passes(&demand, info)));
        if let Ok(candidate) = begun.look(info) {
            groups.entry(fixed(&candidate)).or_default().push(candidate);
        }
    }
    let close = suiting <= CLOSE || begun.measures() || demand.pinned.is_some();
    let mut candidates = Vec::new();
    for mut group in groups.into_values() {
        group.sort_by_key(|c| c.rank);
        candidates.extend(group.into_iter().take(if close { usize::MAX } else { CANDIDATES }));
    }
    best(&candidates).map(|c| nodes.infos[c.node as usize].name.clone())
}
