//! A whole cluster in virtual time: API, controllers, scheduler, housekeeping and the agents of as many nodes as you like, in
//! one thread, without sockets, processes or files. Time passes when nothing is left to do, so an hour of rollouts and
//! back-offs takes milliseconds; and a run is a function of its seed: the same seed gives the same revisions at the same
//! times, another seed another interleaving of everything that runs side by side.
//!
//! It is for those who test an operator, a platform, or Steersman itself: what they write is ordinary async code against the
//! [`Handle`](crate::Handle) of a live cluster.
//!
//! ```
//! use std::time::Duration;
//! use steersman::domain::{Pod, ports::Clock};
//! use steersman::simulation::{Simulation, size};
//!
//! const WEB: &str = "
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: {name: web}
//! spec:
//!   replicas: 3
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec: {containers: [{name: main, image: web}]}
//! ";
//!
//! let mut simulation = Simulation::builder().seed(7).nodes(3, size(8, 16)).start()?;
//! simulation.run(async |cluster| {
//!     cluster.apply(WEB).await?;
//!     let serves = |world: &steersman::application::driver::world::World| {
//!         world.all::<Pod>().filter(|pod| pod.is_ready()).count() == 3
//!     };
//!     cluster.until("web serves", Duration::from_secs(60), serves).await?;
//!     cluster.lose_node("node-1")?;
//!     cluster.until("a pod is missed", Duration::from_secs(60), |world| !serves(world)).await?;
//!     cluster.until("it is replaced", Duration::from_secs(600), serves).await?;
//!     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! })??;
//! println!("{}", simulation.cluster().trace());
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! What it does not do: real programs do not run in it, containers are simulated ([`SimulationBuilder::life`]); nothing that
//! waits for a socket, a timer or a thread of the machine may be awaited in it; and `tokio::select!` must be `biased`, since
//! its dice are not the seed's.

mod builder;
mod cluster;
mod line;
mod lines;
mod names;
mod nodes;
mod record;
mod trace;

pub use builder::{SimulationBuilder, StartError, size};
pub use cluster::SimulatedCluster;
pub use nodes::{FaultError, Life, RuntimeFactory, RuntimeSeat, SimulatedNode};
pub use steersman_application::driver::agent::SimulatedLife;
pub use steersman_application::driver::virtual_time::{Dice, Order, Stalled};
pub use steersman_domain::ledger::Resources;
pub use trace::{Entry, Names, Trace, TraceHash};

use crate::Timeout;
use std::time::Duration;
use steersman_application::driver::virtual_time::Executor;
use steersman_application::driver::world::World;

/// The stack of a run. Unoptimised builds of deep async code need more than a test's thread has by default.
const STACK: usize = 16 << 20;

/// A simulated cluster and the executor that it lives on. Nothing of it happens but in its methods.
pub struct Simulation {
    // Dropped first: its tasks are the cluster's.
    executor: Executor,
    cluster: SimulatedCluster,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Why the simulation did not get to where it was to be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing can happen any more, or never what ends the run.
    #[error(transparent)]
    Stalled(#[from] Stalled),
    /// What was waited for did not come in time.
    #[error(transparent)]
    Timeout(#[from] Timeout),
}

impl Simulation {
    /// Describes a simulation; by default three nodes, and the seed 0.
    pub fn builder() -> SimulationBuilder {
        SimulationBuilder::new()
    }

    /// The cluster.
    pub fn cluster(&self) -> &SimulatedCluster {
        &self.cluster
    }

    /// Runs a test, or a part of one, with the cluster around it, and answers what it does. The cluster goes on only while this
    /// runs; a later run goes on where this one ended.
    ///
    /// It has a thread of its own, for it must not share one with a task of another executor: it may be called from anywhere,
    /// be it `main`, a `#[test]` or a `#[tokio::test]`, and blocks there. A panic inside is the caller's.
    ///
    /// # Errors
    /// When the test cannot end, because nothing can happen any more, or never does.
    ///
    /// # Panics
    /// When the machine has no room for a thread.
    pub fn run<T: Send>(&mut self, test: impl AsyncFnOnce(&SimulatedCluster) -> T + Send) -> Result<T, Stalled> {
        let (executor, cluster) = (&mut self.executor, &self.cluster);
        std::thread::scope(|scope| {
            let run = move || executor.run(test(cluster));
            let thread = std::thread::Builder::new().name("simulation".into()).stack_size(STACK);
            let thread = thread.spawn_scoped(scope, run).expect("the machine has room for a thread");
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Lets the cluster live on for a while.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Stalled> {
        self.run(async |cluster| cluster.sleep(duration).await)
    }

    /// Lets the cluster live on until something holds, for at most `within` by its clock.
    ///
    /// # Errors
    /// As [`SimulatedCluster::until`] and [`Simulation::run`].
    pub fn run_until(
        &mut self,
        what: &str,
        within: Duration,
        holds: impl Fn(&World) -> bool + Send + Sync,
    ) -> Result<World, RunError> {
        Ok(self.run(async |cluster| cluster.until(what, within, &holds).await)??)
    }

    /// Everything that happened until now; its [`hash`](Trace::hash) is a function of the seed and of what was asked.
    pub fn trace(&self) -> Trace {
        self.cluster.trace()
    }

    /// How many steps the cluster and the tests have taken.
    pub fn steps(&self) -> u64 {
        self.executor.steps()
    }
}
