//! What the agent knows of one pod, and how that changes.

use super::Inner;
use super::link::Link;
use crate::process::cgroup;
use crate::process::layout;
use crate::process::record::{self, ContainerState, ProcessId, SandboxFile};
use crate::process::usage;
use crate::process::wire::{Reply, Request, VERSION};
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steersman_domain::Uid;
use steersman_domain::ports::{ContainerReading, ExitRecord, RuntimeError, RuntimeEvent, SandboxRecord};
use tokio::sync::Notify;

/// One pod.
pub(super) struct Pod {
    pub(super) sandbox: SandboxFile,
    pub(super) dir: PathBuf,
    containers: Mutex<Vec<ContainerState>>,
    /// The connection to the shim. Its lock is held while one is made, so that only one is.
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    /// Held while its shim is started or ended.
    pub(super) starting: tokio::sync::Mutex<()>,
    /// It is being removed: the end of its shim is no loss.
    pub(super) removing: AtomicBool,
    /// Its address was given back: nothing runs in it again.
    pub(super) released: AtomicBool,
    /// Held while a volume is written.
    pub(super) volumes: Mutex<()>,
    /// A process of it is about to listen.
    pub(super) listening: Notify,
}

impl Pod {
    pub(super) fn new(sandbox: SandboxFile, dir: PathBuf) -> Self {
        let containers = record::load_containers(&dir);
        let released = AtomicBool::new(sandbox.released);
        Pod {
            sandbox,
            released,
            dir,
            containers: Mutex::new(containers),
            link: tokio::sync::Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            removing: AtomicBool::new(false),
            volumes: Mutex::default(),
            listening: Notify::new(),
        }
    }

    pub(super) fn uid(&self) -> &Uid {
        &self.sandbox.spec.uid
    }

    pub(super) fn to_record(&self) -> SandboxRecord {
        SandboxRecord {
            spec: self.sandbox.spec.clone(),
            ip: self.sandbox.ip,
            released: self.released.load(Ordering::Acquire),
            containers: self.containers.lock().iter().map(ContainerState::to_record).collect(),
        }
    }

    /// What its containers that run have used.
    pub(super) fn usage(&self) -> Vec<ContainerReading> {
        let running: Vec<ContainerState> =
            self.containers.lock().iter().filter(|c| c.exit.is_none()).cloned().collect();
        let reading = |container: ContainerState| {
            let group = format!("{}-{}", container.name, container.attempt);
            let (cpu_nanos, memory) = usage::measure(&self.sandbox.cgroups, self.uid().as_str(), &group, container.pid);
            ContainerReading { name: container.name, attempt: container.attempt, cpu_nanos, memory_bytes: Some(memory) }
        };
        running.into_iter().map(reading).collect()
    }

    /// The latest start of a container.
    pub(super) fn container(&self, name: &str) -> Option<ContainerState> {
        self.containers.lock().iter().find(|c| c.name == name).cloned()
    }

    /// Takes in what is known of a container now; an exit that was not known before is told to every subscription.
    pub(super) fn learn(&self, inner: &Inner, state: ContainerState) {
        let mut containers = self.containers.lock();
        let ended = state.exit.is_some();
        match containers.iter_mut().find(|c| c.name == state.name) {
            // An answer may overtake an event: what is older says nothing new.
            Some(known) if known.attempt > state.attempt => return,
            Some(known) if known.attempt == state.attempt && known.exit.is_some() => return,
            Some(known) => *known = state.clone(),
            None => containers.push(state.clone()),
        }
        if ended {
            // Told while the lock is held, so that events come in the order in which they were learnt.
            inner.publish(&RuntimeEvent::Exited { pod: self.uid().clone(), container: state.to_record() });
        }
    }

    /// The same for an exit that is the answer to a stop.
    pub(super) fn learn_exit(&self, inner: &Inner, stopped: ContainerState, exit: ExitRecord) {
        self.learn(inner, ContainerState { exit: Some(exit), ..stopped });
    }

    /// The process that is its shim, if one was started.
    pub(super) fn shim(&self) -> Option<ProcessId> {
        record::read_json(&self.dir.join(layout::SHIM)).ok().flatten()
    }

    /// The connection to the shim, made when there is none. `Unavailable` when the shim does not run.
    pub(super) async fn link(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<Arc<Link>, RuntimeError> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_open()) {
            return Ok(link.clone());
        }
        let link = self.connect(inner).await?;
        *slot = Some(link.clone());
        Ok(link)
    }

    async fn connect(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<Arc<Link>, RuntimeError> {
        let unavailable =
            |e: io::Error| RuntimeError::Unavailable(format!("pod {}: its shim does not answer: {e}", self.uid()));
        if !self.shim().is_some_and(|shim| shim.is_alive()) {
            return Err(RuntimeError::Unavailable(format!("pod {}: its shim does not run", self.uid())));
        }
        let (pod, hub) = (Arc::downgrade(self), Arc::downgrade(inner));
        let on_event = move |reply| {
            let (Some(pod), Some(inner)) = (pod.upgrade(), hub.upgrade()) else { return };
            match reply {
                Reply::Exited(state) => pod.learn(&inner, state),
                Reply::Listening => pod.listening.notify_waiters(),
                _ => {}
            }
        };
        let (pod, hub) = (Arc::downgrade(self), Arc::downgrade(inner));
        let on_close = move || {
            if let (Some(pod), Some(inner)) = (pod.upgrade(), hub.upgrade()) {
                after_close(pod, inner);
            }
        };
        let link = Link::connect(&self.dir, on_event, on_close).await.map_err(unavailable)?;
        let hello = Request::Hello { version: VERSION };
        match link.request(hello).await? {
            Reply::Hello { version, .. } if version != VERSION => {
                return Err(RuntimeError::Unavailable(format!(
                    "pod {}: its shim speaks version {version} of the protocol, this agent {VERSION}: remove the pod, or \
                     run the steer that started it",
                    self.uid()
                )));
            }
            Reply::Failed(failure) => return Err(failure.into()),
            Reply::Hello { containers, .. } => containers.into_iter().for_each(|state| self.learn(inner, state)),
            other => return Err(unexpected(&other)),
        }
        Ok(link)
    }

    /// Sends a request to the shim. When the connection breaks meanwhile, the outcome is unknown and the answer is
    /// `Unavailable`.
    pub(super) async fn ask(self: &Arc<Self>, inner: &Arc<Inner>, request: Request) -> Result<Reply, RuntimeError> {
        match self.link(inner).await?.request(request).await? {
            Reply::Failed(failure) => Err(failure.into()),
            reply => Ok(reply),
        }
    }

    /// The shim hung up: because we are done with it, or because it is lost.
    async fn link_closed(self: &Arc<Self>, inner: &Arc<Inner>) {
        if self.removing.load(Ordering::Acquire) || self.link(inner).await.is_ok() {
            return;
        }
        self.shim_lost(inner, "its shim was killed");
        let message = format!("pod {}/{}: its shim was killed", self.sandbox.spec.namespace, self.sandbox.spec.name);
        inner.publish(&RuntimeEvent::SandboxLost { pod: self.uid().clone(), message });
    }

    /// Nobody waits for the containers any more: ends what is left of them and gives those without a record one.
    pub(super) fn shim_lost(&self, inner: &Inner, why: &str) {
        let known = self.containers.lock().clone();
        let shim = self.shim();
        for mut state in known.into_iter().filter(|c| c.exit.is_none()) {
            // The shim may have written the record and ended before it told us.
            if let Some(latest) =
                record::load_container(&self.dir, &state.name, state.attempt).filter(|c| c.exit.is_some())
            {
                self.learn(inner, latest);
                continue;
            }
            kill_session(shim.as_ref(), &state);
            let message = format!("how the container ended is not known: {why}");
            if let Err(error) = record::record_lost(&self.dir, &mut state, &message) {
                tracing::warn!(pod = %self.uid(), container = %state.name, %error, "an exit record cannot be written");
            }
            self.learn(inner, state);
        }
        cgroup::remove_groups(&self.sandbox.cgroups, self.uid().as_str());
    }

    pub(super) async fn drop_link(&self) {
        self.link.lock().await.take();
    }
}

/// Looks after a pod whose shim has hung up. A function of its own, for its future contains the one that makes connections.
fn after_close(pod: Arc<Pod>, inner: Arc<Inner>) {
    tokio::spawn(async move { pod.link_closed(&inner).await });
}

/// An answer of the wrong kind: agent and shim do not understand each other.
pub(super) fn unexpected(reply: &Reply) -> RuntimeError {
    let shown = format!("{reply:?}");
    RuntimeError::Unavailable(format!("the shim gave an answer that was not asked for: {shown:.60}"))
}

/// Ends what a container without a shim has left in its session; the group, where there is one, gets the rest. A number
/// may by now belong to somebody else, so nothing is done after a reboot or when another process leads the session.
fn kill_session(shim: Option<&ProcessId>, container: &ContainerState) {
    if !shim.is_some_and(ProcessId::is_of_this_boot) {
        return;
    }
    if record::ProcessStat::read(container.pid).is_ok_and(|leader| leader.start_time != container.start_time) {
        return;
    }
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let ours = record::ProcessStat::read(pid)
            .is_ok_and(|stat| stat.session == container.pid && stat.start_time >= container.start_time);
        if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()).filter(|_| ours) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
