//! Time and chance.

use crate::{Time, Uid};
use std::time::Duration;

/// Time as the core sees it. The live clock is the machine's; the simulator's moves only when nothing is left to do.
#[async_trait::async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Time;

    /// Time since an arbitrary start that never goes back and does not jump with the wall clock.
    fn monotonic(&self) -> Duration;

    /// Waits. Cancel-safe: dropping the future ends the wait.
    async fn sleep(&self, duration: Duration);
}

/// A source of chance: the operating system's in production, seeded in simulation.
pub trait Entropy: Send + Sync + 'static {
    /// 64 random bits.
    fn random(&self) -> u64;

    /// A new unique id.
    fn uid(&self) -> Uid {
        Uid::from_random(u128::from(self.random()) << 64 | u128::from(self.random()))
    }
}
