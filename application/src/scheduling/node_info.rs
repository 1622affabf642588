//! One node as scheduling sees it: the arithmetic of what its pods take.

use super::Weight;
use super::demand::Load;
use super::order::{Room, room};
use std::sync::Arc;
use steersman_domain::ledger::Resources;
use steersman_domain::{Node, Str};

/// What the pods of a node take: what its stored ledger says, without the object around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The sum of their requests.
    pub allocated: Resources,
    /// Taken host ports as `PROTOCOL/IP/PORT`, sorted.
    pub host_ports: Vec<Str>,
}

/// One node: the object, what it can give, and what bound pods take. What every decision reads of many nodes stands first
/// and together.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct NodeInfo {
    /// Grows with the name, so that it can be compared in its stead.
    pub(super) order: u64,
    pub(super) index: u32,
    /// `None` while only pods that name the node are known.
    pub node: Option<Arc<Node>>,
    /// What pods may have of it.
    pub allocatable: Resources,
    /// Kept by the same arithmetic as the stored ledger, from the pods themselves.
    pub taken: Taken,
    /// What the same pods weigh, for scores.
    pub weight: Weight,
    /// What its pods take, by priority, lowest first.
    pub(super) by_priority: Vec<(i32, Resources)>,
    /// The name of the node.
    pub name: Str,
    /// The slots of its pods, in no order.
    pub(super) pods: Vec<u32>,
}

impl NodeInfo {
    pub(super) fn new(name: Str, order: u64, index: u32) -> Self {
        NodeInfo {
            name,
            node: None,
            allocatable: Resources::default(),
            taken: Taken::default(),
            weight: Weight::default(),
            order,
            index,
            pods: Vec::new(),
            by_priority: Vec::new(),
        }
    }

    /// Cpu, memory and pods that are free; negative where a node shrank below what it has.
    pub(super) fn free(&self) -> Room {
        room(&self.allocatable, &self.taken.allocated)
    }

    pub(super) fn enter(&mut self, load: &Load) {
        self.taken.allocated.add(&load.request);
        if !load.host_ports.is_empty() {
            self.taken.host_ports.extend(load.host_ports.iter().cloned());
            self.taken.host_ports.sort();
        }
        self.weight.add(load.weight);
        match self.by_priority.binary_search_by_key(&load.priority, |(p, _)| *p) {
            Ok(at) => self.by_priority[at].1.add(&load.request),
            Err(at) => self.by_priority.insert(at, (load.priority, load.request.clone())),
        }
    }

    pub(super) fn leave(&mut self, load: &Load) {
        self.taken.allocated.subtract(&load.request);
        for key in &load.host_ports {
            if let Ok(at) = self.taken.host_ports.binary_search(key) {
                self.taken.host_ports.remove(at);
            }
        }
        self.weight.subtract(load.weight);
        if let Ok(at) = self.by_priority.binary_search_by_key(&load.priority, |(p, _)| *p) {
            let sum = &mut self.by_priority[at].1;
            sum.subtract(&load.request);
            if sum.pods == 0 {
                self.by_priority.remove(at);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.node.is_none() && self.pods.is_empty()
    }
}
