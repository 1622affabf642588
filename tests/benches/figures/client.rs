//! The smallest HTTPS client that keeps a connection alive: what is measured is the server.

use base64::Engine as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the API is and how to prove who asks.
#[derive(Clone)]
pub(crate) struct Target {
    address: String,
    tls: TlsConnector,
}

/// The value of a key in the kubeconfig, wherever it stands: the files that `steer` writes have each key once.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
    line.unwrap_or_else(|| panic!("the kubeconfig has no {key}")).trim().trim_matches('"')
}

fn pem(text: &str, key: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value(text, key)).expect("base64")
}

impl Target {
    /// Reads a kubeconfig as `steer up` writes it.
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem(&text, "certificate-authority-data:")) {
            roots.add(certificate.expect("a certificate")).expect("a root");
        }
        let certificates = pem(&text, "client-certificate-data:");
        let chain = CertificateDer::pem_slice_iter(&certificates).map(|c| c.expect("a certificate")).collect();
        let key = PrivateKeyDer::from_pem_slice(&pem(&text, "client-key-data:")).expect("a key");
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a client certificate");
        let address = value(&text, "server:").trim_start_matches("https://").to_owned();
        Target { address, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// A connection of HTTP/2 for many streams that grants each of them as much as Go's clients do.
    pub(crate) async fn streams(&self) -> Streams {
        let mut config = rustls::ClientConfig::clone(self.tls.config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        let target = Target { address: self.address.clone(), tls: TlsConnector::from(Arc::new(config)) };
        let handshake = h2::client::Builder::new()
            .initial_window_size(4 << 20)
            .initial_connection_window_size(1 << 30)
            .handshake(target.connect().await.stream);
        let (sender, connection) = handshake.await.expect("HTTP/2");
        Streams { sender, connection: Box::pin(connection), answers: Vec::new() }
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).await.expect("the API listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let stream = self.tls.connect(name, stream).await.expect("TLS");
        Connection { stream, buffer: vec![0; 64 << 10] }
    }
}

/// A connection that asks one thing after the other.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// Many answers on one connection, which is read from only while more are asked for.
pub(crate) struct Streams {
    sender: h2::client::SendRequest<bytes::Bytes>,
    connection: Pin<Box<h2::client::Connection<TlsStream<TcpStream>>>>,
    answers: Vec<h2::client::ResponseFuture>,
}

impl Streams {
    /// Asks for an answer and does not read it.
    pub(crate) async fn open(&mut self, path: &str) {
        self.sender = tokio::select! {
            biased;
            ready = self.sender.clone().ready() => ready.expect("a stream"),
            ended = &mut self.connection => panic!("the server closed the connection: {ended:?}"),
        };
        let request = http::Request::get(format!("https://localhost{path}")).body(()).expect("a request");
        self.answers.push(self.sender.send_request(request, true).expect("a stream").0);
        // Sends what waits.
        let _pending = tokio::time::timeout(std::time::Duration::ZERO, &mut self.connection).await;
    }
}

impl Connection {
    /// Asks for an answer without end and reads at least so many bytes of it, then no more.
    pub(crate) async fn stream(mut self, path: &str, least: usize) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("a request is taken");
        let mut read = 0;
        while read < least {
            let more = self.stream.read(&mut self.buffer).await.expect("an answer comes");
            assert!(more > 0, "the server closed the connection");
            assert!(read > 0 || self.buffer.starts_with(b"HTTP/1.1 200 "), "{:?}", &self.buffer[..more.min(80)]);
            read += more;
        }
        self.buffer = Vec::new();
        self
    }

    /// Sends a request and reads the whole answer; its status.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> u16 {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("a request is taken");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.expect("an answer comes");
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if let Some((status, length)) = whole(&self.buffer[..filled])
                && filled >= length
            {
                return status;
            }
        }
    }
}

/// The status and the length of an answer whose head is there.
fn whole(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let status = head.get(9..12).and_then(|s| s.parse().ok()).expect("a status");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    Some((status, end + length.expect("answers in this benchmark carry their length")))
}
