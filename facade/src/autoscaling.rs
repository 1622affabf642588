//! What a host brings to autoscaling.

use std::sync::Arc;
use std::time::Duration;
use steersman_application::autoscaling::HorizontalAutoScaler;
use steersman_application::reconcile::horizontal::SYNC;
use steersman_domain::ports::AutoScaler;

/// What decides how many replicas workloads have, and how often: by default the algorithm of Kubernetes every 15 seconds, on
/// what pods used within windows of 10.
///
/// ```
/// use std::time::Duration;
/// let quick = steersman::Autoscaling::default().sync(Duration::from_secs(1)).window(Duration::from_secs(1));
/// let builder = steersman::Cluster::builder().autoscaling(quick);
/// # let _ = builder;
/// ```
#[derive(Clone)]
pub struct Autoscaling {
    pub(crate) scaler: Arc<dyn AutoScaler>,
    pub(crate) sync: Duration,
    pub(crate) window: Duration,
}

impl std::fmt::Debug for Autoscaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Autoscaling").field("sync", &self.sync).field("window", &self.window).finish_non_exhaustive()
    }
}

impl Default for Autoscaling {
    fn default() -> Self {
        Autoscaling { scaler: Arc::new(HorizontalAutoScaler), sync: SYNC, window: Duration::from_secs(10) }
    }
}

/// Nothing is looked at more often.
const SHORTEST: Duration = Duration::from_secs(1);

impl Autoscaling {
    /// The host's own autoscaler, which is asked about every HorizontalPodAutoscaler.
    #[must_use]
    pub fn scaler(mut self, scaler: Arc<dyn AutoScaler>) -> Self {
        self.scaler = scaler;
        self
    }

    /// How often each autoscaler is looked at; at least a second.
    #[must_use]
    pub fn sync(mut self, every: Duration) -> Self {
        self.sync = every.max(SHORTEST);
        self
    }

    /// Over how long nodes measure what their pods use; at least a second.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window.max(SHORTEST);
        self
    }
}
