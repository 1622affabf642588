//! A pod that takes room on a node, and how it is found by its name.

use super::Demand;
use super::demand::Load;
use super::lookup::hash;
use std::sync::Arc;
use steersman_domain::{Key, Pod};

/// A pod that takes room.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) pod: Arc<Pod>,
    pub(super) load: Arc<Load>,
    /// What it says about other pods; `None`: nothing.
    pub(super) terms: Option<Arc<Demand>>,
    pub(super) node: u32,
    /// Where it stands in the node's list.
    pub(super) at: u32,
    pub(super) standing: Standing,
}

/// How a pod stands to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    There,
    /// The place is kept for it until others have made room.
    Reserved,
    /// It is to make room for another.
    Going,
}

impl Bound {
    /// Whether it ends already, or is about to be told to.
    pub(super) fn is_going(&self) -> bool {
        self.standing == Standing::Going || self.pod.metadata.is_deleting()
    }
}

/// By what a pod is found.
pub(super) fn hash_of(pod: &Pod) -> u64 {
    hash(&(&pod.metadata.namespace, &pod.metadata.name))
}

pub(super) fn hash_of_key(key: &Key) -> u64 {
    hash(&(&key.namespace, &key.name))
}

/// Whether the pod in a slot has this name.
pub(super) fn is(bound: &[Option<Bound>], slot: u32, namespace: &str, name: &str) -> bool {
    let pod = bound[slot as usize].as_ref().map(|b| &b.pod.metadata);
    pod.is_some_and(|pod| pod.name == name && pod.namespace == namespace)
}
