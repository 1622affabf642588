//! Heartbeats beside a store: renewals of the leases that nodes hold in `kube-node-lease` stay in memory and never reach
//! the log of the store below. Everything else passes through.
//!
//! A lease is created, changed and deleted as any object. A renewal, a replacement that moves nothing but `renewTime` and
//! what the node measured (the annotation `steersman.io/usage`),
//! takes no revision: the lease keeps the one it has, readers see the newest time, and watchers get a change that carries
//! it. What was renewed before the process ended is forgotten with it, so every node then has its full grace. Reads of the
//! past see leases as they were last written, not renewed.

use crate::signal::{Signal, Subscriber};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::ports::{
    Change, Committed, Head, ListPage, ListQuery, Op, Precondition, Rejected, Scope, Store, StoreError, Txn,
    WatchStream,
};
use steersman_domain::usage::USAGE;
use steersman_domain::{Key, Kind, Lease, Object, Revision, Stored, Time};

/// The namespace of the leases that nodes hold.
const NAMESPACE: &str = "kube-node-lease";

fn is_heartbeat(key: &Key) -> bool {
    key.kind == Kind::Lease && key.namespace == NAMESPACE
}

/// A store whose heartbeats stay in memory.
pub struct Heartbeats {
    inner: Arc<dyn Store>,
    shared: Arc<Shared>,
    /// Held while leases are written or renewed, so that no renewal passes a deletion.
    turn: tokio::sync::Mutex<()>,
}

struct Shared {
    beats: Mutex<Beats>,
    /// The number of the newest renewal.
    newest: Signal,
}

/// The newest renewal of each lease.
#[derive(Default)]
struct Beats {
    number: u64,
    by_key: BTreeMap<Key, (u64, Arc<Stored>)>,
    by_number: BTreeMap<u64, Key>,
}

impl Beats {
    fn put(&mut self, lease: Arc<Stored>) -> u64 {
        self.number += 1;
        self.remove(&lease.key);
        self.by_number.insert(self.number, lease.key.clone());
        self.by_key.insert(lease.key.clone(), (self.number, lease));
        self.number
    }

    fn remove(&mut self, key: &Key) {
        if let Some((number, _)) = self.by_key.remove(key) {
            self.by_number.remove(&number);
        }
    }

    /// The lease as it was last renewed, unless it was written since.
    fn renewed(&self, stored: &Stored) -> Option<Arc<Stored>> {
        let (_, lease) = self.by_key.get(&stored.key)?;
        (lease.revision == stored.revision).then(|| lease.clone())
    }

    /// Renewals after a number, oldest first.
    fn after(&self, number: u64) -> impl Iterator<Item = (u64, &Arc<Stored>)> {
        let newer = self.by_number.range(number + 1..);
        newer.filter_map(|(number, key)| self.by_key.get(key).map(|(_, lease)| (*number, lease)))
    }
}

impl std::fmt::Debug for Heartbeats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeats").finish_non_exhaustive()
    }
}

impl Heartbeats {
    /// Keeps heartbeats apart from this store.
    pub fn beside(inner: Arc<dyn Store>) -> Self {
        let shared = Shared { beats: Mutex::default(), newest: Signal::new(0) };
        Heartbeats { inner, shared: Arc::new(shared), turn: tokio::sync::Mutex::new(()) }
    }

    /// Renews the lease, when that is all the transaction does; else `None`, and nothing has happened.
    async fn renew(&self, txn: &Txn) -> Result<Option<Committed>, StoreError> {
        let [Op::Put(key, Object::Lease(wanted))] = txn.ops.as_slice() else { return Ok(None) };
        if !is_heartbeat(key) {
            return Ok(None);
        }
        let Some(stored) = self.inner.get(key, None).await? else { return Ok(None) };
        let at = |p: &Precondition| matches!(p, Precondition::Revision(k, r) if k == key && *r == stored.revision);
        let Some(lease) = stored.typed::<Lease>().filter(|_| txn.preconditions.iter().all(at)) else { return Ok(None) };
        let mut renewed = Lease::clone(lease);
        renewed.spec.renew_time = wanted.spec.renew_time;
        renewed.metadata.resource_version = wanted.metadata.resource_version;
        match wanted.metadata.annotations.get(USAGE) {
            Some(usage) => drop(renewed.metadata.annotations.insert(USAGE, usage.clone())),
            None => drop(renewed.metadata.annotations.remove(USAGE)),
        }
        if renewed != **wanted {
            return Ok(None);
        }
        let renewed = Arc::new(Stored::new(key.clone(), stored.revision, Object::Lease(Arc::new(renewed))));
        let number = self.shared.beats.lock().put(renewed.clone());
        self.shared.newest.ring(number, &BTreeSet::new());
        Ok(Some(Committed { results: vec![renewed], removed: vec![false] }))
    }

    /// Passes transactions on. Renewals of leases that they write are over.
    async fn pass_on(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        if txns.is_empty() {
            return Ok(Vec::new());
        }
        for key in txns.iter().flat_map(|txn| &txn.ops).map(Op::key).filter(|key| is_heartbeat(key)) {
            self.shared.beats.lock().remove(key);
        }
        self.inner.commit(txns).await
    }
}

#[async_trait]
impl Store for Heartbeats {
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        if !txns.iter().flat_map(|txn| &txn.ops).any(|op| is_heartbeat(op.key())) {
            return self.inner.commit(txns).await;
        }
        let _turn = self.turn.lock().await;
        let mut answers = Vec::with_capacity(txns.len());
        let mut others = Vec::new();
        for txn in txns {
            if !txn.ops.iter().any(|op| is_heartbeat(op.key())) {
                others.push(txn);
                continue;
            }
            // A transaction sees those before it.
            answers.extend(self.pass_on(std::mem::take(&mut others)).await?);
            match self.renew(&txn).await? {
                Some(renewed) => answers.push(Ok(renewed)),
                None => others.push(txn),
            }
        }
        answers.extend(self.pass_on(others).await?);
        Ok(answers)
    }

    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<Arc<Stored>>, StoreError> {
        let stored = self.inner.get(key, at).await?;
        if at.is_some() || !is_heartbeat(key) {
            return Ok(stored);
        }
        Ok(stored.map(|stored| self.shared.beats.lock().renewed(&stored).unwrap_or(stored)))
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        let now = query.at.is_none();
        let mut page = self.inner.list(query).await?;
        if now {
            let beats = self.shared.beats.lock();
            for item in page.items.iter_mut().filter(|item| is_heartbeat(&item.key)) {
                if let Some(renewed) = beats.renewed(item) {
                    *item = renewed;
                }
            }
        }
        Ok(page)
    }

    async fn watch(&self, scope: Scope, after: Revision) -> Result<Box<dyn WatchStream>, StoreError> {
        let any = scope.kind.is_none_or(|kind| kind == Kind::Lease)
            && scope.namespace.as_deref().is_none_or(|namespace| namespace == NAMESPACE);
        // Taken first: a renewal between a list and its watch comes once more rather than never.
        let newest = self.shared.newest.subscribe(None);
        let inner = self.inner.watch(scope, after).await?;
        if !any {
            return Ok(inner);
        }
        Ok(Box::new(Watcher { inner, shared: self.shared.clone(), newest, seen: 0, last: BTreeMap::new() }))
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

/// The watch of the store below, and renewals between its changes. Of a lease that is renewed faster than the watcher
/// reads it sees the newest time only.
struct Watcher {
    inner: Box<dyn WatchStream>,
    shared: Arc<Shared>,
    newest: Subscriber,
    /// The renewal up to which all were delivered.
    seen: u64,
    /// What was delivered last of each lease.
    last: BTreeMap<Key, Arc<Stored>>,
}

impl Watcher {
    /// Renewals that are due: those of leases whose last write has been delivered. The others wait for that.
    fn renewals(&mut self) -> Vec<Change> {
        let progress = self.inner.progress();
        let mut changes = Vec::new();
        let mut all_so_far = true;
        for (number, lease) in self.shared.beats.lock().after(self.seen) {
            if lease.revision > progress {
                all_so_far = false;
                continue;
            }
            if all_so_far {
                self.seen = number;
            }
            let before = self.last.insert(lease.key.clone(), lease.clone());
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, lease)) {
                continue;
            }
            changes.push(Change::Put { before: Some(before.unwrap_or_else(|| lease.clone())), after: lease.clone() });
        }
        changes
    }

    /// Forgets what is no longer there.
    fn note(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| is_heartbeat(change.key())) {
            match change {
                Change::Put { after, .. } => drop(self.last.insert(after.key.clone(), after.clone())),
                Change::Delete { last, .. } => drop(self.last.remove(&last.key)),
            }
        }
    }
}

#[async_trait]
impl WatchStream for Watcher {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            // Heard before they are read, so that one in between ends the wait below.
            self.newest.hear();
            let changes = self.renewals();
            if !changes.is_empty() {
                return Ok(changes);
            }
            tokio::select! {
                biased;
                changes = self.inner.next() => {
                    let changes = changes?;
                    self.note(&changes);
                    return Ok(changes);
                }
                () = self.newest.rung() => {}
            }
        }
    }

    fn progress(&self) -> Revision {
        self.inner.progress()
    }
}

#[cfg(test)]
#[path = "heartbeats/tests.rs"]
mod tests;
