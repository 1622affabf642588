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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::garbage::cluster::{Cluster, running_pod};
    use steersman_domain::meta::condition;
    use steersman_domain::{ConfigMap, Pod, Secret};

    fn named<T: Resource>(name: &str) -> T {
        let mut object = T::default();
        (object.meta_mut().name, object.meta_mut().namespace) = (name.into(), "ns".into());
        object
    }

    /// A namespace with a running pod, a secret, and a config map that is held by somebody.
    fn cluster() -> Cluster {
        let mut cluster = Cluster::new();
        let mut namespace = Namespace::default();
        namespace.metadata.name = "ns".into();
        namespace.spec.finalizers = vec![FINALIZER.into()];
        namespace.status.phase = "Active".into();
        cluster.put(namespace);
        cluster.put(running_pod("ns", "p", "n1", "10.0.0.1"));
        cluster.put(named::<Secret>("s"));
        let mut held = named::<ConfigMap>("m");
        held.metadata.finalizers = vec!["example.com/wait".into()];
        cluster.put(held);
        cluster.settle(&mut NamespaceReconciler);
        cluster
    }

    fn key() -> Key {
        Key::cluster(Kind::Namespace, "ns")
    }

    fn told(cluster: &Cluster, kind: &str) -> (Str, Str) {
        let namespace = cluster.get::<Namespace>("", "ns");
        let found = condition(&namespace.status.conditions, kind).expect("it is said");
        (found.status.clone(), found.message.clone())
    }

    #[test]
    fn an_active_namespace_has_an_account() {
        let mut cluster = cluster();
        let account = cluster.get::<ServiceAccount>("ns", ACCOUNT);
        cluster.remove(&account.key());
        assert_eq!(cluster.react(&mut NamespaceReconciler), 1);
        assert!(cluster.find::<ServiceAccount>("ns", ACCOUNT).is_some());
        cluster.edit::<Secret>("ns", "s", |s| s.kind = "Opaque".into());
        assert_eq!(cluster.react(&mut NamespaceReconciler), 0);
    }

    #[test]
    fn pods_go_first_and_with_their_grace_then_the_rest_then_the_namespace() {
        let mut cluster = cluster();
        cluster.write(Write::Delete(key(), DeleteOptions::default())).expect("it is there");
        cluster.react(&mut NamespaceReconciler);
        let pod = cluster.get::<Pod>("ns", "p");
        assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(30));
        assert!(!cluster.get::<Secret>("ns", "s").metadata.is_deleting(), "a pod that is ending may need it");
        let (status, message) = told(&cluster, "NamespaceContentRemaining");
        assert_eq!(status, "True");
        assert_eq!(
            message,
            "Some resources are remaining: configmaps. has 1 resource instances, pods. has 1 resource instances, \
             secrets. has 1 resource instances, serviceaccounts. has 1 resource instances"
        );

        cluster.remove(&pod.key());
        cluster.react(&mut NamespaceReconciler);
        assert!(cluster.find::<Secret>("ns", "s").is_none());
        let (status, message) = told(&cluster, "NamespaceFinalizersRemaining");
        assert_eq!(status, "True");
        assert_eq!(
            message,
            "Some content in the namespace has finalizers remaining: example.com/wait in 1 resource instances"
        );

        cluster.remove(&Key::new(Kind::ConfigMap, "ns", "m"));
        cluster.react(&mut NamespaceReconciler);
        assert!(cluster.find::<Namespace>("", "ns").is_none());
    }

    #[test]
    fn what_others_hold_stays_and_says_so() {
        let mut cluster = cluster();
        cluster.edit::<Namespace>("", "ns", |n| n.spec.finalizers.push("example.com/mine".into()));
        cluster.remove(&Key::new(Kind::Pod, "ns", "p"));
        cluster.remove(&Key::new(Kind::ConfigMap, "ns", "m"));
        cluster.write(Write::Delete(key(), DeleteOptions::default())).expect("it is there");
        cluster.react(&mut NamespaceReconciler);
        assert_eq!(cluster.get::<Namespace>("", "ns").spec.finalizers, ["example.com/mine"]);
        assert_eq!(told(&cluster, "NamespaceContentRemaining").0, "False");
        assert_eq!(told(&cluster, "NamespaceFinalizersRemaining").0, "False");
    }

    #[test]
    fn a_pass_is_bounded_and_the_next_goes_on() {
        let mut cluster = cluster();
        cluster.remove(&Key::new(Kind::Pod, "ns", "p"));
        cluster.remove(&Key::new(Kind::ConfigMap, "ns", "m"));
        (0..1_100).for_each(|at| drop(cluster.put(named::<ConfigMap>(&format!("m{at}")))));
        cluster.write(Write::Delete(key(), DeleteOptions::default())).expect("it is there");
        let outcome = NamespaceReconciler.reconcile(&cluster.world, &key(), cluster.now);
        assert_eq!(outcome.writes.len(), MOST_DELETES + 1);
        cluster.react(&mut NamespaceReconciler);
        assert!(cluster.find::<Namespace>("", "ns").is_none());
    }

    #[test]
    fn crashes_stale_input_and_order_do_no_harm() {
        let mut crashing = cluster();
        crashing.write(Write::Delete(key(), DeleteOptions::default())).expect("it is there");
        let outcome = NamespaceReconciler.reconcile(&crashing.world, &key(), crashing.now);
        crashing.perform_twice(&outcome);
        crashing.remove(&Key::new(Kind::Pod, "ns", "p"));
        crashing.remove(&Key::new(Kind::ConfigMap, "ns", "m"));
        crashing.settle_through_crashes(|| NamespaceReconciler);
        assert!(crashing.find::<Namespace>("", "ns").is_none());

        let build = |names: [&str; 3]| {
            let mut cluster = Cluster::new();
            names.iter().for_each(|name| drop(cluster.put(named::<Secret>(name))));
            let mut namespace = Namespace::default();
            namespace.metadata.name = "ns".into();
            namespace.metadata.deletion_timestamp = Some(Time::from_secs(1));
            cluster.put(namespace);
            NamespaceReconciler.reconcile(&cluster.world, &key(), cluster.now)
        };
        assert_eq!(build(["a", "b", "c"]), build(["c", "a", "b"]));
    }
}
