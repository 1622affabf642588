//! Watchers: a cursor into the log, woken by the newest revision.

use super::Shared;
use crate::signal::Subscriber;
use async_trait::async_trait;
use std::sync::Arc;
use steersman_domain::ports::{Change, Scope, StoreError, WatchStream};
use steersman_domain::{Kind, Revision};

/// How many changes one step takes at most: bounds the time under the lock and the memory of a slow watcher.
const STEP: usize = 1024;

pub(super) struct Watcher {
    shared: Arc<Shared>,
    scope: Scope,
    cursor: Revision,
    newest: Subscriber,
    over: Option<StoreError>,
}

/// The node whose pods alone are watched.
fn node_of(scope: &Scope) -> Option<&str> {
    scope.node.as_deref().filter(|_| scope.kind == Some(Kind::Pod))
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, after: Revision) -> Self {
        let newest = shared.newest.subscribe(node_of(&scope));
        Watcher { shared, scope, cursor: after, newest, over: None }
    }

    fn step(&mut self) -> Result<Vec<Change>, StoreError> {
        let state = self.shared.state.read();
        let (changes, complete) = match node_of(&self.scope) {
            // What was compacted meanwhile is no loss where nothing of it was this node's.
            Some(node) => state.changes_of_node((&self.scope, node), self.cursor, STEP)?,
            None => {
                state.readable(self.cursor)?;
                state.changes(&self.scope, self.cursor, STEP)
            }
        };
        self.cursor = complete;
        Ok(changes)
    }
}

#[async_trait]
impl WatchStream for Watcher {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            if let Some(error) = &self.over {
                return Err(error.clone());
            }
            // Heard before the log is read, so that a change in between ends the wait below.
            let newest = self.newest.hear();
            match self.step() {
                Err(error) => self.over = Some(error),
                Ok(changes) if !changes.is_empty() => return Ok(changes),
                Ok(_) if self.cursor.0 < newest => {}
                Ok(_) => self.newest.rung().await,
            }
        }
    }

    fn progress(&self) -> Revision {
        let Some(node) = node_of(&self.scope).filter(|_| self.over.is_none()) else { return self.cursor };
        // Nobody wakes it for what is not its node's, so it may be further than it knows.
        let state = self.shared.state.read();
        match state.changes_of_node((&self.scope, node), self.cursor, 1) {
            Ok((changes, complete)) if changes.is_empty() => complete,
            Ok(_) | Err(_) => self.cursor,
        }
    }
}
