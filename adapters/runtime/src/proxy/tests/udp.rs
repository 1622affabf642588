use tokio::net::UdpSocket;

use super::*;

fn spec(net: &Net, endpoints: impl IntoIterator<Item = u8>) -> ServiceSpec {
    let mut spec = net.service(endpoints);
    spec.ports[0].protocol = Protocol::Udp;
    spec
}

/// A pod that answers each datagram with its index and the datagram.
async fn pod(net: &Net, index: u8) -> JoinSet<()> {
    let socket = UdpSocket::bind(net.pod(index)).await.unwrap();
    let mut pod = JoinSet::new();
    pod.spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer[1..]).await.unwrap();
            buffer[0] = index;
            socket.send_to(&buffer[..=length], from).await.unwrap();
        }
    });
    pod
}

async fn client(net: &Net) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(net.vip()).await.unwrap();
    socket
}

/// Sends until an answer comes: datagrams may be lost while an endpoint is found missing.
async fn ask(socket: &UdpSocket) -> u8 {
    let exchange = async {
        loop {
            socket.send(b"ping").await.unwrap();
            let mut answer = [0; 16];
            let received = tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut answer)).await;
            if let Ok(Ok(length)) = received {
                assert_eq!(&answer[1..length], b"ping");
                return answer[0];
            }
        }
    };
    within("an answer", exchange).await
}

#[tokio::test]
async fn each_client_stays_with_one_endpoint() {
    let net = Net(50);
    let _pods = (pod(&net, 0).await, pod(&net, 1).await);
    let proxy = start(&spec(&net, [0, 1]));
    let (one, two) = (client(&net).await, client(&net).await);
    let (first, second) = (ask(&one).await, ask(&two).await);
    assert_ne!(first, second);
    for _ in 0..5 {
        assert_eq!((ask(&one).await, ask(&two).await), (first, second));
    }
    assert_eq!((metrics(&proxy).connections, metrics(&proxy).active), (2, 2));
    proxy.drain(&uid(first));
    assert_eq!(ask(&one).await, second, "a drained endpoint gets no further datagram");
}

#[tokio::test]
async fn a_missing_endpoint_is_left() {
    let net = Net(51);
    let _pod = pod(&net, 1).await;
    let proxy = start(&spec(&net, [0, 1]));
    let (one, two) = (client(&net).await, client(&net).await);
    assert_eq!((ask(&one).await, ask(&two).await), (1, 1));
    proxy.apply(&spec(&net, [])).unwrap();
    one.send(b"ping").await.unwrap();
    eventually(|| metrics(&proxy).refused, |refused| *refused == 1).await;
}

#[tokio::test]
async fn clients_are_bounded_and_forgotten_when_silent() {
    let net = Net(52);
    let _pod = pod(&net, 0).await;
    let config =
        ProxyConfig { udp_clients_per_port: 3, udp_idle: Duration::from_millis(300), ..ProxyConfig::default() };
    let (proxy, _reports) = Proxy::start(config);
    proxy.apply(&spec(&net, [0])).unwrap();
    for _ in 0..10 {
        assert_eq!(ask(&client(&net).await).await, 0);
    }
    let seen = metrics(&proxy);
    assert!(seen.connections >= 10 && seen.active <= 4, "{seen:?}");
    eventually(|| metrics(&proxy).active, |active| *active == 0).await;
}
