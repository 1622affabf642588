//! The pods that wait for a node: ready to be tried, backing off after a failed bind, or waiting for something to change.
//! Pure data; the driver gives the time. Nothing here is polled: a pod that fits nowhere is tried again when an event might
//! have made room, and a failed bind when its back-off is over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{Key, Pod, Resource, Str};

/// The first back-off after a failed bind, doubled each time, as kube-scheduler does.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest.
const LAST_BACKOFF: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready,
    BackingOff(Duration),
    /// Fitted nowhere: woken by an event.
    Unschedulable,
}

#[derive(Clone, Debug)]
struct Waiting {
    pod: Arc<Pod>,
    place: Place,
    failures: u32,
    /// The order of arrival.
    arrival: u64,
}

impl Waiting {
    fn turn(&self, key: &Key) -> (Reverse<i32>, u64, Key) {
        (Reverse(self.pod.priority()), self.arrival, key.clone())
    }
}

/// The queue. Ready pods leave by priority, those of one priority in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    pods: BTreeMap<Key, Waiting>,
    /// The highest priority first, then in the order of arrival.
    ready: BTreeSet<(Reverse<i32>, u64, Key)>,
    /// The waiting pods of each gang, by namespace and name: they are tried together.
    gangs: BTreeMap<(Str, Str), BTreeSet<Key>>,
    arrivals: u64,
}

fn gang_key(pod: &Pod) -> Option<(Str, Str)> {
    pod.gang().map(|gang| (gang.namespace.clone(), gang.name.clone()))
}

impl Queue {
    /// A pod waits, or has changed while it waits. A change of its status alone does not make it ready again.
    pub fn put(&mut self, pod: &Arc<Pod>) {
        let key = pod.key();
        match self.pods.get_mut(&key) {
            Some(waiting)
                if waiting.pod.metadata.uid == pod.metadata.uid && gang_key(&waiting.pod) == gang_key(pod) =>
            {
                let same = waiting.pod.spec == pod.spec && waiting.pod.metadata.labels == pod.metadata.labels;
                waiting.pod = pod.clone();
                if !same && waiting.place == Place::Unschedulable {
                    waiting.place = Place::Ready;
                    self.ready.insert(waiting.turn(&key));
                }
            }
            _ => {
                self.remove(&key);
                self.arrivals += 1;
                let arrival = self.arrivals;
                let waiting = Waiting { pod: pod.clone(), place: Place::Ready, failures: 0, arrival };
                self.ready.insert(waiting.turn(&key));
                if let Some(gang) = gang_key(pod) {
                    self.gangs.entry(gang).or_default().insert(key.clone());
                }
                self.pods.insert(key, waiting);
            }
        }
    }

    /// A pod no longer waits.
    pub fn remove(&mut self, key: &Key) {
        if let Some(waiting) = self.pods.remove(key) {
            self.ready.remove(&waiting.turn(key));
            if let Some(gang) = gang_key(&waiting.pod)
                && let Some(members) = self.gangs.get_mut(&gang)
            {
                members.remove(key);
                if members.is_empty() {
                    self.gangs.remove(&gang);
                }
            }
        }
    }

    /// Takes ready pods to try, up to `limit`, and with the first of a gang all others that do not back off, next to each
    /// other, whatever the limit. Each must be answered by `remove`, `unschedulable` or `failed`.
    pub fn take(&mut self, limit: usize) -> Vec<Arc<Pod>> {
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some((_, _, key)) = self.ready.pop_first()
        {
            let Some(waiting) = self.pods.get(&key) else { continue };
            match gang_key(&waiting.pod).and_then(|gang| self.gangs.get(&gang)) {
                None => taken.push(waiting.pod.clone()),
                Some(members) => {
                    let mates = members.iter().filter_map(|key| self.pods.get_key_value(key));
                    let mut mates: Vec<(&Key, &Waiting)> =
                        mates.filter(|(_, w)| !matches!(w.place, Place::BackingOff(_))).collect();
                    mates.sort_by_key(|(_, w)| w.arrival);
                    for (key, waiting) in mates {
                        self.ready.remove(&waiting.turn(key));
                        taken.push(waiting.pod.clone());
                    }
                }
            }
        }
        taken
    }

    /// A pod that was tried fits nowhere now.
    pub fn unschedulable(&mut self, key: &Key) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.place = Place::Unschedulable;
        }
    }

    /// The bind of a pod failed: it is tried again after a back-off. `now` is monotonic.
    pub fn failed(&mut self, key: &Key, now: Duration) {
        if let Some(waiting) = self.pods.get_mut(key) {
            let backoff = FIRST_BACKOFF.saturating_mul(1 << waiting.failures.min(16)).min(LAST_BACKOFF);
            waiting.failures += 1;
            waiting.place = Place::BackingOff(now + backoff);
        }
    }

    /// Something changed that may make room: every pod that fitted nowhere is ready again. Answers how many.
    pub fn wake(&mut self) -> usize {
        self.make_ready(|place| place == Place::Unschedulable)
    }

    /// Makes pods ready whose back-off is over.
    pub fn tick(&mut self, now: Duration) -> usize {
        self.make_ready(|place| matches!(place, Place::BackingOff(until) if until <= now))
    }

    fn make_ready(&mut self, which: impl Fn(Place) -> bool) -> usize {
        let mut count = 0;
        for (key, waiting) in self.pods.iter_mut().filter(|(_, w)| which(w.place)) {
            waiting.place = Place::Ready;
            self.ready.insert(waiting.turn(key));
            count += 1;
        }
        count
    }

    /// When the next back-off is over.
    pub fn next_tick(&self) -> Option<Duration> {
        let until = |w: &Waiting| match w.place {
            Place::BackingOff(until) => Some(until),
            Place::Ready | Place::Unschedulable => None,
        };
        self.pods.values().filter_map(until).min()
    }

    /// Whether no pod is ready.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// What a waiting pod waits for, in words; `None` when it does not wait here.
    pub fn waits_for(&self, key: &Key) -> Option<&'static str> {
        self.pods.get(key).map(|w| match w.place {
            Place::Ready => "its turn",
            Place::BackingOff(_) => "the back-off after a failed bind",
            Place::Unschedulable => "a node to be added or changed, or a pod to end",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        Arc::new(pod)
    }

    #[test]
    fn waits_wakes_and_backs_off() {
        let mut queue = Queue::default();
        queue.put(&pod("b"));
        queue.put(&pod("a"));
        let names: Vec<_> = queue.take(9).iter().map(|p| p.metadata.name.to_string()).collect();
        assert_eq!(names, ["b", "a"], "in the order of arrival");
        queue.unschedulable(&pod("a").key());
        queue.failed(&pod("b").key(), Duration::ZERO);
        assert!(queue.is_idle());
        assert_eq!(queue.next_tick(), Some(FIRST_BACKOFF));
        let mut status_only = Pod::clone(&pod("a"));
        status_only.status.reason = "x".into();
        queue.put(&Arc::new(status_only));
        assert!(queue.is_idle(), "a change of status wakes nobody");
        assert_eq!((queue.wake(), queue.tick(FIRST_BACKOFF)), (1, 1));
        assert_eq!(queue.take(9).len(), 2);
        queue.failed(&pod("b").key(), Duration::ZERO);
        assert_eq!(queue.next_tick(), Some(2 * FIRST_BACKOFF));
    }

    #[test]
    fn the_highest_priority_goes_first() {
        let mut queue = Queue::default();
        for (name, priority) in [("low", -5), ("first", 7), ("second", 7), ("none", 0)] {
            let mut pod = Pod::clone(&pod(name));
            pod.spec.priority = Some(priority);
            queue.put(&Arc::new(pod));
        }
        let names: Vec<_> = queue.take(9).iter().map(|p| p.metadata.name.to_string()).collect();
        assert_eq!(names, ["first", "second", "none", "low"]);
    }
}
