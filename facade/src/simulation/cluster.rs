//! The cluster as a test sees it: the client and the clock that its operator is given, the world as it is, and the faults.

use super::Resources;
use super::nodes::{FaultError, Nodes, SimulatedNode};
use super::record::Recorder;
use super::trace::{Names, Trace};
use crate::cluster::Core;
use crate::functions::Functions;
use crate::{Handle, Timeout};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman_application::driver::spawner::{SpawnHandle, Spawner};
use steersman_application::driver::virtual_time::{Dice, TaskSpawner, VirtualClock};
use steersman_application::driver::world::World;
use steersman_application::usecase::Api;
use steersman_domain::ports::{Clock, Entropy, SandboxRecord, Store};

/// The loops that lead the cluster; dropping a handle kills one.
#[derive(Default)]
struct Loops {
    controllers: Option<SpawnHandle>,
    scheduler: Option<SpawnHandle>,
    _housekeeping: Option<SpawnHandle>,
    _routes: Option<SpawnHandle>,
    /// How many schedulers there have been: each has dice of its own.
    schedulers: u64,
}

struct Parts {
    handle: Handle,
    core: Core,
    functions: Option<Functions>,
    recorder: Arc<Recorder>,
    nodes: Nodes,
    loops: Mutex<Loops>,
    clock: VirtualClock,
    spawner: TaskSpawner,
    seed: u64,
}

/// So many of the last things that happened are shown when something was waited for in vain.
const LINES: usize = 20;

/// A simulated cluster from the inside; what users of any cluster do is in [`Handle`]. Cheap to clone; clones are the same cluster. It lives while its
/// [`Simulation`](super::Simulation) runs: futures of its methods are for [`Simulation::run`](super::Simulation::run) and the
/// tasks that are spawned there.
#[derive(Clone)]
pub struct SimulatedCluster(Arc<Parts>);

impl std::ops::Deref for SimulatedCluster {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0.handle
    }
}

impl std::fmt::Debug for SimulatedCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("SimulatedCluster");
        debug.field("now", &self.now()).field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}

/// What the dice of each part are for; those of nodes count up from 2¹⁶.
pub(super) const DICE_OF_API: u64 = 1;
pub(super) const DICE_OF_FUNCTIONS: u64 = 2;
const DICE_OF_SCHEDULERS: u64 = 256;
/// In the upper half; the lower is the caller's number.
const DICE_OF_TESTS: u64 = 1;

impl SimulatedCluster {
    pub(super) fn new(
        (core, recorder, functions): (Core, Arc<Recorder>, Option<Functions>),
        nodes: Nodes,
        (clock, spawner, seed): (VirtualClock, TaskSpawner, u64),
    ) -> Self {
        let board = functions.as_ref().map(|functions| functions.board.clone());
        let handle = Handle::new(core.client(), Arc::new(clock.clone()), board);
        SimulatedCluster(Arc::new(Parts {
            handle,
            core,
            functions,
            recorder,
            nodes,
            loops: Mutex::default(),
            clock,
            spawner,
            seed,
        }))
    }

    fn loops(&self) -> MutexGuard<'_, Loops> {
        self.0.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start_loops(&self) {
        self.start_controllers();
        self.start_scheduler();
        let housekeeping = self.0.spawner.spawn("housekeeping", self.0.core.housekeeping());
        self.loops()._housekeeping = Some(housekeeping);
        let routes = self.0.functions.as_ref().map(|functions| self.0.spawner.spawn("routes", functions.route()));
        self.loops()._routes = routes;
    }

    /// What users of the cluster do with it; clones may be passed around.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// The use cases behind the API.
    pub fn api(&self) -> &Arc<Api> {
        &self.0.core.api
    }

    /// Spawns tasks that live with the cluster.
    pub fn spawner(&self) -> Arc<dyn Spawner> {
        Arc::new(self.0.spawner.clone())
    }

    /// Chance of its own, out of the seed and a number that the caller chooses; equal numbers give equal chance.
    pub fn entropy(&self, purpose: u32) -> Arc<dyn Entropy> {
        Arc::new(Dice::of(self.0.seed, DICE_OF_TESTS << 32 | u64::from(purpose)))
    }

    /// The seed of the simulation.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The store under the API, as the part that keeps revisions sees it.
    pub fn store(&self) -> Arc<dyn Store> {
        self.0.core.store.clone()
    }

    /// Starts a task beside the cluster: an operator, traffic, a nuisance. Dropping the handle ends it. A panic in it ends the
    /// run.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> SpawnHandle {
        self.0.spawner.spawn(name, Box::pin(task))
    }

    /// Time since the cluster began.
    pub fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    /// Lets the cluster live on for a while.
    pub async fn sleep(&self, duration: Duration) {
        self.0.clock.sleep(duration).await;
    }

    /// Everything there is now, heartbeats aside; an immutable snapshot, in constant time.
    pub fn world(&self) -> World {
        self.0.recorder.world()
    }

    /// Everything that happened until now.
    pub fn trace(&self) -> Trace {
        self.0.recorder.trace()
    }

    /// Waits until something holds, looking after every commit, for at most `within` by the cluster's clock; returns the world
    /// in which it did. `what` names it for the error.
    ///
    /// # Errors
    /// [`Timeout`], which shows the world as it was at the end, and what happened last.
    pub async fn until(&self, what: &str, within: Duration, holds: impl Fn(&World) -> bool) -> Result<World, Timeout> {
        let end = self.now() + within;
        loop {
            // Made before the look, so that a commit in between is not missed.
            let committed = self.0.recorder.committed.notified();
            let world = self.world();
            if holds(&world) {
                return Ok(world);
            }
            let now = self.now();
            if now >= end {
                return Err(self.timeout(what, within));
            }
            tokio::select! {
                biased;
                () = committed => {}
                () = self.0.clock.sleep(end - now) => {}
            }
        }
    }

    fn timeout(&self, what: &str, within: Duration) -> Timeout {
        let lines = self.trace().lines(Names::Real);
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        Timeout::new(what, within, &self.world(), &format!("the last that happened:\n{last}"))
    }

    /// Waits until nothing but heartbeats has been written for `quiet`, for at most `within`.
    ///
    /// # Errors
    /// [`Timeout`] when something is still written then.
    pub async fn rest(&self, quiet: Duration, within: Duration) -> Result<(), Timeout> {
        let end = self.now() + within;
        loop {
            let before = self.0.recorder.len();
            self.sleep(quiet).await;
            if self.0.recorder.len() == before {
                return Ok(());
            }
            if self.now() >= end {
                return Err(self.timeout("nothing more is written", within));
            }
        }
    }

    /// The names of all machines, in order, those without power too.
    pub fn nodes(&self) -> Vec<String> {
        self.0.nodes.names()
    }

    /// Adds a machine with its agent; the name of one that is there changes nothing.
    pub fn add_node(&self, name: &str, size: Resources) {
        self.add_machine(SimulatedNode::new(name, size));
    }

    /// Adds a machine with labels and taints; the name of one that is there changes nothing.
    pub fn add_machine(&self, node: SimulatedNode) {
        self.0.nodes.add(node);
    }

    /// A machine loses its power: its agent is silent, and all that it ran is gone.
    ///
    /// # Errors
    /// When there is no such machine, as with all of these.
    pub fn lose_node(&self, node: &str) -> Result<(), FaultError> {
        self.0.nodes.lose(node)
    }

    /// A machine comes back: its agent starts, and its line is joined.
    pub fn return_node(&self, node: &str) -> Result<(), FaultError> {
        self.0.nodes.set_line(node, true)?;
        self.0.nodes.start_agent(node)
    }

    /// The line between a machine and the API is cut; its agent and its pods go on.
    pub fn cut_node(&self, node: &str) -> Result<(), FaultError> {
        self.0.nodes.set_line(node, false)
    }

    /// The line between a machine and the API is joined again.
    pub fn join_node(&self, node: &str) -> Result<(), FaultError> {
        self.0.nodes.set_line(node, true)
    }

    /// Every message between this agent and the API takes this long from now on, each way that one goes; zero: as before.
    pub fn slow_agent(&self, node: &str, delay: Duration) -> Result<(), FaultError> {
        self.0.nodes.slow(node, delay)
    }

    /// The agent of a machine dies; its pods go on, unwatched.
    pub fn kill_agent(&self, node: &str) -> Result<(), FaultError> {
        self.0.nodes.kill_agent(node)
    }

    /// Starts the agent of a machine, unless it runs; it takes over what it finds there.
    pub fn start_agent(&self, node: &str) -> Result<(), FaultError> {
        self.0.nodes.start_agent(node)
    }

    /// The agent of a machine starts again and finds another size.
    pub fn resize_node(&self, node: &str, size: Resources) -> Result<(), FaultError> {
        self.0.nodes.resize(node, size)
    }

    /// What a machine's simulated runtime holds, whatever the API knows of it.
    pub async fn sandboxes(&self, node: &str) -> Result<Vec<SandboxRecord>, FaultError> {
        self.0.nodes.sandboxes(node).await
    }

    /// All running simulated containers of a pod end with this exit code.
    ///
    /// # Errors
    /// When none of the pod runs.
    pub async fn crash_pod(&self, namespace: &str, name: &str, exit_code: i32) -> Result<(), FaultError> {
        self.0.nodes.crash(namespace, name, exit_code).await
    }

    /// The scheduler dies wherever it is.
    pub fn kill_scheduler(&self) {
        self.loops().scheduler = None;
    }

    /// Starts a scheduler that knows nothing, in place of the one that may run.
    pub fn start_scheduler(&self) {
        let mut loops = self.loops();
        loops.scheduler = None;
        loops.schedulers += 1;
        let entropy = Arc::new(Dice::of(self.0.seed, DICE_OF_SCHEDULERS + loops.schedulers));
        loops.scheduler = Some(self.0.spawner.spawn("scheduler", self.0.core.scheduler(entropy)));
    }

    /// The controllers die wherever they are.
    pub fn kill_controllers(&self) {
        self.loops().controllers = None;
    }

    /// Starts controllers that know nothing, in place of those that may run.
    pub fn start_controllers(&self) {
        let mut loops = self.loops();
        loops.controllers = None;
        loops.controllers = Some(self.0.spawner.spawn("controllers", self.0.core.controllers()));
    }
}
