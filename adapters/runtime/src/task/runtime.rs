//! The runtime of functions: pods that are async functions, or blocking ones with a thread of their own, of this process. It
//! shares the host's trust and ends with it. What fails behaves as a process would: a panic ends with 101, an error with 1,
//! what has to be killed with 137; and all are started again by the same rules.

use super::context::{Context, PodIdentity, Run, Worker};
use super::gauge::Gauge;
use super::log::Log;
use super::message::Message;
use super::registry::{Prepared, Registry};
use super::run::{self, Ended};
use super::switchboard::{Slot, Switchboard};
use super::watchdog;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{
    Clock, ContainerRecord, ContainerSpec, Entropy, ExecOutput, ExitRecord, LogQuery, LogStream, Runtime, RuntimeError,
    RuntimeEvent, RuntimeEvents, SandboxRecord, SandboxSpec, SpawnHandle, Spawner, VolumeContent,
};
use steersman_domain::{Condition, Map, Str, Uid};
use tokio::sync::{mpsc, watch};

/// The annotation of a pod that says after how many seconds without progress its function counts as hung.
pub const HANG_AFTER: &str = "steersman.io/hang-after";
/// The annotation of a pod that says how many messages its mailbox holds.
pub const MAILBOX: &str = "steersman.io/mailbox";
/// Messages that a mailbox holds unless the pod says otherwise.
const ROOM: usize = 1024;
/// The most that it can be told to hold.
const MOST_ROOM: usize = 1 << 20;
/// Bytes of log that are kept of each run.
const LOG: usize = 1 << 20;
/// Runs of a container whose logs are kept: this one and the one before.
const LOGS: usize = 2;

/// What a runtime of functions stands on.
#[derive(Clone)]
pub struct TaskConfig {
    pub registry: Registry,
    /// Where messages find the functions; shared by all nodes of a process.
    pub board: Switchboard,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub spawner: Arc<dyn Spawner>,
    /// What functions get from [`Worker::host`].
    pub host: Arc<dyn Any + Send + Sync>,
    /// The first address of its pods, and how many there are.
    pub addresses: (Ipv4Addr, u32),
    /// In a simulation there are neither threads nor sockets.
    pub live: bool,
}

impl std::fmt::Debug for TaskConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskConfig").field("registry", &self.registry).field("live", &self.live).finish_non_exhaustive()
    }
}

struct Container {
    record: ContainerRecord,
    gauge: Arc<Gauge>,
    stop: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    /// How long it may go without progress; `None`: for ever.
    hang_after: Option<Duration>,
    /// Ends the function when dropped; a thread of its own goes on.
    task: Option<SpawnHandle>,
    blocking: bool,
    /// Of the last runs, by attempt.
    logs: Vec<(u32, Arc<Log>)>,
}

struct Sandbox {
    spec: SandboxSpec,
    ip: Ipv4Addr,
    slot: Arc<Slot>,
    containers: Vec<Container>,
    released: bool,
}

impl Sandbox {
    fn find(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|c| c.record.name == name)
    }

    /// Enters a new run; the logs of the one before are kept.
    fn put(&mut self, mut new: Container) {
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
struct State {
    sandboxes: BTreeMap<Uid, Sandbox>,
    /// Addresses in use, counted from the first.
    taken: BTreeSet<u32>,
    next: u32,
    /// Unbounded as the port wants every event delivered: one for each end of a container, of which each has one at a time.
    subscribers: Vec<mpsc::UnboundedSender<RuntimeEvent>>,
    watchdog: Option<SpawnHandle>,
}

impl State {
    fn tell(&mut self, event: RuntimeEvent) {
        self.subscribers.retain(|s| s.send(event.clone()).is_ok());
    }

    fn take_address(&mut self, (first, count): (Ipv4Addr, u32)) -> Option<Ipv4Addr> {
        let free = (0..count).map(|step| (self.next + step) % count.max(1)).find(|at| !self.taken.contains(at))?;
        self.taken.insert(free);
        self.next = free + 1;
        Some(Ipv4Addr::from(u32::from(first) + free))
    }
}

pub(super) struct Inner {
    config: TaskConfig,
    state: Mutex<State>,
}

/// The runtime; clones share what runs. Dropping the last one ends all functions.
#[derive(Clone)]
pub struct TaskRuntime(Arc<Inner>);

impl std::fmt::Debug for TaskRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskRuntime").field("config", &self.0.config).finish_non_exhaustive()
    }
}

fn unknown(pod: &Uid) -> RuntimeError {
    RuntimeError::NotFound(format!("pod {pod}"))
}

fn unknown_container(pod: &Uid, name: &str) -> RuntimeError {
    RuntimeError::NotFound(format!("container {name} of pod {pod}"))
}

impl TaskRuntime {
    /// A runtime with nothing in it.
    pub fn new(config: TaskConfig) -> Self {
        TaskRuntime(Arc::new(Inner { config, state: Mutex::default() }))
    }

    /// A run has ended.
    pub(super) fn end(inner: &Inner, pod: &Uid, (name, attempt): (&str, u32), ended: Ended) {
        let now = inner.config.clock.now();
        let mut state = inner.state.lock();
        let Some(sandbox) = state.sandboxes.get_mut(pod) else { return };
        let slot = sandbox.slot.clone();
        let Some(container) = sandbox.find(name).filter(|c| c.record.attempt == attempt && c.record.exit.is_none())
        else {
            return;
        };
        if let Some((_, log)) = container.logs.last() {
            if !ended.message.is_empty() {
                log.write(now, &ended.message);
            }
            log.close();
        }
        container.record.exit = Some(ExitRecord {
            exit_code: ended.code,
            signal: if ended.code == run::KILLED { 9 } else { 0 },
            oom_killed: false,
            started_at_micros: container.record.started_at.micros(),
            finished_at_micros: now.micros(),
            message: ended.message.into(),
        });
        container.stop.send_replace(true);
        container.ended.send_replace(true);
        let task = container.task.take();
        let event = RuntimeEvent::Exited { pod: pod.clone(), container: container.record.clone() };
        state.tell(event);
        drop(state);
        slot.close(&(pod.clone(), attempt));
        // Dropped outside the lock: what the function holds is dropped with it, be it what it may.
        drop(task);
    }

    /// Kills a run: its future is dropped; a thread is left behind, and told of.
    fn kill(&self, pod: &Uid, name: &str, attempt: u32, message: String) {
        let abandoned = {
            let mut state = self.0.state.lock();
            let container = state.sandboxes.get_mut(pod).and_then(|s| s.find(name));
            let container = container.filter(|c| c.record.attempt == attempt && c.record.exit.is_none());
            container.is_some_and(|c| {
                c.gauge.abandoned.store(c.blocking, std::sync::atomic::Ordering::Relaxed);
                c.blocking
            })
        };
        Self::end(&self.0, pod, (name, attempt), Ended { code: run::KILLED, message });
        if abandoned {
            let message = format!(
                "the thread of {name} goes on although it was told to end: a thread cannot be ended from outside. Let the \
                 function look at is_stopping() more often"
            );
            let warned =
                RuntimeEvent::Warned { pod: pod.clone(), container: name.into(), reason: "ThreadAbandoned", message };
            self.0.state.lock().tell(warned);
        }
    }

    /// Looks at all runs once; answers whether there are any.
    pub(super) fn look(&self, seen: &mut BTreeMap<(Uid, Str, u32), watchdog::Seen>) -> bool {
        let now = self.0.config.clock.monotonic();
        let (mut warned, mut hung, mut running) = (Vec::new(), Vec::new(), BTreeSet::new());
        {
            let state = self.0.state.lock();
            for (uid, sandbox) in &state.sandboxes {
                for container in sandbox.containers.iter().filter(|c| c.record.exit.is_none()) {
                    let key = (uid.clone(), container.record.name.clone(), container.record.attempt);
                    if !container.blocking
                        && let Some(held) = container.gauge.blocks(now, watchdog::BLOCKS)
                    {
                        warned.push((key.clone(), held));
                    }
                    let progress = container.gauge.progressed();
                    let waits = container.gauge.is_waiting();
                    let known = seen.entry(key.clone()).or_insert(watchdog::Seen { progress, since: now });
                    if waits || known.progress != progress {
                        *known = watchdog::Seen { progress, since: now };
                    } else if let Some(limit) = container.hang_after
                        && now.saturating_sub(known.since) >= limit
                    {
                        hung.push((key.clone(), limit));
                    }
                    running.insert(key);
                }
            }
        }
        seen.retain(|key, _| running.contains(key));
        for ((pod, container, _), held) in warned {
            let message = format!(
                "{container} has held a thread of the host for {} ms without an await: work that blocks belongs into \
                 register_blocking",
                held.as_millis()
            );
            let warned = RuntimeEvent::Warned { pod, container, reason: "BlocksRuntime", message };
            self.0.state.lock().tell(warned);
        }
        for ((pod, name, attempt), limit) in hung {
            let message = format!("killed: no progress for {} s ({HANG_AFTER})", limit.as_secs());
            self.kill(&pod, &name, attempt, message);
        }
        !running.is_empty()
    }

    /// One that sleeps while nothing runs is started again by the next start.
    pub(super) fn watchdog_ends(&self) -> bool {
        let mut state = self.0.state.lock();
        let idle = state.sandboxes.values().all(|s| s.containers.iter().all(|c| c.record.exit.is_some()));
        if idle && let Some(handle) = state.watchdog.take() {
            // It is the task that asks, which ends by itself.
            handle.detach();
        }
        idle
    }

    fn prepare(&self, spec: &ContainerSpec) -> Result<Prepared, RuntimeError> {
        let refused = |what: &str| {
            let why = format!("container {}: {what}", spec.name);
            Err(RuntimeError::Refused(why))
        };
        let identity = &spec.identity;
        if identity.user.is_some() || identity.group.is_some() || !identity.supplemental_groups.is_empty() {
            return refused("a function runs as the host program: leave runAsUser and runAsGroup out");
        }
        if !spec.mounts.is_empty() || spec.working_dir.is_some() {
            return refused("a function shares the files of the host: leave volumeMounts and workingDir out");
        }
        let document = match &spec.command[..] {
            [] => None,
            [one] => Some(one.as_str()),
            _ => return refused("a function has one argument at most, a JSON document with its parameters"),
        };
        match self.0.config.registry.prepare(&spec.image, document) {
            None => Err(RuntimeError::CannotRun {
                reason: "UnknownFunction",
                message: self.no_function(&spec.image),
                exit_code: 127,
            }),
            Some(Err(message)) => Err(RuntimeError::CannotRun { reason: "InvalidParameters", message, exit_code: 126 }),
            Some(Ok(Prepared::Blocking(_))) if !self.0.config.live => {
                refused("a blocking function needs a thread, and there is none in virtual time: register an async one")
            }
            Some(Ok(prepared)) => Ok(prepared),
        }
    }

    fn no_function(&self, name: &str) -> String {
        let names = self.0.config.registry.names();
        if names.is_empty() {
            return format!("there is no function {name:?}: this program has registered none");
        }
        let like = |known: &&String| distance(known, name) <= 1 + name.len() / 4;
        match names.iter().filter(like).min_by_key(|known| distance(known, name)) {
            Some(near) => format!("there is no function {name:?}: did you mean {near:?}?"),
            None => format!("there is no function {name:?}: registered are {}", names.join(", ")),
        }
    }

    fn start(&self, spec: &ContainerSpec, prepared: Prepared) -> Result<ContainerRecord, RuntimeError> {
        let config = &self.0.config;
        let mut state = self.0.state.lock();
        let sandbox = state.sandboxes.get_mut(&spec.pod).ok_or_else(|| unknown(&spec.pod))?;
        if sandbox.released {
            return Err(RuntimeError::Refused(format!("pod {} is over", sandbox.spec.name)));
        }
        if let Some(known) = sandbox.find(&spec.name).filter(|c| c.record.attempt >= spec.attempt) {
            return Ok(known.record.clone());
        }
        let annotations = sandbox.spec.annotations.clone();
        let (hang_after, room) = (hang_after(&annotations)?, room(&annotations)?);
        let (stop, ended) = (watch::Sender::new(false), watch::Sender::new(false));
        let (log, gauge) = (Arc::new(Log::new(LOG)), Arc::new(Gauge::default()));
        let (sender, mailbox) = mpsc::channel::<Message>(room);
        if sandbox.spec.main_container == spec.name {
            sandbox.slot.open((spec.pod.clone(), spec.attempt), sender, gauge.clone());
        }
        let worker = self.worker(spec, sandbox, (&log, &gauge, &stop));
        let record = ContainerRecord {
            name: spec.name.clone(),
            attempt: spec.attempt,
            id: format!("{}-{}-{}", spec.pod, spec.name, spec.attempt).into(),
            pid: None,
            started_at: config.clock.now(),
            exit: None,
        };
        let container = Container {
            record: record.clone(),
            gauge: gauge.clone(),
            stop,
            ended,
            hang_after,
            task: None,
            blocking: matches!(prepared, Prepared::Blocking(_)),
            logs: vec![(spec.attempt, log)],
        };
        sandbox.put(container);
        if spec.limits.cpu_limit_milli > 0 || spec.limits.memory_limit_bytes > 0 {
            state.tell(RuntimeEvent::Warned {
                pod: spec.pod.clone(),
                container: spec.name.clone(),
                reason: "LimitsNotEnforced",
                message: "functions share the host's memory and threads: limits are not enforced, requests count"
                    .into(),
            });
        }
        drop(state);
        let context = Context::new(worker, mailbox);
        let run = run::Place {
            inner: Arc::downgrade(&self.0),
            pod: spec.pod.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
        };
        match prepared {
            Prepared::Async(begin) => {
                let task = run::asynchronous(begin, context, run, (config.clock.clone(), gauge));
                let handle = config.spawner.spawn("function", task);
                self.keep(&spec.pod, (&spec.name, spec.attempt), handle);
            }
            Prepared::Blocking(begin) => run::blocking(begin, context, run)?,
        }
        self.watch();
        Ok(record)
    }

    /// What a run is given.
    fn worker(
        &self,
        spec: &ContainerSpec,
        sandbox: &Sandbox,
        (log, gauge, stop): (&Arc<Log>, &Arc<Gauge>, &watch::Sender<bool>),
    ) -> Worker {
        let config = &self.0.config;
        let identity = PodIdentity {
            uid: spec.pod.clone(),
            namespace: sandbox.spec.namespace.clone(),
            name: sandbox.spec.name.clone(),
            labels: sandbox.spec.labels.clone(),
            container: spec.name.clone(),
            attempt: spec.attempt,
            ip: sandbox.ip,
        };
        Worker(Arc::new(Run {
            identity,
            env: spec.env.clone(),
            log: log.clone(),
            stop: stop.clone(),
            gauge: gauge.clone(),
            slot: sandbox.slot.clone(),
            board: config.board.clone(),
            clock: config.clock.clone(),
            entropy: config.entropy.clone(),
            host: config.host.clone(),
        }))
    }

    /// Keeps the handle of a run, unless it has ended already.
    fn keep(&self, pod: &Uid, (name, attempt): (&str, u32), handle: SpawnHandle) {
        let mut handle = Some(handle);
        let mut state = self.0.state.lock();
        let container = state.sandboxes.get_mut(pod).and_then(|s| s.find(name));
        if let Some(container) = container.filter(|c| c.record.attempt == attempt && c.record.exit.is_none()) {
            container.task = handle.take();
        }
        drop(state);
        drop(handle);
    }

    fn watch(&self) {
        let mut state = self.0.state.lock();
        if state.watchdog.is_none() {
            let task = watchdog::watch(Arc::downgrade(&self.0), self.0.config.clock.clone());
            state.watchdog = Some(self.0.config.spawner.spawn("function-watchdog", task));
        }
    }

    /// Takes out what runs of a pod, to be dropped outside the lock.
    fn end_all(&self, pod: &Uid, why: &str) {
        let running: Vec<(Str, u32)> = {
            let state = self.0.state.lock();
            let containers = state.sandboxes.get(pod).map_or(&[][..], |s| &s.containers);
            containers
                .iter()
                .filter(|c| c.record.exit.is_none())
                .map(|c| (c.record.name.clone(), c.record.attempt))
                .collect()
        };
        for (name, attempt) in running {
            self.kill(pod, &name, attempt, why.to_owned());
        }
    }

    fn exit_of(&self, pod: &Uid, name: &str) -> Option<ExitRecord> {
        self.0.state.lock().sandboxes.get_mut(pod)?.find(name)?.record.exit.clone()
    }

    pub(super) fn of(inner: Arc<Inner>) -> Self {
        TaskRuntime(inner)
    }
}

/// The number of an annotation.
fn number(annotations: &Map<Str>, key: &str, most: usize) -> Result<Option<usize>, RuntimeError> {
    let Some(text) = annotations.get(key) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.map(Some).ok_or_else(|| {
        RuntimeError::Refused(format!("the annotation {key} is {text:?}: it must be a whole number from 1 to {most}"))
    })
}

fn hang_after(annotations: &Map<Str>) -> Result<Option<Duration>, RuntimeError> {
    let secs = number(annotations, HANG_AFTER, 1 << 20)?;
    Ok(secs.map(|secs| Duration::from_secs(u64::try_from(secs).unwrap_or(u64::MAX))))
}

fn room(annotations: &Map<Str>) -> Result<usize, RuntimeError> {
    Ok(number(annotations, MAILBOX, MOST_ROOM)?.unwrap_or(ROOM))
}

/// How many letters must be put in, left out or changed to make one text the other (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let changed = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[async_trait::async_trait]
impl Runtime for TaskRuntime {
    fn handler(&self) -> &'static str {
        "task"
    }

    async fn conditions(&self) -> Vec<Condition> {
        Vec::new()
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError> {
        let mut state = self.0.state.lock();
        if let Some(sandbox) = state.sandboxes.get(&spec.uid) {
            return Ok(sandbox.ip);
        }
        let addresses = self.0.config.addresses;
        let Some(ip) = state.take_address(addresses) else {
            let why = format!("all {} addresses for functions of this node are taken", addresses.1);
            return Err(RuntimeError::Unavailable(why));
        };
        let slot = self.0.config.board.slot(&spec.namespace, &spec.name);
        slot.appears();
        let sandbox = Sandbox { spec: spec.clone(), ip, slot, containers: Vec::new(), released: false };
        state.sandboxes.insert(spec.uid.clone(), sandbox);
        Ok(ip)
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxRecord>, RuntimeError> {
        let record = |s: &Sandbox| SandboxRecord {
            spec: s.spec.clone(),
            ip: s.ip,
            released: s.released,
            containers: s.containers.iter().map(|c| c.record.clone()).collect(),
        };
        Ok(self.0.state.lock().sandboxes.values().map(record).collect())
    }

    async fn prepare_volume(&self, _: &Uid, name: &str, _: &VolumeContent) -> Result<(), RuntimeError> {
        Err(RuntimeError::Refused(format!(
            "volume {name}: a function has no volumes. Give it what it needs as parameters or in its environment"
        )))
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<ContainerRecord, RuntimeError> {
        let prepared = self.prepare(spec)?;
        self.start(spec, prepared)
    }

    async fn stop_container(&self, pod: &Uid, name: &str, grace: Duration) -> Result<ExitRecord, RuntimeError> {
        let (attempt, mut over, slot) = {
            let mut state = self.0.state.lock();
            let sandbox = state.sandboxes.get_mut(pod).ok_or_else(|| unknown(pod))?;
            let slot = sandbox.slot.clone();
            let container = sandbox.find(name).ok_or_else(|| unknown_container(pod, name))?;
            if let Some(exit) = &container.record.exit {
                return Ok(exit.clone());
            }
            container.stop.send_replace(true);
            (container.record.attempt, container.ended.subscribe(), slot)
        };
        // Its mailbox takes no more; what is in it can still be answered.
        slot.close(&(pod.clone(), attempt));
        if !grace.is_zero() {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => {}
                () = self.0.config.clock.sleep(grace) => {}
            }
        }
        if self.exit_of(pod, name).is_none() {
            self.kill(pod, name, attempt, String::new());
        }
        self.exit_of(pod, name).ok_or_else(|| unknown_container(pod, name))
    }

    async fn exec(&self, _: &Uid, name: &str, _: &[String], _: Duration) -> Result<ExecOutput, RuntimeError> {
        Err(RuntimeError::Refused(format!(
            "{name} is a function: there is no program to run beside it. Ask it instead"
        )))
    }

    async fn http_get(&self, pod: &Uid, port: u16, path: &str, timeout: Duration) -> Result<u16, RuntimeError> {
        let ip = self.0.state.lock().sandboxes.get(pod).map(|s| s.ip).ok_or_else(|| unknown(pod))?;
        if !self.0.config.live {
            return Err(RuntimeError::Refused("there are no sockets in virtual time".into()));
        }
        crate::hook::http_get(ip, port, path, timeout).await
    }

    async fn ports_open(&self, pod: &Uid, ports: &[u16]) -> Result<(), RuntimeError> {
        const PAUSE: Duration = Duration::from_millis(20);
        let ip = self.0.state.lock().sandboxes.get(pod).map(|s| s.ip).ok_or_else(|| unknown(pod))?;
        for port in ports.iter().filter(|_| self.0.config.live) {
            while tokio::net::TcpStream::connect((ip, *port)).await.is_err() {
                self.0.config.clock.sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn logs(&self, query: LogQuery) -> Result<Box<dyn LogStream>, RuntimeError> {
        let mut state = self.0.state.lock();
        let sandbox = state.sandboxes.get_mut(&query.pod).ok_or_else(|| unknown(&query.pod))?;
        let container =
            sandbox.find(&query.container).ok_or_else(|| unknown_container(&query.pod, &query.container))?;
        let log = match query.attempt {
            None => container.logs.last(),
            Some(attempt) => container.logs.iter().find(|(of, _)| *of == attempt),
        };
        let gone = || RuntimeError::NotFound(format!("the log of {} at that attempt", query.container));
        log.map(|(_, log)| log.read(&query)).ok_or_else(gone)
    }

    async fn release_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.end_all(pod, "killed: its pod is over");
        let mut state = self.0.state.lock();
        let State { sandboxes, taken, .. } = &mut *state;
        if let Some(sandbox) = sandboxes.get_mut(pod).filter(|s| !s.released) {
            sandbox.released = true;
            sandbox.slot.disappears();
            taken.remove(&(u32::from(sandbox.ip) - u32::from(self.0.config.addresses.0)));
        }
        Ok(())
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.release_sandbox(pod).await?;
        let removed = self.0.state.lock().sandboxes.remove(pod);
        // Dropped outside the lock.
        drop(removed);
        Ok(())
    }

    async fn events(&self) -> Box<dyn RuntimeEvents> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.state.lock().subscribers.push(sender);
        Box::new(TaskEvents(receiver))
    }
}

struct TaskEvents(mpsc::UnboundedReceiver<RuntimeEvent>);

#[async_trait::async_trait]
impl RuntimeEvents for TaskEvents {
    async fn next(&mut self) -> Option<RuntimeEvent> {
        self.0.recv().await
    }
}
