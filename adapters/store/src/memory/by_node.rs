//! Which changes of pods concern which node, so that the watch of a node reads those alone: of ten thousand nodes each reads
//! what happens to its own pods, not what happens to all.

use std::collections::{BTreeMap, VecDeque};
use steersman_domain::ports::Change;
use steersman_domain::{Pod, Revision, Stored, Str};

/// Nodes of which nothing is left in the log are forgotten when there are more than so many.
const REMEMBERED: usize = 1 << 16;

/// The changes of one node.
#[derive(Debug, Default)]
struct OfNode {
    /// In the log, oldest first.
    revisions: VecDeque<Revision>,
    /// The newest that was compacted away.
    lost: Revision,
}

/// The changes of all nodes.
#[derive(Debug, Default)]
pub(super) struct ByNode {
    nodes: BTreeMap<Str, OfNode>,
    /// Of nodes that are not here nothing is known up to this revision.
    forgotten: Revision,
}

/// The nodes that a change concerns: where the pod was, and where it is.
pub(super) fn concerned(change: &Change) -> impl Iterator<Item = &Str> {
    fn node(stored: &Stored) -> Option<&Str> {
        stored.typed::<Pod>().map(|pod| &pod.spec.node_name).filter(|name| !name.is_empty())
    }
    let (before, after) = match change {
        Change::Put { before, after } => (before.as_deref(), Some(&**after)),
        Change::Delete { before, .. } => (Some(&**before), None),
    };
    let (before, after) = (before.and_then(node), after.and_then(node));
    before.into_iter().chain(after.filter(|after| before != Some(*after)))
}

impl ByNode {
    /// Of a log that begins after a revision.
    pub(super) fn since(forgotten: Revision) -> Self {
        ByNode { forgotten, ..ByNode::default() }
    }

    /// Enters a change that was just made.
    pub(super) fn note(&mut self, change: &Change) {
        for node in concerned(change) {
            if !self.nodes.contains_key(node) {
                let lost = self.forgotten;
                self.nodes.insert(node.clone(), OfNode { lost, ..OfNode::default() });
            }
            if let Some(of_node) = self.nodes.get_mut(node) {
                of_node.revisions.push_back(change.revision());
            }
        }
    }

    /// The changes of a node after a revision, oldest first; `None` when some of them are lost.
    pub(super) fn after(&self, node: &str, after: Revision) -> Option<impl Iterator<Item = Revision> + '_> {
        let of_node = self.nodes.get(node);
        if after < of_node.map_or(self.forgotten, |of_node| of_node.lost) {
            return None;
        }
        let revisions = of_node.into_iter().flat_map(move |of_node| {
            let from = of_node.revisions.partition_point(|revision| *revision <= after);
            of_node.revisions.range(from..).copied()
        });
        Some(revisions)
    }

    /// Forgets the changes up to and including `oldest`.
    pub(super) fn compact(&mut self, oldest: Revision) {
        for of_node in self.nodes.values_mut() {
            let gone = of_node.revisions.partition_point(|revision| *revision <= oldest);
            if let Some(lost) = of_node.revisions.drain(..gone).next_back() {
                of_node.lost = lost;
            }
            of_node.revisions.shrink_to(of_node.revisions.len().next_power_of_two() * 2);
        }
        if self.nodes.len() > REMEMBERED {
            self.nodes.retain(|_, of_node| !of_node.revisions.is_empty());
            self.forgotten = oldest;
        }
    }

    /// Takes back everything after a revision.
    pub(super) fn revert(&mut self, to: Revision) {
        for of_node in self.nodes.values_mut() {
            while of_node.revisions.back().is_some_and(|revision| *revision > to) {
                of_node.revisions.pop_back();
            }
        }
    }
}
