//! The composition root: which adapters stand behind the ports of a cluster, what is started, and in which order it ends.

mod builder;
mod core;
mod start;

pub use builder::ClusterBuilder;
pub(crate) use core::{Core, CorePorts};
pub use start::StartError;

use crate::data_dir::{Addresses, DataDir};
use crate::functions::{Address, Functions, Registry};
use crate::network::DataPath;
use crate::node::RunningNode;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::Client;
use steersman_application::driver::agent::Stop;
use steersman_application::usecase::Api;
use steersman_domain::ports::MessageError;
use steersman_http::ApiService;
use steersman_http::pki::Authority;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long killed pods may take to be gone and noted; more only when the host is in trouble.
const KILL: Duration = Duration::from_secs(3);

/// How long a cluster waits for its API to finish open requests.
const API_STOP: Duration = Duration::from_secs(5);

/// A running cluster. Dropping it ends everything of it in this process at once and leaves processes of pods running, as a
/// crash would; `stop` ends them in order.
pub struct Cluster {
    api: Arc<Api>,
    address: SocketAddr,
    /// The address by which other hosts reach this one.
    host: IpAddr,
    kubeconfig: PathBuf,
    authority: Arc<Authority>,
    nodes: Vec<RunningNode>,
    stop_nodes: watch::Sender<Stop>,
    service: ApiService,
    stop_api: watch::Sender<bool>,
    server: JoinHandle<()>,
    loops: Vec<JoinHandle<()>>,
    path: Option<DataPath>,
    functions: Functions,
    // Released last.
    _addresses: Addresses,
    data_dir: DataDir,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.address)
            .field("data_dir", &self.data_dir.path())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Describes a cluster that keeps its state in this directory.
    pub fn builder(data_dir: impl Into<PathBuf>) -> ClusterBuilder {
        ClusterBuilder::new(data_dir.into())
    }

    /// Where the API answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the API as other hosts write it, `https://HOST:PORT`.
    pub fn url(&self) -> String {
        let host = if self.address.ip().is_unspecified() { self.host } else { self.address.ip() };
        format!("https://{}", SocketAddr::new(host, self.address.port()))
    }

    /// The kubeconfig of an administrator, readable by the owner of the data directory alone.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The directory that the cluster keeps its state in.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The API in this process.
    pub fn client(&self) -> Arc<dyn Client> {
        self.api.clone()
    }

    /// The use cases behind the API.
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The functions that pods of the runtime `task` can run.
    pub fn functions(&self) -> &Registry {
        &self.functions.registry
    }

    /// The address of a pod (`NAME` or `pod/NAME`) or service (`service/NAME`) whose pods are functions. Look it up once, keep
    /// it, and use it often; it stays good whatever happens to them.
    ///
    /// # Errors
    /// [`MessageError::Form`](steersman_domain::ports::MessageError::Form) when the text is no such name.
    pub fn reach(&self, to: &str, namespace: &str) -> Result<Address, MessageError> {
        self.functions.address(to, namespace)
    }

    /// The certificate authority of the cluster.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Stops in order: pods end within their grace and keep their objects (the next start runs them again), then the nodes,
    /// the API and the loops. Dropping the future half-way ends the rest at once.
    pub async fn stop(mut self) {
        self.stop_nodes.send_replace(Stop::StopPods);
        nodes_ended(&mut self.nodes).await;
        self.end().await;
    }

    /// As [`Cluster::stop`], but once `hurry` is over whatever still runs is killed, and the rest ends at once.
    pub async fn stop_or_kill(mut self, hurry: impl Future<Output = ()>) {
        self.stop_nodes.send_replace(Stop::StopPods);
        let hurried = tokio::select! {
            biased;
            () = nodes_ended(&mut self.nodes) => false,
            () = hurry => true,
        };
        if !hurried {
            return self.end().await;
        }
        self.stop_nodes.send_replace(Stop::KillPods);
        if tokio::time::timeout(KILL, nodes_ended(&mut self.nodes)).await.is_err() {
            tracing::warn!("some pods did not end; the next start adopts them");
        }
    }

    /// Ends this process's part and leaves the processes of pods running: the next start adopts them.
    pub async fn leave(mut self) {
        self.stop_nodes.send_replace(Stop::LeavePods);
        nodes_ended(&mut self.nodes).await;
        self.end().await;
    }

    async fn end(&mut self) {
        for task in &self.loops {
            task.abort();
        }
        self.service.stop();
        self.stop_api.send_replace(true);
        if tokio::time::timeout(API_STOP, &mut self.server).await.is_err() {
            self.server.abort();
        }
        if let Some(path) = &self.path {
            path.shutdown().await;
        }
    }
}

/// Waits for all nodes. Cancelling loses nothing.
async fn nodes_ended(nodes: &mut [RunningNode]) {
    for node in nodes {
        node.ended().await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.abort();
        }
        for task in &self.loops {
            task.abort();
        }
        self.server.abort();
    }
}
