//! Ledgers keep rules across objects (a node's room, the address of a service) on every store alike: a small object that
//! is written in the same transaction as the objects it counts, under its own revision precondition. This module holds
//! the arithmetic; who writes decides when.

use crate::entity::Omit;
use crate::{Container, Map, NodeLedger, Pod, Quantity, Str};
use serde::{Deserialize, Serialize};

/// Amounts of resources: cpu in thousandths of a core, memory and ephemeral storage in bytes, pods, and any other
/// resource by name in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of ephemeral storage.
    pub storage_bytes: i64,
    /// How many pods.
    pub pods: i64,
    /// Other resources by name, in units.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extended: Map<i64>,
}

impl Omit for Resources {
    fn omit(&self) -> bool {
        *self == Resources::default()
    }
}

/// One resource of which there is too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Which resource.
    pub resource: Str,
    /// How much was asked for.
    pub requested: i64,
    /// How much is left.
    pub free: i64,
}

impl Resources {
    /// From a resource list as objects hold it.
    pub fn of_list(list: &Map<Quantity>) -> Self {
        let mut sum = Resources::default();
        for (name, quantity) in list.iter() {
            match name.as_str() {
                "cpu" => sum.cpu_milli = quantity.milli(),
                "memory" => sum.memory_bytes = quantity.value(),
                "ephemeral-storage" => sum.storage_bytes = quantity.value(),
                "pods" => sum.pods = quantity.value(),
                _ => {
                    sum.extended.insert(name.clone(), quantity.value());
                }
            }
        }
        sum
    }

    /// What a container requests; a limit without a request is the request.
    pub fn of_container(container: &Container) -> Self {
        let r = &container.resources;
        if r.limits.is_empty() {
            return Resources::of_list(&r.requests);
        }
        let limits = r.limits.iter().filter(|(name, _)| !r.requests.contains_key(name));
        let all: Map<Quantity> = r.requests.iter().chain(limits).map(|(k, v)| (k.clone(), v.clone())).collect();
        Resources::of_list(&all)
    }

    /// Adds, saturating.
    pub fn add(&mut self, other: &Resources) {
        self.combine(other, i64::saturating_add);
    }

    /// Subtracts, never below zero.
    pub fn subtract(&mut self, other: &Resources) {
        self.combine(other, |a, b| a.saturating_sub(b).max(0));
    }

    /// Takes the larger of each.
    pub fn max_with(&mut self, other: &Resources) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Resources, with: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.storage_bytes = with(self.storage_bytes, other.storage_bytes);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in other.extended.iter() {
            let old = self.extended.get(name).copied().unwrap_or(0);
            self.extended.insert(name.clone(), with(old, *amount));
        }
    }

    /// Each resource of `request` that does not fit beside `self` (what is taken) into `allocatable`. Only resources
    /// that are asked for count, so that a node which shrank takes nothing more but keeps what it has.
    pub fn shortages(&self, allocatable: &Resources, request: &Resources) -> Vec<Shortage> {
        let mut list = Vec::new();
        let mut check = |resource: &str, taken: i64, of: i64, requested: i64| {
            let free = of.saturating_sub(taken);
            if requested > 0 && requested > free {
                list.push(Shortage { resource: resource.into(), requested, free: free.max(0) });
            }
        };
        check("pods", self.pods, allocatable.pods, request.pods);
        check("cpu", self.cpu_milli, allocatable.cpu_milli, request.cpu_milli);
        check("memory", self.memory_bytes, allocatable.memory_bytes, request.memory_bytes);
        check("ephemeral-storage", self.storage_bytes, allocatable.storage_bytes, request.storage_bytes);
        for (name, amount) in request.extended.iter() {
            let of = |r: &Resources| r.extended.get(name).copied().unwrap_or(0);
            check(name, of(self), of(allocatable), *amount);
        }
        list
    }

    /// How many times `request` fits into `self` when nothing is taken; only resources that are asked for count.
    pub fn fits_times(&self, request: &Resources) -> i64 {
        let times = |of: i64, requested: i64| if requested > 0 { of.max(0) / requested } else { i64::MAX };
        let named = [
            times(self.pods, request.pods),
            times(self.cpu_milli, request.cpu_milli),
            times(self.memory_bytes, request.memory_bytes),
            times(self.storage_bytes, request.storage_bytes),
        ];
        let extended =
            request.extended.iter().map(|(name, amount)| times(self.extended.get(name).copied().unwrap_or(0), *amount));
        named.into_iter().chain(extended).min().unwrap_or(0)
    }
}

/// Whether a pod takes room on its node: bound and not ended.
pub fn counts(pod: &Pod) -> bool {
    !pod.spec.node_name.is_empty() && !pod.is_terminal()
}

/// The host ports of a pod as the ledger writes them: `PROTOCOL/IP/PORT`, the wildcard as `0.0.0.0`.
pub fn host_port_keys(pod: &Pod) -> Vec<Str> {
    pod.host_ports()
        .map(|(p, port)| {
            let ip = if p.host_ip.is_empty() { "0.0.0.0" } else { &p.host_ip };
            smol_str::format_smolstr!("{}/{ip}/{port}", p.protocol)
        })
        .collect()
}

/// Whether a host port is taken: the wildcard address collides with every address.
pub fn host_port_conflict(taken: &[Str], wanted: &str) -> bool {
    let parts = |key: &str| {
        let mut it = key.splitn(3, '/').map(str::to_owned);
        (it.next(), it.next(), it.next())
    };
    let (protocol, ip, port) = parts(wanted);
    taken.iter().any(|t| {
        let (p, i, n) = parts(t);
        let any = |ip: &Option<String>| ip.as_deref() == Some("0.0.0.0");
        p == protocol && n == port && (i == ip || any(&i) || any(&ip))
    })
}

impl NodeLedger {
    /// Enters a pod. The caller has checked that it fits.
    pub fn enter(&mut self, pod: &Pod) {
        self.allocated.add(&pod.requests());
        self.host_ports.extend(host_port_keys(pod));
        self.host_ports.sort();
    }

    /// Takes a pod out.
    pub fn leave(&mut self, pod: &Pod) {
        self.allocated.subtract(&pod.requests());
        for key in host_port_keys(pod) {
            if let Ok(at) = self.host_ports.binary_search(&key) {
                self.host_ports.remove(at);
            }
        }
    }

    /// Why the pod does not fit beside what is taken; empty when it fits.
    pub fn obstacles(&self, allocatable: &Resources, pod: &Pod) -> Vec<String> {
        let mut list: Vec<String> = self
            .allocated
            .shortages(allocatable, &pod.requests())
            .into_iter()
            .map(|s| format!("insufficient {}: requested {}, free {}", s.resource, s.requested, s.free))
            .collect();
        for key in host_port_keys(pod) {
            if host_port_conflict(&self.host_ports, &key) {
                list.push(format!("host port {key} is taken"));
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrunken_node_takes_nothing_more() {
        let taken = Resources { cpu_milli: 3000, pods: 3, ..Resources::default() };
        let allocatable = Resources { cpu_milli: 2000, pods: 10, ..Resources::default() };
        let none = Resources { pods: 1, ..Resources::default() };
        assert!(taken.shortages(&allocatable, &none).is_empty());
        let some = Resources { cpu_milli: 1, pods: 1, ..Resources::default() };
        assert_eq!(taken.shortages(&allocatable, &some)[0].free, 0);
    }

    #[test]
    fn host_ports_collide_over_the_wildcard() {
        let taken = vec![Str::from("TCP/127.0.0.1/80")];
        assert!(host_port_conflict(&taken, "TCP/0.0.0.0/80"));
        assert!(host_port_conflict(&taken, "TCP/127.0.0.1/80"));
        assert!(!host_port_conflict(&taken, "TCP/127.0.0.2/80"));
        assert!(!host_port_conflict(&taken, "UDP/127.0.0.1/80"));
    }
}
