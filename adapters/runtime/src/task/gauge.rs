//! What can be seen of a run from outside: whether it waits for messages, gets on, or holds its thread. Plain counters that
//! the hot path can afford; who judges by them is elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The counters of one run. Those of the mailbox and of the polls have one writer each.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// How many waits of the function are under way that are no work: asleep, say.
    waiting: AtomicUsize,
    /// Whether it waits for a message.
    receives: AtomicBool,
    /// Waits for messages that ended.
    received: AtomicU64,
    /// Counts other signs of progress.
    progress: AtomicU64,
    /// Counts when the function takes a thread and when it lets it go: odd while it holds one.
    turns: AtomicU64,
    /// For how long it has held one in all, in nanoseconds.
    busy: AtomicU64,
    /// A thread of it goes on although its container has ended.
    pub(super) abandoned: AtomicBool,
}

impl Gauge {
    pub(super) fn is_waiting(&self) -> bool {
        self.receives.load(Ordering::Relaxed) || self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Begins a wait that is no work, until the guard is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Begins a wait for a message, until the guard is dropped. There is one at a time.
    pub(super) fn receive(&self) -> Receiving<'_> {
        self.receives.store(true, Ordering::Relaxed);
        Receiving(self)
    }

    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progressed(&self) -> u64 {
        self.progress.load(Ordering::Relaxed).wrapping_add(self.received.load(Ordering::Relaxed))
    }

    /// The function takes a thread, or lets it go. It does so on one thread at a time.
    pub(super) fn turn(&self) {
        count(&self.turns);
    }

    /// The function held a thread for so long, in nanoseconds.
    pub(super) fn held(&self, nanos: u64) {
        self.busy.store(self.busy.load(Ordering::Relaxed).wrapping_add(nanos), Ordering::Relaxed);
    }

    /// For how long it has held threads in all, in nanoseconds.
    pub(super) fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// The turn in which the function holds a thread; `None`: it holds none.
    pub(super) fn holds(&self) -> Option<u64> {
        Some(self.turns.load(Ordering::Relaxed)).filter(|turns| turns % 2 == 1)
    }
}

/// Counts where there is one writer: two plain moves, where an atomic addition would lock the bus.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// A wait for a message.
pub(super) struct Receiving<'a>(&'a Gauge);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        count(&self.0.received);
        self.0.receives.store(false, Ordering::Relaxed);
    }
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
    fn waits_and_turns_are_seen() {
        let gauge = Gauge::default();
        let (first, second) = (gauge.wait(), gauge.receive());
        drop(first);
        assert!(gauge.is_waiting());
        drop(second);
        assert!(!gauge.is_waiting());
        assert_eq!(gauge.progressed(), 2, "the ends of waits are progress");
        assert_eq!(gauge.holds(), None);
        gauge.turn();
        let turn = gauge.holds().expect("it holds a thread");
        gauge.turn();
        gauge.turn();
        assert_ne!(gauge.holds(), Some(turn), "it let go in between");
    }
}
