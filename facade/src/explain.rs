//! The records of the scheduler and of the controllers as the API explains them.

use std::collections::BTreeMap;
use steersman_application::driver::controllers::{Why, Whys};
use steersman_application::driver::scheduler::{Record, Records};
use steersman_application::usecase::explain::{ExplainedEvent, ExplainedNode, Explainer, Explanation};
use steersman_domain::{Key, Kind, Str};

/// Explains pods out of the scheduler's records, everything else out of the controllers'.
pub(crate) struct RecordExplainer {
    pub(crate) records: Records,
    pub(crate) whys: Whys,
    /// What each score measures.
    pub(crate) legend: BTreeMap<Str, Str>,
}

impl Explainer for RecordExplainer {
    fn explain(&self, key: &Key) -> Option<Explanation> {
        if key.kind == Kind::Pod {
            return self.records.get(key).map(|record| explanation(&record, &self.legend));
        }
        let whys = self.whys.get(key);
        (!whys.is_empty()).then(|| reconciled(&whys))
    }
}

/// The last reasons of each controller.
fn reconciled(whys: &[Why]) -> Explanation {
    let last = whys.iter().max_by_key(|why| why.since);
    let history = whys.iter().flat_map(|why| {
        why.reasons.iter().map(|reason| ExplainedEvent {
            time: why.since,
            what: why.controller.into(),
            why: reason.clone(),
        })
    });
    Explanation {
        phase: "Reconciled".into(),
        summary: last.map(|why| why.reasons.join("; ")).unwrap_or_default(),
        history: history.collect(),
        ..Explanation::default()
    }
}

fn explanation(record: &Record, legend: &BTreeMap<Str, Str>) -> Explanation {
    let phase = match record.waits_for {
        None => "Bound",
        Some(what) if what.contains("back-off") => "BackingOff",
        Some(what) if what.contains("turn") => "Queued",
        Some(_) => "Unschedulable",
    };
    let nodes = record.verdicts.iter().map(|verdict| ExplainedNode {
        node: verdict.node.clone(),
        feasible: verdict.rejected.is_none(),
        reason: verdict.rejected.as_ref().map(|(filter, why)| format!("{filter}: {why}")).unwrap_or_default(),
        scores: verdict.scores.iter().map(|(name, score)| (Str::new_static(name), score)).collect(),
        total: verdict.total,
    });
    let nodes: Vec<ExplainedNode> = nodes.collect();
    let scored = |name: &Str| nodes.iter().any(|node| node.scores.contains_key(name));
    let scores =
        legend.iter().filter(|(name, _)| scored(name)).map(|(name, what)| (name.clone(), what.clone())).collect();
    let history = record.history.iter().map(|(time, why)| ExplainedEvent {
        time: *time,
        what: if why.starts_with("placed") { "Placed" } else { "NotPlaced" }.into(),
        why: why.clone(),
    });
    Explanation {
        phase: phase.into(),
        summary: record.summary.clone(),
        nodes,
        scores,
        waiting_for: record.waits_for.map(str::to_owned).into_iter().collect(),
        history: history.collect(),
    }
}
