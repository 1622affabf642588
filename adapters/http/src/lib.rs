//! The Kubernetes API of Steersman over HTTPS, and its client.
// `pki` (CA, server and client certificates, kubeconfig) and `serve` (TLS listener loop) know nothing of Kubernetes;
// everything else does.

mod access;
mod body;
mod continuation;
mod decode;
mod delete;
mod discovery;
mod error;
mod events;
mod log;
mod negotiate;
mod patch;
pub mod pki;
mod query;
mod read;
mod render;
mod route;
pub mod serve;
mod service;
mod subresource;
mod watch;
mod write;

pub use access::{TokenTable, User};
pub use body::{Body, BoxError};
pub use service::{ApiService, ServiceConfig};
