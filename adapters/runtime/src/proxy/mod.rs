//! The userspace service proxy: every service of a cluster answers on a loopback virtual IP of its own, and each TCP
//! connection (or UDP client) is given to one ready endpoint. One [`Proxy`] serves one cluster on one host.
//!
//! Input is plain data ([`ServiceSpec`]); the caller computes it from services and endpoint slices. [`Proxy::apply`]
//! diffs it in place, so connections survive every change that does not concern them. A failed connect is retried on
//! another endpoint before any byte is sent, and a connection is counted on its endpoint before the connect begins, so a
//! [`Drain`] misses none. Ports declared as HTTP also have their message framing followed, which lets a draining
//! endpoint say good-bye to keep-alive clients without cutting an answer.
//!
//! Pods of other nodes are reached through a [`Tunnel`], and [`Proxy::visit`] lets in what other nodes' proxies send here.
//!
//! What it does not do: it never terminates TLS, never looks into ports that are not declared HTTP, knows no addresses or
//! keys of other nodes, and does not write Events: it reports ([`PortReport`]) and the caller writes.

mod backend;
mod balance;
mod bind;
mod budget;
mod config;
mod connection;
mod datagrams;
mod drain;
mod http;
mod http_body;
mod listener;
mod metrics;
mod port;
mod relay;
mod relay_http;
mod server;
mod spec;
mod tunnel;
mod udp;
mod visit;

#[cfg(test)]
mod tests;

pub use bind::{PortProblem, PortReport, PortState, ProblemKind};
pub use config::ProxyConfig;
pub use drain::{Drain, StillActive};
pub use metrics::ServiceMetrics;
pub use server::Proxy;
pub use spec::{
    AppProtocol, ApplyError, Endpoint, EndpointState, PodUid, PortSpec, Protocol, ServiceKey, ServiceSpec,
    SessionAffinity,
};
pub use tunnel::{PodStream, Target, Tunnel, TunnelError};
pub use visit::{Refusal, Visit};
