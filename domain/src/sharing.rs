//! Equal subtrees of stored objects are one in memory: the containers, volumes, tolerations, affinities and security
//! contexts of pods and of templates. A store passes what it is about to insert through a [`Sharing`] of its own.
//!
//! What is already shared (as by pods made from one template) is left as it is, so only what clients sent is looked at.

use crate::{Affinity, Container, Object, PodSecurityContext, PodSpec, Shared, Toleration, Volume};
use serde::Serialize;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::sync::{Arc, Weak};

/// Subtrees of equal hash that are kept: more are chance or malice, and are stored unshared.
const ALIKE: usize = 4;

/// Entries below which a pool is not searched for dead ones.
const FEW: usize = 1024;

/// The subtrees that stored objects have in common. It keeps none of them alive, and its own size is at most about twice
/// the number of those that live.
#[derive(Debug, Default)]
pub struct Sharing {
    containers: Pool<Container>,
    volumes: Pool<Volume>,
    tolerations: Pool<Toleration>,
    affinities: Pool<Affinity>,
    security_contexts: Pool<PodSecurityContext>,
}

impl Sharing {
    /// Replaces subtrees of the object by equal ones that an earlier object has. The object stays equal to what it was.
    pub fn share(&mut self, object: &mut Object) {
        match object {
            Object::Pod(pod) if is_fresh(&pod.spec) => self.spec(&mut Arc::make_mut(pod).spec),
            Object::ReplicaSet(set) if is_fresh(&set.spec.template.spec) => {
                self.spec(&mut Arc::make_mut(&mut Arc::make_mut(set).spec.template).spec);
            }
            Object::Deployment(deployment) if is_fresh(&deployment.spec.template.spec) => {
                self.spec(&mut Arc::make_mut(&mut Arc::make_mut(deployment).spec.template).spec);
            }
            Object::DaemonSet(set) if is_fresh(&set.spec.template.spec) => {
                self.spec(&mut Arc::make_mut(&mut Arc::make_mut(set).spec.template).spec);
            }
            Object::StatefulSet(set) if is_fresh(&set.spec.template.spec) => {
                self.spec(&mut Arc::make_mut(&mut Arc::make_mut(set).spec.template).spec);
            }
            Object::CronJob(cron) if is_fresh(&cron.spec.job_template.spec.template.spec) => {
                self.spec(&mut Arc::make_mut(&mut Arc::make_mut(cron).spec.job_template.spec.template).spec);
            }
            Object::Job(job) if is_fresh(&job.spec.template.spec) => {
                self.spec(&mut Arc::make_mut(&mut Arc::make_mut(job).spec.template).spec);
            }
            _ => {}
        }
    }

    fn spec(&mut self, spec: &mut PodSpec) {
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            self.containers.share(container);
        }
        spec.volumes.iter_mut().for_each(|volume| self.volumes.share(volume));
        spec.tolerations.iter_mut().for_each(|toleration| self.tolerations.share(toleration));
        spec.affinity.iter_mut().for_each(|affinity| self.affinities.share(affinity));
        spec.security_context.iter_mut().for_each(|context| self.security_contexts.share(context));
    }
}

/// Whether a subtree may be one that nobody shares yet. Containers stand for all: every pod has one.
fn is_fresh(spec: &PodSpec) -> bool {
    spec.containers.iter().chain(&spec.init_containers).any(|container| Arc::strong_count(container) == 1)
}

/// Live subtrees of one type by the hash of their JSON.
#[derive(Debug)]
struct Pool<T> {
    by_hash: BTreeMap<u64, Vec<Weak<T>>>,
    /// How many entries there are before dead ones are searched for.
    sweep_at: usize,
    entries: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool { by_hash: BTreeMap::new(), sweep_at: FEW, entries: 0 }
    }
}

impl<T: Serialize + PartialEq> Pool<T> {
    fn share(&mut self, subtree: &mut Shared<T>) {
        if Arc::strong_count(subtree) > 1 {
            return;
        }
        let alike = self.by_hash.entry(hash(&**subtree)).or_default();
        let before = alike.len();
        alike.retain(|held| held.strong_count() > 0);
        self.entries -= before - alike.len();
        if let Some(equal) = alike.iter().filter_map(Weak::upgrade).find(|held| held == subtree) {
            *subtree = equal;
        } else if alike.len() < ALIKE {
            alike.push(Arc::downgrade(subtree));
            self.entries += 1;
        }
        if self.entries >= self.sweep_at {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        self.by_hash.retain(|_, alike| {
            alike.retain(|held| held.strong_count() > 0);
            !alike.is_empty()
        });
        self.entries = self.by_hash.values().map(Vec::len).sum();
        self.sweep_at = FEW.max(self.entries * 2);
    }
}

/// The hash of a value's JSON, without writing it anywhere. Equal on every run, so that memory is too.
fn hash<T: Serialize>(value: &T) -> u64 {
    struct Sink(DefaultHasher);
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    serde_json::to_writer(&mut sink, value).expect("entities are always JSON, and the sink takes everything");
    sink.0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Pod};

    fn pod(name: &str, image: &str) -> Object {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"a"}},"spec":{{
                "containers":[{{"name":"c","image":"{image}","unheardOf":[1,2]}}],
                "volumes":[{{"name":"v","emptyDir":{{}}}}],
                "tolerations":[{{"key":"k","operator":"Exists"}}],
                "securityContext":{{"runAsUser":7}}}}}}"#
        );
        Object::decode(Kind::Pod, json.as_bytes()).expect("a pod")
    }

    fn spec(object: &Object) -> &PodSpec {
        match object {
            Object::Pod(pod) => &pod.spec,
            other => panic!("a {}", other.kind()),
        }
    }

    #[test]
    fn equal_subtrees_become_one_and_others_stay() {
        let (mut first, mut second, mut other) = (pod("p1", "a"), pod("p2", "a"), pod("p3", "b"));
        let before = [first.clone(), second.clone(), other.clone()].map(|object| object.encode());
        let mut sharing = Sharing::default();
        for object in [&mut first, &mut second, &mut other] {
            sharing.share(object);
        }
        assert_eq!([&first, &second, &other].map(Object::encode), before, "nothing is seen from outside");
        let (a, b, c) = (spec(&first), spec(&second), spec(&other));
        assert!(Arc::ptr_eq(&a.containers[0], &b.containers[0]) && !Arc::ptr_eq(&a.containers[0], &c.containers[0]));
        assert!(Arc::ptr_eq(&a.volumes[0], &c.volumes[0]) && Arc::ptr_eq(&a.tolerations[0], &c.tolerations[0]));
        assert!(a.security_context.iter().zip(&c.security_context).all(|(a, c)| Arc::ptr_eq(a, c)));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut sharing = Sharing::default();
        for n in 0..10 * FEW {
            sharing.share(&mut pod("p", &n.to_string()));
        }
        assert!(sharing.containers.entries <= FEW, "{}", sharing.containers.entries);
        let held: Vec<Object> = (0..2 * FEW)
            .map(|n| {
                let mut pod = pod("p", &n.to_string());
                sharing.share(&mut pod);
                pod
            })
            .collect();
        assert!((held.len()..=2 * held.len()).contains(&sharing.containers.entries));
    }

    #[test]
    fn shared_templates_are_not_copied() {
        let mut first = pod("p1", "a");
        let mut sharing = Sharing::default();
        let held = spec(&first).containers[0].clone();
        sharing.share(&mut first);
        assert!(Arc::ptr_eq(&held, &spec(&first).containers[0]));
        assert_eq!(sharing.containers.entries, 0);
        let typed: &Arc<Pod> = crate::Resource::from_object(&first).expect("a pod");
        assert_eq!(Arc::strong_count(typed), 1);
    }
}
