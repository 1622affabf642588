//! One process per host and cluster serves the virtual addresses: the one that has the seat. The next one takes it when the
//! holder ends, however it ends.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;
use steersman_domain::ports::Clock;
use tokio::io::AsyncReadExt as _;

/// How long to wait where neither the seat nor its holder can be had, for want of descriptors say.
const RETRY: Duration = Duration::from_millis(200);

/// The seat of a cluster's proxy on this host: a name that the kernel frees when the process ends.
#[derive(Debug)]
pub(crate) struct ProxySeat {
    _held: UnixListener,
}

fn name(fingerprint: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("steersman-proxy-{fingerprint}"))
}

impl ProxySeat {
    /// Takes the seat of the cluster with this authority; `None` when another process of this host has it.
    pub(crate) fn take(fingerprint: &str) -> Option<Self> {
        UnixListener::bind_addr(&name(fingerprint).ok()?).ok().map(|held| ProxySeat { _held: held })
    }

    /// Takes the seat as soon as nobody else has it. Cancel-safe.
    pub(crate) async fn wait(fingerprint: &str, clock: &dyn Clock) -> Self {
        loop {
            if let Some(seat) = Self::take(fingerprint) {
                return seat;
            }
            match watch(fingerprint) {
                // The holder says nothing, ever: what ends this is its own end.
                Ok(mut holder) => drop(holder.read(&mut [0]).await),
                Err(_) => clock.sleep(RETRY).await,
            }
        }
    }
}

/// A connection to the holder.
fn watch(fingerprint: &str) -> io::Result<tokio::net::UnixStream> {
    let stream = UnixStream::connect_addr(&name(fingerprint)?)?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::SystemClock;

    #[tokio::test]
    async fn one_sits_at_a_time_and_the_next_follows() {
        let name = format!("test-{}", std::process::id());
        let held = ProxySeat::take(&name).expect("free");
        assert!(ProxySeat::take(&name).is_none());
        let clock = SystemClock::new();
        let mut next = std::pin::pin!(ProxySeat::wait(&name, &clock));
        tokio::select! {
            biased;
            _seat = &mut next => panic!("two sit"),
            () = tokio::task::yield_now() => {}
        }
        drop(held);
        let seat = tokio::time::timeout(Duration::from_secs(10), next).await.expect("the seat is free");
        assert!(ProxySeat::take(&name).is_none());
        drop(seat);
    }
}
