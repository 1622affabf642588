//! The store in memory: the present in persistent ordered maps, one per kind, and the retained past as a log of changes
//! per kind. A read takes a snapshot in constant time and works on it without a lock; a read of the past undoes the log
//! backwards from the present. Watchers keep no queue: each reads the log from its own cursor. Nothing survives the
//! process,
//! unless the store keeps a journal (`MemoryStore::open`).

mod by_node;
mod journal;
mod state;
mod watch;

use self::journal::Journal;
pub use self::journal::JournalError;
use self::state::State;
use crate::signal::Signal;
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use steersman_domain::ports::{
    Committed, Head, ListPage, ListQuery, Op, Rejected, Scope, Store, StoreError, Txn, WatchStream,
};
use steersman_domain::sharing::Sharing;
use steersman_domain::{Key, Revision, Stored, Time};

/// A store in memory. Cheap to clone; clones share the objects.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

/// The state, and the signal that wakes watchers: the newest revision.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// Locked only while the state is locked for writing, so that lines are in the order of revisions.
    journal: Option<Mutex<Journal>>,
    newest: Signal,
    /// What objects have in common.
    sharing: Mutex<Sharing>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store at revision 0.
    pub fn new() -> Self {
        Self::with(State::default(), None)
    }

    /// The store of a journal file, which is made where it is missing: what was answered before the process ended, however
    /// it ended, is there again. A journal is written, not synced: after a loss of power the last seconds may be missing.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged before its last line; it is left as it is then.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (journal, state) = Journal::open(path)?;
        Ok(Self::with(state, Some(journal)))
    }

    fn with(state: State, journal: Option<Journal>) -> Self {
        let newest = Signal::new(state.revision.0);
        let (state, journal) = (RwLock::new(state), journal.map(Mutex::new));
        let shared = Shared { state, journal, newest, sharing: Mutex::default() };
        MemoryStore { shared: Arc::new(shared) }
    }

    /// Makes what is to be stored share what it has in common with what was, before anybody waits for the state.
    fn share(&self, txns: &mut [Txn]) {
        let mut sharing = self.shared.sharing.lock();
        for op in txns.iter_mut().flat_map(|txn| &mut txn.ops) {
            if let Op::Put(_, object) = op {
                sharing.share(object);
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, mut txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        self.share(&mut txns);
        let (answers, concerned, after) = {
            let mut state = self.shared.state.write();
            let mut journal = self.shared.journal.as_ref().map(|j| j.lock());
            if let Some(journal) = &journal {
                journal.usable()?;
            }
            let before = state.revision;
            let mut answers = Vec::with_capacity(txns.len());
            for txn in txns {
                let answer = state.apply(txn);
                if let (Ok(committed), Some(journal)) = (&answer, &mut journal) {
                    journal.note(committed, state.newest_time());
                }
                answers.push(answer);
            }
            if let Some(Err(error)) = journal.as_mut().map(|journal| journal.write()) {
                // Nobody has seen it: the lock is still held.
                state.revert(before);
                return Err(error);
            }
            (answers, state.concerned_since(before), (state.revision > before).then_some(state.revision))
        };
        if let Some(after) = after {
            // Woken after the lock is free; a watcher never sees a transaction in part, since it reads under the lock.
            self.shared.newest.ring(after.0, &concerned);
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
        if let Some(journal) = &self.shared.journal {
            journal.lock().shorten(&state)?;
        }
        drop(state);
        // A watcher that fell behind learns of it now, not at the next change. Those of one node have lost nothing but what they
        // were rung for.
        self.shared.newest.ring(newest.0, &BTreeSet::new());
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
        match &self.shared.journal {
            Some(journal) => journal.lock().note_term(state.term),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    #[tokio::test]
    async fn conforms_with_a_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let count = AtomicU32::new(0);
        let open = || async {
            let n = count.fetch_add(1, Ordering::Relaxed);
            let store = MemoryStore::open(&dir.path().join(format!("journal-{n}"))).expect("a new journal");
            Arc::new(store) as Arc<dyn Store>
        };
        steersman_domain::testing::store::conformance(open).await;
    }

    /// One of many nodes is not woken for the pods of others, and loses nothing by sleeping through a compaction.
    #[tokio::test]
    async fn the_watch_of_a_node_sleeps_while_nothing_happens_to_its_pods() {
        use steersman_domain::{Kind, Pod, Resource as _};
        let store = MemoryStore::new();
        let bind = async |name: &str, node: &str| {
            let mut pod = Pod::default();
            (pod.metadata.name, pod.spec.node_name) = (name.into(), node.into());
            let op = Op::Put(pod.key(), Pod::into_object(Arc::new(pod)));
            let txn = Txn { preconditions: Vec::new(), ops: vec![op], at: Time::default() };
            store.commit(vec![txn]).await.expect("in memory").pop().expect("one").expect("free").revision()
        };
        let scope = Scope { node: Some("a".into()), ..Scope::kind(Kind::Pod) };
        let mut watch = store.watch(scope, Revision(0)).await.expect("retained");
        let woken = Arc::new(Woken(AtomicU32::new(0)));
        let waker = Waker::from(woken.clone());
        let mut poll = || std::pin::pin!(watch.next()).poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        for number in 0..10 {
            bind(&format!("b-{number}"), "b").await;
        }
        let newest = store.head().await.expect("in memory").revision;
        store.compact(newest).await.expect("in memory");
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "nothing was for it");
        let own = bind("a", "a").await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        match poll() {
            Poll::Ready(Ok(changes)) => assert_eq!(changes.iter().map(|c| c.revision()).collect::<Vec<_>>(), [own]),
            other => panic!("{other:?}"),
        }
    }

    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn conforms() {
        steersman_domain::testing::store::conformance(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> })
            .await;
    }
}
