//! Time that moves only when it is told to, from the end of one wait to the end of the next.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;
use steersman_domain::Time;
use steersman_domain::ports::Clock;

/// Where the clock starts: 2024-01-01T00:00:00Z.
const EPOCH: Time = Time::from_secs(1_704_067_200);

#[derive(Debug, Default)]
struct State {
    now: Duration,
    /// Who waits, by the end of the wait and the order in which they began.
    waiting: BTreeMap<(Duration, u64), Waker>,
    begun: u64,
}

/// A clock that stands still while anything can be done; clones are the same clock. It starts at 2024-01-01T00:00:00Z.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<Mutex<State>>);

impl VirtualClock {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before the lock is given back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the wait that ends first ends, as time since the start; `None` when nobody waits.
    pub fn next(&self) -> Option<Duration> {
        self.lock().waiting.first_key_value().map(|(&(end, _), _)| end)
    }

    /// Moves to the end of the wait that ends first and wakes whoever waits for that moment. Answers whether anybody waited.
    /// To be called when nothing else can run.
    pub fn jump(&self) -> bool {
        let due = {
            let mut state = self.lock();
            let Some((&(first, _), _)) = state.waiting.first_key_value() else { return false };
            let now = state.now.max(first);
            state.now = now;
            let later = state.waiting.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.waiting, later)
        };
        due.into_values().for_each(Waker::wake);
        true
    }
}

/// Takes a wait off the list, however it ends.
struct Waiting<'a>(&'a VirtualClock, (Duration, u64));

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waker = self.0.lock().waiting.remove(&self.1);
        // Dropped after the lock is free: the last waker of a task may drop the task.
        drop(waker);
    }
}

#[async_trait::async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Time {
        EPOCH.after(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.lock().now
    }

    async fn sleep(&self, duration: Duration) {
        let key = {
            let mut state = self.lock();
            state.begun += 1;
            (state.now.saturating_add(duration), state.begun)
        };
        let waiting = Waiting(self, key);
        poll_fn(|context| {
            let mut state = self.lock();
            if state.now >= key.0 {
                return Poll::Ready(());
            }
            state.waiting.insert(key, context.waker().clone());
            Poll::Pending
        })
        .await;
        drop(waiting);
    }
}
