//! The store in memory: the present in persistent ordered maps, one per kind, and the retained past as a log of changes
//! per kind. A read takes a snapshot in constant time and works on it without a lock; a read of the past undoes the log
//! backwards from the present. Watchers keep no queue: each reads the log from its own cursor. Nothing survives the
//! process.

mod state;
mod watch;

use self::state::State;
use async_trait::async_trait;
use parking_lot::RwLock;
use std::sync::Arc;
use steersman_domain::ports::{
    Committed, Head, ListPage, ListQuery, Rejected, Scope, Store, StoreError, Txn, WatchStream,
};
use steersman_domain::{Key, Revision, Stored, Time};
use tokio::sync::watch as signal;

/// A store in memory. Cheap to clone; clones share the objects.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

/// The state, and the signal that wakes watchers: the newest revision.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    newest: signal::Sender<u64>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store at revision 0.
    pub fn new() -> Self {
        let shared = Shared { state: RwLock::new(State::default()), newest: signal::Sender::new(0) };
        MemoryStore { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        let (answers, before, after) = {
            let mut state = self.shared.state.write();
            let before = state.revision;
            let answers = txns.into_iter().map(|txn| state.apply(txn)).collect();
            (answers, before, state.revision)
        };
        if after > before {
            // Woken after the lock is free; a watcher never sees a transaction in part, since it reads under the lock.
            self.shared.newest.send_replace(after.0);
        }
        Ok(answers)
    }

    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<Arc<Stored>>, StoreError> {
        let state = self.shared.state.read();
        match at {
            None => Ok(state.current(key).cloned()),
            Some(at) => {
                state.readable(at)?;
                Ok(state.past(key, at))
            }
        }
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        let snapshot = {
            let state = self.shared.state.read();
            if let Some(at) = query.at {
                state.readable(at)?;
            }
            state.snapshot(&query)
        };
        Ok(snapshot.page(&query))
    }

    async fn watch(&self, scope: Scope, after: Revision) -> Result<Box<dyn WatchStream>, StoreError> {
        self.shared.state.read().readable(after)?;
        Ok(Box::new(watch::Watcher::new(self.shared.clone(), scope, after)))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let state = self.shared.state.read();
        Ok(Head { revision: state.revision, oldest: state.oldest })
    }

    async fn compact(&self, before: Revision) -> Result<Revision, StoreError> {
        let mut state = self.shared.state.write();
        state.compact(before);
        let (oldest, newest) = (state.oldest, state.revision);
        drop(state);
        // A watcher that fell behind learns of it now, not at the next change.
        self.shared.newest.send_replace(newest.0);
        Ok(oldest)
    }

    async fn revision_at(&self, time: Time) -> Result<Revision, StoreError> {
        self.shared.state.read().revision_at(time)
    }

    async fn time_of(&self, revision: Revision) -> Result<Time, StoreError> {
        self.shared.state.read().time_of(revision)
    }

    async fn set_term(&self, term: u64) -> Result<(), StoreError> {
        let mut state = self.shared.state.write();
        state.term = state.term.max(term);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        steersman_domain::testing::store::conformance(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> })
            .await;
    }
}
