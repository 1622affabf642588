//! One service proxy per host and cluster: whoever takes the seat serves the virtual addresses here.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

/// The seat of a cluster's proxy on this host: a name that the kernel frees when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ProxySeat {
    _held: UnixListener,
}

impl ProxySeat {
    /// Takes the seat of the cluster with this authority; `None` when another process of this host has it.
    pub(crate) fn take(fingerprint: &str) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("steersman-proxy-{fingerprint}")).ok()?;
        UnixListener::bind_addr(&name).ok().map(|held| ProxySeat { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sits_at_a_time() {
        let name = format!("test-{}", std::process::id());
        let held = ProxySeat::take(&name).expect("free");
        assert!(ProxySeat::take(&name).is_none());
        drop(held);
        assert!(ProxySeat::take(&name).is_some());
    }
}
