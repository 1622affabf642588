//! Joining a cluster: from a token to a node's certificate.

use super::connection::{self, Connection};
use super::{ClientError, RemoteConfig};
use crate::body::Body;
use crate::join::JoinToken;
use crate::pki::{Identity, fingerprint_of};
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use std::sync::Arc;

/// Trusts a server whose certificate is signed by the authority with a fingerprint; the server shows the authority's
/// certificate behind its own.
#[derive(Debug)]
struct ByFingerprint {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ByFingerprint {
    fn authority(&self, shown: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let authority = shown.iter().find(|c| fingerprint_of(c) == self.fingerprint).ok_or_else(|| {
            rustls::Error::General("the server belongs to another cluster than the token: its authority differs".into())
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))
    }
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.authority(intermediates)?.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Exchanges a join token for the certificate of a node; answers what the node's client needs, to be kept. The secret of
/// the token is sent only to a server of the cluster that the token names.
///
/// # Errors
/// `Unreachable` when the server cannot be reached or belongs to another cluster; `Refused` when the token is wrong, used
/// or expired, or the name is taken.
pub async fn join_cluster(server: &str, token: &JoinToken, node: &str) -> Result<RemoteConfig, ClientError> {
    let fail = |e: &dyn std::fmt::Display| ClientError::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = connection::tls(RootCertStore::empty(), None)?;
    let verifier = ByFingerprint { fingerprint: token.fingerprint.clone(), provider };
    tls.dangerous().set_certificate_verifier(Arc::new(verifier));
    let connection = Connection::with(server, tls, None)?;
    let key = KeyPair::generate().map_err(|e| fail(&e))?;
    let request = CertificateParams::default().serialize_request(&key).map_err(|e| fail(&e))?;
    let body = json!({"token": format!("{}.{}", token.id, token.secret), "node": node,
        "csr": request.pem().map_err(|e| fail(&e))?});
    let request = Request::builder()
        .method(Method::POST)
        .uri(connection.uri("/apis/steersman.io/v1/join"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::whole(body.to_string()))
        .map_err(|e| fail(&e))?;
    let response = connection.send(request).await.map_err(|e| ClientError::Unreachable(e.to_string()))?;
    let code = response.status();
    let bytes = response.into_body().collect().await.map_err(|e| ClientError::Unreachable(e.to_string()))?.to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if !code.is_success() {
        let message = answer["message"].as_str().map_or_else(|| format!("the server answered {code}"), str::to_owned);
        return Err(ClientError::Refused(message));
    }
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let identity = Identity { certificate: text("certificate"), key: key.serialize_pem() };
    Ok(RemoteConfig {
        server: server.to_owned(),
        authority: text("certificateAuthority"),
        identity: Some(identity),
        token: None,
    })
}
