//! What can be seen of a run from outside: whether it waits for messages, gets on, or holds its thread. Plain counters that
//! the hot path can afford; who judges by them is elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The counters of one run.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// How many waits of the function are under way that are no work: for messages, or asleep.
    waiting: AtomicUsize,
    /// Counts signs of progress.
    progress: AtomicU64,
    /// Since when the function holds its thread, in microseconds of the monotonic clock, plus one; 0: it does not.
    busy_since: AtomicU64,
    /// The `busy_since` that was told of already.
    told: AtomicU64,
    /// A thread of it goes on although its container has ended.
    pub(super) abandoned: AtomicBool,
}

impl Gauge {
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Begins a wait that is no work, until the guard is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progressed(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, now: Duration) {
        self.busy_since.store(micros(now) + 1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// How long the function has held its thread, when that is longer than the limit and was not told of yet.
    pub(super) fn blocks(&self, now: Duration, limit: Duration) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed);
        let held = Duration::from_micros((micros(now) + 1).saturating_sub(since));
        (since != 0 && held > limit && self.told.swap(since, Ordering::Relaxed) != since).then_some(held)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1)
}

/// A wait that is no work.
pub(super) struct Waiting<'a>(&'a Gauge);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.progress();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_held_is_told_of_once() {
        let (gauge, limit) = (Gauge::default(), Duration::from_millis(500));
        gauge.begin(Duration::ZERO);
        assert_eq!(gauge.blocks(Duration::from_millis(400), limit), None);
        assert_eq!(gauge.blocks(Duration::from_millis(600), limit), Some(Duration::from_millis(600)));
        assert_eq!(gauge.blocks(Duration::from_millis(900), limit), None, "told");
        gauge.end();
        assert_eq!(gauge.blocks(Duration::from_secs(9), limit), None);
        gauge.begin(Duration::from_secs(9));
        assert!(gauge.blocks(Duration::from_secs(10), limit).is_some(), "once more");
    }
}
