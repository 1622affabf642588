use super::bind::{Binder, Bound, SystemBinder};
use super::*;

/// Bind retries soon enough for a test.
fn eager() -> ProxyConfig {
    let pause = Duration::from_millis(5);
    ProxyConfig { bind_retry_min: pause, bind_retry_max: pause, ..ProxyConfig::default() }
}

#[tokio::test]
async fn a_blocked_port_is_reported_and_bound_when_it_comes_free() {
    let net = Net(40);
    let _pod = net.echo_pod(0).await;
    // A program that listens on this address stands in for one that listens on all of them.
    let blocker = std::net::TcpListener::bind(net.vip()).unwrap();
    let (proxy, mut reports) = Proxy::start(eager());
    proxy.apply(&net.service([0])).unwrap();
    let report = within("a report", reports.recv()).await.unwrap();
    let PortState::Blocked { problem } = report.state else { panic!("{report:?}") };
    assert_eq!((&problem.service, problem.port, problem.kind), (&key(), 8080, ProblemKind::InUse));
    assert!(problem.cause.contains("127.90.40.1:8080 cannot be bound"), "{}", problem.cause);
    assert!(problem.cure.contains("stop the program"), "{}", problem.cure);
    assert!(matches!(proxy.ports(&key())[0].state, PortState::Blocked { .. }));
    drop(blocker);
    let report = within("a second report", reports.recv()).await.unwrap();
    assert!(matches!(report.state, PortState::Listening { .. }), "{report:?}");
    assert_eq!(within("a connection", ask(net.vip())).await.unwrap().0, 0);
}

/// Refuses low ports as the system does for a process without the privilege.
struct Unprivileged;

impl Binder for Unprivileged {
    fn bind(&self, protocol: Protocol, address: SocketAddrV4, backlog: i32) -> std::io::Result<Bound> {
        if address.port() < 1024 {
            return Err(std::io::Error::from_raw_os_error(libc::EACCES));
        }
        SystemBinder.bind(protocol, address, backlog)
    }
}

#[tokio::test]
async fn a_low_port_without_privilege_answers_at_ten_thousand_more() {
    let net = Net(41);
    let _pod = net.echo_pod(0).await;
    let (proxy, mut reports) = Proxy::with_binder(eager(), Arc::new(Unprivileged));
    let mut spec = net.service([0]);
    spec.ports[0].port = 80;
    proxy.apply(&spec).unwrap();
    let report = reports.recv().await.unwrap();
    let PortState::Remapped { address, problem } = report.state else { panic!("{report:?}") };
    assert_eq!((report.port, address.to_string()), (80, "127.90.41.1:10080".to_owned()));
    assert_eq!(problem.kind, ProblemKind::Privilege);
    assert_eq!(within("a connection", ask(address.into())).await.unwrap().0, 0);
}

#[tokio::test]
async fn too_few_descriptors_are_a_problem_not_a_crash() {
    let net = Net(42);
    let (proxy, mut reports) = Proxy::start(ProxyConfig { descriptors: Some(0), ..eager() });
    proxy.apply(&net.service([])).unwrap();
    let report = reports.recv().await.unwrap();
    let PortState::Blocked { problem } = report.state else { panic!("{report:?}") };
    assert_eq!(problem.kind, ProblemKind::Descriptors);
}

#[tokio::test]
async fn ports_and_addresses_change_in_place() {
    let net = Net(43);
    let _pod = net.echo_pod(0).await;
    let (proxy, mut reports) = Proxy::start(eager());
    let mut spec = net.service([0]);
    proxy.apply(&spec).unwrap();
    let (_, mut stream) = ask(net.vip()).await.unwrap();
    spec.virtual_ip = net.ip(2);
    spec.ports[0].port = 9090;
    proxy.apply(&spec).unwrap();
    let moved = SocketAddr::new(net.ip(2).into(), 9090);
    assert_eq!(within("a connection", ask(moved)).await.unwrap().0, 0);
    stream.write_all(b"x").await.unwrap();
    assert_eq!(within("the old connection", stream.read_u8()).await.unwrap(), b'x');
    let states = [reports.recv().await.unwrap().port, reports.recv().await.unwrap().port];
    assert_eq!(states, [8080, 9090]);
    spec.ports.push(spec.ports[0].clone());
    assert!(matches!(proxy.apply(&spec), Err(ApplyError::DuplicatePort { .. })));
    assert_eq!(ask(moved).await.unwrap().0, 0, "a refused spec changes nothing");
}
