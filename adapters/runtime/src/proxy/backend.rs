//! Pods and their endpoints as connections see them. A [`Pod`] is shared by every service that lists it: it holds the
//! count of connections and whether new ones may come, under one lock, so that "drained" and "counted" cannot pass each
//! other. A [`Backend`] is that pod behind one service port.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::spec::{Endpoint, PodUid};

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) uid: PodUid,
    state: Mutex<PodState>,
    /// Mirrors `PodState::drained` for relays, which ask at every response head.
    drained: AtomicBool,
    /// Wakes relays when this pod or one of its backends begins to drain.
    pub(super) changed: Notify,
    idle: Notify,
}

#[derive(Debug, Default)]
struct PodState {
    active: usize,
    drained: bool,
    down_until: Option<Instant>,
    /// Where it listens for services, when it runs on this node.
    listens: BTreeSet<SocketAddrV4>,
}

impl PodState {
    fn takes_connections(&self, now: Instant) -> bool {
        !self.drained && self.down_until.is_none_or(|until| now >= until)
    }
}

impl Pod {
    pub(super) fn new(uid: PodUid) -> Self {
        let (state, drained) = (Mutex::default(), AtomicBool::new(false));
        Self { uid, state, drained, changed: Notify::new(), idle: Notify::new() }
    }

    /// Takes new connections no more; when this returns every connection that may still reach it is counted.
    pub(super) fn drain(&self) {
        self.state.lock().drained = true;
        self.drained.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(super) fn set_down(&self, until: Instant) {
        self.state.lock().down_until = Some(until);
    }

    /// Forgets a reported death, not a drain.
    pub(super) fn lift_down(&self) {
        self.state.lock().down_until = None;
    }

    /// Takes new connections again.
    pub(super) fn revive(&self) {
        let mut state = self.state.lock();
        (state.drained, state.down_until) = (false, None);
        self.drained.store(false, Ordering::Release);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }

    pub(super) fn takes_connections(&self, now: Instant) -> bool {
        self.state.lock().takes_connections(now)
    }

    /// Connections dialling or open.
    pub(super) fn active(&self) -> usize {
        self.state.lock().active
    }

    /// Resolves when no connection is dialling or open.
    pub(super) async fn idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // Registered before the count is read, or the last connection could end unseen in between.
            idle.as_mut().enable();
            if self.active() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Remembers where the pod listens on this node.
    pub(super) fn listens_on(&self, address: SocketAddrV4) {
        self.state.lock().listens.insert(address);
    }

    pub(super) fn is_listening_on(&self, address: SocketAddrV4) -> bool {
        self.state.lock().listens.contains(&address)
    }

    fn try_count(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let takes = state.takes_connections(now);
        state.active += usize::from(takes);
        takes
    }

    fn uncount(&self) {
        let left = {
            let mut state = self.state.lock();
            state.active = state.active.saturating_sub(1);
            state.active
        };
        if left == 0 {
            self.idle.notify_waiters();
        }
    }
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) pod: Arc<Pod>,
    pub(super) address: SocketAddrV4,
    /// The node to ask for connections; `None`: this one.
    pub(super) node: Option<Arc<str>>,
    /// Draining by the service's own list, or no longer on it.
    retired: AtomicBool,
    suspicious_until: Mutex<Option<Instant>>,
}

impl Backend {
    pub(super) fn new(pod: Arc<Pod>, endpoint: &Endpoint, retired: bool) -> Self {
        let (address, node) = (endpoint.address, endpoint.node.clone());
        Self { pod, address, node, retired: AtomicBool::new(retired), suspicious_until: Mutex::new(None) }
    }

    pub(super) fn set_retired(&self, retired: bool) {
        if self.retired.swap(retired, Ordering::AcqRel) != retired && retired {
            self.pod.changed.notify_waiters();
        }
    }

    /// Whether its connections should end when they can.
    pub(super) fn is_draining(&self) -> bool {
        self.retired.load(Ordering::Acquire) || self.pod.is_drained()
    }

    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.retired.load(Ordering::Acquire) && self.pod.takes_connections(now)
    }

    pub(super) fn suspect(&self, until: Instant) {
        *self.suspicious_until.lock() = Some(until);
    }

    pub(super) fn trust(&self) {
        *self.suspicious_until.lock() = None;
    }

    pub(super) fn is_suspicious(&self, now: Instant) -> bool {
        self.suspicious_until.lock().is_some_and(|until| now < until)
    }

    /// Counts a connection on the pod, unless it takes none.
    pub(super) fn lease(self: &Arc<Self>, now: Instant) -> Option<Lease> {
        if self.retired.load(Ordering::Acquire) {
            return None;
        }
        Counted::on(&self.pod, now).map(|counted| Lease { backend: self.clone(), _counted: counted })
    }
}

/// One connection counted on a pod, from before its connect until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) backend: Arc<Backend>,
    _counted: Counted,
}

/// Counts as a connection of the pod until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    pod: Arc<Pod>,
}

impl Counted {
    /// Counts a connection on the pod, unless it takes none.
    pub(super) fn on(pod: &Arc<Pod>, now: Instant) -> Option<Self> {
        pod.try_count(now).then(|| Self { pod: pod.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.pod.uncount();
    }
}
