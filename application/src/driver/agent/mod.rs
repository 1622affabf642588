//! The node agent: runs the pods that are bound to its node. It watches them, decides for each what is next by a pure state
//! machine (`next`), has a [`Runtime`] do it, and writes what came of it into their status.
//!
//! It uses the API as everyone does and keeps nothing on disk: after a restart, or a crash, it takes over from the objects
//! and from what the runtimes still hold. It looks after their health by their probes; where none says
//! whether a container is ready, its declared ports must accept connections. It does not pull images or evict pods.

mod backoff;
mod config;
mod effects;
mod ending;
mod env;
mod events;
mod expand;
mod hooks;
mod inbox;
mod life;
mod logs;
mod next;
mod node;
mod observe;
mod pods;
mod probes;
mod restore;
mod service_env;
mod shared;
mod simulated;
mod sources;
mod spec;
mod state;
mod status;
mod traffic;
mod usage;
mod volumes;
mod worker;
mod writer;

#[cfg(test)]
mod tests;

pub use config::AgentConfig;
pub use expand::expand;
pub use life::{CPU, EXIT_CODE, MEMORY, READY_AFTER, RUN_FOR, STOP_AFTER, SimulatedLife, UNWELL_AFTER};
pub use logs::AgentLogs;
pub use node::LEASE_NAMESPACE;
pub use simulated::{Script, SimulatedConfig, SimulatedRuntime};
pub use traffic::{NoTraffic, TrafficDrain};

use crate::client::Client;
use crate::driver::spawner::Spawner;
use shared::{Registry, Shared};
use sources::SourceWatches;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::Uid;
use steersman_domain::ports::{Clock, Entropy, Runtime};
use tokio::sync::watch;
use writer::Writer;

/// What an agent is asked to do, through a watch channel whose first value is `Run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    #[default]
    Run,
    /// Stop all pods in order and keep their objects: the next agent starts them again. Then end.
    StopPods,
    /// As `StopPods`, but without grace: also for those that are being stopped with it.
    KillPods,
    /// End at once and leave everything running: the next agent adopts it.
    LeavePods,
}

/// The ports that an agent stands on.
#[derive(Clone)]
pub struct AgentPorts {
    /// The API.
    pub client: Arc<dyn Client>,
    /// One for each handler; of several with the same handler the last counts.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// What it waits by.
    pub clock: Arc<dyn Clock>,
    /// Where its chance comes from.
    pub entropy: Arc<dyn Entropy>,
    /// What runs its tasks.
    pub spawner: Arc<dyn Spawner>,
    /// Takes pods out of the way of traffic before they end.
    pub traffic: Arc<dyn TrafficDrain>,
}

impl std::fmt::Debug for AgentPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let handlers: Vec<&str> = self.runtimes.iter().map(|r| r.handler()).collect();
        f.debug_struct("AgentPorts").field("runtimes", &handlers).finish_non_exhaustive()
    }
}

/// The agent of one node. Cheap enough that one process holds hundreds: four tasks, and one for each pod.
pub struct Agent {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("node", &self.shared.config.node_name).finish_non_exhaustive()
    }
}

/// How long the last writes may take when the agent stops.
const LAST_WRITES: Duration = Duration::from_secs(5);

impl Agent {
    /// An agent that has not begun.
    pub fn new(config: AgentConfig, ports: AgentPorts) -> Self {
        let runtimes: BTreeMap<&'static str, Arc<dyn Runtime>> =
            ports.runtimes.into_iter().map(|r| (r.handler(), r)).collect();
        Agent {
            shared: Arc::new(Shared {
                config,
                client: ports.client,
                runtimes,
                clock: ports.clock,
                entropy: ports.entropy,
                spawner: ports.spawner,
                traffic: ports.traffic,
                writer: Writer::default(),
                sources: SourceWatches::default(),
                registry: Registry::default(),
            }),
        }
    }

    /// The logs of the agent's pods; valid while it runs.
    pub fn logs(&self) -> AgentLogs {
        AgentLogs { shared: Arc::clone(&self.shared) }
    }

    /// The pods that the agent works on, in the order of their uids.
    pub fn pods(&self) -> Vec<Uid> {
        self.shared.registry.all().into_iter().map(|(inbox, _)| inbox.uid().clone()).collect()
    }

    /// Runs until asked to stop. A dropped `stop` sender means [`Stop::LeavePods`]. Dropping the future ends all tasks of the
    /// agent and leaves the pods running.
    pub async fn run(&self, mut stop: watch::Receiver<Stop>) {
        let shared = &self.shared;
        let guard = Cleanup(Arc::clone(shared));
        let writer = shared.spawner.spawn("agent-writer", Box::pin(writer::run(Arc::clone(shared))));
        let node = shared.spawner.spawn("agent-node", Box::pin(node::run(Arc::clone(shared))));
        let asked = tokio::select! {
            biased;
            asked = asked(&mut stop) => asked,
            never = pods::run(Arc::clone(shared)) => match never {},
        };
        if asked != Stop::LeavePods {
            self.stop_pods(asked, &mut stop).await;
        }
        tokio::select! {
            biased;
            () = shared.writer.flushed() => {}
            () = shared.clock.sleep(LAST_WRITES) => {}
        }
        drop((writer, node, guard));
    }

    /// Ends all pods side by side, each within its own grace; cut short by [`Stop::KillPods`], and by [`Stop::LeavePods`].
    async fn stop_pods(&self, asked: Stop, stop: &mut watch::Receiver<Stop>) {
        let events = pods::follow_runtimes(&self.shared).await;
        self.tell_pods(asked);
        let cut_short = async {
            loop {
                let Ok(()) = stop.changed().await else { return };
                match *stop.borrow_and_update() {
                    Stop::LeavePods => return,
                    Stop::KillPods => self.tell_pods(Stop::KillPods),
                    Stop::StopPods | Stop::Run => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = self.shared.registry.empty() => {}
            () = cut_short => {}
        }
        drop(events);
    }

    fn tell_pods(&self, asked: Stop) {
        for (inbox, pod) in self.shared.registry.all() {
            let grace = if asked == Stop::KillPods { Duration::ZERO } else { next::grace(&pod) };
            inbox.observed(observe::Observation::StopAsked { grace });
        }
    }
}

/// Waits until the agent is asked to stop, and says how.
async fn asked(stop: &mut watch::Receiver<Stop>) -> Stop {
    loop {
        let now = *stop.borrow_and_update();
        if now != Stop::Run {
            return now;
        }
        if stop.changed().await.is_err() {
            return Stop::LeavePods;
        }
    }
}

/// Ends the workers and watches of an agent however it ends.
struct Cleanup(Arc<Shared>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.0.registry.clear();
        self.0.sources.clear();
    }
}
