//! The cluster's own certificate authority: who serves, who asks, and the kubeconfig that carries both. Keys are ECDSA P-256;
//! files are readable by their owner alone. Certificates are issued at each start, so nothing but the authority is kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::Time;
use time::{Duration, OffsetDateTime};

/// How long the authority is valid, in days.
const AUTHORITY_DAYS: i64 = 3650;
/// How long what it issues is valid, in days. Issued anew at every start.
const ISSUED_DAYS: i64 = 365;

/// Why keys or certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is there is no key or certificate, or cannot be one.
    #[error("{what}: {why}")]
    Invalid {
        /// What was to be made or read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

fn invalid(what: &str) -> impl Fn(String) -> PkiError + '_ {
    move |why| PkiError::Invalid { what: what.to_owned(), why }
}

/// Who is at the other end of a connection, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The common name.
    pub user: String,
    /// The organisations.
    pub groups: Vec<String>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those of the authorities between.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The certificate authority of a cluster.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    /// How long the certificates of nodes that join are valid.
    node_lifetime: Duration,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// Writes a file that only its owner may read; the old one stays until the new one is whole.
///
/// # Errors
/// When the file cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let io = |source| PkiError::Io { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&new, path).map_err(io)
}

impl Authority {
    /// The authority kept in `ca.crt` and `ca.key` of a directory, made at first use.
    ///
    /// # Errors
    /// When the files cannot be read or written, or do not hold a certificate and its key.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = (directory.join("ca.crt"), directory.join("ca.key"));
        let read = |path: &Path| fs::read_to_string(path);
        match (read(&certificate_path), read(&key_path)) {
            (Ok(certificate), Ok(key)) => Self::from_pem(certificate, &key),
            (Err(a), Err(b)) if a.kind() == io::ErrorKind::NotFound && b.kind() == io::ErrorKind::NotFound => {
                let (certificate, key) = new_authority().map_err(|e| invalid("new authority")(e.to_string()))?;
                write_private(&key_path, &key)?;
                write_private(&certificate_path, &certificate)?;
                Self::from_pem(certificate, &key)
            }
            (Err(source), _) => Err(PkiError::Io { path: certificate_path, source }),
            (_, Err(source)) => Err(PkiError::Io { path: key_path, source }),
        }
    }

    /// A new authority, kept nowhere.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate() -> Result<Self, PkiError> {
        let (certificate, key) = new_authority().map_err(|e| invalid("new authority")(e.to_string()))?;
        Self::from_pem(certificate, &key)
    }

    fn from_pem(certificate: String, key: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key).map_err(|e| invalid("ca.key")(e.to_string()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(|e| invalid("ca.crt")(e.to_string()))?;
        Ok(Authority { certificate, issuer, node_lifetime: Duration::days(ISSUED_DAYS) })
    }

    /// The same authority, whose certificates for nodes that join are valid for so long; by default a year.
    #[must_use]
    pub fn with_node_lifetime(self, lifetime: std::time::Duration) -> Self {
        let node_lifetime = lifetime.try_into().unwrap_or(Duration::days(ISSUED_DAYS));
        Authority { node_lifetime, ..self }
    }

    /// The authority's certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of the authority's certificate, in hexadecimal: what a join token carries.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }

    /// The certificate store that trusts this authority alone.
    ///
    /// # Errors
    /// When the certificate is not one.
    pub fn roots(&self) -> Result<RootCertStore, PkiError> {
        roots(&self.certificate)
    }

    /// Makes a key and a certificate for a client: user (common name) and group (organisation; the library writes one).
    ///
    /// # Errors
    /// When the names cannot stand in a certificate.
    pub fn client(&self, user: &str, group: &str) -> Result<Identity, PkiError> {
        let fail = |e: rcgen::Error| invalid("client certificate")(e.to_string());
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = self.issue(&client_params(user, group).map_err(fail)?, &key).map_err(fail)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Signs the key of a certificate request for a node, which asks the API with it and other nodes, and serves those. What
    /// the request itself names is not looked at.
    ///
    /// # Errors
    /// When the request is not one, or its signature does not prove the key.
    pub fn sign_node(&self, request: &str, node: &str) -> Result<String, PkiError> {
        let fail = |e: rcgen::Error| invalid("certificate request")(e.to_string());
        let request = CertificateSigningRequestParams::from_pem(request).map_err(fail)?;
        let mut params = node_params(&[node]).map_err(fail)?;
        valid_for(&mut params, self.node_lifetime);
        let certificate = params.signed_by(&request.public_key, &self.issuer);
        Ok(certificate.map_err(fail)?.pem())
    }

    /// Makes a key and a certificate for the nodes of one process; the first gives it its user.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn node(&self, nodes: &[&str]) -> Result<Identity, PkiError> {
        let fail = |e: rcgen::Error| invalid("certificate of a node")(e.to_string());
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = self.issue(&node_params(nodes).map_err(fail)?, &key).map_err(fail)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// TLS for the API: a fresh certificate for these names and addresses, HTTP/2 and HTTP/1.1, client certificates of this
    /// authority accepted and not demanded.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn server_config(&self, names: &[&str], addresses: &[IpAddr]) -> Result<ServerConfig, PkiError> {
        let fail = |e: rcgen::Error| invalid("server certificate")(e.to_string());
        let mut params = issued_params("steersman-api", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            let name = (*name).try_into().map_err(fail)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
        let key = KeyPair::generate().map_err(fail)?;
        let certificate = self.issue(&params, &key).map_err(fail)?;
        let fail = |e: String| invalid("TLS configuration")(e);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|e| fail(e.to_string()))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| fail(e.to_string()))?;
        // The authority is shown too: a joining node knows it by its fingerprint alone.
        let authority = CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(|e| fail(e.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| fail(e.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone(), authority], key)
            .map_err(|e| fail(e.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn issue(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<Certificate, rcgen::Error> {
        params.signed_by(key, &self.issuer)
    }

    /// A kubeconfig for a client of this authority.
    pub fn kubeconfig(&self, server: &str, identity: &Identity) -> String {
        let (ca, certificate, key) = (
            STANDARD.encode(&self.certificate),
            STANDARD.encode(&identity.certificate),
            STANDARD.encode(&identity.key),
        );
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: steersman\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\nusers:\n- name: admin\n  user:\n    client-certificate-data: {certificate}\n    \
             client-key-data: {key}\ncontexts:\n- name: steersman\n  context:\n    cluster: steersman\n    user: admin\n\
             current-context: steersman\n"
        )
    }
}

fn new_authority() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    valid_for(&mut params, Duration::days(AUTHORITY_DAYS));
    params.distinguished_name = name("steersman-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn valid_for(params: &mut CertificateParams, lifetime: Duration) {
    // An hour back, for clients whose clock is behind; less where the whole life is short.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1).min(lifetime / 10);
    params.not_after = OffsetDateTime::now_utc() + lifetime;
}

fn name(common: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common);
    name
}

fn issued_params(common: &str, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    valid_for(&mut params, Duration::days(ISSUED_DAYS));
    params.distinguished_name = name(common, organisation);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params
}

fn client_params(user: &str, group: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = issued_params(user, Some(group));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// The name by which other nodes know a node that serves them. No server of the API has a name of this kind, so that a node
/// can never pass for one, whatever it is called.
pub fn node_dns_name(node: &str) -> String {
    format!("{node}.node.steersman.internal")
}

fn node_params(nodes: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let first = nodes.first().copied().unwrap_or_default();
    let mut params = client_params(&format!("system:node:{first}"), "system:nodes")?;
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    for node in nodes {
        params.subject_alt_names.push(SanType::DnsName(node_dns_name(node).try_into()?));
    }
    Ok(params)
}

/// From when until when a certificate (PEM) is valid; `None` when it is none.
pub fn validity(certificate: &str) -> Option<(Time, Time)> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    let validity = certificate.validity();
    Some((Time::from_secs(validity.not_before.timestamp()), Time::from_secs(validity.not_after.timestamp())))
}

/// SHA-256 of the first certificate of a PEM text, in hexadecimal; empty when there is none.
pub fn fingerprint(certificate: &str) -> String {
    match CertificateDer::from_pem_slice(certificate.as_bytes()) {
        Ok(der) => fingerprint_of(&der),
        Err(_) => String::new(),
    }
}

/// SHA-256 of a certificate, in hexadecimal.
pub fn fingerprint_of(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The certificate store that trusts the certificates of a PEM text.
///
/// # Errors
/// When there is none, or one is not a certificate.
pub fn roots(certificates: &str) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(certificates.as_bytes()) {
        let certificate = certificate.map_err(|e| invalid("certificate authority")(e.to_string()))?;
        roots.add(certificate).map_err(|e| invalid("certificate authority")(e.to_string()))?;
    }
    if roots.is_empty() { Err(invalid("certificate authority")("holds no certificate".into())) } else { Ok(roots) }
}

/// Who a verified client certificate names; `None` when it has no common name.
pub fn peer(certificate: &[u8]) -> Option<Peer> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    Some(Peer { user, groups })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_authority_is_kept_and_names_its_clients() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Authority::open(directory.path()).expect("made");
        let mode = fs::metadata(directory.path().join("ca.key")).expect("kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Authority::open(directory.path()).expect("read");
        assert_eq!((again.fingerprint(), again.fingerprint().len()), (first.fingerprint(), 64));
        let admin = again.client("admin", "system:masters").expect("issued");
        let der = CertificateDer::from_pem_slice(admin.certificate.as_bytes()).expect("a certificate");
        let expected = Peer { user: "admin".into(), groups: vec!["system:masters".into()] };
        assert_eq!(peer(&der), Some(expected));
        assert!(again.kubeconfig("https://127.0.0.1:6443", &admin).contains("server: https://127.0.0.1:6443\n"));
        again.server_config(&["localhost"], &["127.0.0.1".parse().expect("an address")]).expect("a configuration");
    }

    #[test]
    fn a_request_is_signed_under_our_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let key = KeyPair::generate().expect("a key");
        let request =
            issued_params("system:masters", Some("system:masters")).serialize_request(&key).expect("a request");
        let pem = request.pem().expect("a request");
        let signed = authority.sign_node(&pem, "n1").expect("signed");
        let der = CertificateDer::from_pem_slice(signed.as_bytes()).expect("a certificate");
        assert_eq!(peer(&der).map(|p| p.user), Some("system:node:n1".into()));
        assert!(authority.sign_node("nonsense", "a").is_err());
        let life = |pem: &str| validity(pem).map(|(from, until)| until.since(from).as_secs());
        assert_eq!(life(&signed), Some(365 * 24 * 3600 + 3600));
        let brief = authority.with_node_lifetime(std::time::Duration::from_secs(100));
        assert_eq!(life(&brief.sign_node(&pem, "n1").expect("signed")), Some(110));
        assert_eq!(validity("nonsense"), None);
    }

    #[test]
    fn broken_files_are_told_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        Authority::open(directory.path()).expect("made");
        fs::write(directory.path().join("ca.key"), "broken").expect("writable");
        let error = Authority::open(directory.path()).expect_err("broken").to_string();
        assert!(error.starts_with("ca.key: "), "{error}");
        fs::remove_file(directory.path().join("ca.key")).expect("there");
        let error = Authority::open(directory.path()).expect_err("missing").to_string();
        assert!(error.contains("ca.key: No such file"), "{error}");
    }
}
