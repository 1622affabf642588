//! What a cluster is to be.

use super::{Cluster, StartError};
use crate::Scheduling;
use crate::functions::Registry;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use steersman_domain::Str;

/// A cluster before it starts.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    pub(super) data_dir: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) address: Option<IpAddr>,
    pub(super) tunnel_port: u16,
    pub(super) nodes: u16,
    pub(super) simulated_nodes: u16,
    pub(super) default_runtime: Str,
    pub(super) node_name: Option<Str>,
    pub(super) shim: Vec<OsString>,
    pub(super) node_certificate_lifetime: Duration,
    pub(super) scheduling: Scheduling,
    pub(super) functions: Registry,
}

impl ClusterBuilder {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        let program = std::env::current_exe().map(OsString::from).unwrap_or_else(|_| "steer".into());
        ClusterBuilder {
            data_dir,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            address: None,
            tunnel_port: 0,
            nodes: 1,
            simulated_nodes: 0,
            default_runtime: "container".into(),
            node_name: None,
            shim: vec![program, "__shim".into()],
            node_certificate_lifetime: Duration::from_secs(365 * 24 * 3600),
            scheduling: Scheduling::default(),
            functions: Registry::new(),
        }
    }

    /// Where the API listens; by default a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
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

    /// The runtime of pods that name none; by default `container`.
    #[must_use]
    pub fn default_runtime(mut self, handler: &str) -> Self {
        self.default_runtime = handler.into();
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

    /// Starts the cluster; answers once its API serves and its nodes are registered or about to be.
    ///
    /// # Errors
    /// When the data directory, an address or a key cannot be had. Nothing is left running then.
    pub async fn start(self) -> Result<Cluster, StartError> {
        super::start::start(self).await
    }
}
