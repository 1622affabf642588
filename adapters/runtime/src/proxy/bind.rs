//! Binding a service port, and saying what is wrong when it cannot be bound: which address, why, and how to mend it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, SockRef, Socket, Type};

use super::spec::{Protocol, ServiceKey};

/// First port that needs no privilege on Linux by default.
const FIRST_FREE_PORT: u16 = 1024;

/// Why a port could not be bound as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// Another socket holds the address, often by listening on 0.0.0.0.
    InUse,
    /// The process may not bind the port.
    Privilege,
    /// The process has too few file descriptors.
    Descriptors,
    /// Anything else the system said.
    Other,
}

/// A port that does not listen as the service asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortProblem {
    /// The service.
    pub service: ServiceKey,
    /// The transport.
    pub protocol: Protocol,
    /// The service port.
    pub port: u16,
    /// What kind of problem, for a condition's reason.
    pub kind: ProblemKind,
    /// What is wrong, in one sentence without a full stop.
    pub cause: String,
    /// What the reader can do, in one sentence without a full stop.
    pub cure: String,
}

/// Where a service port stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortState {
    /// Listening on the service's own port.
    Listening {
        /// Virtual IP and service port.
        address: SocketAddrV4,
    },
    /// Listening on the virtual IP, on another port, for want of privilege.
    Remapped {
        /// Virtual IP and the port that answers.
        address: SocketAddrV4,
        /// Why, and how to get the service's own port.
        problem: PortProblem,
    },
    /// Not listening; tried again with growing pauses.
    Blocked {
        /// Why, and how to mend it.
        problem: PortProblem,
    },
}

/// A change of a port's state, for an Event and the service's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortReport {
    /// The service.
    pub service: ServiceKey,
    /// The transport.
    pub protocol: Protocol,
    /// The service port.
    pub port: u16,
    /// Where it stands now.
    pub state: PortState,
}

/// A bound socket, non-blocking.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Binds addresses; tests put refusals in.
pub(super) trait Binder: Send + Sync {
    fn bind(&self, protocol: Protocol, address: SocketAddrV4, backlog: i32) -> io::Result<Bound>;
}

/// Binds by the operating system.
pub(super) struct SystemBinder;

impl Binder for SystemBinder {
    fn bind(&self, protocol: Protocol, address: SocketAddrV4, backlog: i32) -> io::Result<Bound> {
        let kind = if protocol == Protocol::Tcp { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(Domain::IPV4, kind.nonblocking().cloexec(), None)?;
        if protocol == Protocol::Udp {
            // Reuse on UDP would let another program share the address unseen.
            socket.bind(&address.into())?;
            return Ok(Bound::Udp(socket.into()));
        }
        socket.set_reuse_address(true)?;
        suit_loopback(&SockRef::from(&socket));
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok(Bound::Tcp(socket.into()))
    }
}

/// Spares a connection within this host what it has no use for: there is no path to probe, so the plainest congestion
/// control serves best, and one that paces what it sends (bbr) costs up to a fifth of the connections. Accepted sockets
/// inherit it.
pub(super) fn suit_loopback(socket: &SockRef<'_>) {
    // Every kernel has it; where it is refused the system's choice works as well.
    let _ = socket.set_tcp_congestion(b"reno");
}

/// What identifies one bind: the service port and its virtual IP.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) service: ServiceKey,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) virtual_ip: Ipv4Addr,
}

/// Binds the service port, or for want of privilege the same address `offset` higher.
pub(super) fn bind_port(
    binder: &Arc<dyn Binder>,
    wanted: &Wanted,
    backlog: i32,
    offset: u16,
) -> Result<(Bound, PortState), PortProblem> {
    let address = SocketAddrV4::new(wanted.virtual_ip, wanted.port);
    let error = match binder.bind(wanted.protocol, address, backlog) {
        Ok(bound) => return Ok((bound, PortState::Listening { address })),
        Err(error) => error,
    };
    let Some(mapped) = mapped_port(wanted.port, &error, offset) else {
        return Err(problem(wanted, address, &error));
    };
    let mapped = SocketAddrV4::new(wanted.virtual_ip, mapped);
    match binder.bind(wanted.protocol, mapped, backlog) {
        Ok(bound) => {
            let mut problem = problem(wanted, address, &error);
            problem.cause = format!("{}; {mapped} answers instead", problem.cause);
            Ok((bound, PortState::Remapped { address: mapped, problem }))
        }
        Err(error) => Err(problem(wanted, mapped, &error)),
    }
}

/// A service without descriptors left for its listener.
pub(super) fn out_of_descriptors(wanted: &Wanted) -> PortProblem {
    let address = SocketAddrV4::new(wanted.virtual_ip, wanted.port);
    problem(wanted, address, &io::Error::from_raw_os_error(libc::EMFILE))
}

fn mapped_port(port: u16, error: &io::Error, offset: u16) -> Option<u16> {
    let privilege = port < FIRST_FREE_PORT && error.kind() == io::ErrorKind::PermissionDenied;
    if privilege { port.checked_add(offset) } else { None }
}

fn problem(wanted: &Wanted, address: SocketAddrV4, error: &io::Error) -> PortProblem {
    let protocol = wanted.protocol;
    let (kind, cause, cure) = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::AddrInUse, _) => (
            ProblemKind::InUse,
            format!("{protocol} {address} cannot be bound: {}", holder(protocol, address)),
            format!(
                "stop the program that holds port {port}, let it listen on one address such as 127.0.0.1, \
                 or change the service's port (`ss -lnp 'sport = :{port}'` names the program)",
                port = address.port()
            ),
        ),
        (io::ErrorKind::PermissionDenied, _) => (
            ProblemKind::Privilege,
            format!("{protocol} {address} cannot be bound: ports below 1024 need a privilege that this process lacks"),
            "use a port from 1024 up, lower net.ipv4.ip_unprivileged_port_start, or grant CAP_NET_BIND_SERVICE".into(),
        ),
        (_, Some(libc::EMFILE | libc::ENFILE)) => (
            ProblemKind::Descriptors,
            format!("{protocol} {address} cannot be bound: too few file descriptors are left"),
            "raise the limit of open files (`ulimit -n`) or run fewer services on this host".into(),
        ),
        _ => (
            ProblemKind::Other,
            format!("{protocol} {address} cannot be bound: {error}"),
            "mend what the system reports; the bind is tried again by itself".into(),
        ),
    };
    PortProblem { service: wanted.service.clone(), protocol, port: wanted.port, kind, cause, cure }
}

/// Says who is in the way, as far as the system's socket tables tell.
fn holder(protocol: Protocol, address: SocketAddrV4) -> String {
    let table = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
    // The state column: 0A is a listening TCP socket, 07 an unconnected UDP socket.
    let state = if protocol == Protocol::Tcp { "0A" } else { "07" };
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (read(format!("/proc/net/{table}")), read(format!("/proc/net/{table}6")));
    let held = |text: &str, local: &str| {
        let local = format!("{local}:{:04X}", address.port());
        text.lines().any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            fields.next() == Some(&*local) && fields.nth(1) == Some(state)
        })
    };
    // The tables print addresses as hexadecimal words in the machine's byte order.
    let exact = format!("{:08X}", u32::from_ne_bytes(address.ip().octets()));
    if held(&v4, "00000000") {
        format!("a program listens on all addresses ({}:{})", Ipv4Addr::UNSPECIFIED, address.port())
    } else if held(&v6, &"0".repeat(32)) {
        format!("a program listens on all addresses ([{}]:{})", Ipv6Addr::UNSPECIFIED, address.port())
    } else if held(&v4, &exact) {
        "another socket listens on this very address".into()
    } else {
        "the address is already in use".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(port: u16) -> Wanted {
        let service = ServiceKey::new("default", "shop");
        Wanted { service, protocol: Protocol::Tcp, port, virtual_ip: Ipv4Addr::new(127, 90, 1, 1) }
    }

    /// Refuses low ports as the system does for a process without the privilege.
    struct Unprivileged;

    impl Binder for Unprivileged {
        fn bind(&self, protocol: Protocol, address: SocketAddrV4, backlog: i32) -> io::Result<Bound> {
            if address.port() < FIRST_FREE_PORT {
                return Err(io::Error::from_raw_os_error(libc::EACCES));
            }
            SystemBinder.bind(protocol, address, backlog)
        }
    }

    #[test]
    fn a_low_port_without_privilege_answers_higher() {
        let binder: Arc<dyn Binder> = Arc::new(Unprivileged);
        let (_bound, state) = bind_port(&binder, &wanted(80), 16, 10_000).unwrap();
        let PortState::Remapped { address, problem } = state else { panic!("{state:?}") };
        assert_eq!(address.to_string(), "127.90.1.1:10080");
        assert_eq!(problem.kind, ProblemKind::Privilege);
        assert!(problem.cause.contains("127.90.1.1:80 cannot be bound") && problem.cause.contains("10080 answers"));
        let (_bound, state) = bind_port(&binder, &wanted(8080), 16, 10_000).unwrap();
        assert!(matches!(state, PortState::Listening { .. }));
    }

    #[test]
    fn only_a_missing_privilege_below_1024_is_mapped() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(mapped_port(443, &denied, 10_000), Some(10_443));
        assert_eq!(mapped_port(443, &in_use, 10_000), None);
        assert_eq!(mapped_port(1024, &denied, 10_000), None);
        assert_eq!(mapped_port(1023, &denied, u16::MAX), None);
    }

    #[test]
    fn the_holder_of_a_port_is_told() {
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = all.local_addr().unwrap().port();
        let binder: Arc<dyn Binder> = Arc::new(SystemBinder);
        let problem = bind_port(&binder, &wanted(port), 16, 10_000).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::InUse);
        assert!(problem.cause.contains("listens on all addresses (0.0.0.0"), "{}", problem.cause);
        let one = TcpListener::bind("127.90.1.1:0").unwrap();
        let problem = bind_port(&binder, &wanted(one.local_addr().unwrap().port()), 16, 10_000).unwrap_err();
        assert!(problem.cause.contains("this very address"), "{}", problem.cause);
    }
}
