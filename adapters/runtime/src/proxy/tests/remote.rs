//! Two proxies, each the proxy of a node: one has the clients, the other the pods.

use std::sync::OnceLock;

use async_trait::async_trait;
use tokio::net::UdpSocket;

use super::*;

/// The way to the one other node, without a network between.
#[derive(Default)]
struct ToOther(OnceLock<Arc<Proxy>>);

#[async_trait]
impl Tunnel for ToOther {
    async fn open(&self, node: &str, target: &Target) -> Result<Box<dyn PodStream>, TunnelError> {
        assert_eq!(node, "other");
        let refused = |why: Refusal| TunnelError::Refused { node: node.into(), why: why.to_string() };
        let visit = self.0.get().expect("set before the first client").visit(target).await.map_err(refused)?;
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(visit.relay(far));
        Ok(Box::new(near))
    }
}

/// The proxy that clients reach, and the one beside the pods.
fn nodes(config: &ProxyConfig) -> (Proxy, Arc<Proxy>) {
    let way = Arc::new(ToOther::default());
    let (far, _reports) = Proxy::standby(config.clone(), Arc::new(ToOther::default()));
    let far = Arc::new(far);
    assert!(way.0.set(far.clone()).is_ok());
    let (near, _reports) = Proxy::standby(config.clone(), way);
    near.listen();
    (near, far)
}

/// The same service as the proxy of a node without these pods sees it.
fn elsewhere(mut spec: ServiceSpec, there: &[u8]) -> ServiceSpec {
    for endpoint in spec.ports.iter_mut().flat_map(|port| &mut port.endpoints) {
        if there.iter().any(|index| endpoint.pod == uid(*index)) {
            endpoint.node = Some("other".into());
        }
    }
    spec
}

#[tokio::test]
async fn pods_of_another_node_are_reached_and_drained_by_their_own() {
    let net = Net(60);
    let _pods = (net.echo_pod(0).await, net.echo_pod(1).await);
    let (near, far) = nodes(&ProxyConfig::default());
    near.apply(&elsewhere(net.service([0, 1]), &[1])).unwrap();
    far.apply(&elsewhere(net.service([0, 1]), &[0])).unwrap();
    let (first, mut one) = within("an answer", ask(net.vip())).await.unwrap();
    let (second, mut two) = within("an answer", ask(net.vip())).await.unwrap();
    assert_eq!((first + second, far.drain(&uid(0)).active()), (1, 0));
    for stream in [&mut one, &mut two] {
        stream.write_all(b"order").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        within("the echo's end", stream.read_to_end(&mut back)).await.unwrap();
        assert_eq!(back, b"order");
    }
    let (_, held) = loop {
        let (index, stream) = within("an answer", ask(net.vip())).await.unwrap();
        if index == 1 {
            break (index, stream);
        }
    };
    // The near proxy knows of no drain: the far one refuses, and the client is given to another pod.
    let drain = far.drain(&uid(1));
    eventually(|| drain.active(), |active| *active == 1).await;
    for _ in 0..4 {
        assert_eq!(within("an answer", ask(net.vip())).await.unwrap().0, 0);
    }
    assert_eq!(metrics(&near).refused, 0);
    drop(held);
    drain.idle_within(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn only_known_pods_at_their_own_addresses_are_visited() {
    let net = Net(61);
    let _pod = net.echo_pod(0).await;
    let (_near, far) = nodes(&ProxyConfig::default());
    let target = |index: u8| Target { pod: uid(0), address: net.pod(index), protocol: Protocol::Tcp };
    // The list that names the pod comes while the visitor waits.
    let known = target(0);
    let (early, ()) = tokio::join!(far.visit(&known), async {
        tokio::task::yield_now().await;
        far.apply(&net.service([0])).unwrap();
    });
    early.unwrap();
    assert_eq!(far.visit(&target(1)).await.unwrap_err(), Refusal::Unknown(target(1)));
    far.apply(&elsewhere(net.service([1]), &[1])).unwrap();
    let there = Target { pod: uid(1), address: net.pod(1), protocol: Protocol::Tcp };
    assert_eq!(far.visit(&there).await.unwrap_err(), Refusal::Unknown(there), "a pod of a third node");
}

#[tokio::test]
async fn datagrams_reach_pods_of_another_node() {
    let net = Net(62);
    let socket = UdpSocket::bind(net.pod(0)).await.unwrap();
    let config = ProxyConfig { udp_idle: Duration::from_millis(300), ..ProxyConfig::default() };
    let (near, far) = nodes(&config);
    let mut spec = net.service([0]);
    spec.ports[0].protocol = Protocol::Udp;
    near.apply(&elsewhere(spec.clone(), &[0])).unwrap();
    far.apply(&spec).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    client.connect(net.vip()).await.unwrap();
    let mut buffer = [0; 64];
    for word in [&b"one"[..], b"", b"three"] {
        client.send(word).await.unwrap();
        let (length, from) = within("the datagram", socket.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..length], word);
        socket.send_to(b"back", from).await.unwrap();
        let length = within("the answer", client.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..length], b"back");
    }
    eventually(|| metrics(&near).active, |active| *active == 0).await;
    assert_eq!((metrics(&near).connections, metrics(&near).refused), (1, 0));
}
