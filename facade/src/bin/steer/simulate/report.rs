//! What a what-if found, in numbers.

use super::jobs::TRACE;
use super::play::{Played, Script};
use super::tally::{self, Counts};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use steersman::domain::ledger::Resources;
use steersman::domain::meta::condition;
use steersman::domain::{DaemonSet, Deployment, Job, Pod, ReplicaSet, StatefulSet};

/// So many points of the timeline are told.
const POINTS: usize = 1000;

/// All of it. Times are seconds since the manifests were applied; shares are of what ready nodes have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) simulated_seconds: f64,
    /// Something would still have happened: it was ended after a day in which the cluster never rested.
    pub(super) unfinished: bool,
    /// Of who was bound where and when, in order: the same in every run of the same seed.
    pub(super) placement_checksum: String,
    pub(super) pods: Pods,
    pub(super) waits: Waits,
    pub(super) utilisation: BTreeMap<String, Utilisation>,
    pub(super) workloads: Vec<Workload>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) failures: Vec<Failure>,
    pub(super) nodes: Vec<NodeReport>,
    pub(super) timeline: Vec<Point>,
}

/// Pods by what became of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pods {
    pub(super) created: usize,
    pub(super) bound: usize,
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    /// Deleted before they were over: replaced, scaled down, preempted, or lost with a node.
    pub(super) deleted: usize,
    pub(super) running: usize,
    pub(super) waiting: usize,
}

/// From the creation of a pod to its binding, in seconds; of those that wait still, until the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waits {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// How much of a resource was requested, from 0 to 1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Utilisation {
    pub(super) mean: f64,
    pub(super) peak: f64,
    pub(super) peak_at: f64,
}

/// A workload of the manifests at the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workload {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Ready; of jobs: succeeded.
    pub(super) done: i64,
    pub(super) wanted: i64,
}

/// Pods that wait for the same reason at the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waiting {
    pub(super) pods: usize,
    pub(super) example: String,
    pub(super) reason: String,
}

/// A node that was lost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) node: String,
    pub(super) at: f64,
    /// On it then.
    pub(super) pods: usize,
    /// Until the cluster knew.
    pub(super) noticed_after: Option<f64>,
    /// Ready pods of the cluster before it, and the fewest after it; without those that end by themselves.
    pub(super) ready_before: usize,
    pub(super) ready_least: usize,
    /// Until as many pods were ready again as before.
    pub(super) recovered_after: Option<f64>,
}

/// A node at the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeReport {
    pub(super) name: String,
    pub(super) ready: bool,
    pub(super) pods: usize,
    /// By resource: cpu in thousandths of a core, memory in bytes, others in units.
    pub(super) requested: BTreeMap<String, i64>,
    pub(super) allocatable: BTreeMap<String, i64>,
    /// The largest share of its scarcest resource that was ever requested, from 0 to 1.
    pub(super) peak: f64,
}

/// The whole cluster at a time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    pub(super) at: f64,
    /// Requested, from 0 to 1.
    pub(super) cpu: f64,
    pub(super) memory: f64,
    /// Pods that have a node and are not over.
    pub(super) placed: usize,
    pub(super) waiting: usize,
    pub(super) ready_nodes: usize,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn thousandth(number: u64) -> f64 {
    number as f64 / 1000.0
}

fn permille(number: i64) -> f64 {
    thousandth(u64::try_from(number).unwrap_or(0))
}

impl Report {
    pub(super) fn of(script: &Script, played: &Played) -> Report {
        let counts = played.tally.counts();
        let since = |at: Duration| thousandth(tally::millis(at.saturating_sub(played.start)));
        let after =
            |from: Duration, to: Option<Duration>| to.map(|to| thousandth(tally::millis(to.saturating_sub(from))));
        let end = played.start.saturating_add(played.span);
        let use_of = |(name, used): (&String, &tally::Use)| {
            let mean = if used.had_seconds > 0.0 { used.used_seconds / used.had_seconds } else { 0.0 };
            (name.clone(), Utilisation { mean, peak: used.peak, peak_at: since(used.peak_at) })
        };
        let failures = counts.losses.iter().map(|loss| Failure {
            node: loss.node.clone(),
            at: since(loss.at),
            pods: loss.pods,
            noticed_after: after(loss.at, loss.noticed),
            ready_before: loss.ready_before,
            ready_least: loss.ready_least,
            recovered_after: after(loss.at, loss.recovered),
        });
        Report {
            seed: script.seed,
            simulated_seconds: since(end),
            unfinished: played.unfinished,
            placement_checksum: format!("{:016x}", counts.checksum),
            pods: Pods {
                created: counts.created,
                bound: counts.waits.len(),
                succeeded: counts.succeeded,
                failed: counts.failed,
                deleted: counts.cut_short,
                running: counts.placed(),
                waiting: counts.waiting(),
            },
            waits: waits(&counts, end),
            utilisation: counts.uses.iter().map(use_of).collect(),
            workloads: workloads(played),
            waiting: waiting(played),
            failures: failures.collect(),
            nodes: nodes(&counts),
            timeline: timeline(&counts, since),
        }
    }
}

fn waits(counts: &Counts, end: Duration) -> Waits {
    let mut all: Vec<u64> = counts.waits.iter().copied().chain(counts.waits_of_waiting(end)).collect();
    all.sort_unstable();
    let at =
        |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0);
    let count = u64::try_from(all.len()).unwrap_or(u64::MAX).max(1);
    Waits {
        mean: thousandth(all.iter().sum::<u64>() / count),
        p50: thousandth(at(50)),
        p95: thousandth(at(95)),
        p99: thousandth(at(99)),
        max: thousandth(all.last().copied().unwrap_or(0)),
    }
}

fn workloads(played: &Played) -> Vec<Workload> {
    let world = &played.world;
    let mut all = Vec::new();
    let mut add = |kind, meta: &steersman::domain::ObjectMeta, done: i64, wanted: i64| {
        let (namespace, name) = (meta.namespace.to_string(), meta.name.to_string());
        all.push(Workload { kind, namespace, name, done, wanted });
    };
    for item in world.all::<Deployment>() {
        add("Deployment", &item.metadata, item.status.ready_replicas.into(), item.spec.replicas.unwrap_or(1).into());
    }
    for item in world.all::<StatefulSet>() {
        add("StatefulSet", &item.metadata, item.status.ready_replicas.into(), item.spec.replicas.unwrap_or(1).into());
    }
    for item in world.all::<DaemonSet>() {
        add(
            "DaemonSet",
            &item.metadata,
            item.status.number_ready.0.into(),
            item.status.desired_number_scheduled.0.into(),
        );
    }
    for item in world.all::<ReplicaSet>().filter(|set| set.metadata.controller().is_none()) {
        add("ReplicaSet", &item.metadata, item.status.ready_replicas.into(), item.spec.replicas.unwrap_or(1).into());
    }
    for item in world.all::<Job>().filter(|job| !job.metadata.labels.contains_key(TRACE)) {
        let wanted = item.spec.completions.or(item.spec.parallelism).unwrap_or(1);
        add("Job", &item.metadata, item.status.succeeded.into(), wanted.into());
    }
    for item in world.all::<Pod>().filter(|pod| pod.metadata.controller().is_none()) {
        add("Pod", &item.metadata, i64::from(item.is_ready()), 1);
    }
    all
}

/// The pods that wait for a node, by reason, the most first.
fn waiting(played: &Played) -> Vec<Waiting> {
    let mut by_reason: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for pod in played.world.all::<Pod>().filter(|pod| pod.spec.node_name.is_empty()) {
        let scheduled = condition(&pod.status.conditions, "PodScheduled").filter(|condition| !condition.is_true());
        let reason = scheduled.map_or_else(|| "nobody has looked at it yet".into(), |c| c.message.to_string());
        let name = || (0, format!("{}/{}", pod.metadata.namespace, pod.metadata.name));
        by_reason.entry(reason).or_insert_with(name).0 += 1;
    }
    let mut all: Vec<_> =
        by_reason.into_iter().map(|(reason, (pods, example))| Waiting { pods, example, reason }).collect();
    all.sort_by_key(|waiting| std::cmp::Reverse(waiting.pods));
    all
}

fn nodes(counts: &Counts) -> Vec<NodeReport> {
    let listed =
        |resources: &Resources| tally::amounts(resources).map(|(name, amount)| (name.to_owned(), amount)).collect();
    let report = |(name, carried): (&steersman::domain::Str, &tally::Carried)| NodeReport {
        name: name.to_string(),
        ready: carried.ready,
        pods: carried.pods,
        requested: listed(&carried.used),
        allocatable: listed(&carried.allocatable),
        peak: permille(carried.peak),
    };
    counts.nodes.iter().map(report).collect()
}

/// The samples, thinned out: of equal stretches of time the last.
fn timeline(counts: &Counts, since: impl Fn(Duration) -> f64) -> Vec<Point> {
    let samples = &counts.samples;
    let every = samples.len().div_ceil(POINTS).max(1);
    let picked = samples.chunks(every).filter_map(<[_]>::last);
    picked
        .map(|sample| Point {
            at: since(sample.at),
            cpu: permille(sample.cpu),
            memory: permille(sample.memory),
            placed: sample.placed,
            waiting: sample.waiting,
            ready_nodes: sample.ready_nodes,
        })
        .collect()
}
