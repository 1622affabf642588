//! The client against a server on real sockets, with and without TLS.

use super::testing::{answer, api, handle, plain, serve};
use super::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;

#[tokio::test]
async fn answers_are_read_and_the_connection_is_kept() {
    let (address, opened) = serve(|method, uri| answer(200, &format!("{{\"at\": \"{method} {uri}\"}}"))).await;
    let api = plain(address);
    for _ in 0..5 {
        let call = Call::get("/api/v1/pods").query("labelSelector", "a=b,c in (d)").query("continue", "");
        let got = api.json(call).await.expect("answered");
        assert_eq!(got["at"], "GET /api/v1/pods?labelSelector=a%3Db%2Cc%20in%20%28d%29");
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refusals_say_what_the_server_said() {
    let (address, _) = serve(|_, uri| match uri {
        "/missing" => answer(404, r#"{"kind":"Status","reason":"NotFound","message":"pods \"a\" not found"}"#),
        "/text" => answer(500, "broken\n"),
        _ => answer(503, ""),
    })
    .await;
    let api = plain(address);
    let refused = async |path: &str| api.json(Call::get(path)).await.expect_err("refused");
    let missing = refused("/missing").await;
    assert_eq!(missing.to_string(), "Error from server (NotFound): pods \"a\" not found");
    assert!(is_refused(&missing, 404));
    assert_eq!(refused("/text").await.to_string(), "Error from server: broken (status 500)");
    assert!(refused("/empty").await.to_string().contains("503 Service Unavailable"));
    assert!(api.find(Call::get("/missing")).await.expect("none is an answer").is_none());
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let api = plain("127.0.0.1:1".parse().expect("an address"));
    let error = format!("{:#}", api.json(Call::get("/")).await.expect_err("refused"));
    assert!(error.starts_with("cannot reach the server at http://127.0.0.1:1: "), "{error}");
}

#[tokio::test]
async fn lines_come_whole_and_the_last_needs_no_end() {
    let (address, _) = serve(|_, _| answer(200, "one\n\ntwo")).await;
    let mut lines = plain(address).lines(Call::get("/log")).await.expect("answered");
    let mut got = Vec::new();
    while let Some(line) = lines.next().await.expect("readable") {
        got.push(String::from_utf8(line).expect("text"));
    }
    assert_eq!(got, ["one", "", "two"]);
}

#[tokio::test]
async fn lists_are_read_in_chunks_and_watches_go_on() {
    let (address, _) = serve(|_, uri| match uri {
        "/x?limit=500" => {
            answer(200, r#"{"kind":"PodList","apiVersion":"v1","metadata":{"continue":"n"},"items":[{}]}"#)
        }
        "/x?limit=500&continue=n" => answer(200, r#"{"kind":"PodList","apiVersion":"v1","items":[{"kind":"Odd"}]}"#),
        "/x?watch=true&allowWatchBookmarks=true&resourceVersion=5" => answer(
            200,
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"6\"}}}\n\
             {\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n",
        ),
        "/x?watch=true&allowWatchBookmarks=true&resourceVersion=9" => answer(
            200,
            "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}\n",
        ),
        _ => answer(400, uri),
    })
    .await;
    let api = plain(address);
    let list = api.list(&Call::get("/x")).await.expect("listed");
    let kinds: Vec<_> = list.iter().map(|item| item["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["Pod", "Odd"]);
    let mut watch = api.watch(Call::get("/x"), "5");
    assert_eq!(watch.next().await.expect("an event").0, "ADDED");
    let error = watch.next().await.expect_err("compacted");
    assert!(is_refused(&error, 410), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_the_server_is_checked() {
    let (address, authority) = serve_tls().await;
    let access = |certified: &rcgen::CertifiedKey<rcgen::KeyPair>| kubeconfig::Access {
        server: format!("https://{address}"),
        authority: Some(authority.clone().into_bytes()),
        certificate: Some(certified.cert.pem().into_bytes()),
        key: Some(certified.signing_key.serialize_pem().into_bytes()),
        ..kubeconfig::Access::default()
    };
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).expect("a certificate");
    let good = api(access(&client));
    assert_eq!(good.json(Call::get("/")).await.expect("answered")["certificates"], 1);
    let mut stranger = access(&client);
    stranger.authority = Some(client.cert.pem().into_bytes());
    let error = format!("{:#}", api(stranger).json(Call::get("/")).await.expect_err("not trusted"));
    assert!(error.contains("certificate"), "{error}");
}

/// Serves TLS with a certificate of its own; answers how many certificates the client showed.
async fn serve_tls() -> (SocketAddr, String) {
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(own.signing_key.serialize_pem().as_bytes()).expect("a key");
    let chain = vec![CertificateDer::from_pem_slice(own.cert.pem().as_bytes()).expect("a certificate")];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(Arc::new(AnyClient))
        .with_single_cert(chain, key)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let shown = stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len);
                let body = format!("{{\"certificates\": {shown}}}");
                tokio::spawn(handle(stream, Arc::new(move |_: &str, _: &str| answer(200, &body))));
            }
        }
    });
    (address, own.cert.pem())
}

/// Takes every client certificate whose key the client has.
#[derive(Debug)]
struct AnyClient;

impl rustls::server::danger::ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls_pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls_pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
