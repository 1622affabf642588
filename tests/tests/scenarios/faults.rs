//! Ways to the API that fail: one that lets its user die after some writes, and one that can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steersman_application::client::{ApiError, Client, Selection, Write, WriteOptions};
use steersman_application::usecase::Api;
use steersman_domain::ports::{Change, ListPage, StoreError, WatchStream};
use steersman_domain::{Key, Revision, Stored};
use tokio::sync::{Notify, watch};

/// Performs a number of writes; whoever asks for the next one, or for the answer to the last, waits for ever and is dead.
pub(crate) struct Mortal {
    api: Arc<Api>,
    left: AtomicUsize,
    died: Notify,
}

impl Mortal {
    pub(crate) fn new(api: Arc<Api>, writes: usize) -> Self {
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

/// A line to the API that can be cut and joined again.
pub(crate) struct Line {
    api: Arc<Api>,
    up: watch::Sender<bool>,
}

impl Line {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Line { api, up: watch::Sender::new(true) }
    }

    pub(crate) fn set(&self, up: bool) {
        self.up.send_replace(up);
    }

    fn check(&self) -> Result<(), ApiError> {
        if *self.up.borrow() { Ok(()) } else { Err(ApiError::Unavailable("the line is cut".into())) }
    }
}

#[async_trait::async_trait]
impl Client for Line {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.check()?;
        self.api.get(key).await
    }

    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError> {
        self.check()?;
        self.api.list(selection).await
    }

    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        self.check()?;
        let inner = self.api.watch(selection, after).await?;
        Ok(Box::new(LineWatch { inner, up: self.up.subscribe() }))
    }

    async fn write(&self, writes: Vec<Write>, options: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        match self.check() {
            Ok(()) => self.api.write(writes, options).await,
            Err(cut) => writes.iter().map(|_| Err(cut.clone())).collect(),
        }
    }
}

struct LineWatch {
    inner: Box<dyn WatchStream>,
    up: watch::Receiver<bool>,
}

#[async_trait::async_trait]
impl WatchStream for LineWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        tokio::select! {
            biased;
            _ = self.up.wait_for(|up| !*up) => Err(StoreError::Unavailable("the line is cut".into())),
            changes = self.inner.next() => changes,
        }
    }

    fn progress(&self) -> Revision {
        self.inner.progress()
    }
}
