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
