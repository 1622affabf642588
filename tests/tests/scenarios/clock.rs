//! Time that moves only when nothing is left to do: the clock jumps to the next end of a wait when the executor would sleep.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use steersman_application::driver::spawner::{SpawnHandle, Spawner, Task};
use steersman_domain::Time;
use steersman_domain::ports::Clock;

/// Where the clock starts: 2024-01-01T00:00:00Z.
const EPOCH: Time = Time::from_secs(1_704_067_200);

#[derive(Default)]
struct State {
    now: Duration,
    /// Who waits, by the end of the wait and the order in which they began.
    waiting: BTreeMap<(Duration, u64), Waker>,
    begun: u64,
}

/// A clock for one executor of one thread.
#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Arc<Mutex<State>>);

impl VirtualClock {
    /// Moves to the end of the wait that ends first and wakes who waits for it. To be called when nothing else can run.
    pub(crate) fn jump(&self) {
        let due: Vec<Waker> = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((&(first, _), _)) = state.waiting.first_key_value() else { return };
            let now = state.now.max(first);
            state.now = now;
            let later = state.waiting.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.waiting, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

/// Takes a wait off the list, however it ends.
struct Waiting<'a>(&'a VirtualClock, (Duration, u64));

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&self.1);
    }
}

#[async_trait::async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Time {
        EPOCH.after(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    async fn sleep(&self, duration: Duration) {
        let key = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.begun += 1;
            (state.now.saturating_add(duration), state.begun)
        };
        let waiting = Waiting(self, key);
        poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Spawns onto the executor that runs the scenario.
#[derive(Clone, Copy)]
pub(crate) struct LocalSpawner;

impl Spawner for LocalSpawner {
    fn spawn(&self, _: &'static str, task: Task) -> SpawnHandle {
        let handle = tokio::spawn(task).abort_handle();
        SpawnHandle::new(move || handle.abort())
    }
}
