//! Both ends over loopback.

use super::*;
use crate::pki::{Authority, Identity};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

fn target(pod: &str) -> TunnelTarget {
    TunnelTarget { pod: pod.into(), address: "127.72.0.2:8080".parse().expect("an address"), datagrams: false }
}

fn authority() -> Authority {
    let directory = tempfile::tempdir().expect("a directory");
    Authority::open(directory.path()).expect("made")
}

fn keys(authority: &Authority, identity: &Identity) -> Arc<TunnelKeys> {
    Arc::new(TunnelKeys::new(authority.certificate(), identity).expect("keys"))
}

fn node(authority: &Authority, name: &str) -> Arc<TunnelKeys> {
    keys(authority, &authority.node(&[name]).expect("issued"))
}

/// A node that echoes for pod `echo`, breaks off for pod `break`, and refuses others.
async fn serve(keys: Arc<TunnelKeys>) -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = serve_tunnel(listener, keys, async |call: Call| match call.target().pod.as_str() {
        "echo" => {
            let (mut read, mut write) = tokio::io::split(call.accept().expect("the client waits"));
            tokio::io::copy(&mut read, &mut write).await.expect("the client ends in order");
            write.shutdown().await.expect("the client reads");
        }
        "break" => {
            let mut stream = call.accept().expect("the client waits");
            stream.read_u8().await.expect("the client asks");
            stream.write_all(b"half an ans").await.expect("the client reads");
            // Dropped unfinished.
        }
        other => {
            let why = format!("no pod {other} here");
            call.refuse(&why);
        }
    });
    (address, tokio::spawn(serving).abort_handle())
}

#[tokio::test]
async fn bytes_pass_whole_and_ends_are_told_from_breaks() {
    let authority = authority();
    let (address, _serving) = serve(node(&authority, "b")).await;
    let client = TunnelClient::new(node(&authority, "a"));
    let stream = client.open("b", address, &target("echo")).await.expect("opened");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(stream);
    let mut back = Vec::new();
    let (written, got) = tokio::join!(
        async {
            write.write_all(&sent).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut back)
    );
    written.expect("all is taken");
    got.expect("an end, not a break");
    assert!(back == sent);

    let mut stream = client.open("b", address, &target("break")).await.expect("opened");
    stream.write_all(b"?").await.expect("taken");
    let broken = stream.read_to_end(&mut Vec::new()).await.expect_err("a break, not an end");
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);

    let refused = client.open("b", address, &target("other")).await.expect_err("refused");
    assert_eq!(refused, OpenFailure::Refused("no pod other here".into()));
}

#[tokio::test]
async fn only_nodes_of_the_cluster_are_heard_and_believed() {
    let (ours, theirs) = (authority(), authority());
    let (address, _serving) = serve(node(&ours, "b")).await;
    let open = async |keys| TunnelClient::new(keys).open("b", address, &target("echo")).await.map(drop);
    open(node(&ours, "a")).await.expect("a node");
    for (who, keys) in [
        ("a node of another cluster", node(&theirs, "a")),
        ("an administrator", keys(&ours, &ours.client("admin", "system:masters").expect("issued"))),
    ] {
        assert!(matches!(open(keys).await, Err(OpenFailure::Unreachable(_))), "{who} is let in");
    }
    let wrong = TunnelClient::new(node(&ours, "a")).open("c", address, &target("echo")).await.expect_err("not c");
    assert!(matches!(wrong, OpenFailure::Unreachable(_)), "{wrong}");
}

#[tokio::test]
async fn a_node_that_comes_back_is_connected_again() {
    let authority = authority();
    let (address, serving) = serve(node(&authority, "b")).await;
    let client = TunnelClient::new(node(&authority, "a"));
    let mut held = client.open("b", address, &target("echo")).await.expect("opened");
    serving.abort();
    let broken = held.read(&mut [0]).await.expect_err("broken off");
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    let (address, _serving) = serve(node(&authority, "b")).await;
    client.open("b", address, &target("echo")).await.expect("opened again");
}
