//! # Steersman
//!
//! A Kubernetes-like orchestrator in one library: an API that `kubectl` speaks, controllers, a scheduler, nodes that run
//! operating-system processes as pods, and services in front of them. Nothing here is global: several clusters live in one
//! process, each stops when it is told to or dropped.
//!
//! ```
//! use std::time::Duration;
//! use steersman::domain::Deployment;
//! use steersman::{Cluster, functions::Context};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let cluster = Cluster::builder().start().await?;
//! cluster.functions().register("workers/echo", async |mut ctx: Context, prefix: String| {
//!     ctx.answer_each(|text: String| {
//!         let answer = format!("{prefix}: {text}");
//!         async move { Ok::<String, String>(answer) }
//!     })
//!     .await;
//! })?;
//! cluster.apply("
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: {name: echo}
//! spec:
//!   replicas: 3
//!   selector: {matchLabels: {app: echo}}
//!   template:
//!     metadata: {labels: {app: echo}}
//!     spec: {containers: [{name: main, image: workers/echo, args: ['\"ECHO\"']}]}
//! ---
//! apiVersion: v1
//! kind: Service
//! metadata: {name: echo}
//! spec: {selector: {app: echo}, ports: [{port: 80}]}
//! ").await?;
//! let ready = |echo: Option<&Deployment>| echo.is_some_and(|echo| echo.status.ready_replicas == 3);
//! cluster.wait_for(("default", "echo"), Duration::from_secs(10), ready).await?;
//! let echo = cluster.reach("service/echo", "default")?;
//! echo.ready(Duration::from_secs(10)).await?;
//! let answer: String = echo.ask("hello").await?;
//! assert_eq!(answer, "ECHO: hello");
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! A program that embeds a cluster with process pods calls [`init`] first in its `main`.

#![warn(missing_docs)]

mod autoscaling;
mod cluster;
mod data_dir;
mod explain;
pub mod functions;
mod handle;
mod live;
mod machine;
mod network;
mod node;
mod remote;
mod scheduling;
pub mod simulation;

pub use autoscaling::Autoscaling;
pub use cluster::{Cluster, ClusterBuilder, StartError};
pub use data_dir::DataDirError;
pub use handle::{ApplyError, Handle, Query, Timeout, WaitError, Watch, WatchEvent};
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

/// Guides for those who embed a cluster or test against one.
#[cfg(all(doc, not(doctest)))]
pub mod guides {
    #[doc = include_str!("../../docs/guides/embed.md")]
    pub mod embed {}
    #[doc = include_str!("../../docs/guides/health-and-scaling.md")]
    pub mod health_and_scaling {}
    #[doc = include_str!("../../docs/guides/test-your-operator.md")]
    pub mod test_your_operator {}
}
