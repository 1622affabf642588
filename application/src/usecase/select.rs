//! Selections applied to objects and to watches.

use super::fields;
use crate::client::Selection;
use std::sync::Arc;
use steersman_domain::ports::{Change, Scope, StoreError, WatchStream};
use steersman_domain::selector::FieldRequirement;
use steersman_domain::{Kind, Revision, Stored};

/// Whether an object within the scope fulfils the selectors.
pub(super) fn matches(selection: &Selection, stored: &Stored) -> bool {
    selection.labels.matches(&stored.object.meta().labels) && fields::matches(&selection.fields, &stored.object)
}

/// The scope to watch: when the selection is of the pods of one node, that is said, for nodes watch nothing else and are many.
pub(super) fn watched(selection: &Selection) -> Scope {
    let of_node = |field: &&FieldRequirement| field.equal && field.path == "spec.nodeName" && !field.value.is_empty();
    let node = selection.fields.0.iter().find(of_node).filter(|_| selection.scope.kind == Some(Kind::Pod));
    Scope { node: node.map(|field| field.value.clone()), ..selection.scope.clone() }
}

/// A watch of the selected objects alone.
pub(super) fn selected(inner: Box<dyn WatchStream>, selection: &Selection) -> Box<dyn WatchStream> {
    if selection.labels.is_empty() && selection.fields.0.is_empty() {
        return inner;
    }
    Box::new(Selected { inner, selection: selection.clone() })
}

struct Selected {
    inner: Box<dyn WatchStream>,
    selection: Selection,
}

impl Selected {
    fn pass(&self, change: Change) -> Option<Change> {
        let holds = |s: &Stored| matches(&self.selection, s);
        match change {
            Change::Put { before, after } => match (before.as_deref().is_some_and(holds), holds(&after)) {
                (true, true) => Some(Change::Put { before, after }),
                (false, true) => Some(Change::Put { before: None, after }),
                (true, false) => before.map(|before| leaving(before, after.revision)),
                (false, false) => None,
            },
            Change::Delete { before, last } => holds(&before).then_some(Change::Delete { before, last }),
        }
    }
}

/// An object that leaves the selection, as it was, at the revision of its leaving.
fn leaving(before: Arc<Stored>, revision: Revision) -> Change {
    let last = Arc::new(Stored::new(before.key.clone(), revision, before.object.clone()));
    Change::Delete { before, last }
}

#[async_trait::async_trait]
impl WatchStream for Selected {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            let changes = self.inner.next().await?;
            let passed: Vec<Change> = changes.into_iter().filter_map(|c| self.pass(c)).collect();
            if !passed.is_empty() {
                return Ok(passed);
            }
        }
    }

    fn progress(&self) -> Revision {
        self.inner.progress()
    }
}
