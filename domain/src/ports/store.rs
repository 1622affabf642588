//! The store: what an adapter for a database implements. Everything else (repositories, use cases) is written once on top.

use crate::{Key, Kind, Object, Revision, Stored, Str, Time};
use std::sync::Arc;

/// What must hold for a transaction to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The object is present at exactly this revision.
    Revision(Key, Revision),
    /// No object is present under the key.
    Absent(Key),
    /// The controllers' leader term is exactly this.
    Term(u64),
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Puts an object under its key; what was there is replaced.
    Put(Key, Object),
    /// Removes what is under the key; nothing there is a failed transaction (`Rejected::NotFound`).
    Delete(Key),
}

impl Op {
    /// The key the change is about.
    pub fn key(&self) -> &Key {
        match self {
            Op::Put(key, _) | Op::Delete(key) => key,
        }
    }
}

/// A transaction: applies wholly, when every precondition holds, or not at all. At most one op per key.
#[derive(Clone, Debug, PartialEq)]
pub struct Txn {
    /// What must hold, for any of it to apply.
    pub preconditions: Vec<Precondition>,
    /// What to do, in order.
    pub ops: Vec<Op>,
    /// When the writer decided; it is what `revision_at` goes by. Stores never read a clock.
    pub at: Time,
}

impl Txn {
    /// Creates an object that must not exist.
    pub fn create(key: Key, object: Object, at: Time) -> Self {
        Txn { preconditions: vec![Precondition::Absent(key.clone())], ops: vec![Op::Put(key, object)], at }
    }

    /// Replaces an object that must be at `revision`.
    pub fn replace(key: Key, revision: Revision, object: Object, at: Time) -> Self {
        Txn { preconditions: vec![Precondition::Revision(key.clone(), revision)], ops: vec![Op::Put(key, object)], at }
    }

    /// Removes an object that must be at `revision`.
    pub fn remove(key: Key, revision: Revision, at: Time) -> Self {
        Txn { preconditions: vec![Precondition::Revision(key.clone(), revision)], ops: vec![Op::Delete(key)], at }
    }
}

/// A transaction that applied: for each op, in order, the object as stored, or, for a delete, the last object stamped
/// with the revision of its removal.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The objects as stored, or as removed, in the order of the ops.
    pub results: Vec<Arc<Stored>>,
    /// Which of the results are removals, in the same order.
    pub removed: Vec<bool>,
}

impl Committed {
    /// The revision of the last op.
    pub fn revision(&self) -> Revision {
        self.results.last().map_or(Revision(0), |s| s.revision)
    }
}

/// Why a transaction did not apply. Nothing of it has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The object has moved on.
    #[error("{key} is at revision {found}, not {expected}")]
    Conflict {
        /// The object.
        key: Key,
        /// The revision that was expected.
        expected: Revision,
        /// Its revision.
        found: Revision,
    },
    /// There is such an object.
    #[error("{0} exists already")]
    Exists(Key),
    /// There is no such object.
    #[error("{0} does not exist")]
    NotFound(Key),
    /// Another server leads.
    #[error("the leader term is {found}, not {expected}: another server leads")]
    Term {
        /// The term that was expected.
        expected: u64,
        /// The term.
        found: u64,
    },
}

/// Why a store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The revision is gone from the log: list again and go on from there.
    #[error("revision {wanted} has been compacted: the oldest retained is {oldest}")]
    Compacted {
        /// What was asked for.
        wanted: Revision,
        /// What can be read.
        oldest: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {wanted} is in the future: the newest is {newest}")]
    Future {
        /// What was asked for.
        wanted: Revision,
        /// What has happened.
        newest: Revision,
    },
    /// The store cannot be reached or is full; for a commit the outcome is unknown.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `None`: every kind.
    pub kind: Option<Kind>,
    /// `None`: every namespace.
    pub namespace: Option<Str>,
    /// Of pods only those that are bound to this node, or were until the change: for watches, of which each node has one. Stores
    /// that keep no index by node may deliver the pods of others too, so who asks for this looks at what comes; lists do not
    /// heed it.
    pub node: Option<Str>,
}

impl Scope {
    /// All objects of a kind.
    pub fn kind(kind: Kind) -> Self {
        Scope { kind: Some(kind), ..Scope::default() }
    }

    /// The objects of a kind in a namespace.
    pub fn namespaced(kind: Kind, namespace: &str) -> Self {
        Scope { kind: Some(kind), namespace: Some(namespace.into()), node: None }
    }

    /// Whether a key is within the scope.
    pub fn contains(&self, key: &Key) -> bool {
        self.kind.is_none_or(|k| k == key.kind) && self.namespace.as_ref().is_none_or(|n| *n == key.namespace)
    }
}

/// A page of a list to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// What to list.
    pub scope: Scope,
    /// Start after this key.
    pub after: Option<Key>,
    /// At most this many; 0: all.
    pub limit: usize,
    /// As of this revision; `None`: now.
    pub at: Option<Revision>,
}

/// A page of a list, consistent at `revision`, in key order.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// The objects in order of their keys.
    pub items: Vec<Arc<Stored>>,
    /// The revision that they are as of.
    pub revision: Revision,
    /// How many objects follow this page.
    pub remaining: usize,
}

/// One change as a watch delivers it.
#[derive(Clone, Debug)]
pub enum Change {
    /// Created (`before` is none) or replaced.
    Put {
        /// What was there, if anything.
        before: Option<Arc<Stored>>,
        /// What is there now.
        after: Arc<Stored>,
    },
    /// Removed: what it was, and the same stamped with the revision of the removal.
    Delete {
        /// What was there.
        before: Arc<Stored>,
        /// The same at the revision of its removal.
        last: Arc<Stored>,
    },
}

impl Change {
    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put { after, .. } => after.revision,
            Change::Delete { last, .. } => last.revision,
        }
    }

    /// The key of the changed object.
    pub fn key(&self) -> &Key {
        match self {
            Change::Put { after, .. } => &after.key,
            Change::Delete { last, .. } => &last.key,
        }
    }
}

/// Changes in revision order, without gaps.
#[async_trait::async_trait]
pub trait WatchStream: Send {
    /// The next changes; waits until there is at least one. Cancel-safe. After an error the stream is over: a watcher
    /// that fell behind a compaction gets `Compacted`, never a silent gap.
    async fn next(&mut self) -> Result<Vec<Change>, StoreError>;

    /// Everything in scope up to this revision has been delivered (what a bookmark says).
    fn progress(&self) -> Revision;
}

/// The newest revision and the oldest that can still be read or watched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The newest.
    pub revision: Revision,
    /// The oldest that can be read or watched from.
    pub oldest: Revision,
}

/// A store of objects under one global revision counter.
///
/// - **Atomicity**: each transaction of a commit applies wholly or not at all, independent of its neighbours; they apply in
///   order, each seeing those before it. The group is made durable together before the answer.
/// - **Revisions**: each op that applies takes the next revision, without gaps; the stored object carries it. A transaction
///   that is rejected takes none. Readers see all ops of a transaction or none.
/// - **No rules**: a store knows preconditions, not domain rules.
/// - **Cancellation**: dropping a commit's future leaves its outcome unknown, never in part.
/// - **Equality**: all stores give equal answers to equal commands (`testing::store` holds the conformance suite).
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies transactions in order; one answer for each.
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError>;

    /// The object under a key, now or as of a retained revision.
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<Arc<Stored>>, StoreError>;

    /// A page of objects in key order, consistent at one revision.
    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError>;

    /// Changes in scope after a retained revision. `Compacted` and `Future` are answered at once.
    async fn watch(&self, scope: Scope, after: Revision) -> Result<Box<dyn WatchStream>, StoreError>;

    /// The newest and the oldest retained revision.
    async fn head(&self) -> Result<Head, StoreError>;

    /// Forgets the past before a revision: later reads and watches from before it answer `Compacted`. Returns the
    /// oldest retained revision, which never goes back.
    async fn compact(&self, before: Revision) -> Result<Revision, StoreError>;

    /// The newest revision decided at or before a time; `Compacted` when that is not retained.
    async fn revision_at(&self, time: Time) -> Result<Revision, StoreError>;

    /// When a retained revision was decided.
    async fn time_of(&self, revision: Revision) -> Result<Time, StoreError>;

    /// Sets the controllers' leader term; it never goes back. Commits with another term are rejected from then on.
    async fn set_term(&self, term: u64) -> Result<(), StoreError>;
}
