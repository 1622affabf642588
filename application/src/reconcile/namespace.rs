//! Namespaces: an active one has the service account `default`; a terminating one is emptied, pods first and with their
//! grace, then everything else, and let go when nothing is left in it.
//! Source of the rules: Kubernetes `pkg/controller/namespace/deletion/namespaced_resources_deleter.go` (with ordered
//! deletion) and `pkg/controller/serviceaccount/serviceaccounts_controller.go`.

use super::{Moment, Outcome, Reconciler};
use crate::client::{DeleteOptions, Part, Propagation, Write};
use crate::driver::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::Change;
use steersman_domain::{Condition, Key, Kind, Namespace, Object, Resource, ServiceAccount, Str, Time};

/// The finalizer in the spec that stands for "the content is still there".
const FINALIZER: &str = "kubernetes";
/// The account that pods have which name none.
const ACCOUNT: &str = "default";
/// Deletions per pass: what one group of writes in the store takes without holding others up. The next pass follows as
/// soon as the first of them are seen.
const MOST_DELETES: usize = 500;

/// Keeps namespaces. It remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceReconciler;

impl Reconciler for NamespaceReconciler {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        let key = change.key();
        if key.kind == Kind::Namespace {
            return vec![key.clone()];
        }
        let Some(namespace) = world.get::<Namespace>("", &key.namespace) else { return Vec::new() };
        let account = key.kind == Kind::ServiceAccount && key.name == ACCOUNT;
        if account || namespace.metadata.is_deleting() { vec![namespace.key()] } else { Vec::new() }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<Namespace>().map(|n| n.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        match world.get::<Namespace>("", &key.name) {
            None => Outcome::default(),
            Some(namespace) if namespace.metadata.is_deleting() => terminate(world, namespace, now.time),
            Some(namespace) if namespace.is_terminating() => Outcome::default(),
            Some(namespace) => furnish(world, namespace),
        }
    }
}

fn furnish(world: &World, namespace: &Namespace) -> Outcome {
    let mut outcome = Outcome::default();
    if world.get::<ServiceAccount>(&namespace.metadata.name, ACCOUNT).is_none() {
        let mut account = ServiceAccount::default();
        account.metadata.name = ACCOUNT.into();
        account.metadata.namespace = namespace.metadata.name.clone();
        outcome.writes.push(Write::Create(ServiceAccount::into_object(Arc::new(account))));
    }
    outcome
}

/// What is left in a namespace.
#[derive(Default)]
struct Content {
    /// Objects by the kind as people write it.
    kinds: BTreeMap<String, usize>,
    /// Objects by finalizer.
    finalizers: BTreeMap<Str, usize>,
    total: usize,
}

impl Content {
    fn add(&mut self, object: &Object) {
        *self.kinds.entry(object.kind().qualified_plural()).or_default() += 1;
        for finalizer in &object.meta().finalizers {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        self.total += 1;
    }
}

fn terminate(world: &World, namespace: &Arc<Namespace>, now: Time) -> Outcome {
    let name = &namespace.metadata.name;
    let kinds = || Kind::ALL.iter().filter(|k| k.info().namespaced && k.info().served);
    let mut content = Content::default();
    for kind in kinds() {
        world.objects_in(*kind, name).for_each(|object| content.add(object));
    }
    let mut outcome = Outcome::default();
    if content.total == 0 {
        let mut free = (**namespace).clone();
        free.spec.finalizers.retain(|f| f != FINALIZER);
        if free.spec.finalizers.len() < namespace.spec.finalizers.len() {
            outcome.why.push(format!("namespace {name} is empty"));
            outcome.writes.push(Write::Update(Namespace::into_object(Arc::new(free)), Part::Finalize));
            return outcome;
        }
    }
    // While pods are ending they may still need what they run on: secrets, services, events.
    let pods = world.objects_in(Kind::Pod, name).next().is_some();
    let doomed = kinds().filter(|k| !pods || **k == Kind::Pod).flat_map(|k| world.objects_in(*k, name));
    let doomed = doomed.filter(|o| !o.meta().is_deleting()).take(MOST_DELETES);
    outcome.writes.extend(doomed.map(delete));
    let mut told = (**namespace).clone();
    let mut changed = false;
    for condition in conditions(&content, now) {
        changed |= set_condition(&mut told.status.conditions, condition);
    }
    if changed {
        outcome.writes.push(Write::Update(Namespace::into_object(Arc::new(told)), Part::Status));
    }
    if content.total > 0 {
        outcome.why.push(format!("namespace {name} waits for {} objects to be gone", content.total));
    }
    outcome
}

fn delete(object: &Object) -> Write {
    let meta = object.meta();
    let key = Key { kind: object.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() };
    let options = DeleteOptions {
        uid: Some(meta.uid.clone()),
        propagation: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    Write::Delete(key, options)
}

fn conditions(content: &Content, now: Time) -> [Condition; 2] {
    let list = |parts: Vec<String>| parts.join(", ");
    let remaining = if content.kinds.is_empty() {
        Condition::new(
            "NamespaceContentRemaining",
            false,
            "ContentRemoved",
            "All content successfully removed",
            now.truncated(),
        )
    } else {
        let kinds = content.kinds.iter().map(|(kind, n)| format!("{kind}. has {n} resource instances")).collect();
        let message = format!("Some resources are remaining: {}", list(kinds));
        Condition::new("NamespaceContentRemaining", true, "SomeResourcesRemain", message, now.truncated())
    };
    let finalizers = if content.finalizers.is_empty() {
        Condition::new(
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
            now.truncated(),
        )
    } else {
        let names = content.finalizers.iter().map(|(name, n)| format!("{name} in {n} resource instances")).collect();
        let message = format!("Some content in the namespace has finalizers remaining: {}", list(names));
        Condition::new("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", message, now.truncated())
    };
    [remaining, finalizers]
}
