//! What the scheduler decided and why, kept for every pod that it has seen: the answer to "why is my pod there" and "why
//! is it not anywhere".

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use steersman_domain::ports::{Decision, NodeVerdict, Placement};
use steersman_domain::{Key, Resource, Time};

/// How much is remembered of all pods together, in verdicts of nodes, of which each takes about 200 bytes; the oldest records go
/// first. That is 10,000 pods of which a hundred nodes had their say, or 125,000 of a large cluster, of which the best four had.
const BUDGET: usize = 1_000_000;
/// What a record takes beside its verdicts, in the size of one.
const BASE: usize = 4;
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
    /// What all records take, in verdicts.
    weight: usize,
}

impl Record {
    fn weight(&self) -> usize {
        BASE + self.verdicts.len()
    }
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
        let inner = &mut *self.lock();
        match inner.records.get(pod) {
            Some(known) => inner.weight -= known.weight(),
            None => inner.order.push_back(pod.clone()),
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
        inner.weight += record.weight();
        while inner.weight > BUDGET
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.weight -= inner.records.remove(&oldest).map_or(0, |record| record.weight());
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

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::{Kind, Str};

    fn verdicts(count: usize) -> Arc<Vec<NodeVerdict>> {
        let verdict = |n: usize| NodeVerdict {
            node: Str::from(format!("node-{n}")),
            rejected: Some(("NodeResourcesFit", "Insufficient cpu".into())),
            scores: Default::default(),
            total: 0,
        };
        Arc::new((0..count).map(verdict).collect())
    }

    #[test]
    fn the_oldest_go_when_all_take_more_than_may_be() {
        let records = Records::default();
        let key = |n: usize| Key::new(Kind::Pod, "default", &format!("p-{n}"));
        let note = |n: usize, verdicts: &Arc<Vec<NodeVerdict>>| {
            records.note(&key(n), ("why".into(), Time::default()), None, Some(verdicts.clone()));
        };
        let (few, many) = (verdicts(4), verdicts(96));
        (0..125_000).for_each(|n| note(n, &few));
        assert!(records.get(&key(0)).is_some(), "a hundred thousand of which few nodes were looked at");
        // Seen again: it takes the place of what was remembered of it, and stays as old as it is.
        (0..5).for_each(|_| note(124_999, &few));
        assert!(records.get(&key(0)).is_some());
        note(125_000, &many);
        let gone = (0..125_000).filter(|n| records.get(&key(*n)).is_none()).collect::<Vec<_>>();
        assert_eq!(gone, (0..13).collect::<Vec<_>>(), "as many of the oldest as it takes the room of");
        assert!(records.get(&key(125_000)).is_some_and(|record| record.verdicts.len() == 96));
    }
}
