//! Tries whether binds can be rewritten on this host, by doing it once with a child of its own.

use super::binds;
use crate::process::sys::{exec, seccomp, signals};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The address to which the trial binds.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 127, 127, 127);

/// How long the trial may take; it takes a millisecond.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fails with what is missing.
pub(super) fn run() -> io::Result<()> {
    if !seccomp::sizes_fit().map_err(|e| explain("seccomp user notification (Linux 5.0)", &e))? {
        return Err(io::Error::other("the kernel's seccomp records are larger than this program knows"));
    }
    // A port that is free at this address now; nobody else uses the address.
    let port = TcpListener::bind((ADDRESS, 0))?.local_addr()?.port();
    let (ours, theirs) = std::os::unix::net::UnixDatagram::pair()?;
    match exec::fork()? {
        exec::Fork::Child => {
            signals::reset();
            let _killed_late = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            exec::exit_now(child(port, &theirs.into()))
        }
        exec::Fork::Parent { child } => {
            drop(theirs);
            let result = supervise(&ours.into());
            super::containers::signal(child, rustix::process::Signal::KILL);
            result
        }
    }
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what} is not usable here: {error}"))
}

/// In the child: hand the listener over, bind, and tell by a datagram whether the address was rewritten.
fn child(port: u16, parent: &OwnedFd) -> i32 {
    let outcome = rustix::thread::set_no_new_privs(true)
        .map_err(io::Error::from)
        .and_then(|()| super::launch::hand_over(parent))
        .and_then(|()| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
        .and_then(|socket| socket.local_addr());
    let text = match outcome {
        Ok(address) if address.ip() == IpAddr::V4(ADDRESS) => "ok".to_owned(),
        Ok(_) => "the bind went past the shim: pidfd_getfd (Linux 5.6) and process_vm_readv need CAP_SYS_PTRACE or \
                  kernel.yama.ptrace_scope below 2"
            .to_owned(),
        Err(error) => format!("seccomp user notification: {error}"),
    };
    let sent = rustix::net::send(parent, text.as_bytes(), rustix::net::SendFlags::NOSIGNAL);
    i32::from(sent.is_err())
}

fn supervise(socket: &OwnedFd) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let mut listener: Option<OwnedFd> = None;
    while Instant::now() < deadline {
        let mut polled = vec![PollFd::new(socket, PollFlags::IN)];
        polled.extend(listener.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        if let Some(listener) = listener.as_ref().filter(|_| ready.get(1) == Some(&true)) {
            binds::handle(listener, ADDRESS)?;
        }
        if ready.first() == Some(&true) {
            match super::launch::take_report(socket)? {
                (Some(fd), _) => listener = Some(fd),
                (None, text) if text == b"ok" => return Ok(()),
                (None, text) => return Err(io::Error::other(String::from_utf8_lossy(&text).into_owned())),
            }
        }
    }
    Err(io::Error::other("the trial of rewriting a bind did not end"))
}
