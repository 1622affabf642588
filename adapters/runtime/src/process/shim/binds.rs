//! Rewrites wildcard binds of a container to the pod's address.
//!
//! A program that binds `0.0.0.0:8080` gets `POD_IP:8080`, one that binds `[::]:8080` on a dual-stack socket gets
//! `[::ffff:POD_IP]:8080`; so pods on one host do not collide. Port 0, explicit addresses and IPv6-only sockets are left to
//! the kernel, and so is everything that cannot be decided. The container gains no right by this: the socket is its own,
//! and the address is its pod's. (Ports below 1024 are opened with the shim's privilege, as a pod owns its address.)
//!
//! The memory of the caller is read before its call is known to be still waiting, and used only after; a thread that
//! changes the address meanwhile changes nothing, for the call is done with what was read.

use crate::process::sys::exec::read_memory;
use crate::process::sys::seccomp::{self, Answer, Call};
use rustix::io::Errno;
use rustix::net::SocketType;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

/// What came of one notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    /// A process is about to listen.
    Listening,
    Nothing,
}

/// Answers the next waiting call.
pub(super) fn handle(listener: &OwnedFd, pod: Ipv4Addr) -> io::Result<Handled> {
    let fd = listener.as_fd();
    let call = match seccomp::receive(fd) {
        Ok(call) => call,
        // The caller died between our waking and this.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Interrupted) => {
            return Ok(Handled::Nothing);
        }
        Err(error) => return Err(error),
    };
    let answer = match call.call {
        Call::Bind => bind(listener, &call, pod).unwrap_or(Answer::Continue),
        Call::Listen | Call::Other => Answer::Continue,
    };
    match seccomp::answer(fd, call.id, answer) {
        Ok(()) if call.call == Call::Listen => Ok(Handled::Listening),
        // A caller that has been killed needs no answer.
        Ok(()) | Err(_) => Ok(Handled::Nothing),
    }
}

/// Does a bind in the caller's place; `None` when the kernel should do it as it stands.
fn bind(listener: &OwnedFd, call: &seccomp::Notification, pod: Ipv4Addr) -> Option<Answer> {
    let [fd, address, length, ..] = call.args;
    let mut bytes = [0_u8; 28];
    let wanted = usize::try_from(length).ok()?.min(bytes.len());
    let read = read_memory(call.thread, address, &mut bytes[..wanted]).ok()?;
    let asked = wildcard(&bytes[..read])?;
    let process = open_process(call.thread)?;
    if !seccomp::still_waits(listener.as_fd(), call.id) {
        return Some(Answer::Errno(libc::EINTR));
    }
    let fd = i32::try_from(fd & 0xffff_ffff).ok()?;
    let socket = rustix::process::pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).ok()?;
    let target = target(&socket, asked, pod)?;
    Some(match rustix::net::bind(&socket, &target) {
        Ok(()) => Answer::Done,
        // A caller whom a signal interrupted after we had bound asks again (on kernels that allow it).
        Err(Errno::INVAL) if is_bound_to(&socket, target) => Answer::Done,
        Err(error) => Answer::Errno(error.raw_os_error()),
    })
}

/// A bind to every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcard {
    V4 { port: u16 },
    V6 { port: u16 },
}

/// Reads a `sockaddr`: `Some` for a wildcard with a port.
fn wildcard(bytes: &[u8]) -> Option<Wildcard> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    let zero = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(|b| *b == 0));
    match i32::from(family) {
        _ if port == 0 => None,
        // The kernel takes no fewer than 16 bytes for this family and 24 for the other: leave the error to it.
        libc::AF_INET if bytes.len() >= 16 && zero(4..8) => Some(Wildcard::V4 { port }),
        libc::AF_INET6 if bytes.len() >= 24 && zero(8..24) => Some(Wildcard::V6 { port }),
        _ => None,
    }
}

/// The pod's address in the form the socket takes; `None` for sockets that are left alone.
fn target(socket: &OwnedFd, asked: Wildcard, pod: Ipv4Addr) -> Option<SocketAddr> {
    let kind = rustix::net::sockopt::socket_type(socket).ok()?;
    if kind != SocketType::STREAM && kind != SocketType::DGRAM {
        return None;
    }
    let domain = rustix::net::sockopt::socket_domain(socket).ok()?;
    match asked {
        Wildcard::V4 { port } if domain == rustix::net::AddressFamily::INET => {
            Some(SocketAddr::V4(SocketAddrV4::new(pod, port)))
        }
        Wildcard::V6 { port }
            if domain == rustix::net::AddressFamily::INET6 && !rustix::net::sockopt::ipv6_v6only(socket).ok()? =>
        {
            Some(SocketAddr::V6(SocketAddrV6::new(pod.to_ipv6_mapped(), port, 0, 0)))
        }
        Wildcard::V4 { .. } | Wildcard::V6 { .. } => None,
    }
}

fn is_bound_to(socket: &OwnedFd, target: SocketAddr) -> bool {
    rustix::net::getsockname(socket)
        .ok()
        .and_then(|name| SocketAddr::try_from(name).ok())
        .is_some_and(|name| name.port() == target.port() && canonical(name.ip()) == canonical(target.ip()))
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Opens the process of a thread. Older kernels open only the first thread of a process.
fn open_process(thread: u32) -> Option<OwnedFd> {
    let open = |id: u32| rustix::process::pidfd_open(Pid::from_raw(id.cast_signed())?, PidfdFlags::empty()).ok();
    open(thread).or_else(|| {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        open(status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(ip: [u8; 4], port: u16) -> Vec<u8> {
        let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend(ip);
        bytes.extend([0; 8]);
        bytes
    }

    fn v6(last: u8, port: u16) -> Vec<u8> {
        let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend([9, 9, 9, 9]);
        bytes.extend([0; 15]);
        bytes.push(last);
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn only_wildcards_with_a_port_are_rewritten() {
        assert_eq!(wildcard(&v4([0; 4], 80)), Some(Wildcard::V4 { port: 80 }));
        assert_eq!(wildcard(&v4([0; 4], 0)), None);
        assert_eq!(wildcard(&v4([127, 0, 0, 1], 80)), None);
        assert_eq!(wildcard(&v4([0; 4], 80)[..15]), None);
        assert_eq!(wildcard(&v6(0, 80)), Some(Wildcard::V6 { port: 80 }));
        assert_eq!(wildcard(&v6(0, 80)[..24]), Some(Wildcard::V6 { port: 80 }));
        assert_eq!(wildcard(&v6(1, 80)), None);
        assert_eq!(wildcard(&v6(0, 0)), None);
        assert_eq!(wildcard(&[]), None);
        assert_eq!(wildcard(&[1, 0, 47, 116, 109, 112]), None);
    }
}
