//! Endpoints: for every service with a selector, the EndpointSlices (and the older Endpoints object) that say where its
//! pods answer. Slices of services without a selector belong to whoever made them. What a service takes with it when it is
//! deleted is the garbage collector's business: everything here names the service as its owner.
//! Source of the rules: Kubernetes `pkg/controller/endpointslice`, `staging/src/k8s.io/endpointslice`,
//! `pkg/controller/endpoint`.

mod legacy;
mod members;
mod slices;
#[cfg(test)]
mod tests;

use super::{Moment, Outcome, Reconciler};
use crate::driver::world::World;
use members::Member;
use std::collections::BTreeSet;
use std::sync::Arc;
use steersman_domain::ports::Change;
use steersman_domain::{EndpointSlice, Key, Kind, Map, Object, Pod, Resource, Service, Str};

/// The label that names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that names who keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on slices that this reconciler keeps.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The label of everything that belongs to a headless service.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Keeps EndpointSlices and Endpoints. It remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointsReconciler;

impl Reconciler for EndpointsReconciler {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        let (before, after) = sides(change);
        match change.key().kind {
            Kind::Service => vec![change.key().clone()],
            Kind::Endpoints => {
                let key = Key { kind: Kind::Service, ..change.key().clone() };
                world.object(&key).map(|_| key).into_iter().collect()
            }
            Kind::EndpointSlice => {
                let services: BTreeSet<Key> =
                    [before, after].into_iter().flatten().filter_map(service_of_slice).collect();
                services.into_iter().collect()
            }
            Kind::Pod => pod_triggers(typed(before), typed(after), world),
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<Service>().map(|s| s.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, _now: Moment) -> Outcome {
        let Some(service) = world.get::<Service>(&key.namespace, &key.name) else { return Outcome::default() };
        // What is being deleted keeps what it has: making more would hold a foreground deletion up for ever.
        if service.spec.selector.is_empty() || service.metadata.is_deleting() {
            return Outcome::default();
        }
        let pods = world.in_namespace::<Pod>(&key.namespace).filter(|p| selects(service, p));
        let members: Vec<Member<'_>> = pods.filter_map(|pod| Member::new(service, pod)).collect();
        let mut outcome = Outcome::default();
        slices::plan(world, service, &members, &mut outcome);
        legacy::plan(world, service, &members, &mut outcome);
        outcome
    }
}

fn sides(change: &Change) -> (Option<&Object>, Option<&Object>) {
    match change {
        Change::Put { before, after } => (before.as_ref().map(|s| &s.object), Some(&after.object)),
        Change::Delete { before, .. } => (Some(&before.object), None),
    }
}

fn typed<T: Resource>(object: Option<&Object>) -> Option<&Arc<T>> {
    object.and_then(T::from_object)
}

fn service_of_slice(object: &Object) -> Option<Key> {
    let slice = EndpointSlice::from_object(object)?;
    let labels = &slice.metadata.labels;
    if labels.get(MANAGED_BY).map(Str::as_str) != Some(MANAGER) {
        return None;
    }
    labels.get(SERVICE_NAME).map(|name| Key::new(Kind::Service, &slice.metadata.namespace, name))
}

/// The services that select the pod as it was or as it is, when something changed that endpoints show.
fn pod_triggers(before: Option<&Arc<Pod>>, after: Option<&Arc<Pod>>, world: &World) -> Vec<Key> {
    if before.zip(after).is_some_and(|(old, new)| members::looks_alike(old, new)) {
        return Vec::new();
    }
    let Some(pod) = after.or(before) else { return Vec::new() };
    let either = |service: &Service| [before, after].into_iter().flatten().any(|p| selects(service, p));
    world.in_namespace::<Service>(&pod.metadata.namespace).filter(|s| either(s)).map(|s| s.key()).collect()
}

/// Whether the pod stands behind the service. An empty selector selects nothing.
fn selects(service: &Service, pod: &Pod) -> bool {
    let (selector, labels) = (&service.spec.selector, &pod.metadata.labels);
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The labels of the service, less those that only slices carry, and the mark of headless services.
fn inherited_labels(service: &Service) -> Map<Str> {
    let own = |key: &str| key == SERVICE_NAME || key == MANAGED_BY || key == HEADLESS;
    let mut labels: Map<Str> = service
        .metadata
        .labels
        .iter()
        .filter(|(key, _)| !own(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if service.is_headless() {
        labels.insert(HEADLESS, Str::default());
    }
    labels
}
