//! Pods of other nodes: how a connection to one is opened, and what such a connection looks like. The proxy knows neither
//! addresses nor keys of other nodes; whoever composes it gives it a [`Tunnel`].

use std::io;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::spec::{PodUid, Protocol};

/// What a connection from one node to another is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod.
    pub pod: PodUid,
    /// Where it listens, on its own node.
    pub address: SocketAddrV4,
    /// The transport. Datagrams travel as frames: two bytes of length, high byte first, and that many bytes.
    pub protocol: Protocol,
}

/// A connection to a pod of another node. Dropping it before it was shut down breaks it for the other side; it never
/// looks finished there.
pub trait PodStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PodStream for T {}

/// Why a pod of another node was not reached. No byte of the client has been sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// The other node cannot be reached.
    #[error("node {node} cannot be reached: {why}")]
    Unreachable {
        /// The other node.
        node: String,
        /// What went wrong.
        why: String,
    },
    /// The other node refused: the pod ends, is not there, or does not listen.
    #[error("node {node} refused: {why}")]
    Refused {
        /// The other node.
        node: String,
        /// Its words.
        why: String,
    },
}

/// Opens connections to pods of other nodes.
#[async_trait]
pub trait Tunnel: Send + Sync + 'static {
    /// A connection to the target, which has accepted it. Cancel-safe.
    async fn open(&self, node: &str, target: &Target) -> Result<Box<dyn PodStream>, TunnelError>;
}

/// The endpoint's side of a connection.
pub(super) enum Upstream {
    /// A pod of this node.
    Here(TcpStream),
    /// A pod of another one.
    There(Box<dyn PodStream>),
}

impl Upstream {
    /// Makes the connection look broken, not finished, once it is dropped.
    pub(super) fn reset(&self) {
        match self {
            Self::Here(socket) => {
                // A socket that refuses it closes in the ordinary way.
                let _ = socket.set_zero_linger();
            }
            Self::There(_) => {}
        }
    }
}

impl AsyncRead for Upstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::There(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Here(socket) => Pin::new(socket).poll_write(cx, data),
            Self::There(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(socket) => Pin::new(socket).poll_flush(cx),
            Self::There(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Here(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::There(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
