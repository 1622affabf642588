//! What an installation decides about its agents.

use std::time::Duration;
use steersman_domain::ledger::Resources;
use steersman_domain::{Map, NodeAddress, NodeSystemInfo, Quantity, Str, Taint};

/// The settings of one agent, which is one node.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// The name of the node.
    pub node_name: Str,
    /// All that the node has.
    pub capacity: Resources,
    /// What the system keeps; the rest is allocatable.
    pub reserved: Resources,
    /// Labels that the agent keeps on its node, beyond `kubernetes.io/hostname`, `kubernetes.io/os` and `kubernetes.io/arch`.
    pub labels: Map<Str>,
    /// Taints that the node has when it is first registered; later they are the operator's.
    pub taints: Vec<Taint>,
    /// The addresses of the node, as its status has them.
    pub addresses: Vec<NodeAddress>,
    /// What the node is, as its status has it.
    pub node_info: NodeSystemInfo,
    /// Where the node takes traffic of other nodes for its pods; 0: it takes none.
    pub traffic_port: u16,
    /// The addresses that pods see as their host's, the first is the main one.
    pub host_ips: Vec<Str>,
    /// The runtime of pods that name none.
    pub default_runtime: Str,
    /// Processes and threads of one container; 0: no limit.
    pub pids_limit: i64,
    /// Host and port of the API, for `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub api_server: Option<(Str, u16)>,
    /// How often the node's lease is renewed.
    pub lease_interval: Duration,
    /// How long the lease holds without being renewed, in whole seconds.
    pub lease_duration: Duration,
    /// How often what the node's pods use is measured and written into the lease.
    pub usage_interval: Duration,
    /// How often the node's status is written when nothing in it changes.
    pub status_interval: Duration,
}

impl AgentConfig {
    /// A node of this name with Kubernetes' intervals, 110 pods and nothing else.
    pub fn new(node_name: &str) -> Self {
        AgentConfig {
            node_name: node_name.into(),
            capacity: Resources { pods: 110, ..Resources::default() },
            reserved: Resources::default(),
            labels: Map::new(),
            taints: Vec::new(),
            addresses: Vec::new(),
            node_info: NodeSystemInfo::default(),
            traffic_port: 0,
            host_ips: Vec::new(),
            default_runtime: "process".into(),
            pids_limit: 0,
            api_server: None,
            lease_interval: Duration::from_secs(10),
            lease_duration: Duration::from_secs(40),
            usage_interval: Duration::from_secs(10),
            status_interval: Duration::from_secs(300),
        }
    }

    /// What pods may have.
    pub fn allocatable(&self) -> Resources {
        let mut rest = self.capacity.clone();
        rest.subtract(&self.reserved);
        rest
    }
}

/// Amounts as a node's status lists them.
pub(super) fn resource_list(amounts: &Resources) -> Map<Quantity> {
    let fixed = [
        ("cpu", Quantity::from_milli(amounts.cpu_milli)),
        ("memory", Quantity::from_bytes(amounts.memory_bytes)),
        ("ephemeral-storage", Quantity::from_bytes(amounts.storage_bytes)),
        ("pods", Quantity::from_units(amounts.pods)),
    ];
    let fixed = fixed.into_iter().map(|(name, q)| (Str::from(name), q));
    fixed.chain(amounts.extended.iter().map(|(name, n)| (name.clone(), Quantity::from_units(*n)))).collect()
}
