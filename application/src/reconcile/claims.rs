//! Which pods are whose: controllers adopt pods that their selector matches and nobody manages, and release those that it
//! no longer matches.

use super::Outcome;
use crate::client::{Part, Write};
use crate::driver::world::World;
use std::sync::Arc;
use steersman_domain::selector::Selector;
use steersman_domain::{Object, OwnerReference, Pod, Resource};

/// The reference by which an object is managed.
pub(crate) fn controller_reference<T: Resource>(owner: &T) -> OwnerReference {
    let (info, meta) = (T::KIND.info(), owner.meta());
    OwnerReference {
        api_version: info.api_version.into(),
        kind: info.kind.into(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
        ..OwnerReference::default()
    }
}

/// The pods of a controller in name order, with those it adopts now; adoptions and releases are added to the outcome. Only
/// pods that `count` are looked at.
pub(super) fn claim<T: Resource>(
    owner: &T,
    selector: &Selector,
    world: &World,
    count: impl Fn(&Pod) -> bool,
    outcome: &mut Outcome,
) -> Vec<Arc<Pod>> {
    let mut pods = Vec::new();
    let (uid, is_deleting) = (&owner.meta().uid, owner.meta().is_deleting());
    for pod in world.controlled::<Pod>(uid).filter(|p| count(p)) {
        if selector.matches(&pod.metadata.labels) {
            pods.push(pod.clone());
        } else if !is_deleting {
            let mut released = Pod::clone(pod);
            released.metadata.owner_references.retain(|o| o.uid != *uid);
            outcome.why.push(format!("pod {} no longer matches the selector: released", pod.metadata.name));
            outcome.writes.push(Write::Update(Object::Pod(Arc::new(released)), Part::Main));
        }
    }
    if is_deleting {
        return pods;
    }
    for pod in world.unmanaged::<Pod>(&owner.meta().namespace) {
        if pod.is_active() && count(pod) && selector.matches(&pod.metadata.labels) {
            let mut adopted = Pod::clone(pod);
            adopted.metadata.owner_references.push(controller_reference(owner));
            outcome.why.push(format!("pod {} matches the selector and has no owner: adopted", pod.metadata.name));
            outcome.writes.push(Write::Update(Object::Pod(Arc::new(adopted)), Part::Main));
            pods.push(pod.clone());
        }
    }
    pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    pods
}
