//! The handle of a pod that leaves the proxy.

use std::sync::Arc;
use std::time::Duration;

use super::backend::Pod;

/// A pod that no new connection can reach. Holding this value is the acknowledgement; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Drain {
    pub(super) pod: Arc<Pod>,
}

/// The deadline passed with connections still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{connections} connections are still open")]
pub struct StillActive {
    /// How many.
    pub connections: usize,
}

impl Drain {
    /// Connections still open on the pod, over all services.
    pub fn active(&self) -> usize {
        self.pod.active()
    }

    /// Resolves when the last connection has ended. Cancel at will.
    pub async fn idle(&self) {
        self.pod.idle().await;
    }

    /// Waits for the last connection to end, at most `limit`.
    ///
    /// # Errors
    /// [`StillActive`] with the count when the time is up.
    pub async fn idle_within(&self, limit: Duration) -> Result<(), StillActive> {
        match tokio::time::timeout(limit, self.idle()).await {
            Ok(()) => Ok(()),
            Err(_) => match self.active() {
                0 => Ok(()),
                connections => Err(StillActive { connections }),
            },
        }
    }
}
