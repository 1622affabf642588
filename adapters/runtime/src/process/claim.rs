//! Which pod addresses are in use on this host, whoever uses them: every shim holds a name in the kernel that says so. The
//! kernel frees the name when the shim ends, however it ends, so nothing is left over after a crash, and pods that outlive
//! the program that started them keep their address from other clusters.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// What the names begin with; the address follows.
const PREFIX: &str = "steersman-pod-";

/// Holds an address until the answer is dropped. Nobody connects to it: only its name counts.
pub(super) fn claim(ip: Ipv4Addr) -> io::Result<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("{PREFIX}{ip}"))?;
    UnixListener::bind_addr(&name).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("the pod address {ip} is in use by a pod of another cluster on this host: end that pod"),
        ),
        _ => error,
    })
}

/// The addresses of all pods that run as processes on this host, of any cluster and any user, in no order. Pods of other
/// network namespaces are not seen, and do not matter.
///
/// # Errors
/// When the kernel's list of sockets (`/proc/net/unix`) cannot be read.
pub fn claimed_addresses() -> io::Result<Vec<Ipv4Addr>> {
    Ok(addresses(&fs::read_to_string("/proc/net/unix")?))
}

/// The addresses named in the kernel's list, in which `@` begins the names that are in no file system.
fn addresses(list: &str) -> Vec<Ipv4Addr> {
    let name = |line: &str| line.split_whitespace().nth(7)?.strip_prefix('@')?.strip_prefix(PREFIX)?.parse().ok();
    list.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_claimed_once_and_seen() {
        // Out of the ranges of pods, so that nothing else on the host has it.
        let [high, low, ..] = std::process::id().to_le_bytes();
        let ip = Ipv4Addr::new(127, 255, high, low);
        let held = claim(ip).unwrap();
        assert!(claimed_addresses().unwrap().contains(&ip));
        let error = claim(ip).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&ip.to_string()), "{error}");
        drop(held);
        assert!(!claimed_addresses().unwrap().contains(&ip));
        claim(ip).unwrap();
    }

    #[test]
    fn other_sockets_are_passed_over() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            000000006e635d79: 00000002 00000000 00010000 0001 01 1 @steersman-pod-127.72.0.9\n\
            000000006e635d80: 00000002 00000000 00010000 0001 01 2 @steersman-addresses-0\n\
            000000006e635d81: 00000002 00000000 00010000 0001 01 3 /run/steersman-pod-127.72.0.8\n\
            000000006e635d82: 00000003 00000000 00000000 0001 03 4\n";
        assert_eq!(addresses(list), [Ipv4Addr::new(127, 72, 0, 9)]);
    }
}
