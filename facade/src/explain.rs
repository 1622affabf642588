//! The scheduler's records as the API explains them.

use steersman_application::driver::scheduler::{Record, Records};
use steersman_application::usecase::explain::{ExplainedEvent, ExplainedNode, Explainer, Explanation};
use steersman_domain::{Key, Str};

/// Explains out of the scheduler's records.
pub(crate) struct SchedulerExplainer(pub(crate) Records);

impl Explainer for SchedulerExplainer {
    fn explain(&self, pod: &Key) -> Option<Explanation> {
        self.0.get(pod).map(|record| explanation(&record))
    }
}

fn explanation(record: &Record) -> Explanation {
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
        scores: verdict.scores.iter().map(|(name, score)| (Str::new_static(name), *score)).collect(),
        total: verdict.total,
    });
    let history = record.history.iter().map(|(time, why)| ExplainedEvent {
        time: *time,
        what: if why.starts_with("placed") { "Placed" } else { "NotPlaced" }.into(),
        why: why.clone(),
    });
    Explanation {
        phase: phase.into(),
        summary: record.summary.clone(),
        nodes: nodes.collect(),
        waiting_for: record.waits_for.map(str::to_owned).into_iter().collect(),
        history: history.collect(),
    }
}
