//! The names of a controller's pods. They follow from the uid of the controller and a running number, so that a creation repeated
//! on a stale snapshot, or after a crash, meets the pod it would double (`AlreadyExists`) instead of doubling it.

use crate::driver::world::World;
use crate::reconcile::fnv64;
use std::collections::BTreeSet;
use steersman_domain::{ObjectMeta, Pod, Str, names};

/// Where the running number stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Numbers below this have been used by pods that were seen: not given again, so that a new pod has a new name.
    next: u64,
    /// Names given last, whose pods have not been seen yet.
    offered: Vec<(u64, Str)>,
}

impl Names {
    /// Moves on past the names whose pods are in the world.
    pub(super) fn seen(&mut self, world: &World, namespace: &str) {
        let next = &mut self.next;
        self.offered.retain(|(number, name)| {
            let is_there = world.get::<Pod>(namespace, name).is_some();
            if is_there {
                *next = (*next).max(number + 1);
            }
            !is_there
        });
    }

    /// The next names that no pod of the world has. Asked again without any pod seen, it gives the same ones.
    pub(super) fn offer(&mut self, meta: &ObjectMeta, world: &World, count: usize) -> Vec<Str> {
        let mut number = self.next;
        let prefix = format!("{}-", meta.name);
        let mut given = BTreeSet::new();
        self.offered.clear();
        while self.offered.len() < count {
            let random = fnv64(&[meta.uid.as_str(), &number.to_string()]);
            let name = Str::from(names::generated(&prefix, &names::suffix(random)));
            if world.get::<Pod>(&meta.namespace, &name).is_none() && given.insert(name.clone()) {
                self.offered.push((number, name));
            }
            number += 1;
        }
        self.offered.iter().map(|(_, name)| name.clone()).collect()
    }
}
