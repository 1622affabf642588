//! The keys that one controller has to look at. Each key is there once, however often it is asked for; keys are taken in
//! order, going round, so that none starves. A key can be held until the world has seen what was written for it, or put off
//! after a failure. Pure data; the driver gives the time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;
use steersman_domain::{Key, Revision};

/// The first back-off after a failure, doubled each time, as in Kubernetes' work queues.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
/// The longest.
const LAST_BACKOFF: Duration = Duration::from_secs(60);
/// How long a key is held at most for the world to catch up. A watch that is further behind is a fault elsewhere; to look
/// then is safe, since every write carries its precondition.
const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// A key waits until the world is at a revision, or until a time.
#[derive(Clone, Copy, Debug)]
struct Hold {
    revision: Revision,
    until: Duration,
}

/// The queue of one controller. All times are monotonic.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    ready: BTreeSet<Key>,
    held: BTreeMap<Key, Hold>,
    timers: BTreeMap<Key, Duration>,
    alarms: BTreeSet<(Duration, Key)>,
    failures: BTreeMap<Key, u32>,
    last: Option<Key>,
}

impl Queue {
    /// A key is to be looked at.
    pub fn add(&mut self, key: Key) {
        self.ready.insert(key);
    }

    /// A key is to be looked at again at this time at the latest.
    pub fn add_at(&mut self, key: &Key, at: Duration) {
        if self.timers.get(key).is_some_and(|&old| old <= at) {
            return;
        }
        self.cancel(key);
        self.timers.insert(key.clone(), at);
        self.alarms.insert((at, key.clone()));
    }

    fn cancel(&mut self, key: &Key) {
        if let Some(at) = self.timers.remove(key) {
            self.alarms.remove(&(at, key.clone()));
        }
    }

    /// Makes keys ready whose time has come.
    pub fn tick(&mut self, now: Duration) {
        while self.alarms.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.alarms.pop_first()
        {
            self.timers.remove(&key);
            self.ready.insert(key);
        }
    }

    fn is_held(&self, key: &Key, seen: Revision, now: Duration) -> bool {
        self.held.get(key).is_some_and(|hold| hold.revision > seen && hold.until > now)
    }

    /// Takes up to `limit` ready keys that are not held, going on after the last one taken. Their timers end: who looks at
    /// a key says anew when to look again.
    pub fn take(&mut self, limit: usize, seen: Revision, now: Duration) -> Vec<Key> {
        self.tick(now);
        let from = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let tail = self.ready.range((from, Bound::Unbounded));
        let head = self.ready.iter().take_while(|k| self.last.as_ref().is_some_and(|last| *k <= last));
        let free = tail.chain(head).filter(|k| !self.is_held(k, seen, now));
        let taken: Vec<Key> = free.take(limit).cloned().collect();
        for key in &taken {
            self.ready.remove(key);
            self.held.remove(key);
            self.cancel(key);
        }
        if let Some(last) = taken.last() {
            self.last = Some(last.clone());
        }
        taken
    }

    /// Writes for this key succeeded: look once more when the world has seen them, and not before.
    pub fn written(&mut self, key: &Key, newest: Revision, now: Duration) {
        self.failures.remove(key);
        self.held.insert(key.clone(), Hold { revision: newest, until: now + LONGEST_HOLD });
        self.ready.insert(key.clone());
    }

    /// There was nothing to write for this key.
    pub fn settled(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// The snapshot was stale for this key: look again when the world is at `revision`, or after a back-off.
    pub fn stale(&mut self, key: &Key, revision: Revision, now: Duration) {
        let until = now + self.backoff(key);
        self.held.insert(key.clone(), Hold { revision, until });
        self.ready.insert(key.clone());
    }

    /// A write for this key was refused: look again after a back-off, or when something about it changes after the world
    /// has seen `newest`.
    pub fn failed(&mut self, key: &Key, newest: Revision, now: Duration) {
        let backoff = self.backoff(key);
        self.held.insert(key.clone(), Hold { revision: newest, until: now + backoff });
        self.add_at(key, now + backoff);
    }

    fn backoff(&mut self, key: &Key) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let backoff = FIRST_BACKOFF.saturating_mul(1 << (*failures).min(16)).min(LAST_BACKOFF);
        *failures = failures.saturating_add(1);
        backoff
    }

    /// Forgets what is known of a key whose object is gone.
    pub fn forget(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// When there is something to do: zero for now; `None` for not until something changes.
    pub fn wait(&self, seen: Revision, now: Duration) -> Option<Duration> {
        let mut next = self.alarms.first().map(|(at, _)| *at);
        for key in &self.ready {
            match self.held.get(key) {
                Some(hold) if self.is_held(key, seen, now) => {
                    next = Some(next.map_or(hold.until, |n| n.min(hold.until)));
                }
                Some(_) | None => return Some(Duration::ZERO),
            }
        }
        next.map(|at| at.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::Kind;

    const NOW: Duration = Duration::ZERO;

    fn key(name: &str) -> Key {
        Key::new(Kind::ReplicaSet, "d", name)
    }

    fn names(keys: &[Key]) -> Vec<&str> {
        keys.iter().map(|k| k.name.as_str()).collect()
    }

    #[test]
    fn goes_round_so_that_no_key_starves() {
        let mut queue = Queue::default();
        for name in ["a", "b", "c", "a"] {
            queue.add(key(name));
        }
        assert_eq!(names(&queue.take(2, Revision(0), NOW)), ["a", "b"]);
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(names(&queue.take(2, Revision(0), NOW)), ["c", "a"]);
        assert_eq!(names(&queue.take(2, Revision(0), NOW)), ["b"]);
        assert_eq!(queue.wait(Revision(0), NOW), None);
    }

    #[test]
    fn holds_a_key_until_its_writes_are_seen() {
        let mut queue = Queue::default();
        queue.written(&key("a"), Revision(7), NOW);
        queue.add(key("b"));
        assert_eq!(names(&queue.take(9, Revision(6), NOW)), ["b"], "others are not held up");
        assert_eq!(queue.wait(Revision(6), NOW), Some(LONGEST_HOLD));
        assert_eq!(queue.wait(Revision(7), NOW), Some(Duration::ZERO));
        assert_eq!(names(&queue.take(9, Revision(7), NOW)), ["a"]);
    }

    #[test]
    fn backs_off_doubling_until_it_succeeds() {
        let mut queue = Queue::default();
        let mut waits = Vec::new();
        for _ in 0..20 {
            queue.failed(&key("a"), Revision(0), NOW);
            waits.extend(queue.wait(Revision(0), NOW));
            assert_eq!(queue.take(1, Revision(0), LAST_BACKOFF).len(), 1);
        }
        assert_eq!((waits[0], waits[1], waits[19]), (FIRST_BACKOFF, 2 * FIRST_BACKOFF, LAST_BACKOFF));
        queue.settled(&key("a"));
        queue.failed(&key("a"), Revision(0), NOW);
        assert_eq!(queue.wait(Revision(0), NOW), Some(FIRST_BACKOFF));
        queue.add(key("a"));
        assert_eq!(queue.take(1, Revision(0), NOW).len(), 1, "a change does not wait for the back-off");
        assert_eq!(queue.wait(Revision(0), NOW), None, "nor is the key looked at twice");
    }

    #[test]
    fn a_stale_key_waits_for_the_world_to_move() {
        let mut queue = Queue::default();
        queue.stale(&key("a"), Revision(4), NOW);
        assert!(queue.take(1, Revision(3), NOW).is_empty());
        assert_eq!(queue.wait(Revision(3), NOW), Some(FIRST_BACKOFF));
        assert_eq!(queue.take(1, Revision(4), NOW).len(), 1);
    }

    #[test]
    fn the_earliest_timer_counts() {
        let mut queue = Queue::default();
        queue.add_at(&key("a"), Duration::from_secs(9));
        queue.add_at(&key("a"), Duration::from_secs(3));
        queue.add_at(&key("a"), Duration::from_secs(5));
        assert_eq!(queue.wait(Revision(0), NOW), Some(Duration::from_secs(3)));
        assert_eq!(queue.take(9, Revision(0), Duration::from_secs(4)).len(), 1);
        assert_eq!(queue.wait(Revision(0), NOW), None);
    }
}
