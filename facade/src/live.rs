//! The live clock, chance and spawning: what a simulator replaces. Nothing here is global.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use steersman_application::driver::spawner::{SpawnHandle, Spawner, Task};
use steersman_domain::Time;
use steersman_domain::ports::{Clock, Entropy};
use tokio::runtime::Handle;

/// The machine's clock, waiting through tokio's timer.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Time {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            // A clock before 1970 is told as it is.
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Time::from_micros(micros)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn random(&self) -> u64 {
        getrandom::u64().expect("the operating system has random numbers once it has booted")
    }
}

/// Spawns onto a tokio runtime.
#[derive(Clone, Debug)]
pub struct TokioSpawner(Handle);

impl TokioSpawner {
    /// Spawns onto this runtime.
    pub fn new(runtime: Handle) -> Self {
        TokioSpawner(runtime)
    }
}

impl Spawner for TokioSpawner {
    fn spawn(&self, _name: &'static str, task: Task) -> SpawnHandle {
        let task = self.0.spawn(task);
        SpawnHandle::new(move || task.abort())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_differ_and_are_version_four() {
        let (a, b) = (OsEntropy.uid(), OsEntropy.uid());
        assert_ne!(a, b);
        assert_eq!((a.as_str().len(), &a.as_str()[14..15]), (36, "4"));
    }
}
