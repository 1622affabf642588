//! Spawning as a port: the live one hands tasks to an executor's threads, the simulator's runs them in the order of its seed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A task without an answer: what it finds out it sends somewhere.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts tasks. The name is for traces and tells what the task is, not which one.
pub trait Spawner: Send + Sync + 'static {
    /// Starts a task at once. It runs until it ends or the handle is dropped.
    fn spawn(&self, name: &'static str, task: Task) -> SpawnHandle;
}

/// A running task. Dropping the handle aborts the task, so that no task outlives its owner unseen.
#[must_use = "dropping the handle aborts the task"]
pub struct SpawnHandle {
    abort: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl SpawnHandle {
    /// A handle that aborts its task by calling `abort`. Aborting a task that has ended must do nothing.
    pub fn new(abort: impl FnOnce() + Send + Sync + 'static) -> Self {
        SpawnHandle { abort: Some(Box::new(abort)) }
    }

    /// Lets the task run on its own.
    pub fn detach(mut self) {
        self.abort = None;
    }
}

impl Drop for SpawnHandle {
    fn drop(&mut self) {
        if let Some(abort) = self.abort.take() {
            abort();
        }
    }
}

impl fmt::Debug for SpawnHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnHandle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn dropping_aborts_and_detaching_does_not() {
        for (detach, aborted) in [(false, true), (true, false)] {
            let flag = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&flag);
            let handle = SpawnHandle::new(move || seen.store(true, Ordering::Relaxed));
            if detach {
                handle.detach()
            } else {
                drop(handle)
            }
            assert_eq!(flag.load(Ordering::Relaxed), aborted);
        }
    }
}
