//! The engine of writes. A batch is done in rounds: each round plans every write that is still open against what is stored
//! now, and sends all plans to the store as one group. Writes about one key never share a round, so that each sees those
//! before it; writes that share a ledger share a transaction. What the store rejects because something moved meanwhile is
//! planned anew in the next round, and then either fits the new state or is refused for a reason the caller can act on.

use super::Api;
use super::book::Book;
use crate::client::{ApiError, Write, WriteOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::ports::{Op, Precondition, Rejected, Txn};
use steersman_domain::{Key, Kind, Object, PriorityClass, Revision, Stored, Time};

/// How often one write is planned anew because something moved meanwhile. After the first collision writers queue for the
/// gate, so more than a handful means that the object changes faster than it can be read.
pub(super) const MOST_ATTEMPTS: u32 = 24;

pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

pub(super) type Answer = Result<Arc<Stored>, ApiError>;

/// What a write comes to.
pub(super) enum Plan {
    /// Nothing is to be stored.
    Nothing(Arc<Stored>),
    /// One change, part of the transaction of a ledger (by index) or of its own.
    Change { op: Op, preconditions: Vec<Precondition>, book: Option<usize> },
}

impl Plan {
    /// Replaces an object that must be as it was read.
    pub(super) fn replace(old: &Stored, object: Object, book: Option<usize>) -> Self {
        let preconditions = vec![Precondition::Revision(old.key.clone(), old.revision)];
        Plan::Change { op: Op::Put(old.key.clone(), object), preconditions, book }
    }
}

struct Item {
    at: usize,
    write: Write,
    attempts: u32,
}

/// A transaction in the making.
#[derive(Default)]
pub(super) struct Draft {
    preconditions: Vec<Precondition>,
    ops: Vec<Op>,
    members: Vec<Item>,
    pub(super) book: Option<Book>,
}

impl Draft {
    /// A transaction that closes a ledger.
    pub(super) fn of(book: Book) -> Self {
        Draft { book: Some(book), ..Draft::default() }
    }
}

/// One round over the open writes of a batch.
pub(super) struct Round<'a> {
    pub(super) api: &'a Api,
    pub(super) now: Time,
    /// Whether creations look first whether the name is taken: only when the store said so before.
    pub(super) cautious: bool,
    seen: BTreeMap<Key, Option<Arc<Stored>>>,
    /// The priority class of pods that name none, once it was looked for.
    pub(super) default_priority: Option<Option<Arc<PriorityClass>>>,
    touched: BTreeSet<Key>,
    pub(super) drafts: Vec<Draft>,
    pub(super) books: BTreeMap<Key, usize>,
}

/// Performs writes; one answer for each, in order.
pub(super) async fn perform(api: &Api, writes: Vec<Write>, options: &WriteOptions) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = writes.iter().map(|_| None).collect();
    let mut open: Vec<Item> =
        writes.into_iter().enumerate().map(|(at, write)| Item { at, write, attempts: 0 }).collect();
    let mut gate = None;
    while !open.is_empty() {
        let again = open.iter().any(|i| i.attempts > 0);
        if again && gate.is_none() {
            gate = Some(api.gate.lock().await);
        }
        let mut round = Round::new(api, again);
        let mut deferred = Vec::new();
        for item in open {
            if round.must_wait(&item.write) {
                deferred.push(item);
                continue;
            }
            let dry_run = options.dry_run || matches!(&item.write, Write::Delete(_, o) if o.dry_run);
            if dry_run {
                answers[item.at] = Some(Round::new(api, true).imagine(item.write).await);
                continue;
            }
            match Box::pin(round.plan(item.write.clone())).await {
                Err(error) => answers[item.at] = Some(Err(error)),
                Ok(Plan::Nothing(stored)) => answers[item.at] = Some(Ok(stored)),
                Ok(plan) => round.enlist(item, plan),
            }
        }
        open = round.commit(&mut answers).await;
        open.extend(deferred);
        open.sort_by_key(|i| i.at);
    }
    let lost = || Err(ApiError::Unavailable("the store gave no answer".into()));
    answers.into_iter().map(|a| a.unwrap_or_else(lost)).collect()
}

/// The key under which an object is stored.
pub(super) fn key_of(object: &Object) -> Key {
    let meta = object.meta();
    Key { kind: object.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
}

pub(super) fn key_of_write(write: &Write) -> Key {
    match write {
        Write::Create(object) | Write::Update(object, _) => key_of(object),
        Write::Delete(key, _) => key.clone(),
        Write::Bind { pod, .. } => pod.clone(),
    }
}

impl<'a> Round<'a> {
    pub(super) fn new(api: &'a Api, cautious: bool) -> Self {
        Round {
            api,
            now: api.now(),
            cautious,
            seen: BTreeMap::new(),
            default_priority: None,
            touched: BTreeSet::new(),
            drafts: Vec::new(),
            books: BTreeMap::new(),
        }
    }

    /// Whether a write is about a key (or in a namespace) that this round changes already.
    fn must_wait(&mut self, write: &Write) -> bool {
        if self.touched.is_empty() {
            return false;
        }
        let key = key_of_write(write);
        let wait = self.touched.contains(&key)
            || matches!(write, Write::Create(_)) && self.touched.contains(&namespace_key(&key));
        if wait {
            self.touched.insert(key);
        }
        wait
    }

    pub(super) async fn plan(&mut self, write: Write) -> Result<Plan, ApiError> {
        match write {
            Write::Create(object) => self.plan_create(object).await,
            Write::Update(object, part) => self.plan_update(object, part).await,
            Write::Delete(key, options) => self.plan_delete(&key, &options).await,
            Write::Bind { pod, uid, node } => self.plan_bind(&pod, &uid, &node).await,
        }
    }

    /// What a dry run answers: the object as it would be stored. The round is used for this one write alone, so that
    /// nothing imagined is entered into a ledger that others close.
    async fn imagine(mut self, write: Write) -> Answer {
        match Box::pin(self.plan(write)).await? {
            Plan::Nothing(stored) => Ok(stored),
            Plan::Change { op: Op::Put(key, object), .. } => {
                let revision = object.meta().resource_version;
                Ok(Arc::new(Stored::new(key, revision, object)))
            }
            Plan::Change { op: Op::Delete(key), .. } => self.stored(&key).await,
        }
    }

    fn enlist(&mut self, item: Item, plan: Plan) {
        if let Some(index) = self.enter(plan) {
            self.drafts[index].members.push(item);
        }
    }

    /// Enters a plan into the draft that it belongs to; `None`: nothing is to be stored.
    pub(super) fn enter(&mut self, plan: Plan) -> Option<usize> {
        let Plan::Change { op, preconditions, book } = plan else { return None };
        self.touched.insert(op.key().clone());
        let index = book.unwrap_or_else(|| {
            self.drafts.push(Draft::default());
            self.drafts.len() - 1
        });
        let draft = &mut self.drafts[index];
        draft.preconditions.extend(preconditions);
        draft.ops.push(op);
        Some(index)
    }

    /// Everything that was entered, ledgers last, as one transaction.
    pub(super) fn united(self) -> Txn {
        let (mut preconditions, mut ops, mut books) = (Vec::new(), Vec::new(), Vec::new());
        for draft in self.drafts {
            preconditions.extend(draft.preconditions);
            ops.extend(draft.ops);
            books.extend(draft.book);
        }
        for book in books {
            book.close(&mut preconditions, &mut ops);
        }
        Txn { preconditions, ops, at: self.now }
    }

    /// Sends the round to the store; answers the writes that are to be tried again.
    async fn commit(self, answers: &mut [Option<Answer>]) -> Vec<Item> {
        let (mut txns, mut groups) = (Vec::new(), Vec::new());
        for mut draft in self.drafts.into_iter().filter(|d| !d.members.is_empty()) {
            if let Some(book) = draft.book.take() {
                book.close(&mut draft.preconditions, &mut draft.ops);
            }
            let keys: Vec<Key> = draft.ops.iter().map(|op| op.key().clone()).collect();
            txns.push(Txn { preconditions: draft.preconditions, ops: draft.ops, at: self.now });
            groups.push((draft.members, keys));
        }
        if txns.is_empty() {
            return Vec::new();
        }
        let results = match self.api.store.commit(txns).await {
            Ok(results) => results,
            Err(error) => {
                for item in groups.into_iter().flat_map(|(members, _)| members) {
                    answers[item.at] = Some(Err(error.clone().into()));
                }
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        for ((members, keys), result) in groups.into_iter().zip(results) {
            match result {
                Ok(committed) => {
                    for (item, stored) in members.into_iter().zip(committed.results) {
                        answers[item.at] = Some(Ok(stored));
                    }
                }
                Err(rejected) => {
                    for (item, key) in members.into_iter().zip(keys) {
                        match refused(item, key, &rejected) {
                            Ok(item) => again.push(item),
                            Err((at, error)) => answers[at] = Some(Err(error)),
                        }
                    }
                }
            }
        }
        again
    }

    /// An object that is there, for the one write that is about it.
    pub(super) async fn stored(&self, key: &Key) -> Answer {
        self.api.store.get(key, None).await?.ok_or_else(|| ApiError::NotFound(key.clone()))
    }

    /// An object that many writes of the round look at (a namespace, a node); read once.
    pub(super) async fn shared(&mut self, key: &Key) -> Result<Option<Arc<Stored>>, ApiError> {
        if let Some(known) = self.seen.get(key) {
            return Ok(known.clone());
        }
        let found = self.api.store.get(key, None).await?;
        self.seen.insert(key.clone(), found.clone());
        Ok(found)
    }
}

pub(super) fn namespace_key(key: &Key) -> Key {
    Key { kind: Kind::Namespace, namespace: Default::default(), name: key.namespace.clone() }
}

/// A write whose transaction was rejected: to be tried again, or the reason why not.
fn refused(mut item: Item, key: Key, rejected: &Rejected) -> Result<Item, (usize, ApiError)> {
    let fresh_name = match &item.write {
        Write::Create(object) => object.meta().name.is_empty(),
        _ => true,
    };
    match rejected {
        Rejected::Exists(taken) if *taken == key && !fresh_name => Err((item.at, ApiError::AlreadyExists(key))),
        Rejected::Exists(_) | Rejected::Conflict { .. } | Rejected::NotFound(_) | Rejected::Term { .. } => {
            item.attempts += 1;
            if item.attempts >= MOST_ATTEMPTS {
                return Err((item.at, ApiError::Conflict { key, message: MODIFIED.into() }));
            }
            Ok(item)
        }
    }
}

/// The precondition that an object which was looked at is still as it was.
pub(super) fn unchanged(stored: &Stored) -> Precondition {
    Precondition::Revision(stored.key.clone(), stored.revision)
}

/// What an object is replaced by must carry the revision it was read at, so that equal objects compare equal.
pub(super) fn at_revision(object: &mut Object, revision: Revision) {
    if object.meta().resource_version != revision {
        object.meta_mut().resource_version = revision;
    }
}
