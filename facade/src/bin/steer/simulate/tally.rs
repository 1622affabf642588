//! What is counted while a what-if runs: who asked for what when, where it went, and what the nodes carried.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman::application::driver::agent::RUN_FOR;
use steersman::application::reconcile::fnv64;
use steersman::domain::ledger::Resources;
use steersman::domain::ports::Change;
use steersman::domain::{Key, Kind, Node, Pod, PodPhase, Str};

/// A pod that is not over.
#[derive(Debug)]
struct Live {
    created: Duration,
    node: Option<Str>,
    requests: Resources,
    /// It ends by itself.
    finite: bool,
    ready: bool,
}

/// What a node carries.
#[derive(Debug, Default, Clone)]
pub(super) struct Carried {
    pub(super) allocatable: Resources,
    pub(super) used: Resources,
    pub(super) pods: usize,
    pub(super) ready: bool,
    /// The largest share of any resource that was ever requested, in thousandths.
    pub(super) peak: i64,
    /// When that share changed, and to what.
    pub(super) shares: Vec<(Duration, i64)>,
    /// When it became ready or ceased to be.
    pub(super) readiness: Vec<(Duration, bool)>,
}

/// All ready nodes together, at a moment.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// Requested of what ready nodes have, in thousandths.
    pub(super) cpu: i64,
    pub(super) memory: i64,
    pub(super) waiting: usize,
    pub(super) placed: usize,
    pub(super) ready_nodes: usize,
}

/// A node that was lost, and what became of its pods.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    pub(super) node: String,
    pub(super) at: Duration,
    pub(super) pods: usize,
    /// When the cluster knew.
    pub(super) noticed: Option<Duration>,
    /// Pods that were ready before, and the fewest since; without those that end by themselves.
    pub(super) ready_before: usize,
    pub(super) ready_least: usize,
    /// When as many were ready again.
    pub(super) recovered: Option<Duration>,
}

/// An amount over time: its sum by seconds, its largest share of what there was, and when.
#[derive(Debug, Default, Clone)]
pub(super) struct Use {
    pub(super) used_seconds: f64,
    pub(super) had_seconds: f64,
    pub(super) peak: f64,
    pub(super) peak_at: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    live: BTreeMap<Key, Live>,
    pub(super) nodes: BTreeMap<Str, Carried>,
    pub(super) samples: Vec<Sample>,
    pub(super) losses: Vec<Loss>,
    pub(super) uses: BTreeMap<String, Use>,
    /// From creation to binding, in milliseconds.
    pub(super) waits: Vec<u64>,
    pub(super) created: usize,
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    /// Pods that were bound, and gone before they were over.
    pub(super) cut_short: usize,
    /// All ready nodes together.
    used: Resources,
    had: Resources,
    waiting: usize,
    ready: usize,
    ready_nodes: usize,
    finite: usize,
    pub(super) checksum: u64,
    /// The last time that anything but a node changed.
    pub(super) last_change: Duration,
    /// Until when `uses` are summed.
    summed: Duration,
}

/// The count of a what-if; clones count together.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

/// The largest share of any resource, in thousandths.
fn share(used: &Resources, had: &Resources) -> i64 {
    let of = |used: i64, had: i64| if had > 0 { used.saturating_mul(1000) / had } else { 0 };
    let extended = had.extended.iter().map(|(name, had)| of(used.extended.get(name).copied().unwrap_or(0), *had));
    extended.fold(of(used.cpu_milli, had.cpu_milli).max(of(used.memory_bytes, had.memory_bytes)), i64::max)
}

/// Amounts by the name of the resource; pods and storage are not told of.
pub(super) fn amounts(resources: &Resources) -> impl Iterator<Item = (&str, i64)> {
    let own = [("cpu", resources.cpu_milli), ("memory", resources.memory_bytes)];
    own.into_iter().chain(resources.extended.iter().map(|(name, amount)| (name.as_str(), *amount)))
}

#[expect(clippy::cast_precision_loss, reason = "shares and sums for people, exact to 52 bits")]
fn float(amount: i64) -> f64 {
    amount as f64
}

fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.phase, PodPhase::Succeeded | PodPhase::Failed)
}

impl Tally {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a revision.
    pub(super) fn note(&self, at: Duration, change: &Change) {
        let key = change.key();
        if !matches!(key.kind, Kind::Node | Kind::Lease | Kind::NodeLedger | Kind::AddressLedger | Kind::Event) {
            self.counts().last_change = at;
        }
        let after = match change {
            Change::Put { after, .. } => Some(after),
            Change::Delete { .. } => None,
        };
        match key.kind {
            Kind::Pod => self.counts().pod(at, key, after.and_then(|stored| stored.typed::<Pod>()).map(|pod| &**pod)),
            Kind::Node => {
                self.counts().node(at, key, after.and_then(|stored| stored.typed::<Node>()).map(|node| &**node));
            }
            _ => {}
        }
    }

    /// A node loses its power now.
    pub(super) fn lose(&self, at: Duration, node: &str) {
        let mut counts = self.counts();
        let pods = counts.nodes.get(node).map_or(0, |carried| carried.pods);
        let (ready_before, ready_least) = (counts.ready, counts.ready);
        let node = node.to_owned();
        counts.losses.push(Loss { node, at, pods, noticed: None, ready_before, ready_least, recovered: None });
    }

    /// How many pods that end by themselves have a place, and when anything changed last.
    pub(super) fn rest(&self) -> (usize, Duration) {
        let counts = self.counts();
        (counts.finite, counts.last_change)
    }
}

impl Counts {
    /// How many pods wait for a node now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many pods have a node and are not over.
    pub(super) fn placed(&self) -> usize {
        self.live.len() - self.waiting
    }

    /// How long those that wait now have waited, in milliseconds.
    pub(super) fn waits_of_waiting(&self, now: Duration) -> impl Iterator<Item = u64> {
        let waiting = self.live.values().filter(|live| live.node.is_none());
        waiting.map(move |live| millis(now.saturating_sub(live.created)))
    }

    fn pod(&mut self, at: Duration, key: &Key, after: Option<&Pod>) {
        self.sum(at);
        let Some(pod) = after.filter(|pod| !is_over(pod)) else {
            self.end(at, key, after);
            return self.sample(at);
        };
        if !self.live.contains_key(key) {
            self.created += 1;
            self.waiting += 1;
            let finite = pod.metadata.annotations.contains_key(RUN_FOR);
            let live = Live { created: at, node: None, requests: pod.requests(), finite, ready: false };
            self.live.insert(key.clone(), live);
        }
        self.bind(at, key, pod);
        self.readiness(at, key, pod.is_ready());
        self.sample(at);
    }

    fn bind(&mut self, at: Duration, key: &Key, pod: &Pod) {
        let node = &pod.spec.node_name;
        let Some(live) = self.live.get_mut(key).filter(|live| live.node.is_none() && !node.is_empty()) else { return };
        live.node = Some(node.clone());
        self.waiting -= 1;
        self.finite += usize::from(live.finite);
        self.waits.push(millis(at.saturating_sub(live.created)));
        let carried = self.nodes.entry(node.clone()).or_default();
        carried.used.add(&live.requests);
        if carried.ready {
            self.used.add(&live.requests);
        }
        carried.pods += 1;
        carried.changed(at);
        let before = format!("{:016x}", self.checksum);
        self.checksum = fnv64(&[&before, &key.namespace, &key.name, node, &millis(at).to_string()]);
    }

    fn end(&mut self, at: Duration, key: &Key, last: Option<&Pod>) {
        let Some(live) = self.live.remove(key) else { return };
        self.readied(at, live.ready, false);
        match last.map(|pod| pod.status.phase) {
            Some(PodPhase::Succeeded) => self.succeeded += 1,
            Some(_) => self.failed += 1,
            None if live.node.is_some() => self.cut_short += 1,
            None => {}
        }
        let Some(node) = live.node else {
            self.waiting -= 1;
            return;
        };
        self.finite -= usize::from(live.finite);
        if let Some(carried) = self.nodes.get_mut(&node) {
            if carried.ready {
                self.used.subtract(&live.requests);
            }
            carried.used.subtract(&live.requests);
            carried.pods -= 1;
            carried.changed(at);
        }
    }

    fn readiness(&mut self, at: Duration, key: &Key, ready: bool) {
        // Those that come and go by themselves say nothing of a loss.
        let Some(live) = self.live.get_mut(key).filter(|live| !live.finite) else { return };
        let before = std::mem::replace(&mut live.ready, ready);
        self.readied(at, before, ready);
    }

    fn readied(&mut self, at: Duration, before: bool, after: bool) {
        if before == after {
            return;
        }
        self.ready = if after { self.ready + 1 } else { self.ready - 1 };
        for loss in self.losses.iter_mut().filter(|loss| loss.recovered.is_none()) {
            loss.ready_least = loss.ready_least.min(self.ready);
            if self.ready >= loss.ready_before {
                loss.recovered = Some(at);
            }
        }
    }

    fn node(&mut self, at: Duration, key: &Key, after: Option<&Node>) {
        let ready = after.is_some_and(Node::is_ready);
        let allocatable = after.map(|node| Resources::of_list(&node.status.allocatable)).unwrap_or_default();
        // A sign of life changes nothing, and the sums must not go on after the last change.
        if self.nodes.get(&key.name).is_some_and(|was| was.ready == ready && was.allocatable == allocatable) {
            return;
        }
        self.sum(at);
        let carried = self.nodes.entry(key.name.clone()).or_default();
        if carried.ready {
            self.had.subtract(&carried.allocatable);
            self.used.subtract(&carried.used);
            self.ready_nodes -= 1;
        }
        if ready {
            self.had.add(&allocatable);
            self.used.add(&carried.used);
            self.ready_nodes += 1;
        }
        carried.allocatable = allocatable;
        if carried.ready != ready {
            carried.ready = ready;
            carried.readiness.push((at, ready));
            let unnoticed = |loss: &&mut Loss| loss.noticed.is_none() && loss.node == key.name && !ready;
            self.losses.iter_mut().filter(unnoticed).for_each(|loss| loss.noticed = Some(at));
        }
        self.sample(at);
    }

    /// Sums what was used until now; called before anything changes, and at the end.
    pub(super) fn sum(&mut self, at: Duration) {
        let seconds = at.saturating_sub(self.summed).as_secs_f64();
        self.summed = at;
        if seconds == 0.0 {
            return;
        }
        let used: BTreeMap<&str, i64> = amounts(&self.used).collect();
        for (name, had) in amounts(&self.had).filter(|(_, had)| *had > 0) {
            let used = float(used.get(name).copied().unwrap_or(0));
            let had = float(had);
            if !self.uses.contains_key(name) {
                self.uses.insert(name.to_owned(), Use::default());
            }
            let entry = self.uses.get_mut(name).expect("it was just entered");
            entry.used_seconds += used * seconds;
            entry.had_seconds += had * seconds;
            if used / had > entry.peak {
                entry.peak = used / had;
                entry.peak_at = at.saturating_sub(Duration::from_secs_f64(seconds));
            }
        }
    }

    fn sample(&mut self, at: Duration) {
        let sample = Sample {
            at,
            cpu: permille(self.used.cpu_milli, self.had.cpu_milli),
            memory: permille(self.used.memory_bytes, self.had.memory_bytes),
            waiting: self.waiting,
            placed: self.placed(),
            ready_nodes: self.ready_nodes,
        };
        match self.samples.last_mut() {
            Some(last) if last.at == at => *last = sample,
            Some(last) if Sample { at, ..last.clone() } == sample => {}
            _ => self.samples.push(sample),
        }
    }
}

/// A share in thousandths.
fn permille(used: i64, had: i64) -> i64 {
    if had > 0 { used.saturating_mul(1000) / had } else { 0 }
}

impl Carried {
    fn changed(&mut self, at: Duration) {
        let share = share(&self.used, &self.allocatable);
        self.peak = self.peak.max(share);
        match self.shares.last_mut() {
            Some(last) if last.0 == at => last.1 = share,
            _ => self.shares.push((at, share)),
        }
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
