//! Time and chance for tests.

use crate::Time;
use crate::ports::{Clock, Entropy};
use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct ManualClock {
    state: Mutex<(Duration, Vec<Waker>)>,
}

/// Where a manual clock starts: 2024-01-01T00:00:00Z.
const EPOCH: Time = Time::from_secs(1_704_067_200);

impl ManualClock {
    /// Moves the clock forward and wakes who waits.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().expect("no holder panics");
        state.0 += by;
        for waker in state.1.drain(..) {
            waker.wake();
        }
    }
}

#[async_trait::async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Time {
        EPOCH.after(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().expect("no holder panics").0
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.monotonic() + duration;
        poll_fn(|context| {
            let mut state = self.state.lock().expect("no holder panics");
            if state.0 >= until {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A reproducible sequence of numbers (SplitMix64).
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        SeededEntropy(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut z = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
