//! One HTTP/2 connection over mutual TLS, opened on demand.

use super::{ClientError, RemoteConfig};
use crate::body::Body;
use crate::pki::{self, Identity};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use steersman_application::client::ApiError;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it lives.
const PING: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    authority: Authority,
    name: ServerName<'static>,
    tls: RwLock<Arc<ClientConfig>>,
    token: Option<HeaderValue>,
    open: Mutex<Option<SendRequest<Body>>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("server", &self.authority).finish_non_exhaustive()
    }
}

pub(super) fn broken(error: impl std::fmt::Display) -> ApiError {
    ApiError::Unavailable(format!("the connection to the server broke: {error}"))
}

/// Host and port of `https://HOST:PORT`.
pub(super) fn address(server: &str) -> Result<(Authority, ServerName<'static>), ClientError> {
    let bad = || ClientError::Address(server.to_owned());
    let uri: Uri = server.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("https") {
        return Err(bad());
    }
    let authority = uri.authority().ok_or_else(bad)?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((authority, ServerName::try_from(host).map_err(|_| bad())?))
}

/// TLS that trusts these roots and shows this identity.
pub(super) fn tls(roots: RootCertStore, identity: Option<&Identity>) -> Result<ClientConfig, ClientError> {
    let fail = |e: &dyn std::fmt::Display| ClientError::Tls(e.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(&e))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|e| fail(&e))?;
            builder.with_client_auth_cert(chain.map_err(|e| fail(&e))?, key).map_err(|e| fail(&e))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

impl Connection {
    pub(super) fn new(config: &RemoteConfig) -> Result<Self, ClientError> {
        let roots = pki::roots(&config.authority).map_err(|e| ClientError::Tls(e.to_string()))?;
        Self::with(&config.server, tls(roots, config.identity.as_ref())?, config.token.as_deref())
    }

    pub(super) fn with(server: &str, tls: ClientConfig, token: Option<&str>) -> Result<Self, ClientError> {
        let (authority, name) = address(server)?;
        let token = match token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| ClientError::Tls("the token cannot stand in a header".into()))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Connection { authority, name, tls: RwLock::new(Arc::new(tls)), token, open: Mutex::new(None) })
    }

    /// Connects in this way from now on; a connection that stands stays.
    pub(super) fn replace(&self, tls: ClientConfig) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
    }

    /// The full address of a path.
    pub(super) fn uri(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority)
    }

    /// Sends a request; answers when the head of the answer is there.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, ApiError> {
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        let mut sender = self.sender().await?;
        sender.send_request(request).await.map_err(broken)
    }

    async fn sender(&self) -> Result<SendRequest<Body>, ApiError> {
        let mut open = self.open.lock().await;
        if let Some(sender) = open.as_ref().filter(|s| !s.is_closed()) {
            return Ok(sender.clone());
        }
        let late =
            || ApiError::Unavailable(format!("{} did not answer within {} s", self.authority, CONNECT.as_secs()));
        let sender = tokio::time::timeout(CONNECT, self.connect()).await.unwrap_or_else(|_| Err(late()))?;
        *open = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, ApiError> {
        let away =
            |e: &dyn std::fmt::Display| ApiError::Unavailable(unreachable(self.authority.as_ref(), &e.to_string()));
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let stream =
            TcpStream::connect((host, self.authority.port_u16().unwrap_or(443))).await.map_err(|e| away(&e))?;
        stream.set_nodelay(true).map_err(|e| away(&e))?;
        let tls = self.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = TlsConnector::from(tls).connect(self.name.clone(), stream).await.map_err(|e| away(&e))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .adaptive_window(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| away(&e))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the API broke");
            }
        });
        Ok(sender)
    }
}

/// Why there is no connection. What was refused on purpose during the handshake is told without the phrase that the TLS
/// library puts before it.
fn unreachable(server: &str, why: &str) -> String {
    match why.strip_prefix("unexpected error: ") {
        Some(refusal) => format!("{server}: {refusal}"),
        None => format!("{server} cannot be reached: {why}"),
    }
}
