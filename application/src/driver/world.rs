//! The world as one observer sees it: every object at one revision, indexed for those who decide. It is fed by one list and
//! one watch over all kinds, so it is consistent across kinds; a clone is an immutable snapshot in constant time.

use imbl::{OrdMap, OrdSet};
use std::sync::Arc;
use steersman_domain::ports::Change;
use steersman_domain::{Key, Kind, Object, Pod, Resource, Revision, Stored, Str, Uid};

/// Objects by namespace and name.
type Table = OrdMap<(Str, Str), Object>;

/// A snapshot of all objects.
#[derive(Clone, Debug, Default)]
pub struct World {
    revision: Revision,
    tables: OrdMap<Kind, Table>,
    /// Every object by its uid.
    uids: OrdMap<Uid, Key>,
    /// Dependents by the uid of each of their owners.
    dependents: OrdMap<Uid, OrdSet<Key>>,
    /// Pods and ReplicaSets that no owner manages, by kind and namespace: few, and those that adopt look for them.
    unmanaged: OrdMap<(Kind, Str), OrdSet<Key>>,
    /// Pods by the node they are bound to; unbound ones under the empty name.
    pods_by_node: OrdMap<Str, OrdSet<Key>>,
}

impl World {
    /// The revision up to which changes have been taken in.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Nothing older than this revision is missing: after a list, or when a watch says so.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Takes in a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { after, .. } => self.put(after),
            Change::Delete { last, .. } => {
                self.remove(&last.key);
                self.advance(last.revision);
            }
        }
    }

    /// Takes in an object as it is now.
    pub fn put(&mut self, stored: &Stored) {
        self.remove(&stored.key);
        let (key, object) = (&stored.key, &stored.object);
        let meta = object.meta();
        self.uids.insert(meta.uid.clone(), key.clone());
        for owner in &meta.owner_references {
            self.dependents.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        if can_be_adopted(key.kind) && meta.controller().is_none() {
            self.unmanaged.entry((key.kind, key.namespace.clone())).or_default().insert(key.clone());
        }
        if let Object::Pod(pod) = object {
            self.pods_by_node.entry(pod.spec.node_name.clone()).or_default().insert(key.clone());
        }
        self.tables.entry(key.kind).or_default().insert((key.namespace.clone(), key.name.clone()), object.clone());
        self.advance(stored.revision);
    }

    fn remove(&mut self, key: &Key) {
        let table = self.tables.get_mut(&key.kind);
        let Some(old) = table.and_then(|t| t.remove(&(key.namespace.clone(), key.name.clone()))) else { return };
        let meta = old.meta();
        self.uids.remove(&meta.uid);
        for owner in &meta.owner_references {
            unlink(&mut self.dependents, &owner.uid, key);
        }
        if can_be_adopted(key.kind) && meta.controller().is_none() {
            unlink(&mut self.unmanaged, &(key.kind, key.namespace.clone()), key);
        }
        if let Object::Pod(pod) = &old {
            unlink(&mut self.pods_by_node, &pod.spec.node_name, key);
        }
    }

    /// The object under a key.
    pub fn object(&self, key: &Key) -> Option<&Object> {
        self.tables.get(&key.kind)?.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// The typed object of a namespace (empty for cluster scope) and name.
    pub fn get<T: Resource>(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        T::from_object(self.tables.get(&T::KIND)?.get(&(Str::from(namespace), Str::from(name)))?)
    }

    /// Every object of a kind, in key order.
    pub fn all<T: Resource>(&self) -> impl Iterator<Item = &Arc<T>> {
        self.tables.get(&T::KIND).into_iter().flat_map(|t| t.values()).filter_map(T::from_object)
    }

    /// The objects of a kind in a namespace, in name order.
    pub fn in_namespace<T: Resource>(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        self.objects_in(T::KIND, namespace).filter_map(T::from_object)
    }

    /// The objects of a kind in a namespace, in name order, untyped.
    pub fn objects_in(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Object> {
        let namespace = Str::from(namespace);
        let start = (namespace.clone(), Str::default());
        self.tables
            .get(&kind)
            .into_iter()
            .flat_map(move |t| t.range(start.clone()..))
            .take_while(move |((n, _), _)| *n == namespace)
            .map(|(_, object)| object)
    }

    /// The key of the object with this uid.
    pub fn by_uid(&self, uid: &Uid) -> Option<&Key> {
        self.uids.get(uid)
    }

    /// The keys of the objects that name this uid as an owner, in key order.
    pub fn dependents(&self, owner: &Uid) -> impl Iterator<Item = &Key> {
        self.dependents.get(owner).into_iter().flat_map(|set| set.iter())
    }

    /// The objects of a kind that name this uid as the owner that manages them.
    pub fn controlled<'a, T: Resource>(&'a self, owner: &'a Uid) -> impl Iterator<Item = &'a Arc<T>> {
        self.dependents(owner)
            .filter(|key| key.kind == T::KIND)
            .filter_map(|key| self.get::<T>(&key.namespace, &key.name))
            .filter(move |object| object.meta().controller().is_some_and(|c| c.uid == *owner))
    }

    /// The pods or ReplicaSets of a namespace that no owner manages, in name order; none for other kinds.
    pub fn unmanaged<T: Resource>(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        let keys = self.unmanaged.get(&(T::KIND, Str::from(namespace))).into_iter().flat_map(|set| set.iter());
        keys.filter_map(|key| self.get::<T>(&key.namespace, &key.name))
    }

    /// The pods bound to a node (the empty name: not bound), in key order.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let keys = self.pods_by_node.get(&Str::from(node)).into_iter().flat_map(|set| set.iter());
        keys.filter_map(|key| self.get::<Pod>(&key.namespace, &key.name))
    }
}

fn can_be_adopted(kind: Kind) -> bool {
    kind == Kind::Pod || kind == Kind::ReplicaSet
}

fn unlink<K: Ord + Clone>(index: &mut OrdMap<K, OrdSet<Key>>, at: &K, key: &Key) {
    if let Some(set) = index.get_mut(at) {
        set.remove(key);
        if set.is_empty() {
            index.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::{OwnerReference, ReplicaSet};

    fn stored<T: Resource>(object: T, revision: u64) -> Stored {
        Stored::new(object.key(), Revision(revision), T::into_object(Arc::new(object)))
    }

    #[test]
    fn indexes_follow_the_objects() {
        let mut world = World::default();
        let mut set = ReplicaSet::default();
        (set.metadata.name, set.metadata.namespace, set.metadata.uid) = ("rs".into(), "ns".into(), "u1".into());
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.namespace, pod.metadata.uid) = ("p".into(), "ns".into(), "u2".into());
        pod.metadata.owner_references =
            vec![OwnerReference { uid: "u1".into(), controller: Some(true), ..Default::default() }];
        world.put(&stored(set.clone(), 1));
        world.put(&stored(pod.clone(), 2));
        let before = world.clone();
        pod.spec.node_name = "n1".into();
        world.put(&stored(pod.clone(), 3));
        assert_eq!(world.controlled::<Pod>(&"u1".into()).count(), 1);
        assert_eq!((world.unmanaged::<Pod>("ns").count(), world.unmanaged::<ReplicaSet>("ns").count()), (0, 1));
        assert_eq!((world.pods_on("n1").count(), world.pods_on("").count()), (1, 0));
        assert_eq!((before.pods_on("n1").count(), before.revision()), (0, Revision(2)), "a snapshot stands still");
        let mut loose = pod.clone();
        loose.metadata.owner_references.clear();
        world.put(&stored(loose, 3));
        assert_eq!((world.unmanaged::<Pod>("ns").count(), world.unmanaged::<Pod>("other").count()), (1, 0));
        let last = Arc::new(stored(pod, 4));
        world.apply(&Change::Delete { before: last.clone(), last });
        assert_eq!(world.dependents(&"u1".into()).count(), 0);
        assert_eq!((world.by_uid(&"u2".into()), world.pods_on("n1").count()), (None, 0));
        assert_eq!(world.in_namespace::<ReplicaSet>("ns").count(), 1);
    }
}
