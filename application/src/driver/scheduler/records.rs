//! What the scheduler decided and why, kept for every pod that it has seen: the answer to "why is my pod there" and "why
//! is it not anywhere".

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use steersman_domain::ports::{Decision, NodeVerdict, Placement};
use steersman_domain::{Key, Resource, Time};

/// How many pods are remembered; the oldest go first. A record of 100 nodes takes about 20 kB.
const MAX_RECORDS: usize = 10_000;
/// How many nodes a record keeps one by one; the summary counts all.
const MAX_NODES: usize = 100;
/// How many decisions a pod's history keeps.
const MAX_HISTORY: usize = 16;

/// What is remembered of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The last decision in one sentence.
    pub summary: String,
    /// What each node said then, in name order, at most 100.
    pub verdicts: Arc<Vec<NodeVerdict>>,
    /// What the pod waits for; `None`: nothing.
    pub waits_for: Option<&'static str>,
    /// Decisions, oldest first; equal ones in a row are one.
    pub history: VecDeque<(Time, String)>,
}

/// Records by pod; cheap to clone, shared between the driver that writes and whoever explains.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<Key, Record>,
    order: VecDeque<Key>,
}

impl Records {
    /// What is remembered of a pod.
    pub fn get(&self, pod: &Key) -> Option<Record> {
        self.lock().records.get(pod).cloned()
    }

    pub(super) fn decided(&self, decision: &Decision, waits_for: Option<&'static str>, now: Time) {
        let summary = match &decision.placement {
            Placement::Node(node) => placed(node, decision),
            Placement::Unschedulable(why) => why.clone(),
            Placement::Preempt(preemption) => format!("{} {}", preemption.unschedulable, preemption.why),
        };
        let verdicts = match &decision.placement {
            _ if decision.verdicts.len() <= MAX_NODES => Arc::clone(&decision.verdicts),
            placement => Arc::new(shortened(&decision.verdicts, placement)),
        };
        self.note(&decision.pod.key(), (summary, now), waits_for, Some(verdicts));
    }

    pub(super) fn failed(&self, pod: &Key, why: String, now: Time) {
        self.note(pod, (why, now), Some("the back-off after a failed bind"), None);
    }

    pub(super) fn gated(&self, pod: &Key, why: String, now: Time) {
        self.note(pod, (why, now), Some("its scheduling gates to be removed"), None);
    }

    fn note(
        &self,
        pod: &Key,
        (summary, now): (String, Time),
        waits_for: Option<&'static str>,
        verdicts: Option<Arc<Vec<NodeVerdict>>>,
    ) {
        let mut inner = self.lock();
        if !inner.records.contains_key(pod) {
            if inner.order.len() >= MAX_RECORDS
                && let Some(oldest) = inner.order.pop_front()
            {
                inner.records.remove(&oldest);
            }
            inner.order.push_back(pod.clone());
        }
        let record = inner.records.entry(pod.clone()).or_insert_with(|| Record {
            summary: String::new(),
            verdicts: Arc::default(),
            waits_for: None,
            history: VecDeque::new(),
        });
        record.waits_for = waits_for;
        record.verdicts = verdicts.unwrap_or_else(|| record.verdicts.clone());
        if record.summary != summary {
            if record.history.len() >= MAX_HISTORY {
                record.history.pop_front();
            }
            record.history.push_back((now, summary.clone()));
            record.summary = summary;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A holder that panicked left whole records behind: every change is a single assignment at the end.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// As many verdicts as a record keeps, in name order; the chosen node stays in view whatever its name.
fn shortened(verdicts: &[NodeVerdict], placement: &Placement) -> Vec<NodeVerdict> {
    let chosen = |verdict: &NodeVerdict| matches!(placement, Placement::Node(node) if *node == verdict.node);
    let first = verdicts.iter().filter(|v| chosen(v));
    let mut kept: Vec<NodeVerdict> =
        first.chain(verdicts.iter().filter(|v| !chosen(v))).take(MAX_NODES).cloned().collect();
    kept.sort_by(|a, b| a.node.cmp(&b.node));
    kept
}

fn placed(node: &str, decision: &Decision) -> String {
    let verdicts = &decision.verdicts;
    let feasible = verdicts.iter().filter(|v| v.rejected.is_none()).count();
    let total = verdicts.iter().find(|v| v.node == node).map_or(0, |v| v.total);
    let which = if verdicts.len() < decision.nodes { "that were scored" } else { "feasible" };
    format!("placed on {node}: the best of {feasible} {which} among {} nodes, score {total}", decision.nodes)
}
