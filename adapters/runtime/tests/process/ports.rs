//! Wildcard binds go to the pod's address.

use crate::world::{PATIENCE, Pod, Shared, World, program};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use steersman_domain::ports::{ContainerSpec, HealthAction, HealthCheck, HealthMonitor, Identity, Runtime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A port that systems keep from ordinary users, unless told otherwise.
pub(crate) const LOW_PORT: u16 = 97;

/// What a program that bound a socket told.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: Result<SocketAddr, Errno>,
    /// When it began to listen, in nanoseconds since 1970.
    at_nanos: u128,
}

impl Bound {
    fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["bound", address, at] => Bound { address: Ok(address.parse().unwrap()), at_nanos: at.parse().unwrap() },
            ["failed", errno] => Bound { address: Err(Errno::from_raw_os_error(errno.parse().unwrap())), at_nanos: 0 },
            _ => panic!("neither bound nor failed: {line}"),
        }
    }
}

/// A container that binds a stream socket: way `bind`, `serve` or `serve-ipv6-only`. Servers greet with the pod's uid.
pub(crate) fn bind(pod: &Pod<'_>, way: &str, address: impl Into<SocketAddr>) -> ContainerSpec {
    let program = program().into_os_string().into_string().unwrap();
    let command = vec![program, way.to_owned(), address.into().to_string(), pod.uid.to_string()];
    ContainerSpec { command, ..pod.spec("") }
}

pub(crate) async fn greeting(address: SocketAddr) -> String {
    let mut text = String::new();
    TcpStream::connect(address).await.unwrap().read_to_string(&mut text).await.unwrap();
    text
}

/// Waits for the first line that a container prints.
pub(crate) async fn bound(pod: &Pod<'_>) -> Bound {
    Bound::parse(pod.logged("\n").await.lines().next().unwrap())
}

pub(crate) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Whether this system keeps a port from ordinary users.
pub(crate) fn is_kept(port: u16) -> bool {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    port < first.trim().parse().unwrap()
}

#[tokio::test]
async fn this_host_can_rewrite_binds() {
    let world = World::new().await;
    let conditions = world.runtime().conditions().await;
    let rewriting = conditions.iter().find(|c| c.kind == "PortRewriting").unwrap();
    assert_eq!(rewriting.status, "True", "{}", rewriting.message);
}

#[tokio::test]
async fn pods_share_a_port_each_at_its_own_address() {
    let world = World::new().await;
    let port = free_port().await;
    let (one, two) = (world.pod("one").await, world.pod("two").await);
    for pod in [&one, &two] {
        pod.start(&bind(pod, "serve", (Ipv4Addr::UNSPECIFIED, port))).await;
        tokio::time::timeout(PATIENCE, world.runtime().ports_open(&pod.uid, &[port])).await.unwrap().unwrap();
        let address = SocketAddr::from((pod.ip, port));
        assert_eq!(bound(pod).await.address, Ok(address));
        assert_eq!(greeting(address).await, pod.uid.as_str());
    }
    // The same port in the same pod is taken.
    let again = ContainerSpec { name: "again".into(), ..bind(&one, "bind", (Ipv4Addr::UNSPECIFIED, port)) };
    assert_eq!(Bound::parse(&one.output(&again).await).address, Err(Errno::ADDRINUSE));
}

#[tokio::test]
async fn dual_stack_sockets_answer_at_the_pods_address() {
    let world = World::new().await;
    let port = free_port().await;
    let (one, two) = (world.pod("one").await, world.pod("two").await);
    for pod in [&one, &two] {
        pod.start(&bind(pod, "serve", (Ipv6Addr::UNSPECIFIED, port))).await;
        assert_eq!(bound(pod).await.address, Ok(SocketAddr::from((pod.ip.to_ipv6_mapped(), port))));
        assert_eq!(greeting(SocketAddr::from((pod.ip, port))).await, pod.uid.as_str());
    }
}

#[tokio::test]
async fn explicit_addresses_and_ipv6_only_are_left_alone() {
    let world = World::new().await;
    let port = free_port().await;
    for (name, way, ip) in [
        ("explicit", "bind", IpAddr::from(Ipv4Addr::LOCALHOST)),
        ("explicit-ipv6", "bind", IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped())),
        ("ipv6-only", "serve-ipv6-only", IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    ] {
        let pod = world.pod(name).await;
        pod.start(&bind(&pod, way, (ip, port))).await;
        assert_eq!(bound(&pod).await.address, Ok(SocketAddr::from((ip, port))), "{name}");
    }
}

#[tokio::test]
async fn port_zero_is_left_alone() {
    let world = World::new().await;
    for (name, ip) in [("four", IpAddr::from(Ipv4Addr::UNSPECIFIED)), ("six", IpAddr::from(Ipv6Addr::UNSPECIFIED))] {
        let pod = world.pod(name).await;
        pod.start(&bind(&pod, "bind", (ip, 0))).await;
        let address = bound(&pod).await.address.unwrap();
        assert!(address.ip() == ip && address.port() != 0, "{address}");
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn another_user_and_commands_are_rewritten_too() {
    let world = World::new().await;
    let pod = world.pod("nobody").await;
    let identity = Identity { user: Some(65534), ..Identity::default() };
    let shared = Shared::new();
    let program = shared.copy(&program()).into_os_string().into_string().unwrap();
    let mut spec = ContainerSpec { identity, ..bind(&pod, "serve", (Ipv4Addr::UNSPECIFIED, free_port().await)) };
    spec.command[0].clone_from(&program);
    pod.start(&spec).await;
    assert_eq!(bound(&pod).await.address.unwrap().ip(), pod.ip);
    let command = [program, "bind".to_owned(), format!("0.0.0.0:{}", free_port().await)];
    let told = world.runtime().exec(&pod.uid, "app", &command, PATIENCE).await.unwrap();
    let told = Bound::parse(&String::from_utf8(told.output).unwrap());
    assert_eq!(told.address.unwrap().ip(), pod.ip);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_pod_owns_the_low_ports_of_its_address_and_no_others() {
    let world = World::new().await;
    let pod = world.pod("low").await;
    let shared = Shared::new();
    let program = shared.copy(&program()).into_os_string().into_string().unwrap();
    let run = async |attempt: u32, ip: Ipv4Addr| {
        let identity = Identity { user: Some(65534), ..Identity::default() };
        let mut spec = ContainerSpec { identity, attempt, ..bind(&pod, "bind", (ip, LOW_PORT)) };
        spec.command[0].clone_from(&program);
        Bound::parse(&pod.output(&spec).await).address
    };
    assert_eq!(run(0, Ipv4Addr::UNSPECIFIED).await, Ok(SocketAddr::from((pod.ip, LOW_PORT))));
    let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, LOW_PORT));
    let wanted = if is_kept(LOW_PORT) { Err(Errno::ACCESS) } else { Ok(elsewhere) };
    assert_eq!(run(1, Ipv4Addr::LOCALHOST).await, wanted);
}

#[tokio::test]
async fn many_binds_and_dying_callers_do_not_stop_the_shim() {
    let world = World::new().await;
    let pod = world.pod("many").await;
    let address = SocketAddr::from((pod.ip, 19999));
    let spec = bind(&pod, "bind-after-deaths", (Ipv4Addr::UNSPECIFIED, address.port()));
    assert_eq!(Bound::parse(&pod.output(&spec).await).address, Ok(address));
}

#[tokio::test]
async fn open_ports_are_noticed_promptly() {
    let world = World::new().await;
    let port = free_port().await;
    let pod = world.pod("prompt").await;
    let ports = [port];
    let noticed = async {
        world.runtime().ports_open(&pod.uid, &ports).await.unwrap();
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
    };
    let mut noticed = std::pin::pin!(noticed);
    let early = tokio::time::timeout(Duration::from_millis(300), noticed.as_mut()).await;
    assert!(early.is_err(), "nothing listens yet");
    // It still waits, and for long enough to have become patient, when the program starts.
    let spec = bind(&pod, "serve", (Ipv4Addr::UNSPECIFIED, port));
    let (noticed, _) = tokio::time::timeout(PATIENCE, async { tokio::join!(noticed, pod.start(&spec)) }).await.unwrap();
    let late = noticed.saturating_sub(bound(&pod).await.at_nanos);
    assert!(late < 90_000_000, "noticed only after {} µs", late / 1000);
}

#[tokio::test]
async fn hooks_and_probes_ask_the_pod_by_http() {
    let world = World::new().await;
    let pod = world.pod("http").await;
    let listener = TcpListener::bind((pod.ip, 0)).await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let fits = request[..length].starts_with(b"GET /ready?now HTTP/1.1\r\n");
        let answer: &[u8] = if fits { b"HTTP/1.1 201 Made\r\n\r\n" } else { b"HTTP/1.1 400 No\r\n\r\n" };
        stream.write_all(answer).await.unwrap();
    });
    let look = async |port: u16| {
        let action = HealthAction::Http {
            tls: false,
            host: Default::default(),
            port,
            path: "/ready?now".into(),
            headers: Vec::new(),
        };
        let (ip, timeout) = (pod.ip, PATIENCE);
        let check = HealthCheck { pod: pod.uid.clone(), container: "app".into(), ip, action, timeout };
        world.runtime().check(&check).await
    };
    assert_eq!(look(address.port()).await, Ok(()));
    assert!(look(1).await.unwrap_err().0.contains("cannot connect to"), "nobody listens");
}
