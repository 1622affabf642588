//! The bell that wakes watchers: a number, and who waits for the next one. Watchers are woken in the order in which they
//! subscribed, whatever else goes on in the process, so that what a cluster does is a function of what happened to it. It
//! carries no changes: who is woken reads them from the log. Who waits for one topic alone is left to sleep by all others.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use steersman_domain::Str;

/// The number, and the bell. Clones ring the same one.
#[derive(Clone, Debug)]
pub(crate) struct Signal(Arc<Mutex<State>>);

/// Those who wait for the same.
#[derive(Debug, Default)]
struct Topic {
    /// How often it rang for them: it may ring without a new number.
    rings: u64,
    subscribers: usize,
    /// Who waits, by the order of subscription. A tree, since ten thousand wait and any of them may go.
    waiting: BTreeMap<u64, Waker>,
}

#[derive(Debug)]
struct State {
    value: u64,
    subscribed: u64,
    /// Those who wait for everything.
    all: Topic,
    /// Those who wait for one topic.
    topics: BTreeMap<Str, Topic>,
}

impl State {
    fn topic(&mut self, topic: Option<&Str>) -> &mut Topic {
        match topic {
            None => &mut self.all,
            Some(topic) => self.topics.get_mut(topic).expect("it is there as long as it has a subscriber"),
        }
    }
}

impl Topic {
    fn ring(&mut self) -> BTreeMap<u64, Waker> {
        self.rings += 1;
        std::mem::take(&mut self.waiting)
    }
}

impl Signal {
    pub(crate) fn new(value: u64) -> Self {
        let (all, topics) = (Topic::default(), BTreeMap::new());
        Signal(Arc::new(Mutex::new(State { value, subscribed: 0, all, topics })))
    }

    /// Sets the number and wakes everyone who waits for everything or for one of these topics, in the order of subscription.
    pub(crate) fn ring(&self, value: u64, topics: &BTreeSet<Str>) {
        let woken = {
            let mut state = self.0.lock();
            state.value = value;
            let mut woken: Vec<(u64, Waker)> = state.all.ring().into_iter().collect();
            let before = woken.len();
            for topic in topics {
                woken.extend(state.topics.get_mut(topic).map(Topic::ring).unwrap_or_default());
            }
            if woken.len() > before {
                woken.sort_unstable_by_key(|(id, _)| *id);
            }
            woken
        };
        // Woken after the lock is free: a waker may run anything.
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Someone who has seen everything up to now, and waits for a topic alone if one is named.
    pub(crate) fn subscribe(&self, topic: Option<&str>) -> Subscriber {
        let mut state = self.0.lock();
        state.subscribed += 1;
        let id = state.subscribed;
        let topic = topic.map(Str::from);
        if let Some(topic) = &topic {
            state.topics.entry(topic.clone()).or_default();
        }
        let entered = state.topic(topic.as_ref());
        entered.subscribers += 1;
        let seen = entered.rings;
        drop(state);
        Subscriber { signal: self.clone(), topic, id, seen }
    }
}

/// Waits for the bell.
#[derive(Debug)]
pub(crate) struct Subscriber {
    signal: Signal,
    topic: Option<Str>,
    id: u64,
    seen: u64,
}

impl Subscriber {
    /// The number; every ring so far counts as heard.
    pub(crate) fn hear(&mut self) -> u64 {
        let mut state = self.signal.0.lock();
        self.seen = state.topic(self.topic.as_ref()).rings;
        state.value
    }

    /// Waits for a ring that was not heard yet, and hears it. Cancel-safe.
    pub(crate) async fn rung(&mut self) {
        poll_fn(|context| self.poll_rung(context)).await;
    }

    fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.signal.0.lock();
        let topic = state.topic(self.topic.as_ref());
        if topic.rings != self.seen {
            self.seen = topic.rings;
            return Poll::Ready(());
        }
        match topic.waiting.get_mut(&self.id) {
            Some(waker) => waker.clone_from(context.waker()),
            None => drop(topic.waiting.insert(self.id, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut state = self.signal.0.lock();
        let topic = state.topic(self.topic.as_ref());
        topic.subscribers -= 1;
        let waker = topic.waiting.remove(&self.id);
        if let Some(name) = self.topic.as_ref().filter(|_| topic.subscribers == 0) {
            state.topics.remove(name);
        }
        drop(state);
        // Dropped after the lock is free: the last waker of a task may drop the task.
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Mutex as StdMutex;
    use std::task::Wake;

    struct Noted(usize, Arc<StdMutex<Vec<usize>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("no holder panics").push(self.0);
        }
    }

    /// Polls a wait once, as the task with this number.
    fn poll(subscriber: &mut Subscriber, number: usize, noted: &Arc<StdMutex<Vec<usize>>>) -> bool {
        let waker = Waker::from(Arc::new(Noted(number, noted.clone())));
        let wait = pin!(subscriber.rung());
        wait.poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn wakes_in_the_order_of_subscription() {
        let (signal, noted) = (Signal::new(0), Arc::<StdMutex<Vec<usize>>>::default());
        let mut all: Vec<Subscriber> = (0..100).map(|_| signal.subscribe(None)).collect();
        for (number, subscriber) in all.iter_mut().enumerate().rev() {
            assert!(!poll(subscriber, number, &noted));
        }
        signal.ring(7, &BTreeSet::new());
        assert_eq!(*noted.lock().expect("no holder panics"), (0..100).collect::<Vec<_>>());
        assert_eq!(all[3].hear(), 7);
        assert!(!poll(&mut all[3], 3, &noted), "it was heard");
        assert!(poll(&mut all[4], 4, &noted), "it was not");
    }

    #[test]
    fn a_wait_that_is_given_up_loses_no_ring_and_leaves_nothing_behind() {
        let (signal, noted) = (Signal::new(0), Arc::<StdMutex<Vec<usize>>>::default());
        let mut subscriber = signal.subscribe(None);
        assert!(!poll(&mut subscriber, 1, &noted), "the future is dropped here");
        signal.ring(1, &BTreeSet::new());
        assert!(poll(&mut subscriber, 2, &noted));
        assert!(!poll(&mut subscriber, 2, &noted));
        drop(subscriber);
        assert!(signal.0.lock().all.waiting.is_empty());
        signal.ring(2, &BTreeSet::new());
        assert_eq!(*noted.lock().expect("no holder panics"), [1]);
    }

    #[test]
    fn a_topic_wakes_those_who_wait_for_it_and_for_everything() {
        let (signal, noted) = (Signal::new(0), Arc::<StdMutex<Vec<usize>>>::default());
        let mut all = [Some("a"), None, Some("b"), Some("a")].map(|topic| signal.subscribe(topic));
        let wait = |all: &mut [Subscriber; 4]| {
            for (number, subscriber) in all.iter_mut().enumerate() {
                while poll(subscriber, number, &noted) {}
            }
        };
        let woken = || std::mem::take(&mut *noted.lock().expect("no holder panics"));
        for (topics, expected) in [(&["a"][..], &[0, 1, 3][..]), (&["a", "b", "c"], &[0, 1, 2, 3]), (&[], &[1])] {
            wait(&mut all);
            signal.ring(1, &topics.iter().map(|topic| Str::from(*topic)).collect());
            assert_eq!(woken(), expected, "{topics:?}");
            wait(&mut all);
        }
        drop(all);
        assert!(signal.0.lock().topics.is_empty(), "nothing is left behind");
    }
}
