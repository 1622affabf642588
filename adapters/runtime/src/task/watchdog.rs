//! Looks at all runs from time to time: who holds a thread of the host, and who makes no progress. It sleeps while nothing
//! runs. It is a task itself, so where all threads of the host are held it is late.

use super::runtime::{Inner, TaskRuntime};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use steersman_domain::ports::{Clock, Task};

/// How long a function may hold a thread between two awaits before somebody is told.
pub(super) const BLOCKS: Duration = Duration::from_millis(500);
/// Between two looks.
const PERIOD: Duration = Duration::from_millis(250);

/// What was last seen of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) progress: u64,
    pub(super) since: Duration,
}

/// Looks until nothing runs any more.
pub(super) fn watch(inner: Weak<Inner>, clock: Arc<dyn Clock>) -> Task {
    Box::pin(async move {
        let mut seen = BTreeMap::new();
        loop {
            clock.sleep(PERIOD).await;
            let Some(inner) = inner.upgrade() else { return };
            let runtime = TaskRuntime::of(inner);
            if !runtime.look(&mut seen) && runtime.watchdog_ends() {
                return;
            }
        }
    })
}
