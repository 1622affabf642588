//! UDP ports: each client address is given an endpoint and a socket of its own, so that answers find their way back,
//! until it has been silent for a while.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::backend::Backend;
use super::datagrams;
use super::listener::halted;
use super::metrics::ActiveGuard;
use super::port::Port;
use super::relay::with_scratch;
use super::spec::Protocol;
use super::tunnel::Target;

/// Endpoints tried for one datagram before it is dropped, as a network may drop it.
const TRIES_MAX: usize = 4;

/// A client and its endpoint. The descriptor and the active count end with it.
struct Session {
    backend: Arc<Backend>,
    socket: UdpSocket,
    /// To a pod of another node: what carries the datagrams on, ended with the session.
    _bridge: Option<Bridge>,
    last_seen: Mutex<Instant>,
    _permit: OwnedSemaphorePermit,
    _active: ActiveGuard,
}

struct Bridge(AbortHandle);

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Known {
    session: Arc<Session>,
    answers: AbortHandle,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// Runs a UDP port until `stop` is dropped by its holder or everything halts; its clients end with it.
///
/// # Errors
/// When the reactor does not take the socket.
pub(super) async fn run(
    port: &Arc<Port>,
    socket: std::net::UdpSocket,
    mut stop: oneshot::Receiver<()>,
    mut halt: watch::Receiver<bool>,
) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let mut clients: HashMap<SocketAddrV4, Known> = HashMap::new();
    // Dropped with this future, which ends every client.
    let mut answers: JoinSet<(SocketAddrV4, Arc<Session>)> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = halted(&mut halt) => return Ok(()),
            _ = &mut stop => return Ok(()),
            Some(ended) = answers.join_next() => {
                if let Ok((client, session)) = ended
                    && clients.get(&client).is_some_and(|known| Arc::ptr_eq(&known.session, &session))
                {
                    clients.remove(&client);
                }
            }
            ready = socket.readable() => {
                ready?;
                let received = with_scratch(|scratch| receive(&socket, scratch));
                if let Some((client, datagram)) = received {
                    forward(port, &socket, (&mut clients, &mut answers), (client, &datagram)).await;
                }
            }
        }
    }
}

fn receive(socket: &UdpSocket, scratch: &mut [u8]) -> Option<(SocketAddrV4, Vec<u8>)> {
    match socket.try_recv_from(scratch) {
        Ok((length, SocketAddr::V4(client))) => Some((client, scratch[..length].to_vec())),
        // Nothing there after all, or the echo of an answer to a client that left.
        Ok((_, SocketAddr::V6(_))) | Err(_) => None,
    }
}

type Clients<'a> = (&'a mut HashMap<SocketAddrV4, Known>, &'a mut JoinSet<(SocketAddrV4, Arc<Session>)>);

/// Sends a datagram to its client's endpoint, choosing one if the client is new or its endpoint does not serve any more.
async fn forward(
    port: &Arc<Port>,
    socket: &Arc<UdpSocket>,
    (clients, answers): Clients<'_>,
    (client, datagram): (SocketAddrV4, &[u8]),
) {
    let mut tried = Vec::new();
    while tried.len() < TRIES_MAX {
        let now = Instant::now();
        if clients.get(&client).is_some_and(|known| !known.session.backend.is_usable(now)) {
            clients.remove(&client);
        }
        if !clients.contains_key(&client) {
            make_room(clients, port.shared.config.udp_clients_per_port);
            let Some(session) = open(port, *client.ip(), &tried).await else { break };
            let session = Arc::new(session);
            let handle = answers.spawn(answer(port.clone(), socket.clone(), client, session.clone()));
            clients.insert(client, Known { session, answers: handle });
        }
        let Some(known) = clients.get(&client) else { break };
        *known.session.last_seen.lock() = now;
        // An endpoint that is not there answers by ICMP, which the kernel reports at the next call.
        match known.session.socket.send(datagram).await {
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(service = %port.wanted.service, %error, "a datagram goes to another endpoint");
                port.suspect(&known.session.backend);
                tried.push(known.session.backend.clone());
                port.counters.retry();
                clients.remove(&client);
            }
        }
    }
    port.counters.refuse();
}

/// Forgets the longest silent client when the table is full.
fn make_room(clients: &mut HashMap<SocketAddrV4, Known>, limit: usize) {
    while clients.len() >= limit.max(1) {
        let oldest = clients.iter().min_by_key(|(_, known)| *known.session.last_seen.lock()).map(|(client, _)| *client);
        let Some(oldest) = oldest else { return };
        clients.remove(&oldest);
    }
}

async fn open(port: &Port, client: Ipv4Addr, tried: &[Arc<Backend>]) -> Option<Session> {
    // One for the socket, one for the other end of a bridge.
    let permit = port.shared.budget.try_take(2)?;
    // Datagrams are not counted on the pod: nothing tells when an exchange of them has ended.
    let backend = port.pick(client, tried)?.backend.clone();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
    let bridge = match &backend.node {
        None => {
            socket.connect(backend.address).await.ok()?;
            None
        }
        Some(node) => Some(bridge(port, (node, &backend), &socket).await?),
    };
    let last_seen = Mutex::new(Instant::now());
    Some(Session { backend, socket, _bridge: bridge, last_seen, _permit: permit, _active: port.counters.open() })
}

/// Connects the socket to one that carries its datagrams to a pod of another node.
async fn bridge(port: &Port, (node, backend): (&str, &Backend), socket: &UdpSocket) -> Option<Bridge> {
    let target = Target { pod: backend.pod.uid.clone(), address: backend.address, protocol: Protocol::Udp };
    let opened =
        timeout(port.shared.config.dial_timeout, port.shared.tunnel.as_ref()?.open(node, &target)).await.ok()?;
    let mut stream = match opened {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(service = %port.wanted.service, %error, "a pod of another node was not reached");
            port.suspect(backend);
            return None;
        }
    };
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
    far.connect(socket.local_addr().ok()?).await.ok()?;
    socket.connect(far.local_addr().ok()?).await.ok()?;
    let idle = port.shared.config.udp_idle;
    let carrying = tokio::spawn(async move { drop(datagrams::bridge(&far, &mut stream, idle).await) });
    Some(Bridge(carrying.abort_handle()))
}

/// Carries answers back until client and endpoint have been silent for the idle time, or the endpoint is not there.
async fn answer(
    port: Arc<Port>,
    socket: Arc<UdpSocket>,
    client: SocketAddrV4,
    session: Arc<Session>,
) -> (SocketAddrV4, Arc<Session>) {
    loop {
        let deadline = *session.last_seen.lock() + port.shared.config.udp_idle;
        let received = match timeout_at(deadline, session.socket.readable()).await {
            Ok(Ok(())) => {
                with_scratch(|scratch| session.socket.try_recv(scratch).map(|length| scratch[..length].to_vec()))
            }
            Ok(Err(error)) => Err(error),
            Err(_) if *session.last_seen.lock() + port.shared.config.udp_idle > Instant::now() => continue,
            Err(_) => break,
        };
        match received {
            Ok(datagram) => {
                *session.last_seen.lock() = Instant::now();
                // A client that left loses its answer, as on any network.
                let _ = socket.send_to(&datagram, SocketAddr::V4(client)).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                port.suspect(&session.backend);
                break;
            }
        }
    }
    (client, session)
}
