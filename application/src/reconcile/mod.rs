//! Reconcilers: each compares what is wanted with what is, for one object, and answers what to write. They are pure: equal
//! input gives equal output, nothing is read but the snapshot, nothing waits. One writer per field.

mod claims;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod garbage;
pub mod horizontal;
pub mod housekeeping;
pub mod job;
pub mod namespace;
pub mod node_lifecycle;
mod outcome;
mod pod_names;
pub mod replica_set;
mod revisions;
pub mod stateful_set;
mod template;
#[cfg(test)]
pub(crate) mod testing;

pub use outcome::{Note, Outcome};

use crate::autoscaling::HorizontalAutoScaler;
use crate::client::ApiError;
use crate::driver::world::World;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{AutoScaler, Change};
use steersman_domain::{Key, Time};

/// The present, as a decision is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: what is written into objects.
    pub time: Time,
    /// Time since some fixed instant; never jumps. For spans that only this process measures.
    pub monotonic: Duration,
}

/// Decides for objects of one kind. Implementations are pure over the snapshot; state they keep may only save work or
/// remember spans, never be needed to come to the right end.
pub trait Reconciler: Send {
    /// A short name for traces, field managers and the source of Events: `deployment-controller`.
    fn name(&self) -> &'static str;

    /// Keys to look at because of this change. The world is already after the change; the change holds the object before
    /// and after it.
    fn triggers(&self, change: &Change, world: &World) -> Vec<Key>;

    /// Keys to look at after a list: everything this reconciler is responsible for.
    fn all(&self, world: &World) -> Vec<Key>;

    /// Decides for one key. The object may be gone; then there is usually nothing to do.
    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome;

    /// What became of the writes of the last outcome for this key: the first refusal that is not a mere sign of stale
    /// input, or `None`. For those who tell of refusals in a status.
    fn answered(&mut self, _key: &Key, _refusal: Option<&ApiError>) {}
}

/// What an installation decides about its controllers.
#[derive(Clone)]
pub struct Settings {
    /// How long nodes may be silent.
    pub node_grace: Duration,
    /// Decides how many replicas workloads have.
    pub autoscaler: Arc<dyn AutoScaler>,
    /// How often it is asked.
    pub autoscaler_sync: Duration,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("node_grace", &self.node_grace).finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node_grace: node_lifecycle::NODE_GRACE,
            autoscaler: Arc::new(HorizontalAutoScaler),
            autoscaler_sync: horizontal::SYNC,
        }
    }
}

/// Every controller of a cluster, in the order in which they look at a change: the one list, for the live driver, the
/// simulation and whoever else hosts them. New controllers are entered here and nowhere else.
pub fn all(settings: &Settings) -> Vec<Box<dyn Reconciler>> {
    vec![
        Box::new(namespace::NamespaceReconciler),
        Box::new(deployment::Deployments::default()),
        Box::new(replica_set::ReplicaSets::default()),
        Box::new(daemon_set::DaemonSets::default()),
        Box::new(stateful_set::StatefulSets),
        Box::new(cron_job::CronJobs::default()),
        Box::new(job::Jobs::default()),
        Box::new(disruption::Disruptions),
        Box::new(horizontal::Autoscalers::new(settings.autoscaler.clone(), settings.autoscaler_sync)),
        Box::new(endpoints::EndpointsReconciler),
        Box::new(node_lifecycle::NodeLifecycle::new(settings.node_grace)),
        Box::new(garbage::Garbage::default()),
        Box::new(housekeeping::Housekeeping::default()),
    ]
}

/// The 64-bit FNV-1a hash of texts, each closed by a byte that no text holds: a stable source of deterministic names.
/// Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub fn fnv64(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|t| t.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
