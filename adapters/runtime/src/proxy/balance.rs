//! Which endpoint gets a connection: round robin over the ready ones, those that just failed a connect last, and with
//! session affinity the one the client had before.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backend::{Backend, Lease, Pod};
use super::spec::{Endpoint, EndpointState, SessionAffinity};

/// The endpoints of one service port.
#[derive(Debug)]
pub(super) struct Table {
    backends: Vec<Arc<Backend>>,
    next: usize,
    affinity: Option<Affinity>,
    affinity_limit: usize,
}

#[derive(Debug)]
struct Affinity {
    timeout: Duration,
    clients: HashMap<Ipv4Addr, Sticky>,
}

#[derive(Debug)]
struct Sticky {
    backend: Arc<Backend>,
    last_seen: Instant,
}

impl Table {
    /// An empty table that remembers at most `affinity_limit` clients.
    pub(super) fn new(affinity_limit: usize) -> Self {
        Self { backends: Vec::new(), next: 0, affinity: None, affinity_limit: affinity_limit.max(1) }
    }

    /// Makes the table hold exactly `endpoints`, keeping what is known of those that stay. `pod_of` finds or makes the
    /// shared pod. Returns whether any endpoint left.
    pub(super) fn update(&mut self, endpoints: &[Endpoint], mut pod_of: impl FnMut(&Endpoint) -> Arc<Pod>) -> bool {
        let mut old: HashMap<_, _> =
            self.backends.drain(..).map(|backend| ((backend.pod.uid.clone(), backend.address), backend)).collect();
        let mut kept = HashMap::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let id = (endpoint.pod.clone(), endpoint.address);
            let retired = endpoint.state == EndpointState::Draining;
            if kept.contains_key(&id) {
                continue;
            }
            let backend = match old.remove(&id) {
                Some(backend) => {
                    backend.set_retired(retired);
                    backend
                }
                None => Arc::new(Backend::new(pod_of(endpoint), endpoint, retired)),
            };
            if retired {
                // The list knows of the end by now; a later "ready" is news and counts.
                backend.pod.lift_down();
            }
            self.backends.push(backend);
            kept.insert(id, ());
        }
        for backend in old.values() {
            backend.set_retired(true);
            backend.pod.lift_down();
        }
        !old.is_empty()
    }

    pub(super) fn set_affinity(&mut self, affinity: SessionAffinity) {
        match (affinity, &mut self.affinity) {
            (SessionAffinity::None, current) => *current = None,
            (SessionAffinity::ClientIp { timeout_s }, Some(current)) => {
                current.timeout = Duration::from_secs(timeout_s.into());
            }
            (SessionAffinity::ClientIp { timeout_s }, current) => {
                let timeout = Duration::from_secs(timeout_s.into());
                *current = Some(Affinity { timeout, clients: HashMap::new() });
            }
        }
    }

    /// The endpoint for a connection of `client`, already counted, or `None` when no endpoint outside `tried` takes
    /// one. Endpoints under suspicion come last.
    pub(super) fn pick(&mut self, client: Ipv4Addr, tried: &[Arc<Backend>], now: Instant) -> Option<Lease> {
        if let Some(lease) = self.sticky(client, tried, now) {
            return Some(lease);
        }
        let lease = self.turn(tried, now, false).or_else(|| self.turn(tried, now, true))?;
        self.remember(client, &lease.backend, now);
        Some(lease)
    }

    /// Retires every endpoint: the port or its service is gone.
    pub(super) fn retire_all(&mut self) {
        for backend in self.backends.drain(..) {
            backend.set_retired(true);
        }
    }

    fn turn(&mut self, tried: &[Arc<Backend>], now: Instant, suspicious: bool) -> Option<Lease> {
        let count = self.backends.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            let backend = &self.backends[index];
            if backend.is_suspicious(now) != suspicious || was_tried(tried, backend) {
                continue;
            }
            if let Some(lease) = backend.lease(now) {
                self.next = (index + 1) % count;
                return Some(lease);
            }
        }
        None
    }

    fn sticky(&mut self, client: Ipv4Addr, tried: &[Arc<Backend>], now: Instant) -> Option<Lease> {
        let affinity = self.affinity.as_mut()?;
        let sticky = affinity.clients.get_mut(&client)?;
        let fresh = now.duration_since(sticky.last_seen) < affinity.timeout;
        if !fresh || was_tried(tried, &sticky.backend) || sticky.backend.is_suspicious(now) {
            return None;
        }
        let lease = sticky.backend.lease(now)?;
        sticky.last_seen = now;
        Some(lease)
    }

    fn remember(&mut self, client: Ipv4Addr, backend: &Arc<Backend>, now: Instant) {
        let Some(affinity) = &mut self.affinity else { return };
        if affinity.clients.len() >= self.affinity_limit && !affinity.clients.contains_key(&client) {
            let timeout = affinity.timeout;
            affinity.clients.retain(|_, sticky| now.duration_since(sticky.last_seen) < timeout);
            if affinity.clients.len() >= self.affinity_limit {
                let oldest = affinity.clients.iter().min_by_key(|(_, sticky)| sticky.last_seen).map(|(ip, _)| *ip);
                oldest.and_then(|ip| affinity.clients.remove(&ip));
            }
        }
        affinity.clients.insert(client, Sticky { backend: backend.clone(), last_seen: now });
    }
}

fn was_tried(tried: &[Arc<Backend>], backend: &Arc<Backend>) -> bool {
    tried.iter().any(|other| Arc::ptr_eq(other, backend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::SocketAddrV4;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

    fn endpoint(name: &str, state: EndpointState) -> Endpoint {
        let last = name.as_bytes()[0];
        Endpoint {
            pod: name.into(),
            address: SocketAddrV4::new(Ipv4Addr::new(127, 90, 0, last), 80),
            node: None,
            state,
        }
    }

    fn table(names: &[&str]) -> Table {
        let mut table = Table::new(2);
        update(&mut table, names);
        table
    }

    fn update(table: &mut Table, names: &[&str]) -> bool {
        let endpoints: Vec<_> = names.iter().map(|name| endpoint(name, EndpointState::Ready)).collect();
        table.update(&endpoints, |endpoint| Arc::new(Pod::new(endpoint.pod.clone())))
    }

    fn name(lease: &Lease) -> String {
        lease.backend.pod.uid.to_string()
    }

    #[test]
    fn round_robin_is_fair_and_skips_the_suspicious() {
        let (mut table, now) = (table(&["a", "b", "c"]), Instant::now());
        let mut counts = BTreeMap::new();
        for _ in 0..30 {
            *counts.entry(name(&table.pick(CLIENT, &[], now).unwrap())).or_insert(0) += 1;
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
        table.backends[0].suspect(now + Duration::from_secs(1));
        assert!((0..6).all(|_| name(&table.pick(CLIENT, &[], now).unwrap()) != "a"));
        let others = [table.backends[1].clone(), table.backends[2].clone()];
        assert_eq!(name(&table.pick(CLIENT, &others, now).unwrap()), "a", "better a suspicious one than none");
    }

    #[test]
    fn updates_keep_what_stays_and_retire_what_goes() {
        let (mut table, now) = (table(&["a", "b"]), Instant::now());
        let held = table.pick(CLIENT, &[], now).unwrap();
        assert_eq!(name(&held), "a");
        assert!(!update(&mut table, &["a", "b", "b", "c"]), "nothing left");
        assert_eq!(table.backends.len(), 3);
        assert!(Arc::ptr_eq(&held.backend, &table.backends[0]) && held.backend.pod.active() == 1);
        assert!(update(&mut table, &["b", "c"]));
        assert!(held.backend.is_draining());
        drop(held);
        assert!((0..4).all(|_| name(&table.pick(CLIENT, &[], now).unwrap()) != "a"));
    }

    #[test]
    fn affinity_sticks_until_the_timeout_and_is_bounded() {
        let (mut table, now) = (table(&["a", "b"]), Instant::now());
        table.set_affinity(SessionAffinity::ClientIp { timeout_s: 10 });
        let first = name(&table.pick(CLIENT, &[], now).unwrap());
        assert!((0..5).all(|_| name(&table.pick(CLIENT, &[], now).unwrap()) == first));
        let later = now + Duration::from_secs(11);
        assert_ne!(name(&table.pick(CLIENT, &[], later).unwrap()), first, "round robin moved on");
        for last in 0..10 {
            table.pick(Ipv4Addr::new(127, 0, 1, last), &[], later).unwrap();
        }
        assert!(table.affinity.as_ref().unwrap().clients.len() <= 2);
    }

    #[test]
    fn a_sticky_endpoint_that_failed_or_drains_is_left() {
        let (mut table, now) = (table(&["a", "b"]), Instant::now());
        table.set_affinity(SessionAffinity::ClientIp { timeout_s: 10 });
        let first = table.pick(CLIENT, &[], now).unwrap();
        let tried = [first.backend.clone()];
        let second = table.pick(CLIENT, &tried, now).unwrap();
        assert_ne!(name(&first), name(&second));
        second.backend.pod.drain();
        assert_eq!(name(&table.pick(CLIENT, &[], now).unwrap()), name(&first));
    }

    #[test]
    fn a_dead_pod_is_out_until_it_is_up_or_the_hold_ends() {
        let (mut table, now) = (table(&["a"]), Instant::now());
        let pod = table.backends[0].pod.clone();
        pod.set_down(now + Duration::from_secs(5));
        assert!(table.pick(CLIENT, &[], now).is_none());
        assert!(table.pick(CLIENT, &[], now + Duration::from_secs(5)).is_some());
        pod.set_down(now + Duration::from_secs(5));
        pod.revive();
        assert!(table.pick(CLIENT, &[], now).is_some());
    }
}
