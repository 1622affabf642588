//! Nodes in this process: an agent each, with the runtimes it offers.

use crate::data_dir::Addresses;
use crate::functions::{self, Functions, Seat};
use crate::live::TokioSpawner;
use crate::machine;
use crate::network::ProxyDrain;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::Client;
use steersman_application::driver::agent::{
    Agent, AgentConfig, AgentPorts, NoTraffic, SimulatedConfig, SimulatedRuntime, Stop, TrafficDrain,
};
use steersman_application::usecase::logs::{LogRegistry, LogSource};
use steersman_domain::ledger::Resources;
use steersman_domain::ports::{Clock, Entropy, Runtime};
use steersman_domain::{NodeAddress, Str};
use steersman_runtime::proxy::Proxy;
use steersman_runtime::{OpenError, ProcessConfig, ProcessRuntime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Processes and threads of one container at most: far above what programs need, far below what stops a machine.
const PIDS: i64 = 4096;

/// What every node of a cluster shares.
#[derive(Clone)]
pub(crate) struct NodePorts {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) spawner: TokioSpawner,
    pub(crate) logs: Arc<LogRegistry>,
    /// `None`: nodes of this process run no functions.
    pub(crate) functions: Option<Functions>,
    /// The proxy of this process, and where it lets other nodes in.
    pub(crate) proxy: Option<(Arc<Proxy>, u16)>,
    pub(crate) default_runtime: Str,
    /// Over how long usage is measured.
    pub(crate) usage_window: Duration,
    /// Where pods find the API.
    pub(crate) api_server: Option<(Str, u16)>,
}

/// A part of this machine as a node.
pub(crate) struct NodePlace {
    pub(crate) name: Str,
    pub(crate) index: u16,
    /// How many equal parts the machine is divided into.
    pub(crate) parts: u16,
    pub(crate) address: Str,
}

/// A node that runs processes of this machine.
pub(crate) struct ProcessNode<'a> {
    pub(crate) place: NodePlace,
    pub(crate) data_dir: &'a Path,
    pub(crate) addresses: &'a Addresses,
    pub(crate) shim: Vec<OsString>,
}

/// A running agent.
pub(crate) struct RunningNode {
    task: JoinHandle<()>,
    ended: bool,
}

impl RunningNode {
    /// Waits until the agent has ended. Cancelling loses nothing.
    pub(crate) async fn ended(&mut self) {
        if self.ended {
            return;
        }
        let outcome = (&mut self.task).await;
        self.ended = true;
        if let Err(error) = outcome
            && error.is_panic()
        {
            tracing::error!(%error, "a node agent panicked");
        }
    }

    /// Ends the agent at once; what it runs goes on.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }
}

impl NodePorts {
    /// Starts a node with the process runtime, and that of functions where there are any.
    pub(crate) async fn process_node(
        &self,
        node: ProcessNode<'_>,
        stop: watch::Receiver<Stop>,
    ) -> Result<RunningNode, OpenError> {
        let ProcessNode { place, data_dir, addresses, shim } = node;
        let Some(subnet) = addresses.pods(place.index) else {
            return Err(OpenError::Invalid(format!(
                "one host has room for {} nodes with processes: give --nodes at most that",
                crate::data_dir::LOCAL_NODES
            )));
        };
        let mut config = ProcessConfig::new(data_dir.join("nodes").join(place.name.as_str()), subnet, shim);
        config.cgroup_parent = format!("steersman/{}-{}", addresses.block(), place.name);
        let processes: Arc<dyn Runtime> = Arc::new(ProcessRuntime::open(config).await?);
        let functions = self.functions(addresses.functions(place.index));
        let mut agent = self.of_machine(place);
        agent.pids_limit = PIDS;
        let traffic: Arc<dyn TrafficDrain> = match &self.proxy {
            Some((proxy, _)) => Arc::new(ProxyDrain(proxy.clone())),
            None => Arc::new(NoTraffic),
        };
        Ok(self.start(agent, std::iter::once(processes).chain(functions).collect(), traffic, stop))
    }

    /// Starts a node that runs functions, which need nothing of the machine but its threads.
    pub(crate) fn function_node(&self, place: NodePlace, stop: watch::Receiver<Stop>) -> RunningNode {
        let functions = self.functions(functions::ADDRESSES);
        self.start(self.of_machine(place), functions.into_iter().collect(), Arc::new(NoTraffic), stop)
    }

    fn functions(&self, addresses: (Ipv4Addr, u32)) -> Option<Arc<dyn Runtime>> {
        let seat = Seat {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            spawner: Arc::new(self.spawner.clone()),
            addresses,
            live: true,
        };
        Some(self.functions.as_ref()?.runtime(seat))
    }

    /// The agent of a part of this machine.
    fn of_machine(&self, place: NodePlace) -> AgentConfig {
        let (capacity, reserved) = machine::part(place.parts);
        let mut agent = self.config(&place.name, capacity, reserved);
        let address = |kind: &str, address: Str| NodeAddress { kind: kind.into(), address, ..NodeAddress::default() };
        agent.addresses = vec![address("InternalIP", place.address.clone()), address("Hostname", place.name)];
        agent.host_ips = vec![place.address];
        agent.traffic_port = self.proxy.as_ref().map_or(0, |(_, port)| *port);
        agent.node_info = machine::system_info(env!("CARGO_PKG_VERSION"));
        agent
    }

    /// Starts a node that runs nothing: pods of the runtime `simulated` start there and stay.
    pub(crate) fn simulated_node(&self, name: &str, capacity: Resources, stop: watch::Receiver<Stop>) -> RunningNode {
        let agent = self.config(name, capacity, Resources::default());
        let runtime =
            SimulatedRuntime::new(SimulatedConfig::default(), self.clock.clone(), Arc::new(self.spawner.clone()));
        self.start(agent, vec![Arc::new(runtime)], Arc::new(NoTraffic), stop)
    }

    fn config(&self, name: &str, capacity: Resources, reserved: Resources) -> AgentConfig {
        let mut config = AgentConfig::new(name);
        config.capacity = capacity;
        config.reserved = reserved;
        config.default_runtime = self.default_runtime.clone();
        config.api_server = self.api_server.clone();
        config.lease_interval = Duration::from_secs(10);
        config.usage_interval = self.usage_window;
        config
    }

    fn start(
        &self,
        config: AgentConfig,
        runtimes: Vec<Arc<dyn Runtime>>,
        traffic: Arc<dyn TrafficDrain>,
        stop: watch::Receiver<Stop>,
    ) -> RunningNode {
        let name = config.node_name.clone();
        let agent = Agent::new(
            config,
            AgentPorts {
                client: self.client.clone(),
                runtimes,
                clock: self.clock.clone(),
                entropy: self.entropy.clone(),
                spawner: Arc::new(self.spawner.clone()),
                traffic,
            },
        );
        let source: Arc<dyn LogSource> = Arc::new(agent.logs());
        let logs = self.logs.clone();
        logs.register(&name, source.clone());
        let task = tokio::spawn(async move {
            agent.run(stop).await;
            logs.unregister(&name, &source);
        });
        RunningNode { task, ended: false }
    }
}
