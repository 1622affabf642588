//! The port to whoever sends traffic to pods.

use std::time::Duration;
use steersman_domain::Uid;

/// Takes pods out of every proxy, and lets them in again. The composition root implements it with the service proxy.
#[async_trait::async_trait]
pub trait TrafficDrain: Send + Sync + 'static {
    /// A program of the pod died: new connections go elsewhere from the moment this answers, ahead of any status.
    /// Holds until `endpoint_up` for the same pod, whatever endpoint objects say meanwhile: they lag behind.
    async fn endpoint_down(&self, pod: &Uid);

    /// The pod is ready again after an `endpoint_down`.
    async fn endpoint_up(&self, pod: &Uid);

    /// Answers when no proxy sends new connections to the pod and its open connections have ended, or when the deadline
    /// has passed (then with connections left). New connections stay away for good. Cancel-safe.
    async fn drain(&self, pod: &Uid, deadline: Duration);
}

/// Where nothing sends traffic to pods: every answer comes at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTraffic;

#[async_trait::async_trait]
impl TrafficDrain for NoTraffic {
    async fn endpoint_down(&self, _pod: &Uid) {}

    async fn endpoint_up(&self, _pod: &Uid) {}

    async fn drain(&self, _pod: &Uid, _deadline: Duration) {}
}
