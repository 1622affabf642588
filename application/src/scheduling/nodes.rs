//! Nodes with what is taken on them: the snapshot that scheduling decides on, kept up to date change by change.

use super::Weight;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::ledger::{self, Resources};
use steersman_domain::{Key, Node, NodeLedger, Pod, Resource, Revision, Str};

/// One node: the object, what it can give, and what bound pods take.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// `None` while only pods that name the node are known.
    pub node: Option<Arc<Node>>,
    pub allocatable: Resources,
    /// Kept by the same arithmetic as the stored ledger, from the pods themselves.
    pub taken: NodeLedger,
    /// What the same pods weigh, for scores.
    pub weight: Weight,
}

/// All nodes by name, and the pods that take room on them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<Str, NodeInfo>,
    /// What each bound pod was entered as, so that it leaves as it came.
    bound: BTreeMap<Key, Arc<Pod>>,
}

impl Nodes {
    /// Known nodes in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&Node, &NodeInfo)> {
        self.nodes.values().filter_map(|info| info.node.as_deref().map(|node| (node, info)))
    }

    /// A node by name.
    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|info| info.node.is_some())
    }

    /// The number of known nodes.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn entry(&mut self, name: &Str) -> &mut NodeInfo {
        self.nodes.entry(name.clone()).or_insert_with(|| NodeInfo {
            node: None,
            allocatable: Resources::default(),
            taken: NodeLedger::default(),
            weight: Weight::default(),
        })
    }

    /// A node was added or has changed. Answers whether a pod that fitted nowhere might fit now.
    pub fn put_node(&mut self, node: Arc<Node>) -> bool {
        let info = self.entry(&node.metadata.name);
        let old = info.node.replace(node.clone());
        info.allocatable = Resources::of_list(&node.status.allocatable);
        old.is_none_or(|old| {
            old.spec != node.spec
                || old.metadata.labels != node.metadata.labels
                || old.status.allocatable != node.status.allocatable
                || old.status.runtime_handlers != node.status.runtime_handlers
        })
    }

    /// A node is gone; the room its pods take stays known until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.node = None;
            if info.taken.allocated == Resources::default() {
                self.nodes.remove(name);
            }
        }
    }

    /// A pod was added or has changed. Answers whether it gave room free.
    pub fn put_pod(&mut self, pod: &Arc<Pod>) -> bool {
        let freed = self.remove_pod(&pod.key());
        if !ledger::counts(pod) {
            return freed;
        }
        let info = self.entry(&pod.spec.node_name);
        info.taken.enter(pod);
        info.weight.add(Weight::of(pod));
        self.bound.insert(pod.key(), pod.clone());
        false
    }

    /// A pod is gone. Answers whether it gave room free.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        let Some(pod) = self.bound.remove(key) else { return false };
        if let Some(info) = self.nodes.get_mut(&pod.spec.node_name) {
            info.taken.leave(&pod);
            info.weight.subtract(Weight::of(&pod));
            if info.node.is_none() && info.taken.allocated == Resources::default() {
                self.nodes.remove(&pod.spec.node_name);
            }
        }
        true
    }

    /// The revision of a bound pod as it was entered.
    pub fn bound_revision(&self, key: &Key) -> Option<Revision> {
        self.bound.get(key).map(|pod| pod.metadata.resource_version)
    }

    /// The pod as it will be once it is bound to `node`, entered there at once.
    pub fn assume(&mut self, pod: &Arc<Pod>, node: &Str) {
        let mut bound = Pod::clone(pod);
        bound.spec.node_name = node.clone();
        self.put_pod(&Arc::new(bound));
    }
}
