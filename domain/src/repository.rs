//! The repositories, once, on any store.

use crate::ports::{
    Clock, ListQuery, NodeRepository, PodRepository, Rejected, RepositoryError, Scope, Store, StoreError, Txn,
};
use crate::{Key, Node, Pod, Resource, Str};
use std::sync::Arc;

/// A repository of every kind over a store.
pub struct StoreRepository {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for StoreRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreRepository").finish_non_exhaustive()
    }
}

fn unavailable(error: StoreError) -> RepositoryError {
    RepositoryError::Unavailable(error.to_string())
}

fn rejected(error: Rejected) -> RepositoryError {
    match error {
        Rejected::Conflict { key, expected, found } => {
            RepositoryError::Conflict { what: key.to_string(), expected, found }
        }
        Rejected::Exists(key) => RepositoryError::AlreadyExists(key.to_string()),
        Rejected::NotFound(key) => RepositoryError::NotFound(key.to_string()),
        Rejected::Term { .. } => RepositoryError::Unavailable(error.to_string()),
    }
}

impl StoreRepository {
    /// A repository over `store`; `clock` stamps the writes.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        StoreRepository { store, clock }
    }

    /// The object, or none.
    pub async fn find<T: Resource>(&self, namespace: &str, name: &str) -> Result<Option<Arc<T>>, RepositoryError> {
        let found = self.store.get(&Key::new(T::KIND, namespace, name), None).await.map_err(unavailable)?;
        Ok(found.and_then(|s| s.typed::<T>().cloned()))
    }

    /// All objects of a namespace, or of all.
    pub async fn list<T: Resource>(&self, namespace: Option<Str>) -> Result<Vec<Arc<T>>, RepositoryError> {
        let scope = Scope { kind: Some(T::KIND), namespace, node: None };
        let page = self.store.list(ListQuery { scope, ..ListQuery::default() }).await.map_err(unavailable)?;
        Ok(page.items.iter().filter_map(|s| s.typed::<T>().cloned()).collect())
    }

    /// Creates (revision 0) or replaces.
    pub async fn save<T: Resource>(&self, object: T) -> Result<Arc<T>, RepositoryError> {
        let (key, revision, now) = (object.key(), object.meta().resource_version, self.clock.now());
        let object = T::into_object(Arc::new(object));
        let txn = match revision.0 {
            0 => Txn::create(key, object, now),
            _ => Txn::replace(key, revision, object, now),
        };
        let committed = self.one(txn).await?;
        let stored = committed.results.first().and_then(|s| s.typed::<T>().cloned());
        stored.ok_or_else(|| RepositoryError::Unavailable("the store answered with another kind of object".into()))
    }

    /// Removes at once.
    pub async fn remove<T: Resource>(&self, namespace: &str, name: &str) -> Result<(), RepositoryError> {
        let ops = vec![crate::ports::Op::Delete(Key::new(T::KIND, namespace, name))];
        self.one(Txn { preconditions: Vec::new(), ops, at: self.clock.now() }).await.map(|_| ())
    }

    async fn one(&self, txn: Txn) -> Result<crate::ports::Committed, RepositoryError> {
        let mut answers = self.store.commit(vec![txn]).await.map_err(unavailable)?;
        let answer = answers.pop().ok_or_else(|| RepositoryError::Unavailable("the store gave no answer".into()))?;
        answer.map_err(rejected)
    }
}

macro_rules! on_store {
    ($port:ident, $entity:ty) => {
        #[async_trait::async_trait]
        impl $port for StoreRepository {
            async fn find(&self, namespace: &str, name: &str) -> Result<Option<Arc<$entity>>, RepositoryError> {
                StoreRepository::find::<$entity>(self, namespace, name).await
            }
            async fn list(&self, namespace: Option<Str>) -> Result<Vec<Arc<$entity>>, RepositoryError> {
                StoreRepository::list::<$entity>(self, namespace).await
            }
            async fn save(&self, object: $entity) -> Result<Arc<$entity>, RepositoryError> {
                StoreRepository::save(self, object).await
            }
            async fn remove(&self, namespace: &str, name: &str) -> Result<(), RepositoryError> {
                StoreRepository::remove::<$entity>(self, namespace, name).await
            }
        }
    };
}
on_store!(PodRepository, Pod);
on_store!(NodeRepository, Node);
