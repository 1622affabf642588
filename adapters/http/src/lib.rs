//! The Kubernetes API of Steersman over HTTPS, and its client.

#![warn(missing_docs)]
// `pki` (CA, server and client certificates, kubeconfig) and `serve` (TLS listener loop) know nothing of Kubernetes;
// everything else does.

mod access;
mod autoscaling;
mod body;
pub mod client;
mod continuation;
mod decode;
mod delete;
mod discovery;
mod error;
mod events;
mod join;
mod log;
mod message;
mod metrics;
mod mount;
mod negotiate;
mod patch;
pub mod pki;
mod query;
mod read;
mod relay;
mod render;
mod review;
mod route;
pub mod serve;
mod service;
mod subresource;
pub mod tunnel;
mod watch;
mod write;

pub use access::{TokenTable, User};
pub use body::{Body, BoxError};
pub use client::{ClientError, RemoteClient, RemoteConfig, join_cluster, keep_renewed};
pub use join::{InvalidToken, JoinToken, create_join_token};
pub use mount::HttpApi;
pub use relay::LogRelay;
pub use service::{ApiService, ServiceConfig};
