//! The listener: accepts connections, does the TLS handshake, and hands requests to the API with who sent them. Bounded in
//! connections and in the time a client may take; knows nothing of Kubernetes.

use crate::pki::{self, Peer};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Open connections at most. Every watch holds one (or a stream of one), so this is well above what a cluster needs and
/// well below the descriptor limit.
const MAX_CONNECTIONS: usize = 8_000;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// How long open requests may finish once the server stops; watches end at once by their own signal.
const DRAIN: Duration = Duration::from_secs(3);
/// What is written for a client and not taken by it yet, in bytes: of a connection of HTTP/1.1 (which also bounds the head of
/// a request), of a stream of HTTP/2, and as TLS records. Enough to keep a connection busy; a client that does not read makes
/// the server hold about so much and no more.
const UNSENT: usize = 64 * 1024;
const UNSENT_STREAM: usize = 32 * 1024;
const UNSENT_TLS: usize = 32 * 1024;
/// How long to wait after an accept failed for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: hyper::body::Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers a request; `peer` is who the client certificate names, if one was shown.
    fn handle(
        &self,
        peer: Option<Arc<Peer>>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Serves until `stop` resolves, then lets open requests finish for a moment.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: H,
    stop: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = Arc::new(GracefulShutdown::new());
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (acceptor, handler, watcher) = (acceptor.clone(), handler.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(stream, acceptor, handler, watcher).await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if let Some(graceful) = Arc::into_inner(graceful) {
        // What is still open after this is cut when the runtime ends.
        let _ended = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection<H: Handler>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    handler: H,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    stream.get_mut().1.set_buffer_limit(Some(UNSENT_TLS));
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates.and_then(|list| list.first()).and_then(|c| pki::peer(c)).map(Arc::new);
    let service = service_fn(move |request| {
        let (handler, peer) = (handler.clone(), peer.clone());
        async move { Ok::<_, Infallible>(handler.handle(peer, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Flushing once for several requests in a row would lift the bound on what is written and not taken.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(UNSENT);
    // As many as client-go opens before it takes a second connection; a ping finds dead peers behind watches.
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .max_send_buf_size(UNSENT_STREAM)
        .keep_alive_interval(Some(HEAD));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    watcher.watch(connection.into_owned()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use crate::pki::{Authority, roots};
    use bytes::Bytes;
    use futures_util::stream;
    use rustls_pki_types::ServerName;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const PIECE: usize = 16 * 1024;
    /// Far more than sockets hold.
    const PIECES: u64 = 8 * 1024;

    /// Answers everything with 128 MiB and counts how many pieces of it were taken.
    #[derive(Clone)]
    struct Endless(Arc<AtomicU64>);

    impl Handler for Endless {
        type Body = Body;

        async fn handle(&self, _: Option<Arc<Peer>>, _: Request<Incoming>) -> Response<Body> {
            let piece = Bytes::from(vec![b'x'; PIECE]);
            let taken = self.0.clone();
            Response::new(Body::stream(stream::unfold(0, move |at| {
                let (piece, taken) = (piece.clone(), taken.clone());
                async move {
                    taken.store(at, Ordering::SeqCst);
                    (at < PIECES).then_some((Ok(piece), at + 1))
                }
            })))
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_written_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let address = std::net::Ipv4Addr::LOCALHOST;
        let tls = authority.server_config(&[], &[address.into()]).expect("a configuration");
        let listener = TcpListener::bind((address, 0)).await.expect("a port");
        let server = listener.local_addr().expect("an address");
        let taken = Arc::new(AtomicU64::new(0));
        let serving = tokio::spawn(serve(listener, Arc::new(tls), Endless(taken.clone()), std::future::pending()));

        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots(authority.certificate()).expect("roots"))
            .with_no_client_auth();
        let socket = TcpStream::connect(server).await.expect("connects");
        let name = ServerName::IpAddress(address.into());
        let mut client = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS");
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        client.read_exact(&mut [0; 12]).await.expect("an answer begins");
        // Once the sockets are full nothing more may be taken, and that lasts.
        let mut last = u64::MAX;
        tokio::time::timeout(Duration::from_secs(30), async {
            while last != taken.load(Ordering::SeqCst) {
                last = taken.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
        .await
        .expect("comes to rest");
        assert!(last < PIECES / 2, "{last} of {PIECES} pieces were taken for a client that does not read");
        let before = last;
        client.read_exact(&mut vec![0; 32 << 20]).await.expect("it goes on as the client reads");
        assert!(taken.load(Ordering::SeqCst) > before);
        serving.abort();
    }
}
