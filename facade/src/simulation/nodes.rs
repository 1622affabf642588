//! The nodes of a simulated cluster: machines with an agent, runtimes and a line to the API, and what can go wrong with them.

use super::Resources;
use super::line::Line;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman_application::client::Client;
use steersman_application::driver::agent::{
    Agent, AgentConfig, AgentPorts, NoTraffic, SimulatedConfig, SimulatedLife, SimulatedRuntime, Stop,
};
use steersman_application::driver::spawner::{SpawnHandle, Spawner};
use steersman_application::driver::virtual_time::{Dice, TaskSpawner, VirtualClock};
use steersman_application::usecase::logs::{LogRegistry, LogSource};
use steersman_domain::ports::{Clock, ContainerSpec, Entropy, Runtime, RuntimeError, SandboxRecord};
use steersman_domain::{Map, Str, Taint};
use tokio::sync::watch;

/// Decides how a simulated container lives.
pub type Life = Arc<dyn Fn(&ContainerSpec) -> SimulatedLife + Send + Sync>;

/// Makes a runtime for a node, beside the simulated one that every node has.
pub type RuntimeFactory = Arc<dyn Fn(&RuntimeSeat) -> Arc<dyn Runtime> + Send + Sync>;

/// Where a runtime is to work: on which node, by which clock, on which executor, with which chance.
#[derive(Clone)]
pub struct RuntimeSeat {
    /// The name of the node.
    pub node: String,
    /// The virtual clock.
    pub clock: Arc<dyn Clock>,
    /// Spawns onto the virtual executor.
    pub spawner: Arc<dyn Spawner>,
    /// Chance of its own, out of the seed.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for RuntimeSeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeSeat").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A fault that cannot happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// There is no such node.
    #[error("there is no node {name:?}; there are: {}", .known.join(", "))]
    NoNode {
        /// The name that was given.
        name: String,
        /// The nodes that there are.
        known: Vec<String>,
    },
    /// Nothing of the pod runs.
    #[error("no node runs a pod {namespace}/{name}: it is not there, not started yet, or over")]
    NotRunning {
        /// The namespace of the pod.
        namespace: String,
        /// The name of the pod.
        name: String,
    },
    /// The runtime of a node does not answer.
    #[error("node {0} cannot be read: {1}")]
    Runtime(String, RuntimeError),
}

/// A node before it is there.
#[derive(Clone, Debug)]
pub struct SimulatedNode {
    pub(super) name: String,
    pub(super) size: Resources,
    pub(super) labels: Map<Str>,
    pub(super) taints: Vec<Taint>,
}

impl SimulatedNode {
    /// A node of this name and size, without labels or taints of its own.
    pub fn new(name: &str, size: Resources) -> Self {
        SimulatedNode { name: name.to_owned(), size, labels: Map::new(), taints: Vec::new() }
    }

    /// A label beside those that every node has.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key, value.into());
        self
    }

    /// A taint that the node is registered with.
    #[must_use]
    pub fn taint(mut self, taint: Taint) -> Self {
        self.taints.push(taint);
        self
    }

    /// What the node is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What all nodes have in common.
pub(super) struct Ground {
    pub(super) api: Arc<dyn Client>,
    pub(super) logs: Arc<LogRegistry>,
    pub(super) clock: VirtualClock,
    pub(super) spawner: TaskSpawner,
    pub(super) seed: u64,
    pub(super) life: Life,
    pub(super) start_delay: Duration,
    pub(super) jitter: Duration,
    pub(super) factories: Vec<RuntimeFactory>,
    pub(super) heartbeat: Option<Duration>,
    /// Over how long usage is measured; a heartbeat of its own comes instead.
    pub(super) window: Duration,
    /// Handlers of other runtimes, whose pods are simulated too.
    pub(super) stands_in_for: Vec<&'static str>,
}

struct Machine {
    line: Line,
    config: AgentConfig,
    simulated: SimulatedRuntime,
    others: Vec<Arc<dyn Runtime>>,
    /// Dropping the sender, or aborting the task, leaves what runs there.
    agent: Option<(watch::Sender<Stop>, SpawnHandle)>,
    first_address: Ipv4Addr,
}

/// All nodes by name.
pub(super) struct Nodes {
    ground: Ground,
    machines: Mutex<BTreeMap<String, Machine>>,
    /// How many dice have been made: each agent and line has its own.
    dice: Mutex<u64>,
}

/// A lease holds for so many heartbeats, and the status is told with every so manieth, as in Kubernetes.
pub(super) const LEASES: u32 = 4;
const STATUSES: u32 = 30;

/// Apart from the dice of the API and the scheduler.
const DICE_OF_NODES: u64 = 1 << 16;

impl Nodes {
    pub(super) fn new(ground: Ground) -> Self {
        Nodes { ground, machines: Mutex::default(), dice: Mutex::new(DICE_OF_NODES) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_dice(&self) -> Dice {
        let mut made = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        *made += 1;
        Dice::of(self.ground.seed, *made)
    }

    /// The names of all machines, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Adds a machine and starts its agent. One that is there already stays as it is.
    pub(super) fn add(&self, new: SimulatedNode) {
        let mut machines = self.lock();
        if machines.contains_key(&new.name) {
            return;
        }
        // A /24 for each of up to 65,536 machines.
        let subnet = u32::try_from(machines.len()).unwrap_or(u32::MAX) << 8;
        let first_address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)).wrapping_add(subnet));
        let ground = &self.ground;
        let line = Line::new(ground.api.clone(), Arc::new(ground.clock.clone()), self.next_dice(), ground.jitter);
        let mut config = AgentConfig::new(&new.name);
        config.capacity = new.size;
        config.labels = new.labels;
        config.taints = new.taints;
        config.usage_interval = ground.window;
        if let Some(every) = ground.heartbeat {
            (config.lease_interval, config.lease_duration) = (every, every * LEASES);
            config.usage_interval = every;
            config.status_interval = every * STATUSES;
        }
        config.default_runtime = "simulated".into();
        let (simulated, others) = self.runtimes(&new.name, first_address);
        let mut machine = Machine { line, config, simulated, others, agent: None, first_address };
        self.start_agent_of(&mut machine);
        machines.insert(new.name, machine);
    }

    fn runtimes(&self, node: &str, first_address: Ipv4Addr) -> (SimulatedRuntime, Vec<Arc<dyn Runtime>>) {
        let ground = &self.ground;
        let config = SimulatedConfig {
            start_delay: ground.start_delay,
            first_address,
            script: ground.life.clone(),
            ..SimulatedConfig::default()
        };
        let (clock, spawner) = (Arc::new(ground.clock.clone()), Arc::new(ground.spawner.clone()));
        let simulated = SimulatedRuntime::new(config, clock.clone(), spawner.clone());
        let others = ground.factories.iter().map(|make| {
            let entropy = Arc::new(self.next_dice());
            make(&RuntimeSeat { node: node.to_owned(), clock: clock.clone(), spawner: spawner.clone(), entropy })
        });
        let mut others: Vec<_> = others.collect();
        let stand_in = |handler: &&'static str| Arc::new(simulated.under(handler)) as Arc<dyn Runtime>;
        others.extend(ground.stands_in_for.iter().map(stand_in));
        (simulated, others)
    }

    fn start_agent_of(&self, machine: &mut Machine) {
        let mut runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(machine.simulated.clone())];
        runtimes.extend(machine.others.iter().cloned());
        let ports = AgentPorts {
            client: Arc::new(machine.line.clone()),
            runtimes,
            clock: Arc::new(self.ground.clock.clone()),
            entropy: Arc::new(self.next_dice()),
            spawner: Arc::new(self.ground.spawner.clone()),
            traffic: Arc::new(NoTraffic),
        };
        let name = machine.config.node_name.clone();
        let agent = Agent::new(machine.config.clone(), ports);
        let source: Arc<dyn LogSource> = Arc::new(agent.logs());
        // A later agent of the same node takes the place of this one.
        self.ground.logs.register(&name, source);
        let (stop, asked) = watch::channel(Stop::Run);
        let task = Box::pin(async move { agent.run(asked).await });
        machine.agent = Some((stop, self.ground.spawner.spawn("agent", task)));
    }

    fn with<T>(&self, node: &str, act: impl FnOnce(&mut Machine) -> T) -> Result<T, FaultError> {
        let mut machines = self.lock();
        if let Some(machine) = machines.get_mut(node) {
            return Ok(act(machine));
        }
        Err(FaultError::NoNode { name: node.to_owned(), known: machines.keys().cloned().collect() })
    }

    /// The machine loses its power: its agent and all that it ran are gone.
    pub(super) fn lose(&self, node: &str) -> Result<(), FaultError> {
        self.with(node, |machine| {
            machine.agent = None;
            (machine.simulated, machine.others) = self.runtimes(node, machine.first_address);
        })
    }

    /// Starts the agent of a machine, unless it runs; what runs there is taken over.
    pub(super) fn start_agent(&self, node: &str) -> Result<(), FaultError> {
        self.with(node, |machine| {
            if machine.agent.is_none() {
                self.start_agent_of(machine);
            }
        })
    }

    /// Kills the agent; what runs on the machine goes on.
    pub(super) fn kill_agent(&self, node: &str) -> Result<(), FaultError> {
        self.with(node, |machine| machine.agent = None)
    }

    pub(super) fn set_line(&self, node: &str, up: bool) -> Result<(), FaultError> {
        self.with(node, |machine| machine.line.set_up(up))
    }

    pub(super) fn slow(&self, node: &str, delay: Duration) -> Result<(), FaultError> {
        self.with(node, |machine| machine.line.set_delay(delay))
    }

    /// Starts the agent again with another size of its machine.
    pub(super) fn resize(&self, node: &str, size: Resources) -> Result<(), FaultError> {
        self.with(node, |machine| {
            machine.agent = None;
            machine.config.capacity = size;
            self.start_agent_of(machine);
        })
    }

    /// The simulated runtimes of all machines, by name.
    fn simulated(&self) -> Vec<(String, SimulatedRuntime)> {
        self.lock().iter().map(|(name, machine)| (name.clone(), machine.simulated.clone())).collect()
    }

    /// What the simulated runtime of a machine holds.
    pub(super) async fn sandboxes(&self, node: &str) -> Result<Vec<SandboxRecord>, FaultError> {
        let runtime = self.with(node, |machine| machine.simulated.clone())?;
        runtime.sandboxes().await.map_err(|error| FaultError::Runtime(node.to_owned(), error))
    }

    /// Ends all running containers of a pod with an exit code.
    pub(super) async fn crash(&self, namespace: &str, name: &str, exit_code: i32) -> Result<(), FaultError> {
        let mut crashed = false;
        for (node, runtime) in self.simulated() {
            let sandboxes = runtime.sandboxes().await.map_err(|error| FaultError::Runtime(node, error))?;
            for sandbox in sandboxes.iter().filter(|s| s.spec.namespace == namespace && s.spec.name == name) {
                for container in &sandbox.containers {
                    crashed |= runtime.exit(&sandbox.spec.uid, &container.name, exit_code);
                }
            }
        }
        let missing = || FaultError::NotRunning { namespace: namespace.to_owned(), name: name.to_owned() };
        if crashed { Ok(()) } else { Err(missing()) }
    }
}
