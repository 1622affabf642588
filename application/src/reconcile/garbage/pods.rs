//! Pods that nobody will end: those of nodes that are gone, and those that ended long ago.

use super::{Garbage, is_missing};
use crate::client::{DeleteOptions, Write};
use crate::driver::world::World;
use crate::reconcile::{Moment, Outcome};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{Key, Kind, Pod, Resource, Str};

/// The shortest time between two counts of ended pods, as in Kubernetes: each looks at every pod.
const COUNT_INTERVAL: Duration = Duration::from_secs(20);
/// Deletions per pass: one group of writes that does not hold others up.
const MOST_DELETES: usize = 500;

/// The key under which ended pods are counted; no pod has it.
pub(super) fn ended_key() -> Key {
    Key::cluster(Kind::Pod, "")
}

impl Garbage {
    /// Removes the pods of a node that has been gone for the grace.
    pub(super) fn clear_lost(&mut self, world: &World, node: &Str, now: Moment, outcome: &mut Outcome) {
        if !is_missing(world, node) || world.pods_on(node).next().is_none() {
            self.missing.remove(node);
            return;
        }
        let since = *self.missing.entry(node.clone()).or_insert(now.monotonic);
        let left = self.config.node_grace.saturating_sub(now.monotonic.saturating_sub(since));
        if !left.is_zero() {
            outcome.why.push(format!("node {node} is gone; its pods are removed in {} s", left.as_secs()));
            outcome.look_again(left);
            return;
        }
        // One that is on its way out without grace has nothing but finalizers to wait for.
        let doomed = world
            .pods_on(node)
            .filter(|p| !p.metadata.is_deleting() || p.metadata.deletion_grace_period_seconds.unwrap_or(0) > 0);
        outcome.writes.extend(doomed.map(remove));
        if !outcome.writes.is_empty() {
            outcome.why.push(format!("node {node} is gone for good: {} pods are removed", outcome.writes.len()));
        }
    }

    /// Removes the oldest of the ended pods when there are too many.
    pub(super) fn clear_ended(&mut self, world: &World, now: Moment, outcome: &mut Outcome) {
        if let Some(at) = self.counted {
            let left = COUNT_INTERVAL.saturating_sub(now.monotonic.saturating_sub(at));
            if !left.is_zero() {
                outcome.look_again(left);
                return;
            }
        }
        self.counted = Some(now.monotonic);
        let ended = |p: &&Arc<Pod>| p.is_terminal() && !p.metadata.is_deleting();
        let mut pods: Vec<&Arc<Pod>> = world.all::<Pod>().filter(ended).collect();
        let excess = pods.len().saturating_sub(self.config.ended_pods);
        if excess == 0 {
            return;
        }
        pods.sort_by_key(|p| (p.metadata.creation_timestamp, p.key()));
        outcome.why.push(format!("{excess} ended pods are more than the {} kept", self.config.ended_pods));
        outcome.writes.extend(pods.into_iter().take(excess.min(MOST_DELETES)).map(remove));
        outcome.look_again(COUNT_INTERVAL);
    }
}

fn remove(pod: &Arc<Pod>) -> Write {
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        uid: Some(pod.metadata.uid.clone()),
        ..DeleteOptions::default()
    };
    Write::Delete(pod.key(), options)
}
