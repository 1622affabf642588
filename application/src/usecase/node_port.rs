//! The node ports of services: a port of every host on which a service of type NodePort answers too. Which are taken is in
//! the ledger of service addresses, so no two services hold one.

use super::book::Book;
use super::round::Round;
use crate::client::ApiError;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use steersman_domain::validate::{FieldError, FieldErrorKind, NODE_PORTS};
use steersman_domain::{AddressLedger, Protocol, Service, Str};

/// A node port as the ledger writes it.
fn entry(protocol: Protocol, port: i32) -> Str {
    format!("{protocol}/{port}").into()
}

fn held(service: &Service) -> impl Iterator<Item = Str> {
    service.spec.ports.iter().filter(|p| p.node_port > 0).map(|p| entry(p.protocol, p.node_port))
}

impl Round<'_> {
    /// Gives a service the node ports that it asks for, or free ones, and frees those that it had and no longer wants.
    /// Answers the book that holds them, or what is wrong; `None` where no node port is in play.
    pub(super) async fn settle_node_ports(
        &mut self,
        new: &mut Service,
        old: Option<&Service>,
    ) -> Result<Result<Option<usize>, FieldError>, ApiError> {
        if !new.is_node_port() && !old.is_some_and(Service::is_node_port) {
            return Ok(Ok(None));
        }
        let random = self.api.entropy.random();
        let index = self.address_book().await?;
        let Some(ledger) = self.book(index).and_then(Book::addresses) else { return Ok(Ok(None)) };
        Ok(settle(ledger, (new, old), random).map(|()| Some(index)))
    }
}

/// The node port that a service had for one of its ports; 0: none.
fn was(old: Option<&Service>, protocol: Protocol, port: i32) -> i32 {
    let mut ports = old.into_iter().flat_map(|o| &o.spec.ports).filter(|p| (p.protocol, p.port) == (protocol, port));
    ports.next().map_or(0, |p| p.node_port)
}

/// Keeps the node ports of a service over an update that does not name them. They are given back with the type, unless the
/// client insists on them: then validation refuses it.
pub(super) fn keep(new: &mut Service, old: &Service) {
    let wants = new.is_node_port();
    for port in &mut new.spec.ports {
        let was = was(Some(old), port.protocol, port.port);
        match (wants, port.node_port) {
            (true, 0) => port.node_port = was,
            (false, named) if named == was => port.node_port = 0,
            _ => {}
        }
    }
}

/// Frees the node ports of a service that goes.
pub(super) fn release(ledger: &mut AddressLedger, service: &Service) {
    let gone: BTreeSet<Str> = held(service).collect();
    ledger.node_ports.retain(|port| !gone.contains(port));
}

/// The ledger changes only when everything can be had.
fn settle(
    ledger: &mut AddressLedger,
    (new, old): (&mut Service, Option<&Service>),
    random: u64,
) -> Result<(), FieldError> {
    let before: BTreeSet<Str> = old.into_iter().flat_map(held).collect();
    let mut taken: BTreeSet<Str> = ledger.node_ports.iter().filter(|p| !before.contains(*p)).cloned().collect();
    if !new.is_node_port() {
        ledger.node_ports = taken.into_iter().collect();
        return Ok(());
    }
    // Those that are asked for come first, so that none of them is given to another port of the service.
    for (at, port) in new.spec.ports.iter().enumerate().filter(|(_, p)| p.node_port != 0) {
        let path = format!("spec.ports[{at}].nodePort");
        if !NODE_PORTS.contains(&port.node_port) {
            let (first, last) = (NODE_PORTS.start(), NODE_PORTS.end());
            let detail = format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
            return Err(FieldError::new(FieldErrorKind::Invalid, path, detail).value(port.node_port));
        }
        if !taken.insert(entry(port.protocol, port.node_port)) {
            let detail = "provided port is already allocated";
            return Err(FieldError::new(FieldErrorKind::Invalid, path, detail).value(port.node_port));
        }
    }
    for (at, port) in new.spec.ports.iter_mut().enumerate().filter(|(_, p)| p.node_port == 0) {
        let Some(free) = free(&taken, port.protocol, random) else {
            let detail = "every node port is taken: delete a service of type NodePort";
            return Err(FieldError::new(FieldErrorKind::Invalid, format!("spec.ports[{at}].nodePort"), detail));
        };
        port.node_port = free;
        taken.insert(entry(port.protocol, free));
    }
    ledger.node_ports = taken.into_iter().collect();
    Ok(())
}

/// A free node port, sought from a random start so that a freed one is not handed out again at once.
fn free(taken: &BTreeSet<Str>, protocol: Protocol, random: u64) -> Option<i32> {
    let range: RangeInclusive<i32> = NODE_PORTS;
    let count = range.end() - range.start() + 1;
    let start = i32::try_from(random % u64::from(count.unsigned_abs())).unwrap_or(0);
    let ports = (0..count).map(|step| range.start() + (start + step) % count);
    ports.into_iter().find(|port| !taken.contains(&entry(protocol, *port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(kind: &str, ports: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"type": kind, "ports": ports}}))
            .expect("a service")
    }

    fn ports(service: &Service) -> Vec<i32> {
        service.spec.ports.iter().map(|p| p.node_port).collect()
    }

    #[test]
    fn ports_are_given_kept_and_given_back() {
        let mut ledger = AddressLedger::default();
        let mut web =
            service("NodePort", json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30005}]));
        settle(&mut ledger, (&mut web, None), 5).expect("free");
        assert_eq!(ports(&web), [30006, 30005], "what was asked for is not given away");
        let mut other = service("NodePort", json!([{"port": 80, "nodePort": 30006}]));
        let error = settle(&mut ledger, (&mut other, None), 0).expect_err("taken");
        assert_eq!(
            (error.path.as_str(), error.detail.as_str()),
            ("spec.ports[0].nodePort", "provided port is already allocated")
        );
        let mut outside = service("NodePort", json!([{"port": 80, "nodePort": 80}]));
        assert!(settle(&mut ledger, (&mut outside, None), 0).is_err());
        assert_eq!(ledger.node_ports.len(), 2, "a refusal takes nothing");

        let mut less = service("NodePort", json!([{"name": "a", "port": 80}]));
        keep(&mut less, &web);
        settle(&mut ledger, (&mut less, Some(&web)), 99).expect("its own");
        assert_eq!((ports(&less), ledger.node_ports.len()), (vec![30006], 1));
        let mut plain = service("ClusterIP", json!([{"name": "a", "port": 80, "nodePort": 30006}]));
        keep(&mut plain, &less);
        settle(&mut ledger, (&mut plain, Some(&less)), 0).expect("given back");
        assert_eq!((ports(&plain), ledger.node_ports.len()), (vec![0], 0));
    }
}
