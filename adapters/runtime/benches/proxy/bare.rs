//! A relay that does nothing but read and write: one thread, one epoll, no endpoints to choose, no counting, no limits.
//! What any relay between two sockets costs here at least, for the proxy to be measured against.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::epoll;

/// Readiness taken at once.
const EVENTS: usize = 64;

/// Relays every connection of `listener` to `to`, for the life of the process.
pub(crate) fn relay(listener: &TcpListener, to: SocketAddrV4) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let listening = number(listener);
    watch(&epoll, listener)?;
    // Each socket by its descriptor, with the one that its bytes go to.
    let mut sockets: HashMap<u64, (TcpStream, u64)> = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut scratch = vec![0; 64 * 1024];
    loop {
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let from = event.data.u64();
            if from == listening {
                let (client, server) = (listener.accept()?.0, TcpStream::connect(to)?);
                for socket in [&client, &server] {
                    socket.set_nodelay(true)?;
                    watch(&epoll, socket)?;
                }
                let (here, there) = (number(&client), number(&server));
                sockets.insert(here, (client, there));
                sockets.insert(there, (server, here));
                continue;
            }
            let Some((socket, other)) = sockets.get(&from) else { continue };
            let read = (&*socket).read(&mut scratch).unwrap_or(0);
            let sent = sockets.get(other).is_some_and(|(other, _)| (&*other).write_all(&scratch[..read]).is_ok());
            if (read == 0 || !sent)
                && let Some((_, other)) = sockets.remove(&from)
            {
                sockets.remove(&other);
            }
        }
    }
}

/// Tells of readable bytes by the socket's number.
fn watch<T: AsRawFd + AsFd>(epoll: &OwnedFd, socket: &T) -> io::Result<()> {
    let data = epoll::EventData::new_u64(number(socket));
    Ok(epoll::add(epoll, socket, data, epoll::EventFlags::IN)?)
}

fn number(socket: &impl AsRawFd) -> u64 {
    u64::try_from(socket.as_raw_fd()).expect("open descriptors are not negative")
}
