//! The bell that wakes watchers: a number, and who waits for the next one. Watchers are woken in the order in which they
//! subscribed, whatever else goes on in the process, so that what a cluster does is a function of what happened to it. It
//! carries no changes: who is woken reads them from the log.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The number, and the bell. Clones ring the same one.
#[derive(Clone, Debug)]
pub(crate) struct Signal(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    value: u64,
    /// How often it rang: it may ring without a new number.
    rings: u64,
    subscribers: u64,
    /// Who waits, by the order of subscription. A tree, since ten thousand wait and any of them may go.
    waiting: BTreeMap<u64, Waker>,
}

impl Signal {
    pub(crate) fn new(value: u64) -> Self {
        Signal(Arc::new(Mutex::new(State { value, rings: 0, subscribers: 0, waiting: BTreeMap::new() })))
    }

    /// Sets the number and wakes everyone who waits, in the order of subscription.
    pub(crate) fn ring(&self, value: u64) {
        let woken = {
            let mut state = self.0.lock();
            state.value = value;
            state.rings += 1;
            std::mem::take(&mut state.waiting)
        };
        // Woken after the lock is free: a waker may run anything.
        woken.into_values().for_each(Waker::wake);
    }

    /// Someone who has seen everything up to now.
    pub(crate) fn subscribe(&self) -> Subscriber {
        let mut state = self.0.lock();
        state.subscribers += 1;
        Subscriber { signal: self.clone(), id: state.subscribers, seen: state.rings }
    }
}

/// Waits for the bell.
#[derive(Debug)]
pub(crate) struct Subscriber {
    signal: Signal,
    id: u64,
    seen: u64,
}

impl Subscriber {
    /// The number; every ring so far counts as heard.
    pub(crate) fn hear(&mut self) -> u64 {
        let state = self.signal.0.lock();
        self.seen = state.rings;
        state.value
    }

    /// Waits for a ring that was not heard yet, and hears it. Cancel-safe.
    pub(crate) async fn rung(&mut self) {
        poll_fn(|context| self.poll_rung(context)).await;
    }

    fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.signal.0.lock();
        if state.rings != self.seen {
            self.seen = state.rings;
            return Poll::Ready(());
        }
        match state.waiting.get_mut(&self.id) {
            Some(waker) => waker.clone_from(context.waker()),
            None => drop(state.waiting.insert(self.id, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let waker = self.signal.0.lock().waiting.remove(&self.id);
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
        let mut all: Vec<Subscriber> = (0..100).map(|_| signal.subscribe()).collect();
        for (number, subscriber) in all.iter_mut().enumerate().rev() {
            assert!(!poll(subscriber, number, &noted));
        }
        signal.ring(7);
        assert_eq!(*noted.lock().expect("no holder panics"), (0..100).collect::<Vec<_>>());
        assert_eq!(all[3].hear(), 7);
        assert!(!poll(&mut all[3], 3, &noted), "it was heard");
        assert!(poll(&mut all[4], 4, &noted), "it was not");
    }

    #[test]
    fn a_wait_that_is_given_up_loses_no_ring_and_leaves_nothing_behind() {
        let (signal, noted) = (Signal::new(0), Arc::<StdMutex<Vec<usize>>>::default());
        let mut subscriber = signal.subscribe();
        assert!(!poll(&mut subscriber, 1, &noted), "the future is dropped here");
        signal.ring(1);
        assert!(poll(&mut subscriber, 2, &noted));
        assert!(!poll(&mut subscriber, 2, &noted));
        drop(subscriber);
        assert!(signal.0.lock().waiting.is_empty());
        signal.ring(2);
        assert_eq!(*noted.lock().expect("no holder panics"), [1]);
    }
}
