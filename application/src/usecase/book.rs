//! Ledgers as a round writes them: opened once, entered by any number of writes, closed as the last op of their transaction.

use super::round::{Draft, Round, unchanged};
use crate::client::ApiError;
use std::sync::Arc;
use steersman_domain::ledger::Resources;
use steersman_domain::ports::{Op, Precondition};
use steersman_domain::{AddressLedger, Key, Kind, Node, NodeLedger, Resource, Stored};

/// A ledger in the making.
pub(super) struct Book {
    key: Key,
    existed: Option<Arc<Stored>>,
    ledger: Ledger,
    /// Objects whose state the entries rely on.
    guards: Vec<Precondition>,
    /// The ledger is no longer needed.
    drop: bool,
}

enum Ledger {
    Node { ledger: NodeLedger, allocatable: Resources },
    Addresses(AddressLedger),
}

impl Book {
    fn open(key: Key, existed: Option<Arc<Stored>>, ledger: Ledger) -> Self {
        Book { key, existed, ledger, guards: Vec::new(), drop: false }
    }

    /// Appends what the ledger adds to its transaction.
    pub(super) fn close(self, preconditions: &mut Vec<Precondition>, ops: &mut Vec<Op>) {
        preconditions.extend(self.guards);
        match &self.existed {
            Some(stored) => preconditions.push(unchanged(stored)),
            None if self.drop => return,
            None => preconditions.push(Precondition::Absent(self.key.clone())),
        }
        if self.drop {
            ops.push(Op::Delete(self.key));
            return;
        }
        let mut object = match self.ledger {
            Ledger::Node { ledger, .. } => NodeLedger::into_object(Arc::new(ledger)),
            Ledger::Addresses(ledger) => AddressLedger::into_object(Arc::new(ledger)),
        };
        object.meta_mut().name = self.key.name.clone();
        if self.existed.as_ref().is_none_or(|stored| stored.object != object) {
            ops.push(Op::Put(self.key, object));
        }
    }

    /// The node's ledger and what the node can give.
    pub(super) fn node(&mut self) -> Option<(&mut NodeLedger, &Resources)> {
        match &mut self.ledger {
            Ledger::Node { ledger, allocatable } => Some((ledger, allocatable)),
            Ledger::Addresses(_) => None,
        }
    }

    /// The ledger of service addresses.
    pub(super) fn addresses(&mut self) -> Option<&mut AddressLedger> {
        match &mut self.ledger {
            Ledger::Addresses(ledger) => Some(ledger),
            Ledger::Node { .. } => None,
        }
    }

    /// Removes the ledger, in the transaction that it belongs to.
    pub(super) fn discard(&mut self) {
        self.drop = true;
    }
}

/// The one key of the address ledger.
fn address_key() -> Key {
    Key::cluster(Kind::AddressLedger, "services")
}

impl Round<'_> {
    fn bind_book(&mut self, book: Book) -> usize {
        self.books.insert(book.key.clone(), self.drafts.len());
        self.drafts.push(Draft::of(book));
        self.drafts.len() - 1
    }

    /// The open book of an index.
    pub(super) fn book(&mut self, index: usize) -> Option<&mut Book> {
        self.drafts.get_mut(index).and_then(|d| d.book.as_mut())
    }

    /// The ledger of a node that takes a pod: guarded by the node's own state, so that it neither vanishes nor shrinks
    /// unseen. `None`: there is no such node.
    pub(super) async fn node_book(&mut self, node: &str) -> Result<Option<usize>, ApiError> {
        let Some(stored) = self.shared(&Key::cluster(Kind::Node, node)).await? else { return Ok(None) };
        let Some(typed) = stored.typed::<Node>() else { return Ok(None) };
        let status = &typed.status;
        let room =
            Resources::of_list(if status.allocatable.is_empty() { &status.capacity } else { &status.allocatable });
        let index = self.open_node_book(node).await?;
        if let Some(book) = self.book(index) {
            if let Ledger::Node { allocatable, .. } = &mut book.ledger {
                *allocatable = room;
            }
            let guard = unchanged(&stored);
            if !book.guards.contains(&guard) {
                book.guards.push(guard);
            }
        }
        Ok(Some(index))
    }

    /// The ledger of a node whether or not the node is there; empty when it was never written.
    pub(super) async fn open_node_book(&mut self, node: &str) -> Result<usize, ApiError> {
        let key = Key::cluster(Kind::NodeLedger, node);
        if let Some(index) = self.books.get(&key) {
            return Ok(*index);
        }
        let existed = self.api.store.get(&key, None).await?;
        let ledger = existed.as_ref().and_then(|s| s.typed::<NodeLedger>()).map(|l| (**l).clone()).unwrap_or_default();
        let ledger = Ledger::Node { ledger, allocatable: Resources::default() };
        Ok(self.bind_book(Book::open(key, existed, ledger)))
    }

    /// The ledger of service addresses.
    pub(super) async fn address_book(&mut self) -> Result<usize, ApiError> {
        let key = address_key();
        if let Some(index) = self.books.get(&key) {
            return Ok(*index);
        }
        let existed = self.api.store.get(&key, None).await?;
        let ledger =
            existed.as_ref().and_then(|s| s.typed::<AddressLedger>()).map(|l| (**l).clone()).unwrap_or_default();
        Ok(self.bind_book(Book::open(key, existed, Ledger::Addresses(ledger))))
    }

    /// Takes a pod out of its node's ledger; the index of the ledger, if the pod counted.
    pub(super) async fn release_pod(&mut self, pod: &steersman_domain::Pod) -> Result<Option<usize>, ApiError> {
        if !steersman_domain::ledger::counts(pod) {
            return Ok(None);
        }
        let node = &pod.spec.node_name;
        let index = self.open_node_book(node).await?;
        let empty = match self.book(index).and_then(Book::node) {
            Some((ledger, _)) => {
                ledger.leave(pod);
                ledger.allocated.pods == 0
            }
            None => false,
        };
        // The ledger of a node that is gone lives until its last pod has left.
        if empty
            && self.shared(&Key::cluster(Kind::Node, node)).await?.is_none()
            && let Some(book) = self.book(index)
        {
            book.discard();
        }
        Ok(Some(index))
    }
}
