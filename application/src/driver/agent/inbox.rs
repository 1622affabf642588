//! Where a pod's worker gets its news. Nothing here grows without bound: of the object only the newest version is kept, and
//! every observation answers a step of the worker or tells of one attempt of a container, of which there is one at a time. It
//! also keeps what containers were last started with.

use super::observe::Observation;
use super::sources::Sources;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steersman_domain::{Pod, Str, Uid};
use tokio::sync::Notify;

/// What has arrived since the worker looked last.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) observations: VecDeque<Observation>,
}

/// The inbox of one pod's worker.
#[derive(Debug)]
pub(super) struct Inbox {
    uid: Uid,
    mail: Mutex<Mail>,
    bell: Notify,
    /// What each container was last started with.
    known: Mutex<BTreeMap<Str, Sources>>,
}

impl Inbox {
    pub(super) fn new(uid: Uid) -> Self {
        Inbox { uid, mail: Mutex::default(), bell: Notify::new(), known: Mutex::default() }
    }

    pub(super) fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Keeps what a container is started with, for a start while the API cannot be reached.
    pub(super) fn know(&self, container: &Str, sources: &Sources) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(container.clone(), sources.clone());
    }

    /// What a container was last started with.
    pub(super) fn known(&self, container: &str) -> Option<Sources> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(container).cloned()
    }

    /// A newer version of the object; older ones than the one that waits are dropped.
    pub(super) fn deliver(&self, pod: &Arc<Pod>) {
        let mut mail = self.lock();
        let newer = mail.pod.as_ref().is_none_or(|p| p.metadata.resource_version < pod.metadata.resource_version);
        if newer {
            mail.pod = Some(Arc::clone(pod));
        }
        drop(mail);
        self.bell.notify_one();
    }

    pub(super) fn observed(&self, observation: Observation) {
        let mut mail = self.lock();
        // Changes of sources say only "look again", so one is as good as many.
        let repeated = observation == Observation::SourcesChanged && mail.observations.contains(&observation);
        if !repeated {
            mail.observations.push_back(observation);
        }
        drop(mail);
        self.bell.notify_one();
    }

    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until something has arrived. Cancel-safe.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
