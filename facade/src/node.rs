//! Nodes in this process: an agent each, with the runtimes it offers.

use crate::data_dir::Addresses;
use crate::functions::{Functions, Seat};
use crate::live::TokioSpawner;
use crate::machine;
use crate::network::ProxyDrain;
use std::ffi::OsString;
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
    /// Where pods find the API.
    pub(crate) api_server: Option<(Str, u16)>,
}

/// A node that runs processes of this machine.
pub(crate) struct ProcessNode<'a> {
    pub(crate) name: Str,
    pub(crate) index: u16,
    /// How many equal parts the machine is divided into.
    pub(crate) parts: u16,
    pub(crate) address: Str,
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
    /// Starts a node with the process runtime.
    pub(crate) async fn process_node(
        &self,
        node: ProcessNode<'_>,
        stop: watch::Receiver<Stop>,
    ) -> Result<RunningNode, OpenError> {
        let Some(subnet) = node.addresses.pods(node.index) else {
            return Err(OpenError::Invalid(format!(
                "one host has room for {} nodes with processes: give --nodes at most that",
                crate::data_dir::LOCAL_NODES
            )));
        };
        let mut config = ProcessConfig::new(node.data_dir.join("nodes").join(node.name.as_str()), subnet, node.shim);
        config.cgroup_parent = format!("steersman/{}-{}", node.addresses.block(), node.name);
        let mut runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(ProcessRuntime::open(config).await?)];
        if let Some(functions) = &self.functions {
            runtimes.push(functions.runtime(Seat {
                clock: self.clock.clone(),
                entropy: self.entropy.clone(),
                spawner: Arc::new(self.spawner.clone()),
                addresses: node.addresses.functions(node.index),
                live: true,
            }));
        }
        let (capacity, reserved) = machine::part(node.parts);
        let mut agent = self.config(&node.name, capacity, reserved);
        let address = |kind: &str, address: Str| NodeAddress { kind: kind.into(), address, ..NodeAddress::default() };
        agent.addresses = vec![address("InternalIP", node.address.clone()), address("Hostname", node.name.clone())];
        agent.host_ips = vec![node.address];
        agent.traffic_port = self.proxy.as_ref().map_or(0, |(_, port)| *port);
        agent.pids_limit = PIDS;
        agent.node_info = machine::system_info(env!("CARGO_PKG_VERSION"));
        let traffic: Arc<dyn TrafficDrain> = match &self.proxy {
            Some((proxy, _)) => Arc::new(ProxyDrain(proxy.clone())),
            None => Arc::new(NoTraffic),
        };
        Ok(self.start(agent, runtimes, traffic, stop))
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
