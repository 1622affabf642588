//! What all tasks of one agent share: the ports, the settings, and the pods that are being worked on.

use super::config::AgentConfig;
use super::events::Told;
use super::inbox::Inbox;
use super::observe::Observation;
use super::sources::SourceWatches;
use super::traffic::TrafficDrain;
use super::writer::Writer;
use crate::client::Client;
use crate::driver::spawner::{SpawnHandle, Spawner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use steersman_domain::ports::{Clock, Entropy, Runtime};
use steersman_domain::{Pod, PodStatus, Uid};
use tokio::sync::Notify;

pub(super) struct Shared {
    pub(super) config: AgentConfig,
    pub(super) client: Arc<dyn Client>,
    pub(super) runtimes: BTreeMap<&'static str, Arc<dyn Runtime>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) spawner: Arc<dyn Spawner>,
    pub(super) traffic: Arc<dyn TrafficDrain>,
    pub(super) writer: Writer,
    pub(super) sources: SourceWatches,
    pub(super) registry: Registry,
}

impl Shared {
    /// Tells an event about a pod.
    pub(super) fn tell(&self, pod: &Pod, told: Told) {
        self.writer.event(&self.config.node_name, pod, told, (self.clock.now(), self.entropy.random()));
    }
}

/// What readers of logs need to know of a pod.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) pod: Arc<Pod>,
    pub(super) status: PodStatus,
    /// The runtime that holds the sandbox, while there is one.
    pub(super) handler: Option<&'static str>,
}

struct Entry {
    inbox: Arc<Inbox>,
    view: View,
    /// Aborts the worker when the agent goes.
    worker: SpawnHandle,
}

#[derive(Default)]
struct Pods {
    entries: BTreeMap<Uid, Entry>,
    /// Pods that have ended here while their objects are still held (by finalizers, say).
    ended: BTreeSet<Uid>,
}

/// The pods of the node and their workers.
#[derive(Default)]
pub(super) struct Registry {
    pods: Mutex<Pods>,
    changed: Notify,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inbox of a pod's worker.
    pub(super) fn inbox(&self, uid: &Uid) -> Option<Arc<Inbox>> {
        self.lock().entries.get(uid).map(|e| Arc::clone(&e.inbox))
    }

    /// All inboxes with their pods as last seen by their workers, in the order of uids.
    pub(super) fn all(&self) -> Vec<(Arc<Inbox>, Arc<Pod>)> {
        self.lock().entries.values().map(|e| (Arc::clone(&e.inbox), Arc::clone(&e.view.pod))).collect()
    }

    /// Whether a pod has ended here.
    pub(super) fn has_ended(&self, uid: &Uid) -> bool {
        self.lock().ended.contains(uid)
    }

    /// How many pods take room: those that have not come out.
    pub(super) fn active(&self) -> usize {
        self.lock().entries.values().filter(|e| !e.view.status.phase.is_terminal()).count()
    }

    /// Enters a pod and starts its worker, unless it has one. The worker cannot end before it is entered.
    pub(super) fn enter(&self, inbox: Arc<Inbox>, view: View, start: impl FnOnce() -> SpawnHandle) {
        let mut pods = self.lock();
        let uid = inbox.uid().clone();
        pods.entries.entry(uid).or_insert_with(|| Entry { inbox, view, worker: start() });
    }

    /// Notes what readers of logs should see.
    pub(super) fn show(&self, uid: &Uid, view: View) {
        if let Some(entry) = self.lock().entries.get_mut(uid) {
            entry.view = view;
        }
    }

    /// What readers of logs see of a pod.
    pub(super) fn view(&self, uid: &Uid) -> Option<View> {
        self.lock().entries.get(uid).map(|e| e.view.clone())
    }

    /// The worker of a pod has done everything; called by the worker as its last act.
    pub(super) fn ended(&self, uid: &Uid, object_gone: bool) {
        let mut pods = self.lock();
        let entry = pods.entries.remove(uid);
        // The news that the object is gone may have come too late for the worker.
        let told = entry.as_ref().is_some_and(|e| e.inbox.take().observations.contains(&Observation::Gone));
        if !object_gone && !told {
            pods.ended.insert(uid.clone());
        }
        drop(pods);
        if let Some(entry) = entry {
            // The worker itself is running this: aborting it would be wrong.
            entry.worker.detach();
        }
        self.changed.notify_waiters();
    }

    /// The object of a pod is gone: its worker is told, under the lock, so that one which is just ending learns of it too.
    pub(super) fn gone(&self, uid: &Uid) {
        let mut pods = self.lock();
        pods.ended.remove(uid);
        if let Some(entry) = pods.entries.get(uid) {
            entry.inbox.observed(Observation::Gone);
        }
    }

    /// Pods whose workers have ended but whose objects were not seen to go.
    pub(super) fn retain_ended(&self, present: &BTreeSet<Uid>) {
        self.lock().ended.retain(|uid| present.contains(uid));
    }

    /// Waits until no worker is left. Cancel-safe.
    pub(super) async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lock().entries.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Aborts all workers.
    pub(super) fn clear(&self) {
        let entries = std::mem::take(&mut self.lock().entries);
        // Dropped outside the lock: an executor may run a worker's destructors at once.
        drop(entries);
    }
}
