//! Connections: TCP, and TLS with the certificates of a kubeconfig.

use super::kubeconfig::Access;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection and its handshake may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Opens connections to one server.
pub(super) struct Connector {
    /// The server's address as the kubeconfig writes it.
    pub(super) server: String,
    /// `host:port`, for the `Host` header.
    pub(super) authority: String,
    /// A bearer token, where the kubeconfig has one.
    pub(super) token: Option<String>,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest are secrets.
        f.debug_struct("Connector").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Connector {
    /// Prepares connections; opens none.
    pub(super) fn new(access: Access) -> anyhow::Result<Self> {
        let from = access.from.clone();
        Self::prepare(access).with_context(|| format!("in the kubeconfig {from}"))
    }

    fn prepare(access: Access) -> anyhow::Result<Self> {
        let (secure, rest) = match access.server.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => bail!("server {:?} is no address: write it as https://HOST:PORT", access.server),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            bail!("server {:?} has a path, which is not supported: write it as https://HOST:PORT", access.server);
        }
        let (host, port) = split_port(authority, if secure { 443 } else { 80 })?;
        let tls = if secure {
            let name = access.tls_server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name).context("the server's name cannot be in a certificate")?;
            Some((TlsConnector::from(Arc::new(config(&access)?)), name))
        } else {
            None
        };
        let authority = authority.to_owned();
        Ok(Self { server: access.server, authority, token: access.token, host, port, tls })
    }

    /// Opens a connection that speaks HTTP/1.1, and a task that drives it.
    pub(super) async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => drive(stream).await,
                Some((tls, name)) => drive(tls.connect(name.clone(), stream).await.context("TLS")?).await,
            }
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => connected,
            Err(_) => bail!("no connection within {} s", CONNECT.as_secs()),
        }
    }
}

async fn drive<S>(stream: S) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told of the error there.
        let _ended = connection.await;
    });
    Ok(sender)
}

/// Splits `host:port`, `[v6]:port` or a lone host.
fn split_port(authority: &str, default: u16) -> anyhow::Result<(String, u16)> {
    let bad = || format!("{authority:?} is no HOST:PORT");
    let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']').with_context(bad)) {
        Some(bracketed) => {
            let (host, port) = bracketed?;
            (host, port.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    anyhow::ensure!(!host.is_empty(), bad());
    let port = port.map_or(Ok(default), str::parse).with_context(bad)?;
    Ok((host.to_owned(), port))
}

fn config(access: &Access) -> anyhow::Result<ClientConfig> {
    let authority = access.authority.as_deref().context(
        "the cluster names no certificate-authority-data: without it the server cannot be told from an impostor",
    )?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        let certificate = certificate.context("certificate-authority-data is no PEM")?;
        roots.add(certificate).context("certificate-authority-data holds no usable certificate")?;
    }
    anyhow::ensure!(!roots.is_empty(), "certificate-authority-data holds no certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match (&access.certificate, &access.key) {
        (None, None) => Ok(config.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
            let chain = chain.context("client-certificate-data is no PEM")?;
            anyhow::ensure!(!chain.is_empty(), "client-certificate-data holds no certificate");
            let key = PrivateKeyDer::from_pem_slice(key).context("client-key-data holds no private key")?;
            config.with_client_auth_cert(chain, key).context("client certificate and key do not belong together")
        }
        _ => bail!("client-certificate-data and client-key-data are needed together"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_split() {
        assert_eq!(split_port("127.0.0.1:6443", 443).expect("good"), ("127.0.0.1".to_owned(), 6443));
        assert_eq!(split_port("[::1]:6443", 443).expect("good"), ("::1".to_owned(), 6443));
        assert_eq!(split_port("[::1]", 443).expect("good"), ("::1".to_owned(), 443));
        assert_eq!(split_port("cluster.example", 443).expect("good"), ("cluster.example".to_owned(), 443));
        for bad in ["", ":1", "[::1", "a:b", "a:70000"] {
            assert!(split_port(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_access_is_said() {
        let failed = |change: fn(&mut Access)| {
            let mut access = Access { server: "https://127.0.0.1:1".to_owned(), ..Access::default() };
            change(&mut access);
            format!("{:#}", Connector::new(access).expect_err("bad"))
        };
        assert!(failed(|_| {}).contains("certificate-authority-data"));
        assert!(failed(|access| access.server = "127.0.0.1:1".to_owned()).contains("https://HOST:PORT"));
        assert!(failed(|access| access.server = "https://h:1/p".to_owned()).contains("has a path"));
        assert!(failed(|access| access.authority = Some(b"rubbish".to_vec())).contains("holds no certificate"));
    }
}
