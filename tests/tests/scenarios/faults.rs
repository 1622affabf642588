//! A way to the API that lets its user die after some writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steersman_application::client::{ApiError, Client, Selection, Write, WriteOptions};
use steersman_domain::ports::{ListPage, WatchStream};
use steersman_domain::{Key, Revision, Stored};
use tokio::sync::Notify;

/// Performs a number of writes; whoever asks for the next one, or for the answer to the last, waits for ever and is dead.
pub(crate) struct Mortal {
    api: Arc<dyn Client>,
    left: AtomicUsize,
    died: Notify,
}

impl Mortal {
    pub(crate) fn new(api: Arc<dyn Client>, writes: usize) -> Self {
        Mortal { api, left: AtomicUsize::new(writes), died: Notify::new() }
    }

    /// Returns once the last write is done.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }
}

#[async_trait::async_trait]
impl Client for Mortal {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.api.get(key).await
    }

    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError> {
        self.api.list(selection).await
    }

    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        self.api.watch(selection, after).await
    }

    async fn write(&self, mut writes: Vec<Write>, options: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        let left = self.left.load(Ordering::Relaxed);
        if writes.len() < left {
            self.left.store(left - writes.len(), Ordering::Relaxed);
            return self.api.write(writes, options).await;
        }
        writes.truncate(left);
        self.api.write(writes, options).await;
        self.died.notify_one();
        std::future::pending().await
    }
}
