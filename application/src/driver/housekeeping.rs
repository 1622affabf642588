//! Forgets the past of the store as time goes on; what to forget is decided in `reconcile::housekeeping`.

use crate::reconcile::housekeeping::{Retention, compaction};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::Time;
use steersman_domain::ports::{Clock, Store, StoreError};

/// How often to look. At this step a store that takes ten thousand writes a second holds at most twice the number of
/// revisions to be kept.
const INTERVAL: Duration = Duration::from_secs(10);

/// Compacts the store again and again, until its future is dropped. A store that does not answer is asked again later.
pub async fn compact(store: Arc<dyn Store>, clock: Arc<dyn Clock>, keep: Retention) {
    loop {
        if let Err(error) = once(&*store, clock.now(), keep).await {
            tracing::warn!(%error, "the past of the store was not compacted");
        }
        clock.sleep(INTERVAL).await;
    }
}

async fn once(store: &dyn Store, now: Time, keep: Retention) -> Result<(), StoreError> {
    let micros = i64::try_from(keep.time.as_micros()).unwrap_or(i64::MAX);
    let aged = match store.revision_at(Time::from_micros(now.micros().saturating_sub(micros))).await {
        Ok(revision) => Some(revision),
        // Everything that is retained is younger.
        Err(StoreError::Compacted { .. }) => None,
        Err(error) => return Err(error),
    };
    if let Some(before) = compaction(store.head().await?, aged, keep) {
        let oldest = store.compact(before).await?;
        tracing::debug!(%oldest, "compacted the store");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use steersman_domain::ports::{Committed, Head, ListPage, ListQuery, Rejected, Scope, Txn, WatchStream};
    use steersman_domain::testing::ManualClock;
    use steersman_domain::{Key, Revision, Stored};

    /// A store that decides one revision a second from the start of its clock on, and can only be compacted.
    struct Past {
        clock: Arc<ManualClock>,
        start: Time,
        oldest: Mutex<Revision>,
        fails: bool,
    }

    impl Past {
        fn oldest(&self) -> Revision {
            *self.oldest.lock().expect("no holder panics")
        }

        fn newest(&self) -> Revision {
            Revision(self.clock.now().since(self.start).as_secs())
        }
    }

    fn none<T>() -> Result<T, StoreError> {
        Err(StoreError::Unavailable("nothing but the past is here".into()))
    }

    #[async_trait::async_trait]
    impl Store for Past {
        async fn commit(&self, _: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
            none()
        }
        async fn get(&self, _: &Key, _: Option<Revision>) -> Result<Option<Arc<Stored>>, StoreError> {
            none()
        }
        async fn list(&self, _: ListQuery) -> Result<ListPage, StoreError> {
            none()
        }
        async fn watch(&self, _: Scope, _: Revision) -> Result<Box<dyn WatchStream>, StoreError> {
            none()
        }
        async fn head(&self) -> Result<Head, StoreError> {
            if self.fails { none() } else { Ok(Head { revision: self.newest(), oldest: self.oldest() }) }
        }
        async fn compact(&self, before: Revision) -> Result<Revision, StoreError> {
            *self.oldest.lock().expect("no holder panics") = before;
            Ok(before)
        }
        async fn revision_at(&self, time: Time) -> Result<Revision, StoreError> {
            let (wanted, oldest) = (Revision(time.since(self.start).as_secs()), self.oldest());
            if time < self.start || wanted < oldest {
                return Err(StoreError::Compacted { wanted, oldest });
            }
            Ok(wanted)
        }
        async fn time_of(&self, _: Revision) -> Result<Time, StoreError> {
            none()
        }
        async fn set_term(&self, _: u64) -> Result<(), StoreError> {
            none()
        }
    }

    fn past(fails: bool) -> (Arc<ManualClock>, Arc<Past>) {
        let clock = Arc::new(ManualClock::default());
        let past = Past { clock: clock.clone(), start: clock.now(), oldest: Mutex::default(), fails };
        (clock, Arc::new(past))
    }

    #[tokio::test]
    async fn the_past_is_forgotten_as_time_goes_on() {
        let (clock, store) = past(false);
        let keep = Retention { time: Duration::from_secs(60), revisions: 1_000 };
        let run = compact(store.clone(), clock.clone(), keep);
        let drive = async {
            for (advance, expect) in [(60, 0), (10, 10), (10, 20), (5, 20), (5, 30)] {
                clock.advance(Duration::from_secs(advance));
                // One turn of the loop: it runs between two yields, for nothing in it waits but the clock.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                assert_eq!(store.oldest(), Revision(expect), "at {:?}", clock.monotonic());
            }
        };
        tokio::select! {
            biased;
            () = run => panic!("it never ends"),
            () = drive => {}
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_left_alone() {
        let (clock, store) = past(true);
        clock.advance(Duration::from_secs(1_000));
        assert!(once(&*store, clock.now(), Retention::default()).await.is_err());
        assert_eq!(store.oldest(), Revision(0));
    }
}
