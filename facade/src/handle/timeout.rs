//! What was waited for in vain, told so that a person sees why.

use std::fmt::Write as _;
use std::time::Duration;
use steersman_application::client::ApiError;
use steersman_application::driver::world::World;
use steersman_domain::{Node, Pod};

/// Of so many pods the state is shown: these tell what is the matter, a thousand would hide it.
const PODS: usize = 40;
/// Something did not come to hold in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not within {within:?}: {what}\n{state}{last}")]
pub struct Timeout {
    /// What was waited for.
    pub what: String,
    /// How long, by the cluster's clock.
    pub within: Duration,
    /// The cluster as it was in the end.
    pub state: String,
    /// What happened last, where the cluster keeps a record of it.
    pub last: String,
}

impl Timeout {
    pub(crate) fn new(what: &str, within: Duration, world: &World, last: &str) -> Self {
        Timeout { what: what.to_owned(), within, state: state(world), last: last.to_owned() }
    }
}

/// Why waiting ended without what was waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// It did not come in time.
    #[error(transparent)]
    Timeout(#[from] Timeout),
    /// The API cannot be reached, or refused the watch.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// The nodes and the pods, a line each.
fn state(world: &World) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    for node in world.all::<Node>() {
        let ready = if node.is_ready() { "ready" } else { "not ready" };
        let taints: Vec<&str> = node.spec.taints.iter().map(|taint| taint.key.as_str()).collect();
        let _ = writeln!(text, "node {} {ready} {}", node.metadata.name, taints.join(" "));
    }
    let pods = world.all::<Pod>().count();
    for pod in world.all::<Pod>().take(PODS) {
        let (meta, ready) = (&pod.metadata, if pod.is_ready() { "ready" } else { "not ready" });
        let ending = if meta.is_deleting() { ", ending" } else { "" };
        let node = if pod.spec.node_name.is_empty() { "no node" } else { pod.spec.node_name.as_str() };
        let conditions = pod.status.conditions.iter().filter(|condition| !condition.is_true());
        let messages: Vec<&str> = conditions.map(|condition| condition.message.as_str()).collect();
        let _ = writeln!(
            text,
            "pod {}/{} on {node}: {:?}, {ready}{ending} {}",
            meta.namespace,
            meta.name,
            pod.status.phase,
            messages.join("; ")
        );
    }
    if pods > PODS {
        let _ = writeln!(text, "and {} more pods", pods - PODS);
    }
    text
}
