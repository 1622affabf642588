//! The line between a node and the API: as slow as the seed and the scenario make it, and gone while it is cut.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman_application::client::{ApiError, Client, Selection, Write, WriteOptions};
use steersman_application::driver::virtual_time::Dice;
use steersman_domain::ports::{Change, Clock, ListPage, StoreError, WatchStream};
use steersman_domain::{Key, Revision, Stored};
use tokio::sync::watch;

/// What the line is like now.
#[derive(Clone, Copy, Debug, Default)]
struct Quality {
    /// What every message takes.
    delay: Duration,
    /// What it takes beyond that at most; how much is a throw of the dice.
    jitter: Duration,
}

struct Shared {
    quality: Mutex<Quality>,
    up: watch::Sender<bool>,
    dice: Dice,
    clock: Arc<dyn Clock>,
}

impl Shared {
    fn quality(&self) -> MutexGuard<'_, Quality> {
        self.quality.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the next message takes.
    fn toll(&self) -> Duration {
        let Quality { delay, jitter } = *self.quality();
        delay.saturating_add(self.dice.duration(jitter))
    }

    fn check(&self) -> Result<(), ApiError> {
        if *self.up.borrow() { Ok(()) } else { Err(ApiError::Unavailable("the line to the API is cut".into())) }
    }

    /// A message on its way.
    async fn pass(&self) -> Result<(), ApiError> {
        self.check()?;
        let toll = self.toll();
        if toll > Duration::ZERO {
            self.clock.sleep(toll).await;
            self.check()?;
        }
        Ok(())
    }
}

/// The API at the far end of a line. Clones share the line.
#[derive(Clone)]
pub(super) struct Line {
    api: Arc<dyn Client>,
    shared: Arc<Shared>,
}

impl Line {
    pub(super) fn new(api: Arc<dyn Client>, clock: Arc<dyn Clock>, dice: Dice, jitter: Duration) -> Self {
        let quality = Mutex::new(Quality { delay: Duration::ZERO, jitter });
        Line { api, shared: Arc::new(Shared { quality, up: watch::Sender::new(true), dice, clock }) }
    }

    /// Cuts the line or joins it again.
    pub(super) fn set_up(&self, up: bool) {
        self.shared.up.send_replace(up);
    }

    /// What every message takes from now on.
    pub(super) fn set_delay(&self, delay: Duration) {
        self.shared.quality().delay = delay;
    }
}

#[async_trait::async_trait]
impl Client for Line {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.shared.pass().await?;
        self.api.get(key).await
    }

    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError> {
        self.shared.pass().await?;
        self.api.list(selection).await
    }

    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        self.shared.pass().await?;
        let inner = self.api.watch(selection, after).await?;
        let (up, delivered) = (self.shared.up.subscribe(), inner.progress());
        Ok(Box::new(LineWatch { inner, up, shared: self.shared.clone(), held: None, delivered }))
    }

    async fn write(&self, writes: Vec<Write>, options: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        match self.shared.pass().await {
            Ok(()) => self.api.write(writes, options).await,
            Err(cut) => writes.iter().map(|_| Err(cut.clone())).collect(),
        }
    }
}

/// Changes that are on their way: when they arrive, and how far they go.
struct Held {
    due: Duration,
    changes: Vec<Change>,
    progress: Revision,
}

struct LineWatch {
    inner: Box<dyn WatchStream>,
    up: watch::Receiver<bool>,
    shared: Arc<Shared>,
    held: Option<Held>,
    delivered: Revision,
}

impl LineWatch {
    /// Cancel-safe: what has been read stays held until it is delivered.
    async fn arrival(&mut self) -> Result<Vec<Change>, StoreError> {
        if self.held.is_none() {
            let changes = self.inner.next().await?;
            let due = self.shared.clock.monotonic() + self.shared.toll();
            self.held = Some(Held { due, changes, progress: self.inner.progress() });
        }
        let due = self.held.as_ref().map_or(Duration::ZERO, |held| held.due);
        let wait = due.saturating_sub(self.shared.clock.monotonic());
        if wait > Duration::ZERO {
            self.shared.clock.sleep(wait).await;
        }
        let held = self.held.take().expect("it was just held");
        self.delivered = held.progress;
        Ok(held.changes)
    }
}

#[async_trait::async_trait]
impl WatchStream for LineWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        let mut up = self.up.clone();
        tokio::select! {
            biased;
            _ = up.wait_for(|up| !*up) => Err(StoreError::Unavailable("the line to the API is cut".into())),
            changes = self.arrival() => changes,
        }
    }

    fn progress(&self) -> Revision {
        if self.held.is_some() { self.delivered } else { self.inner.progress() }
    }
}
