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

/// What is to be seen of a run at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) progress: u64,
    pub(super) waits: bool,
    /// The turn in which it holds a thread.
    pub(super) holds: Option<u64>,
}

/// What was seen of a run, and since when it is so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    progress: u64,
    since: Duration,
    holds: Option<u64>,
    holds_since: Duration,
    told: bool,
}

impl Seen {
    pub(super) fn new(look: Look, now: Duration) -> Self {
        Seen { progress: look.progress, since: now, holds: look.holds, holds_since: now, told: false }
    }

    /// How long it has held its thread at least, when that is longer than it may and was not told of yet.
    pub(super) fn holds_too_long(&mut self, look: Look, now: Duration) -> Option<Duration> {
        if look.holds.is_none() || look.holds != self.holds {
            (self.holds, self.holds_since, self.told) = (look.holds, now, false);
            return None;
        }
        let held = now.saturating_sub(self.holds_since);
        let tell = held >= BLOCKS && !self.told;
        self.told |= tell;
        tell.then_some(held)
    }

    /// How long it has made no progress and did not wait.
    pub(super) fn rests_for(&mut self, look: Look, now: Duration) -> Duration {
        if look.waits || look.progress != self.progress {
            (self.progress, self.since) = (look.progress, now);
        }
        now.saturating_sub(self.since)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_held_is_told_of_once() {
        let at = Duration::from_millis;
        let look = |holds| Look { progress: 0, waits: true, holds };
        let mut seen = Seen::new(look(Some(1)), at(0));
        assert_eq!(seen.holds_too_long(look(Some(1)), at(400)), None);
        assert_eq!(seen.holds_too_long(look(Some(1)), at(600)), Some(at(600)));
        assert_eq!(seen.holds_too_long(look(Some(1)), at(900)), None, "told");
        assert_eq!(seen.holds_too_long(look(Some(3)), at(9000)), None, "another turn");
        assert_eq!(seen.holds_too_long(look(Some(3)), at(9600)), Some(at(600)), "once more");
        assert_eq!(seen.holds_too_long(look(None), at(9700)), None);
        assert_eq!(seen.holds_too_long(look(None), at(99_000)), None, "it holds none");
    }

    #[test]
    fn who_neither_waits_nor_gets_on_rests() {
        let at = Duration::from_secs;
        let look = |progress, waits| Look { progress, waits, holds: None };
        let mut seen = Seen::new(look(0, false), at(0));
        assert_eq!(seen.rests_for(look(0, false), at(3)), at(3));
        assert_eq!(seen.rests_for(look(1, false), at(4)), at(0));
        assert_eq!(seen.rests_for(look(1, true), at(9)), at(0));
        assert_eq!(seen.rests_for(look(1, false), at(11)), at(2));
    }
}
