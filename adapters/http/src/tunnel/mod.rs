//! Traffic between nodes: one HTTP/2 connection with mutual TLS for each pair of them, and on it a `CONNECT` stream for
//! every connection to a pod. Both ends show the certificate of a node of this cluster; whoever is none is not heard.
//!
//! It carries bytes and asks a handler whether to; it knows neither services nor pods.

mod client;
mod keys;
mod server;
mod stream;

#[cfg(test)]
mod tests;

pub use client::{OpenFailure, TunnelClient};
pub use keys::TunnelKeys;
pub use server::{Call, serve_tunnel};
pub use stream::TunnelStream;

use http::{HeaderMap, HeaderValue};
use std::net::SocketAddrV4;

/// The header that names the pod by its uid.
const POD: &str = "steersman-pod";
/// The header that says `tcp` or `udp`.
const PROTOCOL: &str = "steersman-protocol";

/// The window of one stream and of a whole connection, in bytes: what a slow pod can make its node hold.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Streams of one connection at a time: more than the proxy's share of descriptors lets it relay.
const STREAMS: u32 = 16_384;

/// What a stream leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelTarget {
    /// The uid of the pod.
    pub pod: String,
    /// Where the pod listens, on its own node.
    pub address: SocketAddrV4,
    /// Whether the stream carries datagrams, each behind two bytes of length.
    pub datagrams: bool,
}

impl TunnelTarget {
    fn protocol(&self) -> HeaderValue {
        HeaderValue::from_static(if self.datagrams { "udp" } else { "tcp" })
    }

    /// Reads what the client wrote; says what is wrong otherwise.
    fn read(authority: Option<&str>, headers: &HeaderMap) -> Result<Self, &'static str> {
        let address =
            authority.and_then(|a| a.parse().ok()).ok_or("the authority must be the pod's address and port")?;
        let pod = headers.get(POD).and_then(|v| v.to_str().ok()).ok_or("the pod's uid is missing")?.to_owned();
        let datagrams = match headers.get(PROTOCOL).map(HeaderValue::as_bytes) {
            Some(b"tcp") => false,
            Some(b"udp") => true,
            _ => return Err("the protocol must be tcp or udp"),
        };
        Ok(TunnelTarget { pod, address, datagrams })
    }
}
