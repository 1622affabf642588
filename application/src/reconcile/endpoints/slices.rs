//! Packing endpoints into slices so that a change of one pod touches one slice: what has a place keeps it, slices that
//! change anyway are filled first, and only what is left over moves into others or into new ones.

use super::members::{Member, Port, endpoint_port};
use super::{MANAGED_BY, MANAGER, SERVICE_NAME, inherited_labels};
use crate::client::{DeleteOptions, Part, Write};
use crate::driver::world::World;
use crate::reconcile::{Outcome, fnv64};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Map, Resource, Service, Str, Uid, names,
};

/// Endpoints per slice: large enough that most services need one, small enough to send on every change (as Kubernetes).
const MOST_ENDPOINTS: usize = 100;

/// A slice as it is and as it is to be.
struct Draft<'a> {
    old: Option<&'a Arc<EndpointSlice>>,
    endpoints: Vec<Endpoint>,
}

impl Draft<'_> {
    fn changed(&self) -> bool {
        self.old.is_none_or(|old| old.endpoints != self.endpoints)
    }

    fn room(&self) -> usize {
        MOST_ENDPOINTS.saturating_sub(self.endpoints.len())
    }
}

/// Plans the slices of a service. Creations come first and deletions last, so that no endpoint is missing in between.
pub(super) fn plan(world: &World, service: &Service, members: &[Member<'_>], outcome: &mut Outcome) {
    let mut wanted: BTreeMap<&[Port], Vec<&Member<'_>>> = BTreeMap::new();
    for member in members {
        wanted.entry(&member.ports).or_default().push(member);
    }
    if wanted.is_empty() {
        // One empty slice says "known, and nobody is there".
        wanted.insert(&[], Vec::new());
    }
    let (mine, foreign) = existing(world, service);
    let (mut kept, mut drafts) = (BTreeSet::new(), Vec::new());
    for (ports, members) in &wanted {
        let ports: Vec<EndpointPort> = ports.iter().map(|p| endpoint_port(p, true)).collect();
        let old: Vec<_> = mine.iter().copied().filter(|s| s.ports == ports).collect();
        kept.extend(old.iter().map(|s| s.metadata.name.clone()));
        for draft in pack(&old, members) {
            drafts.push((ports.clone(), draft));
        }
    }
    // A slice whose ports nobody has any more is made into one that is needed, before a new one is.
    let mut spare: Vec<_> = mine.iter().rev().copied().filter(|s| !kept.contains(&s.metadata.name)).collect();
    let mut deletes: Vec<Write> = foreign.iter().map(|s| delete(s)).collect();
    let (mut creates, mut updates) = (Vec::new(), Vec::new());
    let mut names = Names::new(world, service);
    let placeholder = members.is_empty();
    let mut holds = false;
    for (ports, draft) in drafts {
        match draft.old {
            Some(old) if draft.endpoints.is_empty() && (holds || !placeholder) => deletes.push(delete(old)),
            Some(old) => {
                holds = true;
                updates.extend(update(service, old, ports, draft.endpoints));
            }
            None => match spare.pop() {
                Some(old) => updates.extend(update(service, old, ports, draft.endpoints)),
                None => creates.push(create(service, names.next(), ports, draft.endpoints)),
            },
        }
    }
    deletes.extend(spare.into_iter().rev().map(delete));
    if !creates.is_empty() || !updates.is_empty() || !deletes.is_empty() {
        let (c, u, d) = (creates.len(), updates.len(), deletes.len());
        outcome.why.push(format!("{} endpoints: {c} slices to create, {u} to update, {d} to delete", members.len()));
    }
    outcome.writes.extend(creates.into_iter().chain(updates).chain(deletes));
}

/// The slices that this reconciler keeps for the service, in name order, and those of an earlier service of its name.
fn existing<'a>(world: &'a World, service: &Service) -> (Vec<&'a Arc<EndpointSlice>>, Vec<&'a Arc<EndpointSlice>>) {
    let labelled =
        |slice: &EndpointSlice, key: &str, value: &str| slice.metadata.labels.get(key).map(Str::as_str) == Some(value);
    world
        .in_namespace::<EndpointSlice>(&service.metadata.namespace)
        .filter(|s| labelled(s, SERVICE_NAME, &service.metadata.name) && labelled(s, MANAGED_BY, MANAGER))
        .filter(|s| !s.metadata.is_deleting() && s.address_type == "IPv4")
        .partition(|s| s.metadata.controller().is_some_and(|c| c.uid == service.metadata.uid))
}

/// Distributes the members of one port set over the slices they have and as few others as possible.
fn pack<'a>(old: &[&'a Arc<EndpointSlice>], members: &[&Member<'_>]) -> Vec<Draft<'a>> {
    let mut open: BTreeMap<&Uid, &Member<'_>> = members.iter().map(|m| (&m.pod.metadata.uid, *m)).collect();
    let mut drafts = Vec::new();
    for slice in old {
        let mut endpoints = Vec::new();
        for endpoint in &slice.endpoints {
            let uid = endpoint.target_ref.as_ref().map(|t| &t.uid);
            if endpoints.len() < MOST_ENDPOINTS {
                // What a member has now stands in the place that it had.
                endpoints.extend(uid.and_then(|u| open.remove(u)).map(|m| endpoint_of(m, endpoint)));
            }
        }
        drafts.push(Draft { old: Some(slice), endpoints });
    }
    let left = members.iter().filter(|m| open.contains_key(&m.pod.metadata.uid));
    let mut left: Vec<Endpoint> = left.map(|m| endpoint_of(m, &Endpoint::default())).collect();
    left.reverse();
    for draft in drafts.iter_mut().filter(|d| d.changed()) {
        take(draft, &mut left);
    }
    // One slice with room for all that is left is better than a new one: the fullest such.
    if !left.is_empty() {
        let fitting = drafts.iter_mut().filter(|d| d.room() >= left.len()).min_by_key(|d| d.room());
        if let Some(draft) = fitting {
            take(draft, &mut left);
        }
    }
    while !left.is_empty() || drafts.is_empty() {
        let mut draft = Draft { old: None, endpoints: Vec::new() };
        take(&mut draft, &mut left);
        drafts.push(draft);
    }
    drafts
}

/// Moves endpoints from the end of the (reversed) list into a slice until it is full.
fn take(draft: &mut Draft<'_>, left: &mut Vec<Endpoint>) {
    let count = draft.room().min(left.len());
    draft.endpoints.extend(left.drain(left.len() - count..).rev());
}

/// The endpoint of a member; what others have put on the endpoint it had is kept.
fn endpoint_of(member: &Member<'_>, old: &Endpoint) -> Endpoint {
    let mut endpoint = old.clone();
    let conditions = EndpointConditions {
        ready: Some(member.ready),
        serving: Some(member.serving),
        terminating: Some(member.terminating),
        ..EndpointConditions::default()
    };
    endpoint.addresses = vec![member.pod.status.pod_ip.clone()];
    endpoint.conditions = conditions;
    endpoint.target_ref = Some(member.target());
    endpoint.node_name = member.node_name();
    let hostname = member.hostname.as_ref().and_then(|h| serde_json::value::to_raw_value(h.as_str()).ok());
    match hostname {
        Some(raw) => put(&mut endpoint, raw),
        None => endpoint.extra.remove("hostname"),
    }
    endpoint
}

fn put(endpoint: &mut Endpoint, hostname: Box<RawValue>) {
    if endpoint.extra.get("hostname") != Some(hostname.get()) {
        endpoint.extra.insert("hostname", hostname);
    }
}

fn labels(service: &Service) -> Map<Str> {
    let mut labels = inherited_labels(service);
    labels.insert(SERVICE_NAME, service.metadata.name.clone());
    labels.insert(MANAGED_BY, MANAGER.into());
    labels
}

fn create(service: &Service, name: Str, ports: Vec<EndpointPort>, endpoints: Vec<Endpoint>) -> Write {
    let mut slice = EndpointSlice { address_type: "IPv4".into(), endpoints, ports, ..EndpointSlice::default() };
    slice.metadata.name = name;
    slice.metadata.generate_name = format!("{}-", service.metadata.name).into();
    slice.metadata.namespace = service.metadata.namespace.clone();
    slice.metadata.labels = labels(service);
    slice.metadata.owner_references = vec![service.controller_reference()];
    Write::Create(EndpointSlice::into_object(Arc::new(slice)))
}

/// The update of a slice, if there is anything to say.
fn update(
    service: &Service,
    old: &Arc<EndpointSlice>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> Option<Write> {
    let labels = labels(service);
    if old.endpoints == endpoints && old.ports == ports && old.metadata.labels == labels {
        return None;
    }
    let mut slice = (**old).clone();
    slice.endpoints = endpoints;
    slice.ports = ports;
    slice.metadata.labels = labels;
    Some(Write::Update(EndpointSlice::into_object(Arc::new(slice)), Part::Main))
}

fn delete(slice: &Arc<EndpointSlice>) -> Write {
    let options = DeleteOptions {
        uid: Some(slice.metadata.uid.clone()),
        resource_version: Some(slice.metadata.resource_version),
        ..DeleteOptions::default()
    };
    Write::Delete(slice.key(), options)
}

/// Names for new slices: the same for the same service and count, so that what was written before a crash, or is decided
/// twice on a stale snapshot, is found to exist already instead of being made twice.
struct Names<'a> {
    world: &'a World,
    service: &'a Service,
    index: u64,
}

impl<'a> Names<'a> {
    fn new(world: &'a World, service: &'a Service) -> Self {
        Names { world, service, index: 0 }
    }

    fn next(&mut self) -> Str {
        let meta = &self.service.metadata;
        loop {
            let suffix = names::suffix(fnv64(&[meta.uid.as_str(), &self.index.to_string()]));
            self.index += 1;
            let name = names::generated(&format!("{}-", meta.name), &suffix);
            // Taken names end: the world is finite, and every index but a few gives another name.
            let taken = self.world.get::<EndpointSlice>(&meta.namespace, &name).is_some();
            if !taken || self.index > MOST_NAMES {
                return name.into();
            }
        }
    }
}

/// How many names are tried: more than the slices of any service that fits into a cluster. The last is answered even if
/// taken; the API then says so.
const MOST_NAMES: u64 = 100_000;
