//! What a runtime of functions holds: its pods, their runs, their addresses, and who listens.

use super::gauge::Gauge;
use super::log::Log;
use super::switchboard::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::Uid;
use steersman_domain::ports::{ContainerRecord, RuntimeEvent, SandboxSpec, SpawnHandle};
use tokio::sync::{mpsc, watch};

/// Runs of a container whose logs are kept: this one and the one before.
const LOGS: usize = 2;

pub(super) struct Container {
    pub(super) record: ContainerRecord,
    pub(super) gauge: Arc<Gauge>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) ended: watch::Sender<bool>,
    /// How long it may go without progress; `None`: for ever.
    pub(super) hang_after: Option<Duration>,
    /// Ends the function when dropped; a thread of its own goes on.
    pub(super) task: Option<SpawnHandle>,
    pub(super) blocking: bool,
    /// Of the last runs, by attempt.
    pub(super) logs: Vec<(u32, Arc<Log>)>,
}

pub(super) struct Sandbox {
    pub(super) spec: SandboxSpec,
    pub(super) ip: Ipv4Addr,
    pub(super) slot: Arc<Slot>,
    pub(super) containers: Vec<Container>,
    pub(super) released: bool,
}

impl Sandbox {
    pub(super) fn find(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|c| c.record.name == name)
    }

    /// Enters a new run; the logs of the one before are kept.
    pub(super) fn put(&mut self, mut new: Container) {
        match self.find(&new.record.name) {
            None => self.containers.push(new),
            Some(place) => {
                new.logs.splice(0..0, std::mem::take(&mut place.logs));
                let surplus = new.logs.len().saturating_sub(LOGS);
                new.logs.drain(..surplus);
                *place = new;
            }
        }
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) sandboxes: BTreeMap<Uid, Sandbox>,
    /// Addresses in use, counted from the first.
    pub(super) taken: BTreeSet<u32>,
    pub(super) next: u32,
    /// Unbounded as the port wants every event delivered: one for each end of a container, of which each has one at a time.
    pub(super) subscribers: Vec<mpsc::UnboundedSender<RuntimeEvent>>,
    pub(super) watchdog: Option<SpawnHandle>,
}

impl State {
    pub(super) fn tell(&mut self, event: RuntimeEvent) {
        self.subscribers.retain(|s| s.send(event.clone()).is_ok());
    }

    pub(super) fn take_address(&mut self, (first, count): (Ipv4Addr, u32)) -> Option<Ipv4Addr> {
        let free = (0..count).map(|step| (self.next + step) % count.max(1)).find(|at| !self.taken.contains(at))?;
        self.taken.insert(free);
        self.next = free + 1;
        Some(Ipv4Addr::from(u32::from(first) + free))
    }
}
