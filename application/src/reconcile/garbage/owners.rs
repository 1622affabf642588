//! What has become of the owners of an object.

use super::FOREGROUND;
use crate::driver::world::World;
use steersman_domain::{Key, Kind, Object, OwnerReference, Uid};

/// The owners of an object by their state.
#[derive(Default)]
pub(super) struct Owners<'a> {
    /// An owner is there and stays, or cannot be judged: the object stays too.
    pub(super) keeps: bool,
    /// Owners that are gone.
    pub(super) absent: Vec<&'a Uid>,
    /// Owners that wait for this object to be gone before they go.
    pub(super) waiting: Vec<&'a Uid>,
    /// References to something that is there, but not where an owner of this object could be.
    pub(super) misplaced: Vec<&'a OwnerReference>,
}

impl<'a> Owners<'a> {
    pub(super) fn of(world: &World, object: &'a Object) -> Self {
        let mut owners = Owners::default();
        for reference in &object.meta().owner_references {
            let found = world.by_uid(&reference.uid);
            match owner_key(object, reference) {
                // Nobody here knows the kind: unknown is not absent.
                None => owners.keeps = true,
                Some(key) if found == Some(&key) => {
                    let waits = world
                        .object(&key)
                        .is_some_and(|o| o.meta().is_deleting() && o.meta().has_finalizer(FOREGROUND));
                    if waits {
                        owners.waiting.push(&reference.uid);
                    } else {
                        owners.keeps = true;
                    }
                }
                Some(key) => {
                    owners.absent.push(&reference.uid);
                    if found.is_some_and(|f| f.kind == key.kind && f.namespace != key.namespace) {
                        owners.misplaced.push(reference);
                    }
                }
            }
        }
        owners
    }
}

/// Where the owner must be; `None` when that cannot be said: the kind is not known here, or an object without a namespace
/// names an owner that lives in one.
pub(super) fn owner_key(object: &Object, reference: &OwnerReference) -> Option<Key> {
    let kind = Kind::find_api(&reference.api_version, &reference.kind).filter(|k| k.info().served)?;
    if !kind.info().namespaced {
        return Some(Key::cluster(kind, &reference.name));
    }
    let namespace = &object.meta().namespace;
    (!namespace.is_empty()).then(|| Key::new(kind, namespace, &reference.name))
}
