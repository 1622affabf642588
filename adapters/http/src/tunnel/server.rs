//! The serving end: lets nodes of this cluster in and hands every stream to a handler.

use super::keys::TunnelKeys;
use super::stream::TunnelStream;
use super::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS, TunnelTarget};
use crate::pki::{self, Peer};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Nodes that may be connected at a time, each with one connection.
const MAX_CONNECTIONS: usize = 4096;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait after an accept failed for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// The group of nodes.
const NODES: &str = "system:nodes";

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A stream that another node wants to open.
#[derive(Debug)]
pub struct Call {
    target: TunnelTarget,
    respond: SendResponse<Bytes>,
    receive: RecvStream,
}

impl Call {
    /// What it is to lead to.
    pub fn target(&self) -> &TunnelTarget {
        &self.target
    }

    /// Accepts.
    ///
    /// # Errors
    /// When the other side has left.
    pub fn accept(mut self) -> io::Result<TunnelStream> {
        let send = self.respond.send_response(Response::new(()), false).map_err(io::Error::other)?;
        Ok(TunnelStream::new(send, self.receive))
    }

    /// Refuses in words.
    pub fn refuse(self, why: &str) {
        refuse(self.respond, StatusCode::SERVICE_UNAVAILABLE, why);
    }
}

fn refuse(mut respond: SendResponse<Bytes>, status: StatusCode, why: &str) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if let Ok(mut send) = respond.send_response(response, false)
        && let Err(error) = send.send_data(Bytes::copy_from_slice(why.as_bytes()), true)
    {
        tracing::debug!(%error, "a refusal found nobody");
    }
}

/// Serves until its future is dropped, which ends all streams. `handler` answers each call in a task of its own.
pub async fn serve_tunnel<F, A>(listener: TcpListener, keys: Arc<TunnelKeys>, handler: F)
where
    F: Fn(Call) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (keys, handler) = (keys.clone(), handler.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(stream, &keys, handler).await {
                        tracing::debug!(%error, %from, "a tunnel ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a tunnel could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection<F, A>(stream: TcpStream, keys: &TunnelKeys, handler: F) -> Result<(), AnyError>
where
    F: Fn(Call) -> A,
    A: Future<Output = ()> + Send + 'static,
{
    super::client::keep_alive(&stream)?;
    let acceptor = TlsAcceptor::from(keys.configs().server);
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = certificate.and_then(|c| pki::peer(c)).ok_or("the client shows no name")?;
    check(&peer)?;
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    builder.max_concurrent_streams(STREAMS);
    let mut connection = tokio::time::timeout(HANDSHAKE, builder.handshake::<_, Bytes>(stream)).await??;
    // Dropped with this future, which ends its streams.
    let mut calls = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        while calls.try_join_next().is_some() {}
        let (request, respond) = accepted?;
        if let Some(call) = read(request, respond) {
            calls.spawn(handler(call));
        }
    }
    Ok(())
}

fn check(peer: &Peer) -> Result<(), AnyError> {
    if peer.groups.iter().any(|group| group == NODES) {
        Ok(())
    } else {
        Err(format!("{} is no node: only nodes of this cluster may send traffic to pods", peer.user).into())
    }
}

fn read(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Option<Call> {
    if request.method() != Method::CONNECT {
        refuse(respond, StatusCode::METHOD_NOT_ALLOWED, "only CONNECT is understood here");
        return None;
    }
    match TunnelTarget::read(request.uri().authority().map(http::uri::Authority::as_str), request.headers()) {
        Ok(target) => Some(Call { target, respond, receive: request.into_body() }),
        Err(why) => {
            refuse(respond, StatusCode::BAD_REQUEST, why);
            None
        }
    }
}
