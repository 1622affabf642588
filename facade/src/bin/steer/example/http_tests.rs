//! The example server over real sockets.

use super::*;
use std::net::SocketAddr;

const SOON: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.send(true).expect("it runs");
        timeout(SOON, self.task).await.expect("it ends").expect("it does not panic");
    }
}

async fn start(name: &str, change: impl FnOnce(&mut Serve)) -> Running {
    let mut serve = Serve { port: 0, version: "v7".to_owned(), upstream: None, delay_ms: 0, verbose: false };
    change(&mut serve);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = watch::channel(false);
    let page = Arc::new(Page { name: name.to_owned(), serve });
    Running { address, stop, task: tokio::spawn(serve_all(listener, page, stopped)) }
}

/// Sends text and reads until `answers` bodies of the expected text have come, or the end.
async fn talk(stream: &mut TcpStream, text: &str, until: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("sent");
    read(stream, until).await
}

async fn read(stream: &mut TcpStream, until: &str) -> String {
    let mut got = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&got).ends_with(until) {
            if stream.read_buf(&mut got).await.expect("readable") == 0 {
                break;
            }
        }
    };
    let whole = timeout(SOON, reading).await;
    let got = String::from_utf8_lossy(&got).into_owned();
    assert!(whole.is_ok(), "no {until:?} in {got:?}");
    got
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = start("pod-1", |_| {}).await;
    let mut stream = connect(server.address).await;
    let post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let got = talk(&mut stream, post, "pod-1 v7\n").await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.contains("Content-Length: 9\r\n"), "{got}");
    let got = talk(&mut stream, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "ok\n").await;
    assert!(got.contains("Connection: keep-alive\r\n"), "{got}");
    let got = talk(&mut stream, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "").await;
    assert!(got.is_empty() || got.contains("Connection: close"), "{got}");
    let got = got + &read(&mut stream, "\r\n\r\n").await;
    assert!(got.ends_with("Connection: close\r\n\r\n"), "no body follows a HEAD: {got}");
    server.end().await;
}

#[tokio::test]
async fn the_second_line_is_the_upstreams() {
    let api = start("api-1", |_| {}).await;
    let upstream = api.address.to_string();
    let web = start("web-1", |serve| serve.upstream = Some(upstream)).await;
    let ask = "GET / HTTP/1.0\r\n\r\n";
    let got = talk(&mut connect(web.address).await, ask, "api-1 v7\n").await;
    assert!(got.ends_with("\r\n\r\nweb-1 v7\napi-1 v7\n"), "{got}");
    api.end().await;
    let got = talk(&mut connect(web.address).await, ask, "\0").await;
    assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("\nupstream error: 127.0.0.1:"), "{got}");
    web.end().await;
}

#[tokio::test]
async fn an_end_loses_no_request() {
    let server = start("pod-1", |serve| serve.delay_ms = 100).await;
    let (mut busy, mut idle, mut late) =
        (connect(server.address).await, connect(server.address).await, connect(server.address).await);
    // One question was answered before, so this connection is known to the server and idle.
    talk(&mut idle, "GET /healthz HTTP/1.1\r\n\r\n", "ok\n").await;
    busy.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    late.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    server.stop.send(true).expect("it runs");
    for stream in [&mut busy, &mut late] {
        let got = read(stream, "pod-1 v7\n").await;
        assert!(got.contains("Connection: close\r\n"), "{got}");
    }
    let got = talk(&mut idle, "GET / HTTP/1.1\r\n\r\n", "pod-1 v7\n").await;
    assert!(got.contains("Connection: close\r\n"), "{got}");
    timeout(SOON, server.task).await.expect("it ends").expect("it does not panic");
    assert!(TcpStream::connect(server.address).await.is_err(), "it no longer listens");
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let server = start("pod-1", |_| {}).await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(LONGEST_HEAD + 4096));
    for (sent, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/2\r\n\r\n", "505"),
        ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "411"),
        (&long[..LONGEST_HEAD + 1], "431"),
    ] {
        let got = talk(&mut connect(server.address).await, sent, "\0").await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{:?} got {got:?}", &sent[..15]);
    }
    server.end().await;
}

#[test]
fn the_connection_header_decides_by_version() {
    let keep = |head: &str| request(head.as_bytes()).expect("good").keep;
    assert!(keep("GET / HTTP/1.1\r\n\r\n"));
    assert!(!keep("GET / HTTP/1.1\r\nconnection: x, Close\r\n\r\n"));
    assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
    assert!(keep("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_eq!(request(b"GET /a?b HTTP/1.1\r\n\r\n").expect("good").path, "/a");
}

#[test]
fn an_upstream_is_a_host_and_a_port() {
    assert!(host_and_port("127.0.0.1:80").is_ok() && host_and_port("shop-api:8080").is_ok());
    for bad in ["shop-api", ":80", "a:b", "$(SHOP_API_SERVICE_HOST):8080"] {
        assert!(host_and_port(bad).is_err(), "{bad}");
    }
}
