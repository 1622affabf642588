//! The present, the log, and the reading of both.

use super::by_node::{ByNode, concerned};
use imbl::OrdMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use steersman_domain::ports::{
    Change, Committed, ListPage, ListQuery, Op, Precondition, Rejected, Scope, StoreError, Txn,
};
use steersman_domain::{Key, Kind, Revision, Stored, Str, Time};

/// The objects of one kind by namespace and name.
pub(crate) type Table = OrdMap<(Str, Str), Arc<Stored>>;

/// Everything under the lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    /// The oldest revision that can be read or watched from.
    pub(crate) oldest: Revision,
    pub(crate) term: u64,
    tables: BTreeMap<Kind, Table>,
    logs: BTreeMap<Kind, VecDeque<Change>>,
    /// The log of pods by node.
    by_node: ByNode,
    /// When revisions were decided: (first revision, time), one entry per change of time, oldest first. Times never go
    /// back here even when the writers' clocks do.
    times: VecDeque<(Revision, Time)>,
}

impl State {
    /// The state that a snapshot of a journal tells: objects at their revisions, and no past.
    pub(crate) fn restored(revision: Revision, term: u64, time: Time, objects: Vec<Stored>) -> Self {
        let mut state =
            State { revision, oldest: revision, term, by_node: ByNode::since(revision), ..State::default() };
        for stored in objects {
            let table = state.tables.entry(stored.key.kind).or_default();
            table.insert(slot(&stored.key), Arc::new(stored));
        }
        state.times.push_back((revision, time));
        state
    }

    /// Every object, in key order.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.tables.values().flat_map(|table| table.iter().map(|(_, stored)| stored))
    }

    /// When the newest revision was decided.
    pub(crate) fn newest_time(&self) -> Time {
        self.times.back().map_or(Time::default(), |(_, time)| *time)
    }
}

fn slot(key: &Key) -> (Str, Str) {
    (key.namespace.clone(), key.name.clone())
}

impl State {
    pub(crate) fn current(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.tables.get(&key.kind)?.get(&slot(key))
    }

    /// Whether a revision can be read: neither compacted nor in the future.
    pub(crate) fn readable(&self, at: Revision) -> Result<(), StoreError> {
        if at < self.oldest {
            return Err(StoreError::Compacted { wanted: at, oldest: self.oldest });
        }
        if at > self.revision {
            return Err(StoreError::Future { wanted: at, newest: self.revision });
        }
        Ok(())
    }

    /// Applies a transaction wholly or not at all.
    pub(crate) fn apply(&mut self, txn: Txn) -> Result<Committed, Rejected> {
        for precondition in &txn.preconditions {
            self.check(precondition)?;
        }
        for op in &txn.ops {
            if let Op::Delete(key) = op
                && self.current(key).is_none()
            {
                return Err(Rejected::NotFound(key.clone()));
            }
        }
        let time = self.times.back().map_or(txn.at, |(_, last)| txn.at.max(*last));
        let mut results = Vec::with_capacity(txn.ops.len());
        let mut removed = Vec::with_capacity(txn.ops.len());
        for op in txn.ops {
            let removes = matches!(op, Op::Delete(_));
            if let Some(stored) = self.perform(op, time) {
                results.push(stored);
                removed.push(removes);
            }
        }
        Ok(Committed { results, removed })
    }

    fn check(&self, precondition: &Precondition) -> Result<(), Rejected> {
        match precondition {
            Precondition::Revision(key, expected) => match self.current(key) {
                None => Err(Rejected::NotFound(key.clone())),
                Some(found) if found.revision != *expected => {
                    Err(Rejected::Conflict { key: key.clone(), expected: *expected, found: found.revision })
                }
                Some(_) => Ok(()),
            },
            Precondition::Absent(key) => match self.current(key) {
                Some(_) => Err(Rejected::Exists(key.clone())),
                None => Ok(()),
            },
            Precondition::Term(expected) if *expected != self.term => {
                Err(Rejected::Term { expected: *expected, found: self.term })
            }
            Precondition::Term(_) => Ok(()),
        }
    }

    /// Performs one op that is known to apply, at the next revision.
    fn perform(&mut self, op: Op, time: Time) -> Option<Arc<Stored>> {
        let revision = Revision(self.revision.0 + 1);
        let table = self.tables.entry(op.key().kind).or_default();
        let (result, change) = match op {
            Op::Put(key, object) => {
                let at = slot(&key);
                let after = Arc::new(Stored::new(key, revision, object));
                let before = table.insert(at, after.clone());
                (after.clone(), Change::Put { before, after })
            }
            Op::Delete(key) => {
                // The caller has seen the object under the same lock; a second delete of one key in one
                // transaction is the only way to miss it.
                let before = table.remove(&slot(&key))?;
                let last = Arc::new(Stored::new(key, revision, before.object.clone()));
                (last.clone(), Change::Delete { before, last })
            }
        };
        self.revision = revision;
        self.by_node.note(&change);
        self.logs.entry(result.key.kind).or_default().push_back(change);
        if self.times.back().is_none_or(|(_, last)| *last < time) {
            self.times.push_back((revision, time));
        }
        Some(result)
    }

    /// The nodes whose pods have changed after a revision.
    pub(crate) fn concerned_since(&self, after: Revision) -> BTreeSet<Str> {
        let Some(log) = self.logs.get(&Kind::Pod) else { return BTreeSet::new() };
        let changes = log.iter().rev().take_while(|change| change.revision() > after);
        changes.flat_map(concerned).cloned().collect()
    }

    /// Takes back everything after a revision that no reader has seen yet.
    pub(crate) fn revert(&mut self, to: Revision) {
        for (kind, log) in &mut self.logs {
            let table = self.tables.entry(*kind).or_default();
            while log.back().is_some_and(|change| change.revision() > to) {
                match log.pop_back() {
                    Some(Change::Put { before: None, after }) => {
                        table.remove(&slot(&after.key));
                    }
                    Some(Change::Put { before: Some(before), .. } | Change::Delete { before, .. }) => {
                        table.insert(slot(&before.key), before);
                    }
                    None => {}
                }
            }
        }
        while self.times.back().is_some_and(|(first, _)| *first > to) {
            self.times.pop_back();
        }
        self.by_node.revert(to);
        self.revision = to;
    }

    /// Changes in scope after a revision, in revision order, up to about `limit`; and the revision up to which they are
    /// complete.
    pub(crate) fn changes(&self, scope: &Scope, after: Revision, limit: usize) -> (Vec<Change>, Revision) {
        let (mut found, complete) = match scope.kind {
            Some(kind) => match self.logs.get(&kind) {
                None => (Vec::new(), self.revision),
                Some(log) => self.tail(log, after, limit),
            },
            None => self.merged(after, limit),
        };
        found.retain(|c| scope.contains(c.key()));
        (found, complete)
    }

    /// As [`State::changes`] of the pods of a node.
    ///
    /// # Errors
    /// When some of them were compacted away.
    pub(crate) fn changes_of_node(
        &self,
        (scope, node): (&Scope, &str),
        after: Revision,
        limit: usize,
    ) -> Result<(Vec<Change>, Revision), StoreError> {
        let revisions = self.by_node.after(node, after);
        let mut revisions = revisions.ok_or(StoreError::Compacted { wanted: after, oldest: self.oldest })?;
        let Some(log) = self.logs.get(&Kind::Pod) else { return Ok((Vec::new(), self.revision)) };
        let found: Vec<Change> = revisions
            .by_ref()
            .take(limit)
            .filter_map(|revision| log.get(log.partition_point(|c| c.revision() < revision)).cloned())
            .collect();
        let complete = match found.last() {
            Some(last) if revisions.next().is_some() => last.revision(),
            _ => self.revision,
        };
        Ok((found.into_iter().filter(|c| scope.contains(c.key())).collect(), complete))
    }

    fn tail(&self, log: &VecDeque<Change>, after: Revision, limit: usize) -> (Vec<Change>, Revision) {
        let from = log.partition_point(|c| c.revision() <= after);
        let found: Vec<Change> = log.range(from..).take(limit).cloned().collect();
        let complete = match found.last() {
            Some(last) if from + found.len() < log.len() => last.revision(),
            _ => self.revision,
        };
        (found, complete)
    }

    /// The logs of all kinds as one. Revisions are dense, so the bound of the piece is known before it is collected.
    fn merged(&self, after: Revision, limit: usize) -> (Vec<Change>, Revision) {
        let complete = Revision(self.revision.0.min(after.0.saturating_add(limit as u64)));
        let mut found: Vec<Change> = Vec::new();
        for log in self.logs.values() {
            let from = log.partition_point(|c| c.revision() <= after);
            found.extend(log.range(from..).take_while(|c| c.revision() <= complete).cloned());
        }
        found.sort_by_key(Change::revision);
        (found, complete)
    }

    /// The object under a key as of a readable revision.
    pub(crate) fn past(&self, key: &Key, at: Revision) -> Option<Arc<Stored>> {
        let later = self.logs.get(&key.kind).into_iter().flat_map(|log| {
            let from = log.partition_point(|c| c.revision() <= at);
            log.range(from..)
        });
        // The first change after the revision tells what was there before it.
        match later.into_iter().find(|c| c.key() == key) {
            Some(Change::Put { before, .. }) => before.clone(),
            Some(Change::Delete { before, .. }) => Some(before.clone()),
            None => self.current(key).cloned(),
        }
    }

    /// What a list needs, taken in constant time for the present. For the past the changes since are taken along: undoing
    /// them is work, which is done without the lock.
    pub(crate) fn snapshot(&self, query: &ListQuery) -> Snapshot {
        let at = query.at.filter(|at| *at < self.revision);
        let kinds = query.scope.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
        let tables = kinds.into_iter().filter_map(|kind| {
            let since = at.map_or_else(Vec::new, |at| self.since(kind, at, query));
            Some(Past { kind, table: self.tables.get(&kind)?.clone(), since })
        });
        Snapshot { tables: tables.collect(), revision: at.unwrap_or(self.revision) }
    }

    /// The changes after a revision that a list can see.
    fn since(&self, kind: Kind, at: Revision, query: &ListQuery) -> Vec<Change> {
        let Some(log) = self.logs.get(&kind) else { return Vec::new() };
        let from = log.partition_point(|c| c.revision() <= at);
        let behind = |key: &Key| query.after.as_ref().is_none_or(|after| key > after);
        log.range(from..).filter(|c| query.scope.contains(c.key()) && behind(c.key())).cloned().collect()
    }

    /// Forgets changes up to and including `before`; never more than has happened.
    pub(crate) fn compact(&mut self, before: Revision) {
        self.oldest = self.oldest.max(before.min(self.revision));
        let oldest = self.oldest;
        for log in self.logs.values_mut() {
            let gone = log.partition_point(|c| c.revision() <= oldest);
            log.drain(..gone);
            log.shrink_to(log.len().next_power_of_two() * 2);
        }
        self.by_node.compact(oldest);
        // One entry at or before the oldest revision stays: it tells that revision's time.
        while self.times.get(1).is_some_and(|(revision, _)| *revision <= oldest) {
            self.times.pop_front();
        }
    }

    pub(crate) fn revision_at(&self, time: Time) -> Result<Revision, StoreError> {
        let later = self.times.partition_point(|(_, at)| *at <= time);
        let found = match self.times.get(later) {
            None => self.revision,
            Some((first_later, _)) => Revision(first_later.0 - 1),
        };
        self.readable(found).map(|()| found)
    }

    pub(crate) fn time_of(&self, revision: Revision) -> Result<Time, StoreError> {
        self.readable(revision)?;
        let later = self.times.partition_point(|(first, _)| *first <= revision);
        Ok(later.checked_sub(1).and_then(|at| self.times.get(at)).map_or(Time::default(), |(_, time)| *time))
    }
}

/// The tables of a list, immutable.
pub(crate) struct Snapshot {
    tables: Vec<Past>,
    revision: Revision,
}

/// A table as it is, and what has changed since it was as it is wanted.
struct Past {
    kind: Kind,
    table: Table,
    since: Vec<Change>,
}

impl Past {
    fn restored(self) -> (Kind, Table) {
        let mut table = self.table;
        for change in self.since.into_iter().rev() {
            match change {
                Change::Put { before: None, after } => {
                    table.remove(&slot(&after.key));
                }
                Change::Put { before: Some(before), .. } | Change::Delete { before, .. } => {
                    table.insert(slot(&before.key), before);
                }
            }
        }
        (self.kind, table)
    }
}

impl Snapshot {
    /// The page that was asked for.
    pub(crate) fn page(self, query: &ListQuery) -> ListPage {
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let (mut items, mut remaining) = (Vec::new(), 0);
        for (kind, table) in self.tables.into_iter().map(Past::restored) {
            let start = match &query.after {
                Some(after) if after.kind > kind => continue,
                Some(after) if after.kind == kind => Bound::Excluded(slot(after)),
                _ => match &query.scope.namespace {
                    Some(namespace) => Bound::Included((namespace.clone(), Str::default())),
                    None => Bound::Unbounded,
                },
            };
            let in_scope = |key: &(Str, Str)| query.scope.namespace.as_ref().is_none_or(|n| *n == key.0);
            for (_, stored) in table.range((start, Bound::Unbounded)).take_while(|(key, _)| in_scope(key)) {
                if items.len() < limit {
                    items.push(stored.clone());
                } else {
                    remaining += 1;
                }
            }
        }
        ListPage { items, revision: self.revision, remaining }
    }
}
