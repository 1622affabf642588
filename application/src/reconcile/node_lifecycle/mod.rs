//! The life of nodes as seen from the leader: a node whose lease is not renewed is unknown, what is unknown or not ready
//! is tainted, and pods that do not tolerate a `NoExecute` taint are evicted. What a node's agent says of itself is never
//! overruled while it is heard of.
//! Source of the rules: Kubernetes `pkg/controller/nodelifecycle` and `pkg/controller/tainteviction`. Not done here:
//! rate limits of evictions and their suspension when all nodes are silent.

mod eviction;
mod taints;
#[cfg(test)]
mod tests;

use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{Part, Write};
use crate::driver::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::{condition, set_condition};
use steersman_domain::ports::Change;
use steersman_domain::{Condition, Key, Kind, Lease, MicroTime, Node, Object, Pod, Resource, Str, Time, Uid};

/// The namespace of the leases that agents renew, one per node and named as it.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How long a node may be silent, as in Kubernetes: four missed renewals.
pub const NODE_GRACE: Duration = Duration::from_secs(40);

/// The last sign of life of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uid: Uid,
    renew_time: Option<MicroTime>,
    /// By this process's monotonic clock: the clocks of nodes are never compared with the leader's.
    at: Duration,
}

/// Watches over nodes. It remembers when each lease was last seen to change; after a start every node has a full grace.
#[derive(Debug)]
pub struct NodeLifecycle {
    grace: Duration,
    seen: BTreeMap<Str, Seen>,
}

impl NodeLifecycle {
    /// Nodes may be silent for `grace`.
    pub fn new(grace: Duration) -> Self {
        NodeLifecycle { grace, seen: BTreeMap::new() }
    }

    /// How long the node may still be silent; zero: it is unknown.
    ///
    /// Who looks long after the grace was over has not been watching (a machine that was put to sleep, a process that was
    /// stopped): the silence may be its own, so it begins to count anew.
    fn left(&mut self, node: &Node, lease: Option<&Arc<Lease>>, now: Duration) -> Duration {
        let (uid, renew_time) = (&node.metadata.uid, lease.and_then(|l| l.spec.renew_time));
        let late = self.grace + self.grace / 4;
        let watched = |s: &&Seen| status(node) == Some("Unknown") || now.saturating_sub(s.at) <= late;
        let seen = self.seen.get(&node.metadata.name).filter(|s| s.uid == *uid && s.renew_time == renew_time);
        let at = match seen.filter(watched) {
            Some(seen) => seen.at,
            None => {
                let seen = Seen { uid: uid.clone(), renew_time, at: now };
                self.seen.insert(node.metadata.name.clone(), seen);
                now
            }
        };
        self.grace.saturating_sub(now.saturating_sub(at))
    }
}

impl Default for NodeLifecycle {
    fn default() -> Self {
        NodeLifecycle::new(NODE_GRACE)
    }
}

impl Reconciler for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        let key = change.key();
        match key.kind {
            Kind::Node => vec![key.clone()],
            Kind::Lease if key.namespace == LEASE_NAMESPACE => {
                let node = Key::cluster(Kind::Node, &key.name);
                world.object(&node).map(|_| node).into_iter().collect()
            }
            Kind::Pod => match change {
                Change::Put { before, after } => {
                    let before = before.as_ref().and_then(|s| s.typed::<Pod>());
                    pod_trigger(before, after.typed::<Pod>(), world).into_iter().collect()
                }
                Change::Delete { .. } => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<Node>().map(|n| n.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(node) = world.get::<Node>("", &key.name) else {
            self.seen.remove(&key.name);
            return outcome;
        };
        let left = self.left(node, world.get::<Lease>(LEASE_NAMESPACE, &key.name), now.monotonic);
        if left.is_zero() {
            silent(world, node, now.time, &mut outcome);
        } else {
            outcome.look_again(left);
        }
        // The taints follow from the conditions as they are stored, so they come a pass after them.
        if outcome.writes.is_empty() {
            taints::plan(node, now.time, &mut outcome);
        }
        eviction::plan(world, node, now.time, &mut outcome);
        outcome
    }
}

/// The node of a pod that has just come to a node with something to say about it.
fn pod_trigger(before: Option<&Arc<Pod>>, after: Option<&Arc<Pod>>, world: &World) -> Option<Key> {
    let after = after?;
    let node = world.get::<Node>("", &after.spec.node_name)?;
    let changed = before.is_none_or(|before| {
        before.spec.node_name != after.spec.node_name
            || before.spec.tolerations != after.spec.tolerations
            || before.is_ready() != after.is_ready()
    });
    let troubled = status(node) == Some("Unknown") || node.spec.taints.iter().any(|t| t.effect == "NoExecute");
    (changed && troubled).then(|| node.key())
}

/// What the Ready condition of a node says.
fn status(node: &Node) -> Option<&str> {
    condition(&node.status.conditions, "Ready").map(|c| c.status.as_str())
}

/// A node that is not heard of: nothing is known of it or of its pods any more.
fn silent(world: &World, node: &Arc<Node>, now: Time, outcome: &mut Outcome) {
    let name = &node.metadata.name;
    outcome.why.push(format!("node {name} has not renewed its lease"));
    let mut told = (**node).clone();
    let mut kinds: Vec<Str> = node.status.conditions.iter().map(|c| c.kind.clone()).collect();
    if !kinds.iter().any(|k| k == "Ready") {
        kinds.push("Ready".into());
    }
    let mut changed = false;
    for kind in kinds {
        let old = condition(&node.status.conditions, &kind);
        if old.is_some_and(|c| c.status == "Unknown") {
            continue;
        }
        changed |= set_condition(&mut told.status.conditions, unknown(&kind, old, now));
    }
    if changed {
        let write = Write::Update(Node::into_object(Arc::new(told)), Part::Status);
        if status(node) == Some("True") {
            let note = Note {
                about: node.key(),
                uid: node.metadata.uid.clone(),
                is_warning: false,
                reason: "NodeNotReady",
                message: format!("Node {name} status is now: NodeNotReady"),
            };
            outcome.write_noting(write, note);
        } else {
            outcome.writes.push(write);
        }
    }
    outcome.writes.extend(world.pods_on(name).filter(|p| p.is_ready()).map(|pod| not_ready(pod, now)));
}

fn unknown(kind: &str, old: Option<&Condition>, now: Time) -> Condition {
    let (reason, message) = match old {
        Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
    };
    let mut condition = Condition::new(kind, false, reason, message, now.truncated());
    condition.status = "Unknown".into();
    condition.last_heartbeat_time = old.and_then(|c| c.last_heartbeat_time);
    condition
}

/// A pod that nobody vouches for takes no traffic.
fn not_ready(pod: &Arc<Pod>, now: Time) -> Write {
    let mut told = (**pod).clone();
    let mut condition = condition(&pod.status.conditions, "Ready").cloned().unwrap_or_default();
    condition.kind = "Ready".into();
    condition.status = "False".into();
    condition.reason = "NodeNotReady".into();
    condition.message = "the node of the pod is not heard of".into();
    condition.last_transition_time = Some(now.truncated());
    set_condition(&mut told.status.conditions, condition);
    Write::Update(Object::Pod(Arc::new(told)), Part::Status)
}
