use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

/// A pod whose connections are handed to the test, which plays the server.
async fn server(net: &Net, index: u8) -> TcpListener {
    TcpListener::bind(net.pod(index)).await.unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let read = async {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            text.push(stream.read_u8().await.expect("the stream ended early"));
        }
        String::from_utf8(text).unwrap()
    };
    within("reading a message", read).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    within("the end of the stream", stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// A client that has sent its request, and the server's side of it.
async fn asked(net: &Net, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(net.vip()).await.unwrap();
    client.write_all(GET).await.unwrap();
    let (mut served, _) = within("the dial", listener.accept()).await.unwrap();
    assert_eq!(read_until(&mut served, "\r\n\r\n").await.as_bytes(), GET);
    (client, served)
}

#[tokio::test]
async fn an_answer_in_flight_says_close_and_ends_the_connection() {
    let net = Net(30);
    let listener = server(&net, 0).await;
    let proxy = start(&net.http([0]));
    let (mut client, mut served) = asked(&net, &listener).await;
    let drain = proxy.drain(&uid(0));
    assert_eq!(drain.active(), 1);
    served.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
    let head = read_until(&mut client, "hi\r\n").await;
    assert_eq!(head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n");
    assert_eq!(drain.active(), 1, "the body is not over");
    served.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut client).await, "0\r\n\r\n");
    drain.idle_within(DEADLINE).await.unwrap();
    assert!(within("the server's end", served.read_u8()).await.is_err());
}

#[tokio::test]
async fn an_idle_keep_alive_connection_leaves_at_once_and_asks_another_endpoint() {
    let net = Net(31);
    let (listener, new) = (server(&net, 0).await, server(&net, 1).await);
    let proxy = start(&net.http([0]));
    let (mut client, mut served) = asked(&net, &listener).await;
    served.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    assert_eq!(read_until(&mut client, "hi").await, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    client.write_all(GET).await.unwrap();
    read_until(&mut served, "\r\n\r\n").await;
    served.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    proxy.apply(&net.http([0, 1])).unwrap();
    proxy.drain(&uid(0)).idle_within(DEADLINE).await.unwrap();
    assert!(within("the server's end", served.read_u8()).await.is_err());
    client.write_all(GET).await.unwrap();
    let (mut served, _) = within("the dial", new.accept()).await.unwrap();
    assert_eq!(read_until(&mut served, "\r\n\r\n").await.as_bytes(), GET);
    served.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 204 No Content\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_was_told_of_the_end_is_closed() {
    let net = Net(38);
    let listener = server(&net, 0).await;
    let proxy = start(&net.http([0]));
    let (mut client, mut served) = asked(&net, &listener).await;
    // The server is slow to close what it announced to close.
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    served.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut client, "hi").await, answer);
    proxy.drain(&uid(0)).idle_within(DEADLINE).await.unwrap();
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn an_endpoint_that_leaves_the_list_is_drained_too() {
    let net = Net(32);
    let listener = server(&net, 0).await;
    let proxy = start(&net.http([0]));
    let (mut client, mut served) = asked(&net, &listener).await;
    proxy.apply(&net.http([])).unwrap();
    served.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut client).await, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

#[tokio::test]
async fn a_silent_client_holds_no_endpoint() {
    let net = Net(33);
    let (old, new) = (server(&net, 0).await, server(&net, 1).await);
    let proxy = start(&net.http([0]));
    let mut client = TcpStream::connect(net.vip()).await.unwrap();
    eventually(|| metrics(&proxy).active, |active| *active == 1).await;
    proxy.drain(&uid(0)).idle_within(DEADLINE).await.unwrap();
    proxy.apply(&net.http([1])).unwrap();
    client.write_all(GET).await.unwrap();
    let (mut served, _) = within("the dial", new.accept()).await.unwrap();
    read_until(&mut served, "\r\n\r\n").await;
    drop(old);
}

#[tokio::test]
async fn an_upgraded_connection_is_left_alone() {
    let net = Net(34);
    let listener = server(&net, 0).await;
    let proxy = start(&net.http([0]));
    let (mut client, mut served) = asked(&net, &listener).await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n";
    served.write_all(switch.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, switch);
    let drain = proxy.drain(&uid(0));
    client.write_all(b"frame\n").await.unwrap();
    assert_eq!(read_until(&mut served, "\n").await, "frame\n");
    served.write_all(b"HTTP/1.1 200 no head\n").await.unwrap();
    assert_eq!(read_until(&mut client, "\n").await, "HTTP/1.1 200 no head\n");
    assert_eq!(drain.active(), 1);
    // Each side closes its half in its own time.
    served.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    client.write_all(b"bye\n").await.unwrap();
    assert_eq!(read_until(&mut served, "\n").await, "bye\n");
    drop(client);
    drain.idle_within(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn without_endpoints_the_answer_says_which_service() {
    let net = Net(35);
    let proxy = start(&net.http([]));
    let mut client = TcpStream::connect(net.vip()).await.unwrap();
    client.write_all(GET).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nservice default/shop has no ready endpoints for port 8080\n"), "{answer}");
    assert_eq!(metrics(&proxy).refused, 1);
    proxy.apply(&net.http([0])).unwrap();
    let mut client = TcpStream::connect(net.vip()).await.unwrap();
    client.write_all(GET).await.unwrap();
    assert!(rest(&mut client).await.contains("none of 1 ready endpoints accepted a connection"));
}

#[tokio::test]
async fn large_messages_pass_whole() {
    let net = Net(36);
    let listener = server(&net, 0).await;
    let _proxy = start(&net.http([0]));
    let (client, served) = asked(&net, &listener).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 253) as u8).collect();
    let message = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let (mut client, mut served) = (client, served);
    let expected = message.clone();
    let writer = tokio::spawn(async move {
        served.write_all(&message).await.unwrap();
        served
    });
    let mut received = vec![0; expected.len()];
    within("three megabytes", client.read_exact(&mut received)).await.unwrap();
    assert!(received == expected);
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_clients_move_to_new_pods_without_a_lost_request() {
    let net = Net(37);
    let mut pods = vec![keep_alive_pod(&net, 0).await];
    let proxy = start(&net.http([0]));
    let (stop, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let (stop, served) = (stop.clone(), served.clone());
        clients.spawn(async move { keep_alive_client(Net(37).vip(), &stop, &served).await });
    }
    for next in 1..8 {
        pods.push(keep_alive_pod(&net, next).await);
        proxy.apply(&net.http([next - 1, next])).unwrap();
        let drain = proxy.drain(&uid(next - 1));
        drain.idle_within(DEADLINE).await.unwrap();
        pods.remove(0).shutdown().await;
        let before = served.load(Ordering::Relaxed);
        eventually(|| served.load(Ordering::Relaxed), |now| *now > before + 50).await;
    }
    stop.store(1, Ordering::Relaxed);
    while let Some(client) = within("a client's end", clients.join_next()).await {
        client.unwrap();
    }
}

async fn keep_alive_pod(net: &Net, index: u8) -> JoinSet<()> {
    let listener = server(net, index).await;
    let mut pod = JoinSet::new();
    pod.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut request = [0; GET.len()];
                while stream.read_exact(&mut request).await.is_ok() {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                    stream.write_all(answer).await.expect("the client left while it was answered");
                }
            });
        }
    });
    pod
}

/// Sends one request after the other on one connection, taking a new one only when it is told to.
async fn keep_alive_client(address: SocketAddr, stop: &AtomicUsize, served: &AtomicUsize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    while stop.load(Ordering::Relaxed) == 0 {
        stream.write_all(GET).await.expect("the connection ended unasked");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhi") {
            answer.push(stream.read_u8().await.expect("an answer was cut"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
        served.fetch_add(1, Ordering::Relaxed);
        if answer.windows(5).any(|word| word == b"close") {
            stream = TcpStream::connect(address).await.unwrap();
        }
    }
}
