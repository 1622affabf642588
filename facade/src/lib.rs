//! # Steersman
//!
//! A Kubernetes-like orchestrator in one library: an API that `kubectl` speaks, controllers, a scheduler, nodes that run
//! operating-system processes as pods, and services in front of them. Nothing here is global: several clusters live in one
//! process, each stops when it is told to or dropped.
//!
//! ```no_run
//! # async fn run() -> Result<(), steersman::StartError> {
//! let cluster = steersman::Cluster::builder("/var/lib/my-service/cluster").start().await?;
//! println!("kubectl --kubeconfig {}", cluster.kubeconfig().display());
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! A program that embeds a cluster with process pods calls [`init`] first in its `main`.

mod cluster;
mod data_dir;
mod explain;
pub mod functions;
mod live;
mod machine;
mod network;
mod node;
mod remote;
mod scheduling;
pub mod simulation;

pub use cluster::{Cluster, ClusterBuilder, StartError};
pub use data_dir::DataDirError;
pub use live::{OsEntropy, SystemClock, TokioSpawner};
pub use network::PathError;
pub use remote::{JoinError, JoinedNode, NodeOptions};
pub use scheduling::Scheduling;

pub use steersman_application as application;
pub use steersman_domain as domain;
pub use steersman_http as http;
pub use steersman_kubernetes as kubernetes;

/// To be called first in `main` by a program whose clusters run process pods: pods are held by small processes of this
/// same program, which outlive it. Does nothing in every other start.
pub fn init() {
    steersman_runtime::init();
}
