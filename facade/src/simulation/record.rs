//! The store of a simulated cluster: in memory, with a record of every revision that it ever decided, and when.

use super::trace::{Entry, Trace};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman_application::driver::virtual_time::VirtualClock;
use steersman_application::driver::world::World;
use steersman_domain::ports::{
    Change, Clock, Committed, Head, ListPage, ListQuery, Rejected, Scope, Store, StoreError, Txn, WatchStream,
};
use steersman_domain::{Key, Revision, Stored, Time};
use steersman_store::MemoryStore;
use tokio::sync::Notify;

/// Sees every revision as it is committed, and when.
pub(super) type Observer = Arc<dyn Fn(Duration, &Change) + Send + Sync>;

/// What becomes of revisions beside their place in the world.
#[derive(Clone)]
pub(super) struct Wanted {
    /// They are kept for the trace.
    pub(super) trace: bool,
    pub(super) observer: Option<Observer>,
}

#[derive(Default)]
struct Record {
    /// How many revisions there have been.
    count: usize,
    entries: Vec<Entry>,
    current: BTreeMap<Key, Arc<Stored>>,
    world: World,
}

impl Record {
    fn note(&mut self, committed: &Committed, clock: &VirtualClock, wanted: &Wanted) {
        let at = clock.monotonic();
        for (stored, removed) in committed.results.iter().zip(&committed.removed) {
            let change = match removed {
                false => {
                    let before = self.current.insert(stored.key.clone(), stored.clone());
                    Change::Put { before, after: stored.clone() }
                }
                true => {
                    let before = self.current.remove(&stored.key).unwrap_or_else(|| stored.clone());
                    Change::Delete { before, last: stored.clone() }
                }
            };
            self.world.apply(&change);
            self.count += 1;
            if let Some(observer) = &wanted.observer {
                observer(at, &change);
            }
            if wanted.trace {
                self.entries.push(Entry { at, change, ends_transaction: false });
            }
        }
        if let Some(last) = self.entries.last_mut() {
            last.ends_transaction = true;
        }
    }
}

/// The recording store.
pub(super) struct Recorder {
    inner: MemoryStore,
    clock: VirtualClock,
    wanted: Wanted,
    record: Mutex<Record>,
    pub(super) committed: Notify,
}

impl Recorder {
    pub(super) fn new(clock: VirtualClock, wanted: Wanted) -> Self {
        Recorder { inner: MemoryStore::new(), clock, wanted, record: Mutex::default(), committed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything there is now.
    pub(super) fn world(&self) -> World {
        self.lock().world.clone()
    }

    /// Everything that was ever committed.
    pub(super) fn trace(&self) -> Trace {
        Trace::new(self.lock().entries.clone())
    }

    /// How many revisions there have been.
    pub(super) fn len(&self) -> usize {
        self.lock().count
    }
}

#[async_trait::async_trait]
impl Store for Recorder {
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        // The store in memory never waits, so nobody comes between the commit and its note.
        let answers = self.inner.commit(txns).await?;
        let mut record = self.lock();
        for committed in answers.iter().flatten().filter(|committed| !committed.results.is_empty()) {
            record.note(committed, &self.clock, &self.wanted);
        }
        drop(record);
        self.committed.notify_waiters();
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
