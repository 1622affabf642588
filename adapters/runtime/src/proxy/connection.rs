//! One client connection from accept to close: choose an endpoint, connect, relay.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::backend::{Backend, Lease};
use super::bind::suit_loopback;
use super::port::Port;
use super::tunnel::{Target, Upstream};
use super::{relay, relay_http};

/// Connects that fail for want of this host's own resources are repeated this often, with pauses from 10 ms that
/// double: 310 ms in all, after which the client is better told.
const LOCAL_FAILURES_MAX: u32 = 5;

/// How long, and for how many bytes, a closed client may still send before its socket is dropped. Dropping a socket
/// with unread bytes resets it, which could take back the last answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// How long a client may be silent between two requests once its endpoint has gone. An endpoint's own server would have
/// closed the connection about then.
const IDLE: Duration = Duration::from_secs(75);

/// Serves `client` to its end. Cancel to cut the connection.
pub(super) async fn serve(mut client: TcpStream, from: Ipv4Addr, port: Arc<Port>) {
    let _active = port.counters.open();
    // Without it small answers wait for acknowledgements; a socket that refuses it still works.
    let _ = client.set_nodelay(true);
    if !port.is_http() {
        return serve_bytes(client, from, &port).await;
    }
    // An HTTP client speaks first. Choosing only then keeps connections that never asked anything off the endpoints.
    let mut spoke = matches!(client.peek(&mut [0]).await, Ok(1..));
    while spoke {
        let (lease, mut endpoint) = match dial(&port, from).await {
            Ok(connected) => connected,
            Err(tried) => return refuse(client, &port, tried, true).await,
        };
        match relay_http::copy(&mut client, &mut endpoint, &lease.backend).await {
            Ok(relay_http::End::Closed) => break,
            Ok(relay_http::End::Between) => {}
            Err(_) => return reset(&client, &endpoint),
        }
        drop((endpoint, lease));
        // What the client asks next goes to another endpoint.
        spoke = matches!(timeout(IDLE, client.peek(&mut [0])).await, Ok(Ok(1..)));
    }
    linger(client).await;
}

async fn serve_bytes(mut client: TcpStream, from: Ipv4Addr, port: &Port) {
    let (_lease, mut endpoint) = match dial(port, from).await {
        Ok(connected) => connected,
        Err(tried) => return refuse(client, port, tried, false).await,
    };
    if relay::copy(&mut client, &mut endpoint).await.is_err() {
        reset(&client, &endpoint);
    }
}

/// Whatever broke on one side must look broken, not finished, on the other.
fn reset(client: &TcpStream, endpoint: &Upstream) {
    let _ = client.set_zero_linger();
    endpoint.reset();
}

/// Connects to an endpoint, trying every usable one once. On failure returns how many were tried.
async fn dial(port: &Port, from: Ipv4Addr) -> Result<(Lease, Upstream), usize> {
    let (mut tried, mut local_failures) = (Vec::new(), 0);
    while let Some(lease) = port.pick(from, &tried) {
        if !tried.is_empty() || local_failures > 0 {
            port.counters.retry();
        }
        match timeout(port.shared.config.dial_timeout, reach(port, &lease.backend)).await {
            Ok(Ok(endpoint)) => {
                lease.backend.trust();
                return Ok((lease, endpoint));
            }
            Ok(Err(error)) if is_local(&error) && local_failures < LOCAL_FAILURES_MAX => {
                drop(lease);
                tokio::time::sleep(Duration::from_millis(10) * 2_u32.pow(local_failures)).await;
                local_failures += 1;
            }
            Ok(Err(_)) | Err(_) => {
                port.suspect(&lease.backend);
                tried.push(lease.backend.clone());
            }
        }
    }
    Err(tried.len())
}

pub(super) async fn connect(address: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    suit_loopback(&SockRef::from(&socket));
    let stream = socket.connect(address.into()).await?;
    // As for clients.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Connects to an endpoint, wherever its pod runs.
async fn reach(port: &Port, backend: &Backend) -> io::Result<Upstream> {
    let Some(node) = &backend.node else { return connect(backend.address).await.map(Upstream::Here) };
    let tunnel = port.shared.tunnel.as_ref().ok_or(io::ErrorKind::NetworkUnreachable)?;
    let target = Target { pod: backend.pod.uid.clone(), address: backend.address, protocol: port.wanted.protocol };
    tunnel.open(node, &target).await.map(Upstream::There).map_err(|error| {
        tracing::debug!(service = %port.wanted.service, %error, "a pod of another node was not reached");
        io::Error::other(error)
    })
}

/// This host lacks sockets, memory or source ports; the endpoint is not to blame.
pub(super) fn is_local(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Tells the client at once: a reset, or on HTTP ports an answer that says what is missing.
async fn refuse(mut client: TcpStream, port: &Port, tried: usize, http: bool) {
    port.counters.refuse();
    if !http {
        let _ = client.set_zero_linger();
        return;
    }
    let (service, number) = (&port.wanted.service, port.wanted.port);
    let body = match tried {
        0 => format!("service {service} has no ready endpoints for port {number}\n"),
        tried => {
            format!("service {service}: none of {tried} ready endpoints accepted a connection for port {number}\n")
        }
    };
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    if client.write_all(answer.as_bytes()).await.is_ok() {
        linger(client).await;
    }
}

/// Closes after the client has had the chance to read everything.
async fn linger(mut client: TcpStream) {
    let discard = async {
        client.shutdown().await?;
        let (mut scrap, mut left) = ([0; 512], LINGER_BYTES);
        while left > 0 {
            match client.read(&mut scrap).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    // However it ends, the socket is dropped now.
    let _ = timeout(LINGER, discard).await;
}
