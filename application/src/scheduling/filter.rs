//! Filters: each looks at one reason why a node cannot take a pod.

use super::Weight;
use super::{NodeInfo, SchedulingContext};
use steersman_domain::ledger::{self, Resources};
use steersman_domain::selector::Selector;
use steersman_domain::{Node, Pod, Shared, Str, Toleration, untolerated};

/// Why a node is not feasible, as the summary of all nodes counts it.
pub type Rejection = String;

/// What a pod asks of a node, worked out once for all nodes.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    pub pod: &'a Pod,
    pub request: Resources,
    /// What it counts for in scores.
    pub weight: Weight,
    /// Host ports as the ledger writes them.
    pub host_ports: Vec<Str>,
    /// The runtime handler.
    pub handler: &'a str,
    /// The pod's node selector and that of its runtime class.
    pub selector: Selector,
    /// The pod's tolerations and those of its runtime class.
    pub tolerations: Vec<Shared<Toleration>>,
}

impl<'a> Demand<'a> {
    /// Works out the demand of a pod.
    pub fn new(pod: &'a Pod, context: &'a SchedulingContext) -> Self {
        let class = context.class(pod).and_then(|c| c.scheduling.as_ref());
        let mut selector = Selector::from_map(&pod.spec.node_selector);
        selector.0.extend(class.into_iter().flat_map(|s| Selector::from_map(&s.node_selector).0));
        let extra = class.into_iter().flat_map(|s| s.tolerations.iter().cloned().map(Shared::new));
        Demand {
            pod,
            request: pod.requests(),
            weight: Weight::of(pod),
            host_ports: ledger::host_port_keys(pod),
            handler: context.handler(pod),
            selector,
            tolerations: pod.spec.tolerations.iter().cloned().chain(extra).collect(),
        }
    }
}

/// A filter. The order in a profile is the order of asking: the first rejection is the reason that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// Cordoned nodes take only pods that tolerate it.
    NodeUnschedulable,
    /// The pod names another node.
    NodeName,
    /// Taints that the pod does not tolerate.
    TaintToleration,
    /// `nodeSelector` and required node affinity.
    NodeAffinity,
    /// The runtime that the pod asks for is not offered.
    RuntimeOffered,
    /// A literal host port is taken.
    NodePorts,
    /// Too little of a resource is free.
    NodeResourcesFit,
}

impl Filter {
    /// The name, as explanations show it.
    pub const fn name(self) -> &'static str {
        match self {
            Filter::NodeUnschedulable => "NodeUnschedulable",
            Filter::NodeName => "NodeName",
            Filter::TaintToleration => "TaintToleration",
            Filter::NodeAffinity => "NodeAffinity",
            Filter::RuntimeOffered => "RuntimeOffered",
            Filter::NodePorts => "NodePorts",
            Filter::NodeResourcesFit => "NodeResourcesFit",
        }
    }

    /// Why the node cannot take the pod, or `None`.
    pub fn rejection(self, demand: &Demand<'_>, node: &Node, info: &NodeInfo) -> Option<Rejection> {
        let pod = demand.pod;
        match self {
            Filter::NodeUnschedulable => unschedulable(pod, node),
            Filter::NodeName => {
                let named = pod.spec.node_name.is_empty() || pod.spec.node_name == node.metadata.name;
                (!named).then(|| "node(s) didn't match the requested node name".into())
            }
            Filter::TaintToleration => taint(demand, node),
            Filter::NodeAffinity => affinity(demand, node),
            Filter::RuntimeOffered => {
                let handler = demand.handler;
                (!node.offers_runtime(handler)).then(|| format!("node(s) didn't offer the runtime {handler:?}"))
            }
            Filter::NodePorts => demand
                .host_ports
                .iter()
                .any(|key| ledger::host_port_conflict(&info.taken.host_ports, key))
                .then(|| "node(s) didn't have free ports for the requested pod ports".into()),
            Filter::NodeResourcesFit => resources(&demand.request, info),
        }
    }
}

/// The taint that stands for `spec.unschedulable`.
const CORDON: &str = "node.kubernetes.io/unschedulable";

fn unschedulable(pod: &Pod, node: &Node) -> Option<Rejection> {
    let taint = steersman_domain::Taint { key: CORDON.into(), effect: "NoSchedule".into(), ..Default::default() };
    let tolerated = || pod.spec.tolerations.iter().any(|t| t.tolerates(&taint));
    (node.spec.unschedulable && !tolerated()).then(|| "node(s) were unschedulable".into())
}

fn taint(demand: &Demand<'_>, node: &Node) -> Option<Rejection> {
    if node.spec.taints.is_empty() {
        return None;
    }
    // A cordon is told by its own filter.
    let taints: Vec<_> = node.spec.taints.iter().filter(|t| t.key != CORDON).cloned().collect();
    untolerated(&taints, &demand.tolerations).map(|t| match t.value.as_str() {
        "" => format!("node(s) had untolerated taint {{{}: }}", t.key),
        value => format!("node(s) had untolerated taint {{{}: {value}}}", t.key),
    })
}

fn affinity(demand: &Demand<'_>, node: &Node) -> Option<Rejection> {
    let labels = &node.metadata.labels;
    let affinity = demand.pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required.as_ref());
    let matches = demand.selector.matches(labels) && required.is_none_or(|r| r.matches(&node.metadata.name, labels));
    (!matches).then(|| "node(s) didn't match Pod's node affinity/selector".into())
}

fn resources(request: &Resources, info: &NodeInfo) -> Option<Rejection> {
    let short = info.taken.allocated.shortages(&info.allocatable, request);
    let words: Vec<String> = short
        .into_iter()
        .map(|s| if s.resource == "pods" { "Too many pods".into() } else { format!("Insufficient {}", s.resource) })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}
