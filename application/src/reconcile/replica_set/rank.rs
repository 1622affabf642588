//! Which pods go first when there are too many. Source of the order: Kubernetes `ActivePodsWithRanks`.

use crate::driver::world::World;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::{Pod, PodPhase, ReplicaSet, Str, Time, meta};

/// A lower cost goes first; an integer of 32 bits.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The order of deletion, as a value that compares: the smallest goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_assigned: bool,
    /// Pending, then unknown, then running.
    phase: u8,
    is_ready: bool,
    cost: i32,
    /// How many related pods share the node: the most crowded first.
    neighbours: Reverse<usize>,
    /// Those that became ready last go first.
    ready_since: Reverse<Option<Time>>,
    /// Those that were restarted most go first.
    restarts: Reverse<i32>,
    /// The newest go first.
    created: Reverse<Option<Time>>,
    name: Str,
}

/// The pods in the order in which they are to be deleted.
pub(super) fn to_delete(set: &ReplicaSet, pods: &[Arc<Pod>], world: &World) -> Vec<Arc<Pod>> {
    let neighbours = neighbours(set, pods, world);
    let mut ranked: Vec<(Rank, Arc<Pod>)> = pods.iter().map(|p| (rank(p, &neighbours), p.clone())).collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0));
    ranked.into_iter().map(|(_, pod)| pod).collect()
}

/// Active pods by node, of this set and of those with the same owner.
fn neighbours(set: &ReplicaSet, pods: &[Arc<Pod>], world: &World) -> BTreeMap<Str, usize> {
    let mut count = BTreeMap::new();
    let mut add = |pod: &Pod| *count.entry(pod.spec.node_name.clone()).or_insert(0) += 1;
    pods.iter().for_each(|pod| add(pod));
    if let Some(owner) = set.metadata.controller() {
        let related = world.controlled::<ReplicaSet>(&owner.uid).filter(|s| s.metadata.uid != set.metadata.uid);
        for other in related {
            world.controlled::<Pod>(&other.metadata.uid).filter(|p| p.is_active()).for_each(|pod| add(pod));
        }
    }
    count
}

fn rank(pod: &Pod, neighbours: &BTreeMap<Str, usize>) -> Rank {
    let ready = meta::condition(&pod.status.conditions, "Ready").filter(|c| c.is_true());
    Rank {
        is_assigned: !pod.spec.node_name.is_empty(),
        phase: match pod.status.phase {
            PodPhase::Pending => 0,
            PodPhase::Unknown => 1,
            PodPhase::Running | PodPhase::Succeeded | PodPhase::Failed => 2,
        },
        is_ready: ready.is_some(),
        cost: pod.metadata.annotations.get(DELETION_COST).and_then(|c| c.parse().ok()).unwrap_or(0),
        neighbours: Reverse(neighbours.get(&pod.spec.node_name).copied().unwrap_or(0)),
        ready_since: Reverse(ready.and_then(|c| c.last_transition_time)),
        restarts: Reverse(pod.status.container_statuses.iter().map(|s| s.restart_count.0).max().unwrap_or(0)),
        created: Reverse(pod.metadata.creation_timestamp),
        name: pod.metadata.name.clone(),
    }
}
