//! The older Endpoints object: one per service, with subsets of addresses that offer the same ports.
//! Source: `k8s.io/kubernetes/pkg/api/v1/endpoints` (`RepackSubsets`), restated: ports that the same addresses offer in the
//! same state form one subset.

use super::inherited_labels;
use super::members::{Member, Port, endpoint_port};
use crate::client::{Part, Write};
use crate::driver::world::World;
use crate::reconcile::Outcome;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use steersman_domain::{EndpointAddress, EndpointSubset, Endpoints, Resource, Service};

/// Addresses per object, as in Kubernetes: readers of this form get it whole on every change.
const MOST_ADDRESSES: usize = 1000;
/// Says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// A member's place in an ordered set: ready ones apart from others.
type Place = (bool, Option<Ipv4Addr>, usize);

/// Plans the Endpoints object of a service.
pub(super) fn plan(world: &World, service: &Service, members: &[Member<'_>], outcome: &mut Outcome) {
    let publishes = service.spec.publish_not_ready_addresses;
    let mut shown: Vec<&Member<'_>> = members.iter().filter(|m| publishes || !m.terminating).collect();
    let over = shown.len() > MOST_ADDRESSES;
    if over {
        // The ready come first; among equals the order of names decides.
        shown.sort_by_key(|m| !m.ready);
        shown.truncate(MOST_ADDRESSES);
    }
    let subsets = subsets(service, &shown);
    let meta = &service.metadata;
    let old = world.get::<Endpoints>(&meta.namespace, &meta.name);
    if old.is_some_and(|o| o.metadata.is_deleting()) {
        return;
    }
    let mut wanted = old.map(|o| (**o).clone()).unwrap_or_default();
    wanted.metadata.name = meta.name.clone();
    wanted.metadata.namespace = meta.namespace.clone();
    wanted.metadata.labels = inherited_labels(service);
    wanted.metadata.owner_references = vec![service.controller_reference()];
    wanted.subsets = subsets;
    if over {
        wanted.metadata.annotations.insert(OVER_CAPACITY, "truncated".into());
    } else {
        wanted.metadata.annotations.remove(OVER_CAPACITY);
    }
    match old {
        Some(old) if **old == wanted => {}
        Some(_) => outcome.writes.push(Write::Update(Endpoints::into_object(Arc::new(wanted)), Part::Main)),
        None => outcome.writes.push(Write::Create(Endpoints::into_object(Arc::new(wanted)))),
    }
}

fn subsets(service: &Service, members: &[&Member<'_>]) -> Vec<EndpointSubset> {
    let mut by_port: BTreeMap<Option<&Port>, Vec<Place>> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        let place = (!member.ready, member.pod.status.pod_ip.parse().ok(), at);
        if service.spec.ports.is_empty() && service.is_headless() {
            by_port.entry(None).or_default().push(place);
        }
        for port in &member.ports {
            by_port.entry(Some(port)).or_default().push(place);
        }
    }
    let mut by_places: BTreeMap<Vec<Place>, Vec<&Port>> = BTreeMap::new();
    for (port, mut places) in by_port {
        places.sort_unstable();
        places.dedup();
        by_places.entry(places).or_default().extend(port);
    }
    let mut subsets: Vec<(Vec<&Port>, EndpointSubset)> = Vec::with_capacity(by_places.len());
    for (places, ports) in by_places {
        let mut subset = EndpointSubset {
            ports: ports.iter().map(|p| endpoint_port(p, false)).collect(),
            ..EndpointSubset::default()
        };
        for (not_ready, _, at) in places {
            let address = address(members[at]);
            if not_ready { &mut subset.not_ready_addresses } else { &mut subset.addresses }.push(address);
        }
        subsets.push((ports, subset));
    }
    subsets.sort_by(|a, b| a.0.cmp(&b.0));
    subsets.into_iter().map(|(_, subset)| subset).collect()
}

fn address(member: &Member<'_>) -> EndpointAddress {
    EndpointAddress {
        ip: member.pod.status.pod_ip.clone(),
        hostname: member.hostname.clone().unwrap_or_default(),
        node_name: member.node_name(),
        target_ref: Some(member.target()),
        ..EndpointAddress::default()
    }
}
