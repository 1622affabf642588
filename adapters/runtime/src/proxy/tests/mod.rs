//! The proxy against real sockets on loopback. Each test has a /24 of its own in 127.90.0.0/16, so that tests running
//! side by side do not meet.

mod drain;
mod http;
mod ports;
mod remote;
mod tcp;
mod udp;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `probe` holds, and says what it last saw when it never does.
async fn eventually<T: std::fmt::Debug>(mut probe: impl FnMut() -> T, holds: impl Fn(&T) -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let seen = probe();
        if holds(&seen) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "not within {DEADLINE:?}; last seen: {seen:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took longer than {DEADLINE:?}"),
    }
}

/// A /24 with a service in it: virtual IP .1, pods from .10 up.
struct Net(u8);

impl Net {
    fn ip(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 90, self.0, last)
    }

    fn vip(&self) -> SocketAddr {
        SocketAddr::new(self.ip(1).into(), 8080)
    }

    fn pod(&self, index: u8) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip(10 + index), 8080)
    }

    fn endpoint(&self, index: u8) -> Endpoint {
        Endpoint { pod: uid(index), address: self.pod(index), state: EndpointState::Ready, node: None }
    }

    fn service(&self, endpoints: impl IntoIterator<Item = u8>) -> ServiceSpec {
        ServiceSpec {
            key: key(),
            virtual_ip: self.ip(1),
            ports: vec![PortSpec {
                name: "web".into(),
                protocol: Protocol::Tcp,
                port: 8080,
                node_port: None,
                app_protocol: None,
                endpoints: endpoints.into_iter().map(|index| self.endpoint(index)).collect(),
            }],
            session_affinity: SessionAffinity::None,
        }
    }

    fn http(&self, endpoints: impl IntoIterator<Item = u8>) -> ServiceSpec {
        let mut spec = self.service(endpoints);
        spec.ports[0].app_protocol = Some(AppProtocol::Http);
        spec
    }

    /// A pod that sends its index to everyone who connects and then echoes until the client ends.
    async fn echo_pod(&self, index: u8) -> JoinSet<()> {
        let listener = TcpListener::bind(self.pod(index)).await.unwrap();
        let mut pod = JoinSet::new();
        pod.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    if write.write_all(&[index]).await.is_ok() {
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                        let _ = write.shutdown().await;
                    }
                });
            }
        });
        pod
    }
}

fn key() -> ServiceKey {
    ServiceKey::new("default", "shop")
}

fn uid(index: u8) -> PodUid {
    PodUid(format!("pod-{index}").into())
}

fn start(spec: &ServiceSpec) -> Proxy {
    let (proxy, _reports) = Proxy::start(ProxyConfig::default());
    proxy.apply(spec).unwrap();
    proxy
}

fn metrics(proxy: &Proxy) -> ServiceMetrics {
    proxy.metrics()[&key()]
}

/// Connects and reads which pod answers.
async fn ask(address: SocketAddr) -> std::io::Result<(u8, TcpStream)> {
    let mut stream = TcpStream::connect(address).await?;
    let index = stream.read_u8().await?;
    Ok((index, stream))
}
