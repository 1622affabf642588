//! The asking end: one connection to each other node, opened when it is first needed and again after it broke.

use super::keys::{TunnelKeys, server_name};
use super::stream::TunnelStream;
use super::{CONNECTION_WINDOW, POD, PROTOCOL, STREAM_WINDOW, TunnelTarget};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, client};
use http::{HeaderValue, Method, Request, StatusCode};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long connecting to another node may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a silent node may leave what was sent to it unacknowledged before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(10);
/// When a connection without traffic is asked whether it lives, and how often.
const ASK_AFTER: Duration = Duration::from_secs(15);
/// How much of a refusal is read, in bytes.
const REFUSAL: usize = 1024;

/// Why a stream was not opened. Nothing was sent on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFailure {
    /// The node was not reached.
    #[error("{0}")]
    Unreachable(String),
    /// The node, or the pod on it, refused.
    #[error("{0}")]
    Refused(String),
}

/// Opens streams to other nodes. Clones share the connections.
#[derive(Clone, Debug)]
pub struct TunnelClient {
    keys: Arc<TunnelKeys>,
    nodes: Arc<Mutex<BTreeMap<String, Arc<Node>>>>,
}

/// Another node, and the connection to it.
#[derive(Debug, Default)]
struct Node {
    open: tokio::sync::Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    address: SocketAddr,
    sender: SendRequest<Bytes>,
}

impl TunnelClient {
    /// A client that shows these keys.
    pub fn new(keys: Arc<TunnelKeys>) -> Self {
        TunnelClient { keys, nodes: Arc::default() }
    }

    /// Opens a stream to a pod of a node whose tunnel listens at `address`. Cancel-safe.
    ///
    /// # Errors
    /// [`OpenFailure`], with the words of the other side where it refused.
    pub async fn open(
        &self,
        node: &str,
        address: SocketAddr,
        target: &TunnelTarget,
    ) -> Result<TunnelStream, OpenFailure> {
        let failed = |e: h2::Error| OpenFailure::Unreachable(format!("the connection to it broke: {e}"));
        let mut sender = self.sender(node, address).await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = target.address.to_string().parse().expect("an address and a port make an authority");
        let pod = HeaderValue::from_str(&target.pod)
            .map_err(|_| OpenFailure::Refused("the uid of the pod cannot stand in a header".into()))?;
        request.headers_mut().insert(POD, pod);
        request.headers_mut().insert(PROTOCOL, target.protocol());
        let (response, send) = sender.send_request(request, false).map_err(failed)?;
        let response = response.await.map_err(failed)?;
        let (head, receive) = response.into_parts();
        if head.status == StatusCode::OK {
            return Ok(TunnelStream::new(send, receive));
        }
        Err(OpenFailure::Refused(words(receive, head.status).await))
    }

    /// Forgets nodes that are gone, and closes the connections to them once their streams have ended.
    pub fn retain(&self, mut is_there: impl FnMut(&str) -> bool) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).retain(|node, _| is_there(node));
    }

    async fn sender(&self, node: &str, address: SocketAddr) -> Result<SendRequest<Bytes>, OpenFailure> {
        let peer = {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.entry(node.to_owned()).or_default().clone()
        };
        let mut open = peer.open.lock().await;
        if let Some(held) = open.as_ref().filter(|held| held.address == address)
            && let Ok(sender) = held.sender.clone().ready().await
        {
            return Ok(sender);
        }
        *open = None;
        let connecting = tokio::time::timeout(CONNECT, connect(&self.keys, node, address)).await;
        let late = || OpenFailure::Unreachable(format!("{address} did not answer within {} s", CONNECT.as_secs()));
        let sender = connecting.unwrap_or_else(|_| Err(late()))?;
        *open = Some(Open { address, sender: sender.clone() });
        sender.ready().await.map_err(|e| OpenFailure::Unreachable(format!("{address} closed the connection: {e}")))
    }
}

async fn connect(keys: &TunnelKeys, node: &str, address: SocketAddr) -> Result<SendRequest<Bytes>, OpenFailure> {
    let away = |e: &dyn std::fmt::Display| OpenFailure::Unreachable(format!("{address}: {e}"));
    let name = server_name(node).map_err(OpenFailure::Unreachable)?;
    let stream = TcpStream::connect(address).await.map_err(|e| away(&e))?;
    keep_alive(&stream).map_err(|e| away(&e))?;
    let connector = TlsConnector::from(keys.configs().client);
    let stream = connector.connect(name, stream).await.map_err(|e| away(&e))?;
    let mut builder = client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW).enable_push(false);
    let (sender, connection) = builder.handshake(stream).await.map_err(|e| away(&e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, %address, "a tunnel broke");
        }
    });
    Ok(sender)
}

/// Lets the kernel find out that the other host is gone.
pub(super) fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_AFTER))?;
    socket.set_tcp_user_timeout(Some(SILENCE))
}

/// What the other side said, or its status.
async fn words(mut receive: RecvStream, status: StatusCode) -> String {
    let mut said = Vec::new();
    while let Some(Ok(data)) = receive.data().await {
        said.extend_from_slice(&data[..data.len().min(REFUSAL - said.len())]);
        if said.len() == REFUSAL {
            break;
        }
    }
    if said.is_empty() { format!("it answered {status}") } else { String::from_utf8_lossy(&said).into_owned() }
}
