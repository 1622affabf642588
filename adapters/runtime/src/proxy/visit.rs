//! Connections that other nodes' proxies open to pods of this one. They pass the same gate as those of this node's
//! clients: counted before the connect, refused once the pod drains. So a pod that ends needs nobody's word but this
//! proxy's, however many hosts send it traffic.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::backend::{Counted, Pod};
use super::connection::connect;
use super::datagrams;
use super::listener::halted;
use super::relay;
use super::server::Proxy;
use super::spec::Protocol;
use super::tunnel::{PodStream, Target};

/// How long a pod that this proxy has not heard of may take to become known: the other node was told earlier.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// Why a connection from another node was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No pod of this node listens there for a service.
    #[error("no pod {pod} listens on {address} here", pod = .0.pod, address = .0.address)]
    Unknown(Target),
    /// The pod ends, or its process has just died.
    #[error("pod {pod} takes no new connections", pod = .0.pod)]
    NotServing(Target),
    /// The pod did not accept the connection.
    #[error("pod {pod} did not accept a connection on {address}: {why}", pod = .target.pod, address = .target.address)]
    NotAccepted {
        /// What was asked for.
        target: Target,
        /// The system's words.
        why: String,
    },
    /// This node has no descriptor left for it.
    #[error("this node has too few file descriptors left")]
    Busy,
}

/// A connection that is let in: the pod has accepted it and it is counted.
pub struct Visit {
    socket: Socket,
    halt: watch::Receiver<bool>,
    idle: Duration,
    _counted: Counted,
    _permit: OwnedSemaphorePermit,
}

enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").finish_non_exhaustive()
    }
}

impl Visit {
    /// Relays until both sides have ended, one of them breaks, or the proxy is shut down.
    pub async fn relay(mut self, mut stream: impl PodStream) {
        let relayed = async {
            match &mut self.socket {
                Socket::Tcp(socket) => {
                    if relay::copy(&mut stream, socket).await.is_err() {
                        // Broken on one side must look broken on the other.
                        let _ = socket.set_zero_linger();
                    }
                }
                // Datagrams may be lost: a break is an end.
                Socket::Udp(socket) => drop(datagrams::bridge(socket, &mut stream, self.idle).await),
            }
        };
        tokio::select! {
            biased;
            () = halted(&mut self.halt) => {}
            () = relayed => {}
        }
    }
}

impl Proxy {
    /// Lets a connection of another node's proxy in. Cancel-safe.
    ///
    /// # Errors
    /// [`Refusal`]: the other proxy is to choose another endpoint.
    pub async fn visit(&self, target: &Target) -> Result<Visit, Refusal> {
        let pod = timeout(UNKNOWN_FOR, self.resident(target)).await.map_err(|_| Refusal::Unknown(target.clone()))?;
        let permit = self.shared.budget.try_take(1).ok_or(Refusal::Busy)?;
        let counted = Counted::on(&pod, tokio::time::Instant::now()).ok_or(Refusal::NotServing(target.clone()))?;
        let not_accepted = |why: String| Refusal::NotAccepted { target: target.clone(), why };
        let dial = timeout(self.shared.config.dial_timeout, dial(target)).await;
        let socket = match dial {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(not_accepted(error.to_string())),
            Err(_) => return Err(not_accepted("it did not answer in time".into())),
        };
        let (halt, idle) = (self.shared.halt.subscribe(), self.shared.config.udp_idle);
        Ok(Visit { socket, halt, idle, _counted: counted, _permit: permit })
    }

    /// The pod, as soon as a service lists it with this address on this node.
    async fn resident(&self, target: &Target) -> Arc<Pod> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, or the change could pass unseen in between.
            changed.as_mut().enable();
            if let Some(pod) = self.pod_at(&target.pod, target.address) {
                return pod;
            }
            changed.await;
        }
    }
}

async fn dial(target: &Target) -> io::Result<Socket> {
    match target.protocol {
        Protocol::Tcp => connect(target.address).await.map(Socket::Tcp),
        Protocol::Udp => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            socket.connect(target.address).await?;
            Ok(Socket::Udp(socket))
        }
    }
}
