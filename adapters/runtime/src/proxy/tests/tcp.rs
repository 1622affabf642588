use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_shared_fairly_under_concurrency() {
    let net = Net(10);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await, net.echo_pod(2).await);
    let proxy = start(&net.service([0, 1, 2]));
    let mut clients = JoinSet::new();
    for _ in 0..90 {
        clients.spawn(async move { ask(net_vip(10)).await.unwrap().0 });
    }
    let mut counts = [0; 3];
    for index in within("90 connections", clients.join_all()).await {
        counts[usize::from(index)] += 1;
    }
    assert_eq!(counts, [30, 30, 30]);
    eventually(|| metrics(&proxy), |seen| seen.connections == 90 && seen.active == 0 && seen.refused == 0).await;
}

fn net_vip(net: u8) -> SocketAddr {
    Net(net).vip()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connects_are_retried_and_no_client_sees_one() {
    let net = Net(11);
    let _pods = (net.echo_pod(0).await, net.echo_pod(3).await);
    // Nobody listens for 1 and 2; without suspicion every round meets them again.
    let config = ProxyConfig { suspicion: Duration::ZERO, ..ProxyConfig::default() };
    let (proxy, _reports) = Proxy::start(config);
    proxy.apply(&net.service([0, 1, 2, 3])).unwrap();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(async move {
            for _ in 0..50 {
                let (index, mut stream) = ask(net_vip(11)).await.unwrap();
                assert!(index == 0 || index == 3);
                stream.write_all(b"ping").await.unwrap();
                let mut back = [0; 4];
                stream.read_exact(&mut back).await.unwrap();
                assert_eq!(&back, b"ping");
            }
        });
    }
    within("400 connections", clients.join_all()).await;
    let seen = metrics(&proxy);
    assert!(seen.retries >= 100, "{seen:?}");
    assert_eq!((seen.refused, seen.connections), (0, 400));
}

#[tokio::test]
async fn a_failed_endpoint_is_passed_over_for_a_moment() {
    let net = Net(12);
    let _pod = net.echo_pod(0).await;
    let proxy = start(&net.service([0, 1]));
    for _ in 0..20 {
        within("a connection", ask(net.vip())).await.unwrap();
    }
    assert_eq!(metrics(&proxy).retries, 1, "only the first meeting costs a try");
}

#[tokio::test]
async fn affinity_keeps_a_client_on_its_pod() {
    let net = Net(13);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await);
    let mut spec = net.service([0, 1]);
    spec.session_affinity = SessionAffinity::ClientIp { timeout_s: 60 };
    let proxy = start(&spec);
    let (first, _stream) = ask(net.vip()).await.unwrap();
    for _ in 0..10 {
        assert_eq!(ask(net.vip()).await.unwrap().0, first);
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(net.ip(200).into(), 0)).unwrap();
    let other = socket.connect(net.vip()).await.unwrap().read_u8().await.unwrap();
    assert_ne!(other, first, "another client takes the next turn");
    proxy.drain(&uid(first));
    assert_eq!(ask(net.vip()).await.unwrap().0, other);
}

#[tokio::test]
async fn without_endpoints_the_client_is_reset_at_once() {
    let net = Net(14);
    let proxy = start(&net.service([]));
    let error = within("the refusal", ask(net.vip())).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    eventually(|| metrics(&proxy), |seen| seen.refused == 1 && seen.active == 0).await;
}

#[tokio::test]
async fn half_closes_and_large_bodies_pass_both_ways() {
    let net = Net(15);
    let _pod = net.echo_pod(7).await;
    let _proxy = start(&net.service([7]));
    let (_, stream) = ask(net.vip()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
        write
    });
    let mut received = Vec::new();
    within("five megabytes", read.read_to_end(&mut received)).await.unwrap();
    assert!(received == expected, "{} bytes came back", received.len());
    writer.await.unwrap();
}

#[tokio::test]
async fn updates_and_removal_leave_other_connections_alone() {
    let net = Net(16);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await);
    let proxy = start(&net.service([0]));
    let (_, mut stream) = ask(net.vip()).await.unwrap();
    proxy.apply(&net.service([0, 1])).unwrap();
    proxy.apply(&net.service([1])).unwrap();
    assert_eq!(ask(net.vip()).await.unwrap().0, 1);
    assert!(proxy.remove(&key()) && !proxy.remove(&key()));
    let refused = async {
        while TcpStream::connect(net.vip()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("closing the listener", refused).await;
    stream.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    within("the echo", stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"still");
}

#[tokio::test]
async fn at_the_cap_clients_wait_for_their_turn() {
    let net = Net(17);
    let _pod = net.echo_pod(0).await;
    // Two descriptors for the listener and two for each of two connections.
    let (proxy, _reports) = Proxy::start(ProxyConfig { descriptors: Some(6), ..ProxyConfig::default() });
    proxy.apply(&net.service([0])).unwrap();
    let first = ask(net.vip()).await.unwrap();
    let _second = ask(net.vip()).await.unwrap();
    let mut waiting = Box::pin(ask(net.vip()));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "a third connection was served over the cap");
    assert_eq!(metrics(&proxy).active, 2);
    drop(first);
    within("the third connection", waiting).await.unwrap();
}

#[tokio::test]
async fn a_dead_pod_is_not_dialled_until_it_is_up() {
    let net = Net(18);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await);
    let proxy = start(&net.service([0, 1]));
    proxy.endpoint_down(&uid(0));
    proxy.apply(&net.service([0, 1])).unwrap();
    for _ in 0..6 {
        assert_eq!(ask(net.vip()).await.unwrap().0, 1, "a list that does not know of the death changes nothing");
    }
    proxy.apply(&net.service([1])).unwrap();
    proxy.apply(&net.service([0, 1])).unwrap();
    let answers = [ask(net.vip()).await.unwrap().0, ask(net.vip()).await.unwrap().0];
    assert!(answers.contains(&0), "{answers:?}");
    proxy.endpoint_down(&uid(0));
    proxy.endpoint_up(&uid(0));
    let answers = [ask(net.vip()).await.unwrap().0, ask(net.vip()).await.unwrap().0];
    assert!(answers.contains(&0), "{answers:?}");
}

#[tokio::test]
async fn shutdown_ends_listeners_and_connections() {
    let net = Net(19);
    let _pod = net.echo_pod(0).await;
    let proxy = start(&net.service([0]));
    let (_, mut open) = ask(net.vip()).await.unwrap();
    let (_, mut lame) = ask(net.vip()).await.unwrap();
    proxy.remove(&key());
    lame.write_all(b"x").await.unwrap();
    lame.read_u8().await.unwrap();
    proxy.apply(&net.service([0])).unwrap();
    within("the shutdown", proxy.shutdown()).await;
    for stream in [&mut open, &mut lame] {
        let ended = within("the end", stream.read_u8()).await;
        assert!(ended.is_err(), "the connection still lives");
    }
    assert!(TcpStream::connect(net.vip()).await.is_err());
    assert!(matches!(proxy.apply(&net.service([0])), Err(ApplyError::ShutDown { .. })));
}
