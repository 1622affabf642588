//! The decision: one pass over a batch of pods, each decided on the nodes as the pods before it leave them.

use super::filter::Demand;
use super::{Nodes, Profile, Score};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::ledger::Resources;
use steersman_domain::ports::{Decision, NodeVerdict, Placement};
use steersman_domain::{Pod, RuntimeClass, Str};

/// What scheduling needs to know beside nodes and pods.
#[derive(Clone, Debug, Default)]
pub struct SchedulingContext {
    pub profiles: Vec<Profile>,
    pub runtime_classes: BTreeMap<Str, Arc<RuntimeClass>>,
    /// The runtime of pods that name none.
    pub default_runtime: Str,
}

impl SchedulingContext {
    /// The profile of a pod; `None`: another scheduler's.
    pub fn profile(&self, pod: &Pod) -> Option<&Profile> {
        self.profiles.iter().find(|p| p.name == pod.scheduler_name())
    }

    /// The runtime class object of a pod, when there is one.
    pub fn class(&self, pod: &Pod) -> Option<&RuntimeClass> {
        self.runtime_classes.get(&pod.spec.runtime_class_name).map(|c| &**c)
    }

    /// The runtime handler of a pod: its class's, else the class name itself, else the default.
    pub fn handler<'a>(&'a self, pod: &'a Pod) -> &'a str {
        match self.class(pod) {
            Some(class) if !class.handler.is_empty() => &class.handler,
            _ if !pod.spec.runtime_class_name.is_empty() => &pod.spec.runtime_class_name,
            _ => &self.default_runtime,
        }
    }
}

/// The scheduler as a decision port: hosts may bring their own.
///
/// `schedule` decides on a batch in order and enters each placement into `nodes`, so that later pods see it. It is pure:
/// equal inputs give equal decisions. A pod that fits nowhere is a decision, not an error.
pub trait Scheduler: Send + Sync {
    /// One decision for each pod, in order.
    fn schedule(&self, nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision>;
}

/// The built-in scheduler: filters, then the highest weighted score; among equals the fewest pods, then the first
/// by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultScheduler;

impl Scheduler for DefaultScheduler {
    fn schedule(&self, nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision> {
        schedule(nodes, pods, context)
    }
}

/// See `Scheduler`. Pods of unknown profiles are passed over.
pub fn schedule(nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision> {
    let mut decisions = Vec::with_capacity(pods.len());
    for pod in pods {
        let Some(profile) = context.profile(pod) else { continue };
        let decision = decide(nodes, pod, profile, context);
        if let Placement::Node(node) = &decision.placement {
            nodes.assume(pod, node);
        }
        decisions.push(decision);
    }
    decisions
}

fn decide(nodes: &Nodes, pod: &Arc<Pod>, profile: &Profile, context: &SchedulingContext) -> Decision {
    let demand = Demand::new(pod, context);
    let verdicts: Vec<NodeVerdict> = nodes
        .iter()
        .map(|(node, info)| {
            let rejected =
                profile.filters.iter().find_map(|f| f.rejection(&demand, node, info).map(|reason| (f.name(), reason)));
            let scores: Vec<(&'static str, i64)> = match rejected {
                Some(_) => Vec::new(),
                None => profile.scores.iter().map(|(s, _)| (s.name(), s.of(&demand, node, info))).collect(),
            };
            let total = scores.iter().zip(&profile.scores).map(|((_, score), (_, weight))| score * weight).sum();
            NodeVerdict { node: node.metadata.name.clone(), rejected, scores, total }
        })
        .collect();
    let placement = match best(&verdicts, nodes, profile) {
        Some(best) => Placement::Node(best.node.clone()),
        None => Placement::Unschedulable(summary(pod, &verdicts, &demand.request, context)),
    };
    Decision { pod: pod.clone(), placement, verdicts: Arc::new(verdicts) }
}

/// The feasible node of the highest score. Scores are whole percents, so that many are equal on large nodes: then the one
/// with the fewest pods, or the most where the profile packs; at last the first by name.
fn best<'a>(verdicts: &'a [NodeVerdict], nodes: &Nodes, profile: &Profile) -> Option<&'a NodeVerdict> {
    let packs = profile.scores.iter().any(|(score, _)| *score == Score::MostAllocated);
    let rank = |verdict: &NodeVerdict| {
        let pods = nodes.get(&verdict.node).map_or(0, |info| info.taken.allocated.pods);
        (verdict.total, if packs { pods } else { -pods })
    };
    let feasible = verdicts.iter().filter(|v| v.rejected.is_none()).map(|verdict| (rank(verdict), verdict));
    feasible.reduce(|a, b| if b.0 > a.0 { b } else { a }).map(|(_, verdict)| verdict)
}

/// `0/3 nodes are available: 2 Insufficient cpu, 1 node(s) were unschedulable.`, and how to mend it where one thing would.
fn summary(pod: &Pod, verdicts: &[NodeVerdict], request: &Resources, context: &SchedulingContext) -> String {
    if verdicts.is_empty() {
        return "no nodes available to schedule pods".into();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, reason) in verdicts.iter().filter_map(|v| v.rejected.as_ref()) {
        for part in reason.split(", ") {
            *counts.entry(part).or_default() += 1;
        }
    }
    let reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let mut text = format!("0/{} nodes are available: {}.", verdicts.len(), reasons.join(", "));
    let runtime = verdicts.iter().all(|v| matches!(v.rejected, Some(("RuntimeOffered", _))));
    if runtime {
        let asked = context.handler(pod);
        text.push_str(&format!(
            " No node offers the runtime {asked:?}: set spec.runtimeClassName to one that is offered (process runs \
             commands of the host), or start the cluster with --default-runtime."
        ));
    } else if counts.keys().any(|reason| reason.starts_with("Insufficient")) {
        text.push_str(&format!(
            " The pod requests {}m cpu and {} bytes of memory.",
            request.cpu_milli, request.memory_bytes
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduling::default_profiles;
    use steersman_domain::*;

    fn node(name: &str, cpu: i64) -> Arc<Node> {
        let mut node = Node::default();
        node.metadata.name = name.into();
        node.metadata.labels.insert("zone", if name.ends_with('1') { "a".into() } else { "b".into() });
        node.status.allocatable = [
            ("cpu", Quantity::from_milli(cpu)),
            ("memory", Quantity::from_bytes(1 << 30)),
            ("pods", Quantity::from_units(10)),
        ]
        .into_iter()
        .collect();
        node.status.runtime_handlers = vec![NodeRuntimeHandler { name: "process".into(), ..Default::default() }];
        Arc::new(node)
    }

    fn pod(name: &str, cpu: i64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        let mut container = Container::default();
        container.resources.requests = [("cpu", Quantity::from_milli(cpu))].into_iter().collect();
        pod.spec.containers = vec![Arc::new(container)];
        pod
    }

    fn context() -> SchedulingContext {
        SchedulingContext { profiles: default_profiles(), default_runtime: "process".into(), ..Default::default() }
    }

    /// Schedules pods of these cpu requests onto nodes of these sizes and answers the nodes' names.
    fn place(nodes: &[i64], pods: Vec<Pod>) -> Vec<String> {
        let mut all = Nodes::default();
        for (n, cpu) in nodes.iter().enumerate() {
            all.put_node(node(&format!("n{}", n + 1), *cpu));
        }
        let pods: Vec<Arc<Pod>> = pods.into_iter().map(Arc::new).collect();
        let decisions = schedule(&mut all, &pods, &context());
        decisions
            .into_iter()
            .map(|d| match d.placement {
                Placement::Node(node) => node.to_string(),
                Placement::Unschedulable(why) => why,
            })
            .collect()
    }

    #[test]
    fn least_allocated_spreads_and_bin_packing_fills() {
        let spread = place(&[1000, 1000], (0..4).map(|n| pod(&format!("p{n}"), 200)).collect());
        assert_eq!(spread, ["n1", "n2", "n1", "n2"]);
        let packed = (0..4).map(|n| {
            let mut pod = pod(&format!("p{n}"), 400);
            pod.spec.scheduler_name = "bin-packing".into();
            pod
        });
        assert_eq!(place(&[1000, 1000], packed.collect()), ["n1", "n1", "n2", "n2"]);
    }

    #[test]
    fn pods_without_requests_weigh_something_too() {
        let idle = |n: i32| {
            let mut pod = pod(&format!("p{n}"), 0);
            pod.spec.containers = vec![Arc::new(Container::default())];
            pod
        };
        assert_eq!(place(&[2000, 2000], (0..4).map(idle).collect()), ["n1", "n2", "n1", "n2"]);
        // Where each is less than a percent, the count decides.
        assert_eq!(place(&[640_000, 640_000], (0..4).map(idle).collect()), ["n1", "n2", "n1", "n2"]);
        let packed = (0..3).map(idle).map(|mut pod| {
            pod.spec.scheduler_name = "bin-packing".into();
            pod
        });
        assert_eq!(place(&[640_000, 640_000], packed.collect()), ["n1", "n1", "n1"]);
    }

    #[test]
    fn reasons_are_counted() {
        let mut picky = pod("p", 100);
        picky.spec.node_selector.insert("zone", "c".into());
        let why = place(&[1000, 1000], vec![picky, pod("big", 1500)]);
        assert_eq!(why[0], "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
        assert!(why[1].starts_with("0/2 nodes are available: 2 Insufficient cpu. "), "{}", why[1]);
    }

    #[test]
    fn a_runtime_that_nobody_offers_says_how_to_mend_it() {
        let mut container = pod("p", 100);
        container.spec.runtime_class_name = "container".into();
        let why = place(&[1000], vec![container]);
        assert!(why[0].contains("No node offers the runtime \"container\": set spec.runtimeClassName"), "{}", why[0]);
    }

    #[test]
    fn host_ports_taints_and_cordons_repel() {
        let mut with_port = pod("p", 1);
        let mut container = Container::clone(&with_port.spec.containers[0]);
        container.ports = vec![ContainerPort { host_port: 8080, container_port: 8080, ..Default::default() }];
        with_port.spec.containers = vec![Arc::new(container)];
        let mut again = with_port.clone();
        again.metadata.name = "q".into();
        let places = place(&[1000], vec![with_port, again]);
        assert_eq!(places[0], "n1");
        assert!(places[1].contains("didn't have free ports"), "{}", places[1]);

        let mut nodes = Nodes::default();
        let mut tainted = Node::clone(&node("n1", 1000));
        tainted.spec.taints =
            vec![Taint { key: "gpu".into(), value: "yes".into(), effect: "NoSchedule".into(), ..Default::default() }];
        nodes.put_node(Arc::new(tainted));
        let mut cordoned = Node::clone(&node("n2", 1000));
        cordoned.spec.unschedulable = true;
        nodes.put_node(Arc::new(cordoned));
        let decision = &schedule(&mut nodes, &[Arc::new(pod("p", 1))], &context())[0];
        let expected =
            "0/2 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable.";
        assert_eq!(decision.placement, Placement::Unschedulable(expected.into()));
    }

    #[test]
    fn room_is_given_free_when_a_pod_ends() {
        let mut nodes = Nodes::default();
        nodes.put_node(node("n1", 1000));
        let mut first = pod("a", 800);
        let decision = schedule(&mut nodes, &[Arc::new(first.clone())], &context()).remove(0);
        assert_eq!(decision.placement, Placement::Node("n1".into()));
        first.spec.node_name = "n1".into();
        first.status.phase = PodPhase::Succeeded;
        assert!(nodes.put_pod(&Arc::new(first)));
        assert_eq!(nodes.get("n1").map(|i| i.taken.allocated.cpu_milli), Some(0));
    }
}
