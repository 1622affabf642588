//! One step of a rolling update: which old pods may go now, and which nodes get a new pod beside the old one.

use super::Work;
use super::places::Place;
use std::collections::BTreeSet;
use std::sync::Arc;
use steersman_domain::{IntOrString, Pod, REVISION_HASH, Str, Uid};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) going: Vec<Arc<Pod>>,
    pub(super) missing: Vec<Str>,
}

/// The pods of a node by their template; those that end do not count.
struct Pair<'a> {
    node: &'a Str,
    old: Option<&'a Arc<Pod>>,
    new: Option<&'a Arc<Pod>>,
    /// Something is ending there, or is about to.
    moves: bool,
}

/// How many nodes may go without a pod, and how many may have two.
fn bounds(work: &Work<'_>, nodes: usize) -> (usize, usize) {
    let update = work.set.spec.update_strategy.rolling_update.as_ref();
    let nodes = i32::try_from(nodes).unwrap_or(i32::MAX);
    let scaled = |bound: Option<&IntOrString>, absent: i32| {
        let value = bound.map_or(Some(absent), |bound| bound.scaled(nodes, true)).unwrap_or(absent);
        usize::try_from(value).unwrap_or(0)
    };
    let down = scaled(update.and_then(|u| u.max_unavailable.as_ref()), 1);
    let up = scaled(update.and_then(|u| u.max_surge.as_ref()), 0);
    // A percentage of few nodes may be none; then nothing would ever move.
    if down == 0 && up == 0 { (1, 0) } else { (down, up) }
}

/// The next step. `gone` are pods that end anyway.
pub(super) fn step(work: &Work<'_>, places: &[Place<'_>], gone: &BTreeSet<Uid>) -> Step {
    let hash = &work.revisions.update.hash;
    let wanted: Vec<&Place<'_>> = places.iter().filter(|place| place.wanted).collect();
    let pairs: Vec<Pair<'_>> = wanted
        .iter()
        .map(|place| {
            let ends =
                |pod: &&&Arc<Pod>| pod.metadata.is_deleting() || gone.contains(&pod.metadata.uid) || pod.is_terminal();
            let is_new = |pod: &Pod| pod.metadata.labels.get(REVISION_HASH) == Some(hash);
            let staying = || place.pods.iter().filter(|pod| !ends(pod)).copied();
            Pair {
                node: &place.name,
                old: staying().find(|pod| !is_new(pod)),
                new: staying().find(|pod| is_new(pod)),
                moves: place.pods.iter().any(|pod| ends(&pod)),
            }
        })
        .collect();
    let (down, up) = bounds(work, pairs.len());
    let available = |pod: &Arc<Pod>| pod.is_available(work.set.spec.min_ready_seconds, work.now.time);
    if up > 0 { surge(&pairs, up, available) } else { replace(&pairs, down, available) }
}

/// Old pods go first, new ones follow.
fn replace(pairs: &[Pair<'_>], down: usize, available: impl Fn(&Arc<Pod>) -> bool) -> Step {
    let mut step = Step::default();
    let mut candidates = Vec::new();
    let mut unavailable = 0;
    for pair in pairs {
        match (pair.old, pair.new) {
            (Some(old), None) if available(old) => candidates.push(old),
            // Nobody misses what does not serve.
            (Some(old), None) => {
                unavailable += 1;
                step.going.push(old.clone());
            }
            (None, Some(new)) if available(new) => {}
            (None, _) => unavailable += 1,
            (Some(old), Some(_)) => {
                unavailable += 1;
                step.going.push(old.clone());
            }
        }
    }
    step.going.extend(candidates.into_iter().take(down.saturating_sub(unavailable)).cloned());
    step
}

/// New pods come first, old ones follow.
fn surge(pairs: &[Pair<'_>], up: usize, available: impl Fn(&Arc<Pod>) -> bool) -> Step {
    let mut step = Step::default();
    let mut candidates = Vec::new();
    let mut two = 0;
    for pair in pairs {
        match (pair.old, pair.new) {
            (Some(old), Some(new)) => {
                two += 1;
                if available(new) {
                    step.going.push(old.clone());
                }
            }
            (Some(_), None) if pair.moves => two += 1,
            (Some(old), None) if available(old) => candidates.push(pair.node.clone()),
            (Some(_), None) => step.missing.push(pair.node.clone()),
            (None, _) => {}
        }
    }
    step.missing.extend(candidates.into_iter().take(up.saturating_sub(two)));
    step
}
