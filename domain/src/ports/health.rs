//! The health monitor: one look at a container from outside. How often, and what follows from it, is not its business.

use crate::{Str, Uid};
use std::net::Ipv4Addr;
use std::time::Duration;

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The uid of the pod.
    pub pod: Uid,
    /// The name of the container.
    pub container: Str,
    /// The address of the pod.
    pub ip: Ipv4Addr,
    /// How to look.
    pub action: HealthAction,
    /// How long it may take.
    pub timeout: Duration,
}

/// One way to look. A `host` that is empty stands for the pod's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthAction {
    /// A command in the container that must end with 0. For a function the command is `["mailbox"]`: a round trip through
    /// its mailbox.
    Exec(Vec<String>),
    /// A GET that must be answered with a status from 200 to 399.
    Http {
        /// By TLS, with whatever certificate.
        tls: bool,
        /// Whom to ask.
        host: Str,
        /// At which port.
        port: u16,
        /// Path and query, beginning with `/`.
        path: String,
        /// Headers beside the usual ones, which they replace.
        headers: Vec<(Str, Str)>,
    },
    /// A port that must accept a connection.
    Tcp {
        /// Whose port.
        host: Str,
        /// Which.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check` must answer SERVING.
    Grpc {
        /// At which port.
        port: u16,
        /// The service to ask for.
        service: Str,
    },
}

/// What a look found wrong, as events tell it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unhealthy(pub String);

/// Looks at containers.
///
/// A look never goes to link-local addresses or those of metadata services, whatever host a probe names, and follows no
/// redirect to another host. It answers within the timeout; dropping the future ends it.
#[async_trait::async_trait]
pub trait HealthMonitor: Send + Sync + 'static {
    /// One look; the error says what is wrong.
    async fn check(&self, check: &HealthCheck) -> Result<(), Unhealthy>;
}
