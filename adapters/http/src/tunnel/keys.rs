//! The TLS of tunnels: the certificate of a node at both ends, replaced while the node runs when it is renewed.

use crate::pki::{self, Identity, PkiError};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::{Arc, PoisonError, RwLock};

/// What both ends of a node's tunnels show and trust.
pub struct TunnelKeys {
    roots: Arc<RootCertStore>,
    configs: RwLock<Configs>,
}

#[derive(Clone)]
pub(super) struct Configs {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl std::fmt::Debug for TunnelKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelKeys").finish_non_exhaustive()
    }
}

impl TunnelKeys {
    /// Keys of a node that trusts the cluster's authority (PEM) alone.
    ///
    /// # Errors
    /// When a certificate or a key is not one.
    pub fn new(authority: &str, identity: &Identity) -> Result<Self, PkiError> {
        let roots = Arc::new(pki::roots(authority)?);
        let configs = RwLock::new(configs(&roots, identity)?);
        Ok(TunnelKeys { roots, configs })
    }

    /// Shows another certificate from now on; connections that stand stay.
    ///
    /// # Errors
    /// As [`TunnelKeys::new`]; the old one stays in use then.
    pub fn renew(&self, identity: &Identity) -> Result<(), PkiError> {
        let new = configs(&self.roots, identity)?;
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(super) fn configs(&self) -> Configs {
        self.configs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn configs(roots: &Arc<RootCertStore>, identity: &Identity) -> Result<Configs, PkiError> {
    let fail = |why: &dyn std::fmt::Display| PkiError::Invalid { what: "tunnel".into(), why: why.to_string() };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|e| fail(&e))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|e| fail(&e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| fail(&e))?
        .with_client_cert_verifier(verifier.map_err(|e| fail(&e))?)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|e| fail(&e))?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| fail(&e))?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)
        .map_err(|e| fail(&e))?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

/// The name that the certificate of a node carries.
pub(super) fn server_name(node: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(pki::node_dns_name(node)).map_err(|e| format!("{node:?} cannot stand in a certificate: {e}"))
}
