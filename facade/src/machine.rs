//! What the machine offers: the capacity that local nodes share, and what they say about themselves.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use steersman_domain::NodeSystemInfo;
use steersman_domain::ledger::Resources;

/// Pods per node, Kubernetes' default.
const PODS: i64 = 110;
/// What the control plane and the system keep of a node's memory, in bytes.
const RESERVED_MEMORY: i64 = 128 << 20;

/// Capacity and reserve of one of `nodes` equal parts of this machine.
pub(crate) fn part(nodes: u16) -> (Resources, Resources) {
    let nodes = i64::from(nodes.max(1));
    let cores = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
    let memory = meminfo("MemTotal:").unwrap_or(1 << 30) / nodes;
    let capacity = Resources {
        cpu_milli: cores * 1000 / nodes,
        memory_bytes: memory / 4096 * 4096,
        storage_bytes: 0,
        pods: PODS,
        ..Resources::default()
    };
    let reserved = Resources { memory_bytes: RESERVED_MEMORY.min(memory / 10), ..Resources::default() };
    (capacity, reserved)
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<i64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok().map(|kb| kb * 1024)
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The machine's name; `localhost` where it has none.
pub(crate) fn hostname() -> String {
    let name = line("/proc/sys/kernel/hostname").to_lowercase();
    if steersman_domain::names::subdomain(&name).is_ok() { name } else { "localhost".into() }
}

/// An address that no host has (it is set aside for documentation): the way to it is the way out.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The address of this host from which `to` is reached, as the routing table says; nothing is sent.
pub(crate) fn address_towards(to: SocketAddr) -> Option<IpAddr> {
    let from: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse().ok()? } else { "[::]:0".parse().ok()? };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address by which other hosts reach this one, where it has a way out.
pub(crate) fn outward_address() -> Option<IpAddr> {
    address_towards(SocketAddr::new(OUTSIDE, 9))
}

/// What a node says about its machine.
pub(crate) fn system_info(version: &str) -> NodeSystemInfo {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    NodeSystemInfo {
        machine_id: line("/etc/machine-id").into(),
        boot_id: line("/proc/sys/kernel/random/boot_id").into(),
        kernel_version: line("/proc/sys/kernel/osrelease").into(),
        os_image: name.trim_matches('"').into(),
        container_runtime_version: format!("steersman://{version}").into(),
        kubelet_version: format!("v{version}").into(),
        kube_proxy_version: format!("v{version}").into(),
        operating_system: std::env::consts::OS.into(),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64".into(),
            "aarch64" => "arm64".into(),
            other => other.into(),
        },
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_no_more_than_the_machine() {
        let (whole, _) = part(1);
        let (third, reserved) = part(3);
        assert!(whole.memory_bytes > 0 && whole.cpu_milli >= 1000);
        assert!(third.memory_bytes * 3 <= whole.memory_bytes && third.cpu_milli * 3 <= whole.cpu_milli);
        assert!(reserved.memory_bytes < third.memory_bytes);
    }
}
