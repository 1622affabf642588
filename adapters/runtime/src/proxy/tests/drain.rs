use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_replaced_under_load_without_a_lost_connection() {
    let net = Net(20);
    let mut pods = vec![net.echo_pod(0).await, net.echo_pod(1).await];
    let proxy = start(&net.service([0, 1]));
    let (stop, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (stop, served) = (stop.clone(), served.clone());
        clients.spawn(async move {
            while stop.load(Ordering::Relaxed) == 0 {
                let (_, mut stream) = ask(Net(20).vip()).await.expect("a connection was lost");
                stream.write_all(b"order").await.unwrap();
                let mut back = [0; 5];
                stream.read_exact(&mut back).await.expect("an answer was lost");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for old in 0..10 {
        pods.push(net.echo_pod(old + 2).await);
        proxy.apply(&net.service([old, old + 1, old + 2])).unwrap();
        let before = served.load(Ordering::Relaxed);
        eventually(|| served.load(Ordering::Relaxed), |now| *now > before + 20).await;
        let drain = proxy.drain(&uid(old));
        // A list that lags behind must not bring the pod back.
        proxy.apply(&net.service([old, old + 1, old + 2])).unwrap();
        drain.idle_within(DEADLINE).await.unwrap();
        // Nothing can reach the pod now: it goes without notice.
        pods.remove(0).shutdown().await;
        let before = served.load(Ordering::Relaxed);
        eventually(|| served.load(Ordering::Relaxed), |now| *now > before + 20).await;
        assert_eq!(drain.active(), 0);
        proxy.apply(&net.service([old + 1, old + 2])).unwrap();
    }
    stop.store(1, Ordering::Relaxed);
    while let Some(client) = within("a client's end", clients.join_next()).await {
        client.unwrap();
    }
    let seen = metrics(&proxy);
    assert_eq!((seen.retries, seen.refused), (0, 0), "drained pods were still dialled: {seen:?}");
}

#[tokio::test]
async fn a_drain_counts_until_the_last_connection_and_keeps_its_deadline() {
    let net = Net(21);
    let _pod = net.echo_pod(0).await;
    let proxy = start(&net.service([0]));
    let (_, stream) = ask(net.vip()).await.unwrap();
    let drain = proxy.drain(&uid(0));
    assert!(ask(net.vip()).await.is_err(), "a drained pod took a connection");
    let late = drain.idle_within(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(late, StillActive { connections: 1 });
    drop(stream);
    drain.idle_within(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_pod_drained_before_it_is_known_never_serves() {
    let net = Net(22);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await);
    let proxy = start(&net.service([1]));
    proxy.drain(&uid(0)).idle_within(DEADLINE).await.unwrap();
    proxy.apply(&net.service([0, 1])).unwrap();
    for _ in 0..4 {
        assert_eq!(ask(net.vip()).await.unwrap().0, 1);
    }
}

#[tokio::test]
async fn an_endpoint_listed_as_draining_takes_no_connection() {
    let net = Net(23);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await);
    let mut spec = net.service([0, 1]);
    spec.ports[0].endpoints[0].state = EndpointState::Draining;
    let proxy = start(&spec);
    for _ in 0..4 {
        assert_eq!(ask(net.vip()).await.unwrap().0, 1);
    }
    proxy.apply(&net.service([0])).unwrap();
    assert_eq!(ask(net.vip()).await.unwrap().0, 0);
}
