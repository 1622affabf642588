//! The store in memory, with a note of where each transaction ended: rules across objects hold there, not between two
//! changes of one transaction.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use steersman_domain::ports::{
    Committed, Head, ListPage, ListQuery, Rejected, Scope, Store, StoreError, Txn, WatchStream,
};
use steersman_domain::{Key, Revision, Stored, Time};
use steersman_store::MemoryStore;

#[derive(Default)]
pub(crate) struct RecordedStore {
    inner: MemoryStore,
    ends: Mutex<BTreeSet<Revision>>,
}

impl RecordedStore {
    /// The last revisions of all transactions.
    pub(crate) fn ends(&self) -> BTreeSet<Revision> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait::async_trait]
impl Store for RecordedStore {
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        let answers = self.inner.commit(txns).await?;
        let ends = answers.iter().flatten().map(Committed::revision);
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
        Ok(answers)
    }
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<Arc<Stored>>, StoreError> {
        self.inner.get(key, at).await
    }
    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        self.inner.list(query).await
    }
    async fn watch(&self, scope: Scope, after: Revision) -> Result<Box<dyn WatchStream>, StoreError> {
        self.inner.watch(scope, after).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }
    async fn compact(&self, before: Revision) -> Result<Revision, StoreError> {
        self.inner.compact(before).await
    }
    async fn revision_at(&self, time: Time) -> Result<Revision, StoreError> {
        self.inner.revision_at(time).await
    }
    async fn time_of(&self, revision: Revision) -> Result<Time, StoreError> {
        self.inner.time_of(revision).await
    }
    async fn set_term(&self, term: u64) -> Result<(), StoreError> {
        self.inner.set_term(term).await
    }
}
