//! A server on real sockets for tests of the client, and clients that speak to it.

use super::*;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// What the server answers.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves plain HTTP; gives the address and the number of connections that were opened.
pub(crate) async fn serve(
    answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let opened = Arc::new(AtomicUsize::new(0));
    let (answer, count) = (Arc::new(answer), Arc::clone(&opened));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(handle(stream, Arc::clone(&answer)));
        }
    });
    (address, opened)
}

/// Serves one connection.
pub(super) async fn handle<S, F>(stream: S, answer: Arc<F>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Fn(&str, &str) -> Answer + Send + Sync + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let answered = answer(request.method().as_str(), &request.uri().to_string());
        async move { Ok::<_, Infallible>(answered) }
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}

/// An answer with a status and a text.
pub(crate) fn answer(code: u16, body: &str) -> Answer {
    Response::builder().status(code).body(Full::new(Bytes::from(body.to_owned()))).expect("a response")
}

pub(super) fn api(access: kubeconfig::Access) -> Api {
    let connector = Connector::new(access).expect("good access");
    Api { connector, namespace: "default".to_owned(), idle: Mutex::default(), warned: Mutex::default() }
}

/// A client without TLS.
pub(crate) fn plain(address: SocketAddr) -> Api {
    api(kubeconfig::Access { server: format!("http://{address}"), ..kubeconfig::Access::default() })
}
