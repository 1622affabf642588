//! Counters of a service, kept as atomics and read as one snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a service's proxy has done since the service was first applied. All but `active` only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceMetrics {
    /// TCP connections accepted and UDP clients first seen.
    pub connections: u64,
    /// Of these, open now.
    pub active: u64,
    /// Connects that failed and were followed by another choice.
    pub retries: u64,
    /// Connections and datagrams refused because no ready endpoint could be reached.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    active: AtomicU64,
    retries: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// Counts a connection; it is active until the guard drops.
    pub(super) fn open(self: &Arc<Self>) -> ActiveGuard {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        ActiveGuard { counters: self.clone() }
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> ServiceMetrics {
        ServiceMetrics {
            connections: self.connections.load(Ordering::Relaxed),
            active: self.active.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// Lowers the active count when dropped, however the connection ends.
#[derive(Debug)]
pub(super) struct ActiveGuard {
    counters: Arc<Counters>,
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.counters.active.fetch_sub(1, Ordering::Relaxed);
    }
}
