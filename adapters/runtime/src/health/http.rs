//! Requests of probes and hooks. A redirect is followed on the same host; one to another host counts as an answer, as in
//! Kubernetes. Nothing but the head of an answer is read.

use super::connect;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::Ipv4Addr;
use std::sync::Arc;
use steersman_domain::Str;
use tokio::io::{AsyncRead, AsyncWrite};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 10;

pub(super) async fn get(
    (ip, host): (Ipv4Addr, &str),
    mut port: u16,
    (mut tls, path): (bool, &str),
    headers: &[(Str, Str)],
) -> Result<(), String> {
    let mut path = path.to_owned();
    let own = if host.is_empty() { ip.to_string() } else { host.to_owned() };
    for _ in 0..=MOST_REDIRECTS {
        let (status, location) = ask((ip, host), port, (tls, &path), headers).await?;
        let Some(to) = location.filter(|_| (300..400).contains(&status)) else {
            return if (200..400).contains(&status) {
                Ok(())
            } else {
                Err(format!("HTTP probe failed with statuscode: {status}"))
            };
        };
        let to: Uri =
            to.parse().map_err(|error| format!("a redirect leads to {to:?}, which is no address: {error}"))?;
        if to.host().is_some_and(|other| other != own) {
            return Ok(());
        }
        if let Some(scheme) = to.scheme_str() {
            tls = scheme == "https";
            port = to.port_u16().unwrap_or(if tls { 443 } else { 80 });
        }
        path = to.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    }
    Err(format!("stopped after {MOST_REDIRECTS} redirects"))
}

/// Status, and where it leads to.
async fn ask(
    (ip, host): (Ipv4Addr, &str),
    port: u16,
    (tls, path): (bool, &str),
    headers: &[(Str, Str)],
) -> Result<(u16, Option<String>), String> {
    let stream = connect((ip, host), port).await?;
    let name = if host.is_empty() { ip.to_string() } else { host.to_owned() };
    let mut request = Request::get(path)
        .header(header::HOST, format!("{name}:{port}"))
        .header(header::USER_AGENT, concat!("steersman/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| format!("{path:?} cannot be asked for: {error}"))?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| format!("header {name:?}: {error}"))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|error| format!("header {name}: {error}"))?;
        request.headers_mut().insert(name, value);
    }
    if !tls {
        return exchange(stream, request).await;
    }
    let server = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let stream = tokio_rustls::TlsConnector::from(any_certificate()?).connect(server, stream).await;
    exchange(stream.map_err(|error| format!("no TLS at port {port}: {error}"))?, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<bytes::Bytes>>,
) -> Result<(u16, Option<String>), String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let mut connection = std::pin::pin!(connection);
    let response = tokio::select! {
        biased;
        response = &mut answer => response,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    let response = response.map_err(|error| format!("no HTTP answer: {error}"))?;
    let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    Ok((response.status().as_u16(), location))
}

/// Who looks after a program does not ask who vouches for it.
fn any_certificate() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers each connection with the next of these; answers its port and what it was asked.
    async fn server(answers: Vec<String>) -> (u16, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = asked.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                heads.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).into_owned());
                stream.write_all(answer.replace("PORT", &port.to_string()).as_bytes()).await.unwrap();
            }
        });
        (port, asked)
    }

    async fn asked(answers: &[&str]) -> (Result<(), String>, Vec<String>) {
        let (port, heads) = server(answers.iter().map(ToString::to_string).collect()).await;
        let headers = [("X-Probe".into(), "yes".into()), ("Host".into(), "web.example".into())];
        let outcome = get((Ipv4Addr::LOCALHOST, ""), port, (false, "/healthz?x=1"), &headers).await;
        let heads = heads.lock().unwrap().clone();
        (outcome, heads)
    }

    #[tokio::test]
    async fn the_status_decides() {
        let (outcome, heads) = asked(&["HTTP/1.1 204 No Content\r\n\r\n"]).await;
        assert_eq!(outcome, Ok(()));
        assert!(heads[0].starts_with("GET /healthz?x=1 HTTP/1.1\r\n"), "{}", heads[0]);
        let lower = heads[0].to_ascii_lowercase();
        assert!(lower.contains("x-probe: yes") && lower.contains("host: web.example"), "{lower}");
        let (outcome, _) = asked(&["HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbody"]).await;
        assert_eq!(outcome, Err("HTTP probe failed with statuscode: 503".into()));
        let early = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(asked(&[early]).await.0, Ok(()));
        assert!(asked(&["SSH-2.0-x\r\n"]).await.0.unwrap_err().contains("no HTTP answer"));
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_alone() {
        let busy = "HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n";
        for to in ["/other", "http://127.0.0.1:PORT/other"] {
            let moved = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            let (outcome, heads) = asked(&[&moved, busy]).await;
            assert_eq!(outcome, Err("HTTP probe failed with statuscode: 500".into()));
            assert!(heads[1].starts_with("GET /other HTTP/1.1\r\n"), "{}", heads[1]);
        }
        let away = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(asked(&[away]).await.0, Ok(()), "not followed");
        let round = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
        assert!(asked(&[round; 11]).await.0.unwrap_err().contains("10 redirects"));
    }

    #[tokio::test]
    async fn a_path_cannot_smuggle_a_header() {
        let outcome = get((Ipv4Addr::LOCALHOST, ""), 1, (false, "/a HTTP/1.1\r\nX: y"), &[]).await;
        assert!(outcome.is_err(), "{outcome:?}");
    }
}
