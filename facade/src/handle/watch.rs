//! Objects as they are and as they change, without gaps, whatever the store has forgotten in the meantime.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use steersman_application::client::{ApiError, Client, Selection};
use steersman_domain::ports::{Change, StoreError, WatchStream};
use steersman_domain::{Key, Resource};

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent<T> {
    /// The object is there, new or changed.
    Applied(Arc<T>),
    /// The object is gone, or no longer selected; this is what it was.
    Deleted(Arc<T>),
}

impl<T> WatchEvent<T> {
    /// The object.
    pub fn object(&self) -> &Arc<T> {
        match self {
            WatchEvent::Applied(object) | WatchEvent::Deleted(object) => object,
        }
    }
}

/// The objects that a query selects: first as they are, then as they change. When the store has forgotten where the watch
/// stands (nobody asked for long), it lists again and tells the difference, so that nothing is missed but what came and went
/// in between.
pub struct Watch<T> {
    client: Arc<dyn Client>,
    selection: Selection,
    changes: Option<Box<dyn WatchStream>>,
    known: BTreeMap<Key, Arc<T>>,
    events: VecDeque<WatchEvent<T>>,
}

impl<T> std::fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("selection", &self.selection)
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl<T: Resource> Watch<T> {
    pub(super) fn new(client: Arc<dyn Client>, selection: Selection) -> Self {
        Watch { client, selection, changes: None, known: BTreeMap::new(), events: VecDeque::new() }
    }

    /// The next event; waits until there is one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the API cannot be reached; the next call tries again from where this one stood.
    pub async fn next(&mut self) -> Result<WatchEvent<T>, ApiError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let Some(changes) = &mut self.changes else {
                self.listed().await?;
                continue;
            };
            match changes.next().await {
                Ok(changes) => changes.iter().for_each(|change| self.take(change)),
                Err(StoreError::Compacted { .. }) => self.changes = None,
                Err(error) => {
                    self.changes = None;
                    return Err(error.into());
                }
            }
        }
    }

    /// The objects that are selected, by all that was taken in until now.
    pub(super) fn known(&self) -> impl Iterator<Item = &Arc<T>> {
        self.known.values()
    }

    /// Lists, unless the changes since the last list are at hand.
    pub(super) async fn listed(&mut self) -> Result<(), ApiError> {
        if self.changes.is_some() {
            return Ok(());
        }
        let page = self.client.list(&self.selection).await?;
        let changes = self.client.watch(&self.selection, page.revision).await?;
        let items = page.items.iter().filter_map(|stored| Some((stored.key.clone(), stored.typed::<T>()?.clone())));
        let mut before = std::mem::replace(&mut self.known, items.collect());
        for (key, object) in &self.known {
            if before.remove(key).is_none_or(|before| before.meta().resource_version != object.meta().resource_version)
            {
                self.events.push_back(WatchEvent::Applied(object.clone()));
            }
        }
        self.events.extend(before.into_values().map(WatchEvent::Deleted));
        self.changes = Some(changes);
        Ok(())
    }

    fn take(&mut self, change: &Change) {
        match change {
            Change::Put { after, .. } => {
                if let Some(object) = after.typed::<T>() {
                    self.known.insert(after.key.clone(), object.clone());
                    self.events.push_back(WatchEvent::Applied(object.clone()));
                }
            }
            Change::Delete { last, .. } => {
                self.known.remove(&last.key);
                self.events.extend(last.typed::<T>().cloned().map(WatchEvent::Deleted));
            }
        }
    }
}
