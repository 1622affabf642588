//! The composition root: which adapters stand behind the ports of a cluster, what is started, and in which order it ends.

mod builder;
mod core;
mod start;

pub use builder::ClusterBuilder;
pub(crate) use core::{Core, CorePorts};
pub use start::StartError;

use crate::Handle;
use crate::data_dir::{Addresses, DataDir};
use crate::functions::{Functions, Registry};
use crate::network::DataPath;
use crate::node::RunningNode;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use steersman_application::driver::agent::Stop;
use steersman_application::usecase::Api;
use steersman_http::pki::Authority;
use steersman_http::{ApiService, HttpApi};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long killed pods may take to be gone and noted; more only when the host is in trouble.
const KILL: Duration = Duration::from_secs(3);

/// How long a cluster waits for its API to finish open requests.
const API_STOP: Duration = Duration::from_secs(5);

/// A running cluster. Dropping it ends everything of it in this process at once and leaves processes of pods running, as a
/// crash would; `stop` ends them in order.
///
/// What one does with it is in [`Handle`], to which it dereferences: `cluster.apply(…)`, `cluster.list::<Pod>(…)`,
/// `cluster.until(…)`.
pub struct Cluster {
    handle: Handle,
    api: Arc<Api>,
    service: ApiService,
    functions: Functions,
    nodes: Vec<RunningNode>,
    stop_nodes: watch::Sender<Stop>,
    loops: Vec<JoinHandle<()>>,
    path: Option<DataPath>,
    door: Option<Door>,
    authority: Option<Arc<Authority>>,
    // Released last.
    home: Option<Home>,
}

/// Where a cluster keeps its state, and its place among the addresses of the host.
struct Home {
    addresses: Addresses,
    data_dir: DataDir,
}

/// Where a cluster listens.
struct Door {
    address: SocketAddr,
    /// The address by which other hosts reach this one.
    host: IpAddr,
    kubeconfig: String,
    kubeconfig_path: Option<PathBuf>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.address())
            .field("data_dir", &self.data_dir())
            .finish_non_exhaustive()
    }
}

impl std::ops::Deref for Cluster {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Cluster {
    /// Describes a cluster: in memory, heard by nobody but this process, with one node that runs functions. Its methods say
    /// what else there is.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new()
    }

    /// What users of the cluster do with it; clones may be passed around.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where the API listens, if anywhere.
    pub fn address(&self) -> Option<SocketAddr> {
        self.door.as_ref().map(|door| door.address)
    }

    /// The address of the API as other hosts write it, `https://HOST:PORT`, if it listens anywhere.
    pub fn url(&self) -> Option<String> {
        let door = self.door.as_ref()?;
        let host = if door.address.ip().is_unspecified() { door.host } else { door.address.ip() };
        Some(format!("https://{}", SocketAddr::new(host, door.address.port())))
    }

    /// The kubeconfig of an administrator, as YAML, if the API listens anywhere. It holds a key: treat it as a secret.
    pub fn kubeconfig(&self) -> Option<&str> {
        self.door.as_ref().map(|door| door.kubeconfig.as_str())
    }

    /// The file of that kubeconfig, readable by the owner of the data directory alone, if there is one.
    pub fn kubeconfig_path(&self) -> Option<&Path> {
        self.door.as_ref()?.kubeconfig_path.as_deref()
    }

    /// The directory that the cluster keeps its state in, if it does.
    pub fn data_dir(&self) -> Option<&Path> {
        self.home.as_ref().map(|home| home.data_dir.path())
    }

    /// The API by HTTP without a socket: mount it in a router of this process, behind whatever the host authenticates by; see [`HttpApi`].
    pub fn http(&self) -> HttpApi {
        HttpApi::new(self.service.clone())
    }

    /// A client of the crate `kube` that speaks to this cluster without a socket, as an administrator: operators written with
    /// it run unchanged. It needs a runtime of tokio around it, which every cluster has.
    #[cfg(feature = "kube")]
    pub fn kube_client(&self) -> kube::Client {
        let api = self.http().as_user(steersman_http::User::master("steersman-kube-client"));
        kube::Client::new(api, "default")
    }

    /// The use cases behind the API.
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The functions that pods of the runtime `task` can run.
    pub fn functions(&self) -> &Registry {
        &self.functions.registry
    }

    /// The certificate authority of the cluster, if it listens anywhere or keeps its state.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_deref()
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
        if let Some(door) = &mut self.door {
            door.stop.send_replace(true);
            if tokio::time::timeout(API_STOP, &mut door.server).await.is_err() {
                door.server.abort();
            }
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
        self.service.stop();
        if let Some(door) = &self.door {
            door.server.abort();
        }
    }
}
