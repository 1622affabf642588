//! What a simulation is to be.

use super::cluster::{DICE_OF_API, DICE_OF_FUNCTIONS};
use super::nodes::{Ground, LEASES, Nodes, SimulatedNode};
use super::record::{Recorder, Wanted};
use super::{Life, Resources, RuntimeFactory, RuntimeSeat, SimulatedCluster, Simulation, Stalled};
use crate::Autoscaling;
use crate::cluster::{Core, CorePorts};
use crate::functions::{self, Functions, Registry, Seat};
use crate::{Scheduling, Timeout};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::ApiError;
use steersman_application::driver::agent::SimulatedLife;
use steersman_application::driver::virtual_time::{Dice, Executor, Order};
use steersman_application::usecase::{ApiConfig, ServiceCidr};
use steersman_domain::ports::{Change, ContainerSpec, Runtime, Spawner};
use steersman_domain::{Node, Str};
use steersman_store::Heartbeats;

/// How long the nodes of a new cluster may take to be ready, by its clock, with a margin for slow lines.
const READY: Duration = Duration::from_secs(300);

/// Why a simulation did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something was asked for that needs the machine itself.
    #[error("{0} cannot be had in virtual time: leave it out, or start the cluster as it is")]
    NeedsMachine(&'static str),
    /// The API refused what every cluster begins with.
    #[error("the first objects of the cluster were refused: {0}")]
    Bootstrap(#[from] ApiError),
    /// The nodes did not become ready.
    #[error(transparent)]
    Timeout(#[from] Timeout),
    /// Nothing could happen any more before the nodes were ready.
    #[error(transparent)]
    Stalled(#[from] Stalled),
}

/// The size of a node with so many cores and so many GiB of memory, and room for 110 pods.
pub fn size(cores: u16, memory_gib: u16) -> Resources {
    Resources {
        cpu_milli: i64::from(cores) * 1000,
        memory_bytes: i64::from(memory_gib) << 30,
        pods: 110,
        ..Resources::default()
    }
}

/// A simulation before it starts.
#[derive(Clone)]
pub struct SimulationBuilder {
    seed: u64,
    order: Option<Order>,
    nodes: Option<Vec<SimulatedNode>>,
    life: Life,
    start_delay: Duration,
    jitter: Duration,
    heartbeat: Option<Duration>,
    stands_in_for: Vec<&'static str>,
    wanted: Wanted,
    factories: Vec<RuntimeFactory>,
    limit: Option<Duration>,
    scheduling: Scheduling,
    autoscaling: Autoscaling,
    functions: Option<Registry>,
    default_runtime: Str,
    /// What was wanted and cannot be simulated.
    pub(crate) needs_machine: Option<&'static str>,
}

impl std::fmt::Debug for SimulationBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulationBuilder")
            .field("seed", &self.seed)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl SimulationBuilder {
    pub(super) fn new() -> Self {
        SimulationBuilder {
            seed: 0,
            order: None,
            nodes: None,
            life: Arc::new(|_| SimulatedLife::default()),
            start_delay: Duration::from_secs(1),
            jitter: Duration::ZERO,
            heartbeat: None,
            stands_in_for: Vec::new(),
            wanted: Wanted { trace: true, observer: None },
            factories: Vec::new(),
            limit: None,
            scheduling: Scheduling::default(),
            autoscaling: Autoscaling::default(),
            functions: None,
            default_runtime: "simulated".into(),
            needs_machine: None,
        }
    }

    /// What the run is a function of: the uids and names that the cluster draws, and the order in which things that can happen
    /// at the same time do. By default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The order of what can happen at the same time; by default as the seed has it. [`Order::Arrival`] changes least when the
    /// cluster is changed, which keeps traces that people read stable.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = Some(order);
        self
    }

    /// So many nodes of one size, called `node-1`, `node-2` and so on, beside those that are named by
    /// [`SimulationBuilder::node`].
    #[must_use]
    pub fn nodes(mut self, count: usize, size: Resources) -> Self {
        let new = (1..=count).map(|number| SimulatedNode::new(&format!("node-{number}"), size.clone()));
        self.nodes.get_or_insert_default().extend(new);
        self
    }

    /// A node of this name and size. Without any, there are three of 8 cores and 16 GiB.
    #[must_use]
    pub fn node(self, name: &str, size: Resources) -> Self {
        self.machine(SimulatedNode::new(name, size))
    }

    /// A node with labels and taints.
    #[must_use]
    pub fn machine(mut self, node: SimulatedNode) -> Self {
        self.nodes.get_or_insert_default().push(node);
        self
    }

    /// How often nodes renew their leases, which hold four times as long; by default every 10 seconds, as in Kubernetes. Most of
    /// what a large cluster does is this: runs over days are faster without a part of it, and find lost nodes later.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = Some(every);
        self
    }

    /// How simulated containers live: when their ports open, whether and how they end. By default ports open at once and
    /// containers run until they are stopped, which takes no time. The annotations `steersman.io/simulated-run-for`,
    /// `-exit-code`, `-ready-after` and `-stop-after` of a pod have the last word about its own; init containers that nothing
    /// else ends are over at once.
    #[must_use]
    pub fn life(mut self, life: impl Fn(&ContainerSpec) -> SimulatedLife + Send + Sync + 'static) -> Self {
        self.life = Arc::new(life);
        self
    }

    /// How long the start of a simulated container takes; by default a second.
    #[must_use]
    pub fn start_delay(mut self, delay: Duration) -> Self {
        self.start_delay = delay;
        self
    }

    /// How long a message between a node and the API takes at most, drawn for each by the seed; by default no time.
    #[must_use]
    pub fn jitter(mut self, longest: Duration) -> Self {
        self.jitter = longest;
        self
    }

    /// Simulates the pods of these runtimes too, such as `process` and `container`: what a manifest says of its runtime is no
    /// matter then.
    #[must_use]
    pub fn stand_in_for(mut self, handlers: &[&'static str]) -> Self {
        self.stands_in_for = handlers.to_vec();
        self
    }

    /// Is told of every revision as it is committed, and when, in the order of revisions. It is called while the store holds
    /// still: it must be quick, and must not ask the cluster anything.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(Duration, &Change) + Send + Sync + 'static) -> Self {
        self.wanted.observer = Some(Arc::new(observer));
        self
    }

    /// Forgets revisions as the store does, so that long runs of large clusters need no more memory than what there is: the
    /// [`Trace`](super::Trace) stays empty.
    #[must_use]
    pub fn untraced(mut self) -> Self {
        self.wanted.trace = false;
        self
    }

    /// Another runtime on every node, beside the simulated one, which runs pods that name none. It must wait and spawn through
    /// its seat alone.
    #[must_use]
    pub fn runtime(mut self, make: impl Fn(&RuntimeSeat) -> Arc<dyn Runtime> + Send + Sync + 'static) -> Self {
        self.factories.push(Arc::new(make));
        self
    }

    /// The functions that pods of the runtime `task` can run: every node offers it then. They must be async, and wait by
    /// their context alone.
    #[must_use]
    pub fn functions(mut self, functions: Registry) -> Self {
        self.functions = Some(functions);
        self
    }

    /// What decides where pods go; see [`Scheduling`].
    #[must_use]
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// What decides how many replicas workloads have, and how often.
    #[must_use]
    pub fn autoscaling(mut self, autoscaling: Autoscaling) -> Self {
        self.autoscaling = autoscaling;
        self
    }

    /// The runtime of pods that name none; by default `simulated`.
    #[must_use]
    pub fn default_runtime(mut self, handler: &str) -> Self {
        self.default_runtime = handler.into();
        self
    }

    /// How long one run may take by the cluster's clock, so that a test which waits for what never comes ends; by default 30
    /// days.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Starts the cluster and runs it until all nodes are ready. No time of the machine passes but what the work takes.
    ///
    /// # Errors
    /// When the nodes do not become ready: something that was given to the builder is in their way, or it needs the machine.
    pub fn start(self) -> Result<Simulation, StartError> {
        if let Some(what) = self.needs_machine {
            return Err(StartError::NeedsMachine(what));
        }
        let mut executor = Executor::new(self.order.unwrap_or(Order::Seeded(self.seed)));
        if let Some(limit) = self.limit {
            executor.set_limit(limit);
        }
        let nodes = self
            .nodes
            .clone()
            .unwrap_or_else(|| SimulationBuilder::new().nodes(3, size(8, 16)).nodes.unwrap_or_default());
        let cluster = self.cluster(&executor);
        let mut simulation = Simulation { executor, cluster };
        simulation.run(async |cluster| {
            cluster.api().bootstrap().await?;
            cluster.start_loops();
            for node in nodes {
                cluster.add_machine(node);
            }
            let count = cluster.nodes().len();
            let ready = |world: &super::World| world.all::<Node>().filter(|node| node.is_ready()).count() == count;
            cluster.until("all nodes are ready", READY, ready).await?;
            Ok::<(), StartError>(())
        })??;
        Ok(simulation)
    }

    fn cluster(mut self, executor: &Executor) -> SimulatedCluster {
        let (clock, spawner) = (executor.clock().clone(), executor.spawner());
        let recorder = Arc::new(Recorder::new(clock.clone(), self.wanted));
        let ports = CorePorts {
            store: Arc::new(Heartbeats::beside(recorder.clone())),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(Dice::of(self.seed, DICE_OF_API)),
        };
        let service_cidr =
            ServiceCidr::new(Ipv4Addr::new(10, 96, 0, 0), 12).expect("a range that Kubernetes uses by default");
        let config = ApiConfig { default_runtime: self.default_runtime.clone(), service_cidr };
        let mut core = Core::new(ports, config, self.scheduling);
        core.settings.node_grace = self.heartbeat.map_or(core.settings.node_grace, |every| every * LEASES);
        core.settings.autoscaler = self.autoscaling.scaler.clone();
        core.settings.autoscaler_sync = self.autoscaling.sync;
        let functions = self.functions.take().map(|registry| {
            let entropy = Arc::new(Dice::of(self.seed, DICE_OF_FUNCTIONS));
            let spawner: Arc<dyn Spawner> = Arc::new(spawner.clone());
            Functions::new(registry, core.client(), (core.clock.clone(), entropy, spawner))
        });
        if let Some(functions) = functions.clone() {
            self.factories.push(Arc::new(move |seat: &RuntimeSeat| functions.runtime(function_seat(seat))));
        }
        let ground = Ground {
            api: core.client(),
            logs: core.logs.clone(),
            clock: clock.clone(),
            spawner: spawner.clone(),
            seed: self.seed,
            life: self.life,
            start_delay: self.start_delay,
            jitter: self.jitter,
            factories: self.factories,
            heartbeat: self.heartbeat,
            window: self.autoscaling.window,
            stands_in_for: self.stands_in_for,
        };
        SimulatedCluster::new((core, recorder, functions), Nodes::new(ground), (clock, spawner, self.seed))
    }
}

/// Functions have addresses of their own, the same on every node: nothing listens there.
fn function_seat(seat: &RuntimeSeat) -> Seat {
    Seat {
        clock: seat.clock.clone(),
        entropy: seat.entropy.clone(),
        spawner: seat.spawner.clone(),
        addresses: functions::ADDRESSES,
        live: false,
    }
}
