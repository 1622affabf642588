//! What a cluster is to be.

use super::{Cluster, StartError};
use crate::Autoscaling;
use crate::Scheduling;
use crate::functions::Registry;
use crate::simulation::{Simulation, SimulationBuilder};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use steersman_domain::Str;

/// A cluster before it starts.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) address: Option<IpAddr>,
    pub(super) tunnel_port: u16,
    pub(super) nodes: u16,
    pub(super) simulated_nodes: u16,
    pub(super) default_runtime: Option<Str>,
    pub(super) node_name: Option<Str>,
    pub(super) shim: Vec<OsString>,
    pub(super) node_certificate_lifetime: Duration,
    pub(super) scheduling: Scheduling,
    pub(super) autoscaling: Autoscaling,
    pub(super) functions: Registry,
}

impl ClusterBuilder {
    pub(super) fn new() -> Self {
        let program = std::env::current_exe().map(OsString::from).unwrap_or_else(|_| "steer".into());
        ClusterBuilder {
            data_dir: None,
            listen: None,
            address: None,
            tunnel_port: 0,
            nodes: 1,
            simulated_nodes: 0,
            default_runtime: None,
            node_name: None,
            shim: vec![program, "__shim".into()],
            node_certificate_lifetime: Duration::from_secs(365 * 24 * 3600),
            scheduling: Scheduling::default(),
            autoscaling: Autoscaling::default(),
            functions: Registry::new(),
        }
    }

    /// The directory that the cluster keeps its state in; its nodes can run processes then, and services have addresses.
    /// Without one everything is in memory and gone with the cluster, and nodes run functions only.
    #[must_use]
    pub fn data_dir(mut self, data_dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(data_dir.into());
        self
    }

    /// Where the API listens for `kubectl` and other programs, by HTTPS; port 0 takes a free one. By default it listens
    /// nowhere: it is for this process alone.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// The address by which other nodes reach those of this process; by default the API's, or, where that listens on all
    /// addresses, the one that leads out of this host.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// The port of that address on which traffic of other nodes is taken, by mutual TLS; by default a free one.
    #[must_use]
    pub fn tunnel_port(mut self, port: u16) -> Self {
        self.tunnel_port = port;
        self
    }

    /// How many nodes run in this process, each with an equal part of the machine; by default 1.
    #[must_use]
    pub fn nodes(mut self, nodes: u16) -> Self {
        self.nodes = nodes;
        self
    }

    /// Nodes beside those that run nothing: 32 cores and 64 GiB each, for pods of the runtime `simulated`.
    #[must_use]
    pub fn simulated_nodes(mut self, nodes: u16) -> Self {
        self.simulated_nodes = nodes;
        self
    }

    /// The runtime of pods that name none. By default `container`, as Kubernetes' manifests mean it; without a data directory
    /// `simulated` where there are simulated nodes, and `task` where there are none.
    #[must_use]
    pub fn default_runtime(mut self, handler: &str) -> Self {
        self.default_runtime = Some(handler.into());
        self
    }

    /// The name of the first node, and the prefix of others; by default the machine's.
    #[must_use]
    pub fn node_name(mut self, name: &str) -> Self {
        self.node_name = Some(name.into());
        self
    }

    /// The program, with its first arguments, that holds the processes of a pod: it must call [`crate::init`] first. By
    /// default this program with `__shim`.
    #[must_use]
    pub fn shim(mut self, command: Vec<OsString>) -> Self {
        self.shim = command;
        self
    }

    /// How long the certificates of nodes that join are valid; by default a year. Nodes renew them after about two thirds.
    #[must_use]
    pub fn node_certificate_lifetime(mut self, lifetime: Duration) -> Self {
        self.node_certificate_lifetime = lifetime;
        self
    }

    /// The functions that pods of the runtime `task` can run; by default a registry of its own, which is empty. More can be
    /// registered later by [`Cluster::functions`].
    #[must_use]
    pub fn functions(mut self, functions: Registry) -> Self {
        self.functions = functions;
        self
    }

    /// What decides where pods go; by default the built-in scheduler with the profiles `default-scheduler` and `bin-packing`.
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

    /// The same cluster in virtual time, as a function of a seed, for tests: its functions, its scheduling, and as many nodes
    /// as it has simulated ones (without any, as it has nodes). The builder of the [`simulation`](crate::simulation) can say
    /// more.
    ///
    /// What needs the machine (a data directory, an address to listen on, or processes) cannot be simulated: the start says so.
    #[must_use]
    pub fn simulated_time(self, seed: u64) -> SimulationBuilder {
        let needs_machine = match () {
            () if self.data_dir.is_some() => Some("a data directory"),
            () if self.listen.is_some() => Some("an address to listen on"),
            () => None,
        };
        let nodes = if self.simulated_nodes > 0 { self.simulated_nodes } else { self.nodes };
        let builder = Simulation::builder().seed(seed).default_runtime(&super::start::default_runtime(&self));
        let builder = builder.nodes(nodes.into(), super::start::simulated_size());
        let mut builder = builder.functions(self.functions).scheduling(self.scheduling).autoscaling(self.autoscaling);
        builder.needs_machine = needs_machine;
        builder
    }

    /// Starts the cluster; answers once its API serves and its nodes are registered or about to be.
    ///
    /// # Errors
    /// When the data directory, an address or a key cannot be had. Nothing is left running then.
    pub async fn start(self) -> Result<Cluster, StartError> {
        super::start::start(self).await
    }
}
