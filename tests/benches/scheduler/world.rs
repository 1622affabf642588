//! A cluster in memory, filled with pods of some shapes; chance is a fixed sequence.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use steersman_application::scheduling::{DefaultScheduler, Nodes, Scheduler as _, SchedulingContext, default_profiles};
use steersman_domain::ports::{Placement, Preemption};
use steersman_domain::{GANG, GANG_SIZE, Key, Node, Pod, Resource as _};

/// A linear congruential generator (Knuth's constants): the same chance in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Dice(42)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Decisions per second, from rounds of as many decisions each: those of the round in the middle, as what disturbs a machine
/// disturbs some rounds more than others.
pub(crate) fn rate(decisions: usize, mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    decisions as f64 / rounds[rounds.len() / 2].as_secs_f64()
}

pub(crate) struct World {
    nodes: Nodes,
    context: SchedulingContext,
    templates: Vec<Pod>,
    dice: Dice,
    made: usize,
    placed: Vec<Key>,
    pub(crate) checksum: u64,
}

/// Machines of three sizes in ten zones; one in twenty is tainted.
fn node(at: usize) -> Arc<Node> {
    let (cpu, memory) = [("32", "128Gi"), ("64", "256Gi"), ("96", "384Gi")][at % 3];
    let taints = if at % 20 == 19 { json!([{"key": "dedicated", "effect": "NoSchedule"}]) } else { json!([]) };
    let node = json!({
        "metadata": {"name": format!("node-{at:06}"), "labels": {
            "topology.kubernetes.io/zone": format!("zone-{}", at % 10),
            "kubernetes.io/hostname": format!("node-{at:06}")}},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "256", "ephemeral-storage": "1Ti"},
            "runtimeHandlers": [{"name": "process"}]},
    });
    Arc::new(serde_json::from_value(node).expect("a node"))
}

/// One of 64 shapes: 16 sizes; plain, in a zone, tolerant, and with a preference.
pub(crate) fn shape(n: usize, profile: &str) -> Value {
    let spec = match n % 4 {
        1 => json!({"nodeSelector": {"topology.kubernetes.io/zone": format!("zone-{}", n / 4 % 10)}}),
        2 => json!({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}),
        3 => json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [
                {"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["zone-9"]}]}}]}}}),
        _ => json!({}),
    };
    let mut whole = with(n / 4, spec);
    whole["spec"]["schedulerName"] = profile.into();
    whole
}

/// Pods without rules, to fill a cluster with.
pub(crate) fn plain() -> Vec<Value> {
    (0..64).map(|n| shape(n, "default-scheduler")).collect()
}

/// A pod of one of 16 sizes, with more in its spec.
pub(crate) fn with(size: usize, spec: Value) -> Value {
    let cpu = 100 * (1 + size * size % 37);
    let memory = 128 * (1 + size * 7 % 31);
    let mut whole = json!({
        "metadata": {"namespace": "default", "labels": {"app": format!("a{size}")}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {
            "cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")}}}]},
    });
    for (key, part) in spec.as_object().into_iter().flatten() {
        whole["spec"][key] = part.clone();
    }
    whole
}

pub(crate) fn pod(shape: &Value) -> Pod {
    serde_json::from_value(shape.clone()).expect("a pod")
}

impl World {
    pub(crate) fn new(count: usize, shapes: &[Value]) -> Self {
        let mut nodes = Nodes::default();
        (0..count).for_each(|at| {
            nodes.put_node(node(at));
        });
        World {
            nodes,
            context: SchedulingContext::new(default_profiles(), "process"),
            templates: shapes.iter().map(pod).collect(),
            dice: Dice::new(),
            made: 0,
            placed: Vec::new(),
            checksum: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Pods as a controller makes them from its template.
    pub(crate) fn batch(&mut self, count: usize) -> Vec<Arc<Pod>> {
        (0..count)
            .map(|_| {
                let mut pod = self.templates[self.dice.roll(self.templates.len())].clone();
                self.made += 1;
                pod.metadata.name = format!("pod-{:08}", self.made).into();
                Arc::new(pod)
            })
            .collect()
    }

    /// Decides; answers how many were placed.
    pub(crate) fn schedule(&mut self, batch: &[Arc<Pod>]) -> usize {
        self.timed(batch).0
    }

    /// As [`World::schedule`], with the time that the decisions took. What ended since the last ones, the indexes make up for
    /// before: by one decision that is not timed.
    pub(crate) fn timed(&mut self, batch: &[Arc<Pod>]) -> (usize, Duration) {
        let one = self.batch(1);
        let settled = DefaultScheduler.schedule(&mut self.nodes, &one, &self.context);
        let start = Instant::now();
        let decisions = DefaultScheduler.schedule(&mut self.nodes, batch, &self.context);
        let time = start.elapsed();
        for decision in settled {
            self.nodes.remove_pod(&decision.pod.key());
        }
        let before = self.placed.len();
        for decision in decisions {
            if let Placement::Node(node) = &decision.placement {
                node.bytes().for_each(|byte| self.note(byte));
                self.placed.push(decision.pod.key());
            }
        }
        (self.placed.len() - before, time)
    }

    /// Pods of gangs, those of one gang alike.
    pub(crate) fn gangs(&mut self, count: usize, size: usize) -> Vec<Arc<Pod>> {
        let mut batch = Vec::with_capacity(count * size);
        for _ in 0..count {
            let template = self.templates[self.dice.roll(self.templates.len())].clone();
            let gang = format!("gang-{}", self.made);
            for _ in 0..size {
                let mut pod = template.clone();
                self.made += 1;
                pod.metadata.name = format!("pod-{:08}", self.made).into();
                pod.metadata.annotations.insert(GANG, gang.as_str().into());
                pod.metadata.annotations.insert(GANG_SIZE, size.to_string().into());
                batch.push(Arc::new(pod));
            }
        }
        batch
    }

    /// Decides, and answers the preemptions with the time that the decisions took.
    pub(crate) fn preempt(&mut self, batch: &[Arc<Pod>]) -> (Vec<Preemption>, Duration) {
        let start = Instant::now();
        let decisions = DefaultScheduler.schedule(&mut self.nodes, batch, &self.context);
        let time = start.elapsed();
        let preempts = decisions.into_iter().filter_map(|decision| match decision.placement {
            Placement::Preempt(preemption) => Some(preemption),
            Placement::Node(_) | Placement::Unschedulable(_) => None,
        });
        let all: Vec<Preemption> = preempts.collect();
        for byte in all.iter().flat_map(|p| p.node.bytes()) {
            self.note(byte);
        }
        (all, time)
    }

    /// Pods end.
    pub(crate) fn end(&mut self, pods: &[Key]) {
        for pod in pods {
            self.nodes.remove_pod(pod);
        }
    }

    fn note(&mut self, byte: u8) {
        self.checksum = (self.checksum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    /// From now on pods of these shapes come.
    pub(crate) fn templates(&mut self, shapes: &[Value]) {
        self.templates = shapes.iter().map(pod).collect();
        self.placed.clear();
    }

    /// Fills the cluster to so many percent of cpu or memory, whichever comes first.
    pub(crate) fn fill(&mut self, percent: i64) {
        loop {
            let batch = self.batch(1000);
            let placed = self.schedule(&batch);
            let (mut taken, mut of) = ((0, 0), (0, 0));
            for (_, info) in self.nodes.iter() {
                taken.0 += info.taken.allocated.cpu_milli;
                taken.1 += info.taken.allocated.memory_bytes >> 20;
                of.0 += info.allocatable.cpu_milli;
                of.1 += info.allocatable.memory_bytes >> 20;
            }
            if placed < batch.len() || taken.0 * 100 >= of.0 * percent || taken.1 * 100 >= of.1 * percent {
                return;
            }
        }
    }

    /// Fills the cluster until hardly a pod finds a place.
    pub(crate) fn fill_up(&mut self) {
        loop {
            let batch = self.batch(1000);
            if self.schedule(&batch) < 10 {
                return;
            }
        }
    }

    /// Ends as many pods, anywhere.
    pub(crate) fn forget_some(&mut self, count: usize) {
        for _ in 0..count.min(self.placed.len()) {
            let at = self.dice.roll(self.placed.len());
            let key = self.placed.swap_remove(at);
            self.nodes.remove_pod(&key);
        }
    }
}
