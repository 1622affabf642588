//! Housekeeping: events are forgotten after a while, and so is the past of the store. Deciding what to forget is here;
//! `driver::housekeeping` carries the second out.

use super::{Moment, Outcome, Reconciler};
use crate::client::{DeleteOptions, Write};
use crate::driver::world::World;
use std::time::Duration;
use steersman_domain::ports::{Change, Head};
use steersman_domain::{Event, Key, Kind, Resource, Revision, Time};

/// How long events are kept after they last happened, as in Kubernetes.
pub const EVENT_TTL: Duration = Duration::from_secs(3600);
/// Deletions per pass: one group of writes that does not hold others up.
const MOST_DELETES: usize = 500;
/// The shortest rest between two looks, so that events are taken out together.
const REST: Duration = Duration::from_secs(1);

/// Deletes events that happened long ago. It remembers nothing, and needs no changes: nothing that happens from now on can
/// be due before what it has seen.
#[derive(Clone, Copy, Debug)]
pub struct Housekeeping {
    event_ttl: Duration,
}

impl Housekeeping {
    /// Keeps events for this long.
    pub fn new(event_ttl: Duration) -> Self {
        Housekeeping { event_ttl }
    }

    fn events() -> Key {
        Key::cluster(Kind::Event, "")
    }
}

impl Default for Housekeeping {
    fn default() -> Self {
        Housekeeping::new(EVENT_TTL)
    }
}

impl Reconciler for Housekeeping {
    fn name(&self) -> &'static str {
        "housekeeping"
    }

    fn triggers(&self, _change: &Change, _world: &World) -> Vec<Key> {
        Vec::new()
    }

    fn all(&self, _world: &World) -> Vec<Key> {
        vec![Self::events()]
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let mut outcome = Outcome::default();
        if *key != Self::events() {
            return outcome;
        }
        let mut next = self.event_ttl;
        for event in world.all::<Event>().filter(|e| !e.metadata.is_deleting()) {
            let left = self.event_ttl.saturating_sub(now.time.since(last_seen(event, now.time)));
            if !left.is_zero() {
                next = next.min(left);
            } else if outcome.writes.len() < MOST_DELETES {
                outcome.writes.push(delete(event));
            } else {
                next = Duration::ZERO;
            }
        }
        if !outcome.writes.is_empty() {
            outcome.why.push(format!("{} events are older than {} s", outcome.writes.len(), self.event_ttl.as_secs()));
        }
        outcome.look_again(next.max(REST));
        outcome
    }
}

/// When an event last happened. A time in the future is a clock gone wrong and does not count.
fn last_seen(event: &Event, now: Time) -> Time {
    let times = [event.metadata.creation_timestamp, event.last_timestamp, event.event_time.map(|t| t.0)];
    times.into_iter().flatten().filter(|t| *t <= now).max().unwrap_or(now)
}

/// An event that happens again meanwhile has another revision and stays.
fn delete(event: &Event) -> Write {
    let options = DeleteOptions {
        uid: Some(event.metadata.uid.clone()),
        resource_version: Some(event.metadata.resource_version),
        ..DeleteOptions::default()
    };
    Write::Delete(event.key(), options)
}

/// How much of the store's past is kept: whichever of the two is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a revision is kept at most.
    pub time: Duration,
    /// How many revisions are kept at most.
    pub revisions: u64,
}

impl Default for Retention {
    /// Five minutes, as Kubernetes compacts etcd, or 100,000 revisions.
    fn default() -> Self {
        Retention { time: Duration::from_secs(300), revisions: 100_000 }
    }
}

/// Before which revision the past may be forgotten; `None`: nothing is to be done.
///
/// `aged` is the newest revision that was decided longer ago than the retention's time, if any is retained: what was true
/// at it stays readable.
pub fn compaction(head: Head, aged: Option<Revision>, keep: Retention) -> Option<Revision> {
    let by_count = Revision(head.revision.0.saturating_sub(keep.revisions));
    let before = by_count.max(aged.unwrap_or_default()).min(head.revision);
    (before > head.oldest).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use steersman_domain::Stored;

    const NOW: Moment = Moment { time: Time::from_secs(100_000), monotonic: Duration::ZERO };

    fn world(ages: impl IntoIterator<Item = i64>) -> World {
        let mut world = World::default();
        for (at, age) in ages.into_iter().enumerate() {
            let mut event = Event::default();
            event.metadata.name = format!("e{at}").into();
            event.metadata.namespace = "default".into();
            event.metadata.uid = event.metadata.name.as_str().into();
            event.metadata.creation_timestamp = Some(Time::from_secs(1));
            event.last_timestamp = Some(Time::from_secs(NOW.time.secs() - age));
            world.put(&Stored::new(event.key(), Revision(at as u64 + 1), Event::into_object(Arc::new(event))));
        }
        world
    }

    fn look(world: &World) -> Outcome {
        Housekeeping::default().reconcile(world, &Housekeeping::events(), NOW)
    }

    #[test]
    fn old_events_go_and_the_next_look_is_when_the_next_is_due() {
        let outcome = look(&world([3_600, 3_599, 0, 9_999]));
        let gone: Vec<String> = outcome
            .writes
            .iter()
            .map(|w| match w {
                Write::Delete(key, options) => format!("{} at {:?}", key.name, options.resource_version.map(|r| r.0)),
                other => panic!("only deletions: {other:?}"),
            })
            .collect();
        assert_eq!(gone, ["e0 at Some(1)", "e3 at Some(4)"]);
        assert_eq!(outcome.requeue_after, Some(Duration::from_secs(1)));
        let settled = look(&world([600]));
        assert!(settled.is_settled());
        assert_eq!(settled.requeue_after, Some(Duration::from_secs(3_000)));
        assert_eq!(look(&World::default()).requeue_after, Some(EVENT_TTL));
    }

    #[test]
    fn a_pass_is_bounded() {
        let outcome = look(&world(std::iter::repeat_n(4_000, MOST_DELETES + 1)));
        assert_eq!((outcome.writes.len(), outcome.requeue_after), (MOST_DELETES, Some(REST)));
    }

    #[test]
    fn a_time_in_the_future_does_not_keep_an_event_for_ever() {
        assert_eq!(look(&world([-1_000_000])).writes.len(), 1, "it was created long ago");
    }

    #[test]
    fn the_past_is_kept_for_a_time_or_a_number_whichever_is_less() {
        let keep = Retention::default();
        let head = |revision, oldest| Head { revision: Revision(revision), oldest: Revision(oldest) };
        let check = |head, aged: Option<u64>, expect: Option<u64>| {
            assert_eq!(compaction(head, aged.map(Revision), keep), expect.map(Revision));
        };
        check(head(50, 0), None, None);
        check(head(50, 0), Some(20), Some(20));
        check(head(50, 20), Some(20), None);
        check(head(150_000, 0), None, Some(50_000));
        check(head(150_000, 0), Some(20), Some(50_000));
        check(head(150_000, 0), Some(140_000), Some(140_000));
        check(head(150_000, 60_000), None, None);
    }
}
