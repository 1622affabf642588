//! The share of the process's file descriptors that the proxy may use. Running out of descriptors breaks far more than
//! the proxy (no log file opens, no process starts), so connections wait in the backlog instead.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors of one proxied connection: the client's socket and the endpoint's.
const PER_CONNECTION: u32 = 2;

/// Descriptors of one listener: its own, and that of the client it has accepted while the client's turn has not come.
pub(super) const PER_LISTENER: u32 = 2;

/// Never kept for the proxy: the rest of the program needs at least this many descriptors.
const RESERVE_MIN: usize = 128;

/// Taken for `RLIM_INFINITY`: more sockets than one host's loopback serves.
const UNLIMITED: usize = 1 << 20;

/// Counts descriptors in use; clones share the count.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `descriptors`, or of the process's limit less a quarter (at least 128) for everything else.
    pub(super) fn new(descriptors: Option<usize>) -> Self {
        let count = descriptors.unwrap_or_else(|| share_of(soft_limit()));
        Self { free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))) }
    }

    /// Waits, first come first served, until a connection's descriptors are free.
    pub(super) async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so `None` cannot be seen; the caller treats it as the end.
        self.free.clone().acquire_many_owned(PER_CONNECTION).await.ok()
    }

    /// That many descriptors now, or `None`.
    pub(super) fn try_take(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(count).ok()
    }
}

fn soft_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(UNLIMITED, |limit| usize::try_from(limit).unwrap_or(UNLIMITED).min(UNLIMITED))
}

fn share_of(limit: usize) -> usize {
    limit.saturating_sub(RESERVE_MIN.max(limit / 4)).max(PER_CONNECTION as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_leaves_a_reserve() {
        assert_eq!(share_of(1024), 768);
        assert_eq!(share_of(256), 128);
        assert_eq!(share_of(20_000), 15_000);
        assert_eq!(share_of(0), 2);
    }

    #[test]
    fn one_descriptor_is_refused_when_none_is_left() {
        let budget = Budget::new(Some(1));
        let held = budget.try_take(1);
        assert!(held.is_some() && budget.try_take(1).is_none());
        drop(held);
        assert!(budget.try_take(1).is_some());
    }
}
