//! The nodes as a DaemonSet sees them: which are to have a pod, and which pods are there.

use super::pods::{named_node, tolerations};
use crate::driver::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::selector::Selector;
use steersman_domain::{DaemonSet, Node, Pod, Str, untolerated};

/// A node.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) name: Str,
    /// Whether it is to have a pod.
    pub(super) wanted: bool,
    /// Whether a pod that is there may stay.
    pub(super) may_stay: bool,
    /// The pods that are there or on their way, in name order.
    pub(super) pods: Vec<&'a Arc<Pod>>,
}

impl<'a> Place<'a> {
    /// All nodes in name order, and those that are gone but have pods.
    pub(super) fn all(set: &DaemonSet, world: &World, pods: &'a [Arc<Pod>]) -> Vec<Self> {
        let mut there: BTreeMap<Str, Vec<&'a Arc<Pod>>> = BTreeMap::new();
        for pod in pods {
            let node = if pod.spec.node_name.is_empty() { named_node(pod) } else { Some(pod.spec.node_name.clone()) };
            there.entry(node.unwrap_or_default()).or_default().push(pod);
        }
        let mut places: Vec<Place<'a>> = Vec::new();
        for node in world.all::<Node>() {
            let name = node.metadata.name.clone();
            let (wanted, may_stay) = suits(set, node);
            places.push(Place { pods: there.remove(&name).unwrap_or_default(), name, wanted, may_stay });
        }
        // Pods of nodes that are gone: those that are bound are not this controller's to end.
        for (name, pods) in there {
            let unbound: Vec<_> = pods.into_iter().filter(|pod| pod.spec.node_name.is_empty()).collect();
            if !unbound.is_empty() {
                places.push(Place { name, wanted: false, may_stay: false, pods: unbound });
            }
        }
        places
    }
}

/// Whether a node is to have a pod, and whether one that is there may stay.
fn suits(set: &DaemonSet, node: &Node) -> (bool, bool) {
    let spec = &set.spec.template.spec;
    let labels = &node.metadata.labels;
    let elsewhere = !spec.node_name.is_empty() && spec.node_name != node.metadata.name;
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()).and_then(|a| a.required.as_ref());
    let liked = Selector::from_map(&spec.node_selector).matches(labels)
        && required.is_none_or(|terms| terms.matches(&node.metadata.name, labels));
    if elsewhere || !liked {
        return (false, false);
    }
    let tolerated = tolerations(set);
    let taint = untolerated(&node.spec.taints, &tolerated);
    let evicting: Vec<_> = node.spec.taints.iter().filter(|taint| taint.effect == "NoExecute").cloned().collect();
    (taint.is_none(), untolerated(&evicting, &tolerated).is_none())
}
