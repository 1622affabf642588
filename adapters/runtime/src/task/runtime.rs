//! The runtime of functions: pods that are async functions, or blocking ones with a thread of their own, of this process. It
//! shares the host's trust and ends with it. What fails behaves as a process would: a panic ends with 101, an error with 1,
//! what has to be killed with 137; and all are started again by the same rules.

use super::context::{Context, PodIdentity, Run, Worker};
use super::exchange::{Answer, Asking};
use super::gauge::Gauge;
use super::log::Log;
use super::message::Message;
use super::registry::{Prepared, Registry};
use super::run::{self, Ended};
use super::settings::{HANG_AFTER, distance, hang_after, room};
use super::state::{Container, Sandbox, State};
use super::switchboard::Switchboard;
use super::watchdog;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use steersman_domain::ports::{
    Clock, ContainerRecord, ContainerSpec, Entropy, ExitRecord, HealthCheck, RuntimeError, RuntimeEvent, SpawnHandle,
    Spawner, Unhealthy,
};
use steersman_domain::{Str, Uid};
use tokio::sync::{mpsc, watch};

/// Bytes of log that are kept of each run.
const LOG: usize = 1 << 20;

/// What a runtime of functions stands on.
#[derive(Clone)]
pub struct TaskConfig {
    /// The functions by name.
    pub registry: Registry,
    /// Where messages find the functions; shared by all nodes of a process.
    pub board: Switchboard,
    /// What functions wait by.
    pub clock: Arc<dyn Clock>,
    /// Where their chance comes from.
    pub entropy: Arc<dyn Entropy>,
    /// What runs them.
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

pub(super) struct Inner {
    pub(super) config: TaskConfig,
    pub(super) state: Mutex<State>,
}

/// The runtime; clones share what runs. Dropping the last one ends all functions.
#[derive(Clone)]
pub struct TaskRuntime(pub(super) Arc<Inner>);

impl std::fmt::Debug for TaskRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskRuntime").field("config", &self.0.config).finish_non_exhaustive()
    }
}

pub(super) fn unknown(pod: &Uid) -> RuntimeError {
    RuntimeError::NotFound(format!("pod {pod}"))
}

pub(super) fn unknown_container(pod: &Uid, name: &str) -> RuntimeError {
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
    pub(super) fn kill(&self, pod: &Uid, name: &str, attempt: u32, message: String) {
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
                    let look = watchdog::Look {
                        progress: container.gauge.progressed(),
                        waits: container.gauge.is_waiting(),
                        holds: container.gauge.holds().filter(|_| !container.blocking),
                    };
                    let known = seen.entry(key.clone()).or_insert_with(|| watchdog::Seen::new(look, now));
                    if let Some(held) = known.holds_too_long(look, now) {
                        warned.push((key.clone(), held));
                    }
                    if let Some(limit) = container.hang_after
                        && known.rests_for(look, now) >= limit
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
                "{container} has held a thread of the host for {} ms at least without an await: work that blocks belongs into \
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

    pub(super) fn prepare(&self, spec: &ContainerSpec) -> Result<Prepared, RuntimeError> {
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

    pub(super) fn start(&self, spec: &ContainerSpec, prepared: Prepared) -> Result<ContainerRecord, RuntimeError> {
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
                let task = run::asynchronous(begin, context, run, (gauge, config.live));
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
    pub(super) fn end_all(&self, pod: &Uid, why: &str) {
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

    /// A message goes through the mailbox of a container's function and comes back.
    pub(super) async fn round_trip(&self, check: &HealthCheck) -> Result<(), Unhealthy> {
        let slot = {
            let state = self.0.state.lock();
            let sandbox = state.sandboxes.get(&check.pod).ok_or_else(|| Unhealthy(unknown(&check.pod).to_string()))?;
            if sandbox.spec.main_container != check.container {
                let main = &sandbox.spec.main_container;
                return Err(Unhealthy(format!("only {main} of this pod has a mailbox, {} has none", check.container)));
            }
            sandbox.slot.clone()
        };
        let asking = Asking::<(), ()>::new(());
        slot.ping(&check.pod, Message::ping(asking.asked())).map_err(Unhealthy)?;
        tokio::select! {
            biased;
            answer = asking => match answer {
                Answer::Same(()) => Ok(()),
                Answer::Error(error) => Err(Unhealthy(error.to_string())),
                Answer::Json(_) | Answer::Late => Err(Unhealthy("no answer".to_owned())),
            },
            () = self.0.config.clock.sleep(check.timeout) => {
                let within = check.timeout.as_secs_f64();
                Err(Unhealthy(format!("the function did not look into its mailbox within {within} s")))
            }
        }
    }

    pub(super) fn exit_of(&self, pod: &Uid, name: &str) -> Option<ExitRecord> {
        self.0.state.lock().sandboxes.get_mut(pod)?.find(name)?.record.exit.clone()
    }

    pub(super) fn of(inner: Arc<Inner>) -> Self {
        TaskRuntime(inner)
    }
}
