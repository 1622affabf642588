//! A runtime that runs nothing: containers live in memory by the clock and a script. For scale tests with many nodes, for
//! the simulator and for what-if questions. It honours the port's whole contract, but does not outlive its process.

use super::life::{Annotated, SimulatedLife};
use crate::driver::spawner::{SpawnHandle, Spawner};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman_domain::ports::{
    Clock, ContainerReading, ContainerRecord, ContainerSpec, ExecOutput, ExitRecord, HealthCheck, HealthMonitor,
    LogQuery, LogStream, MetricsSource, PodReading, Runtime, RuntimeError, RuntimeEvent, RuntimeEvents, SandboxRecord,
    SandboxSpec, Unhealthy, VolumeContent,
};
use steersman_domain::{Condition, Str, Time, Uid};
use tokio::sync::{mpsc, watch};

/// Decides how an attempt lives; annotations of its pod have the last word.
pub type Script = Arc<dyn Fn(&ContainerSpec) -> SimulatedLife + Send + Sync>;

/// The settings of a simulated runtime.
#[derive(Clone)]
pub struct SimulatedConfig {
    /// The handler by which runtime classes name it.
    pub handler: &'static str,
    /// From the request to start until the program runs.
    pub start_delay: Duration,
    /// Addresses are counted up from here.
    pub first_address: Ipv4Addr,
    /// How containers live.
    pub script: Script,
}

impl Default for SimulatedConfig {
    fn default() -> Self {
        SimulatedConfig {
            handler: "simulated",
            start_delay: Duration::ZERO,
            first_address: Ipv4Addr::new(10, 0, 0, 1),
            script: Arc::new(|_| SimulatedLife::default()),
        }
    }
}

impl std::fmt::Debug for SimulatedConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedConfig").field("handler", &self.handler).finish_non_exhaustive()
    }
}

struct Container {
    record: ContainerRecord,
    life: SimulatedLife,
    /// Changes when the container ends.
    ended: watch::Sender<bool>,
    /// The timer of an end by itself.
    _timer: Option<SpawnHandle>,
}

struct Sandbox {
    /// Of the runtime that made it.
    handler: &'static str,
    spec: SandboxSpec,
    annotated: Annotated,
    ip: Ipv4Addr,
    containers: Vec<Container>,
    volumes: BTreeMap<String, VolumeContent>,
    released: bool,
}

impl State {
    /// Tells those who listen to the runtime of this handler.
    fn tell(&mut self, handler: &str, event: &RuntimeEvent) {
        self.subscribers.retain(|(of, sender)| *of != handler || sender.send(event.clone()).is_ok());
    }
}

impl Sandbox {
    fn find(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|c| c.record.name == name)
    }
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<Uid, Sandbox>,
    /// Unbounded as the port wants every event delivered: one for each end of a container, of which each has one at a time.
    subscribers: Vec<(&'static str, mpsc::UnboundedSender<RuntimeEvent>)>,
    addresses: u32,
}

struct Inner {
    config: SimulatedConfig,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
    state: Mutex<State>,
}

/// The runtime; clones share what runs.
#[derive(Clone)]
pub struct SimulatedRuntime(Arc<Inner>, &'static str);

impl std::fmt::Debug for SimulatedRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedRuntime")
            .field("config", &self.0.config)
            .field("handler", &self.1)
            .finish_non_exhaustive()
    }
}

fn unknown(what: &Uid) -> RuntimeError {
    RuntimeError::NotFound(format!("pod {what}"))
}

fn unknown_container(pod: &Uid, name: &str) -> RuntimeError {
    RuntimeError::NotFound(format!("container {name} of pod {pod}"))
}

impl SimulatedRuntime {
    /// A runtime with nothing in it.
    pub fn new(config: SimulatedConfig, clock: Arc<dyn Clock>, spawner: Arc<dyn Spawner>) -> Self {
        let handler = config.handler;
        SimulatedRuntime(Arc::new(Inner { config, clock, spawner, state: Mutex::default() }), handler)
    }

    /// The same runtime in the place of another: pods of that one's handler are simulated too, with addresses out of one range.
    /// Each sees its own pods alone.
    #[must_use]
    pub fn under(&self, handler: &'static str) -> Self {
        SimulatedRuntime(self.0.clone(), handler)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a running container from the outside, as a fault does; answers whether it ran.
    pub fn exit(&self, pod: &Uid, name: &str, exit_code: i32) -> bool {
        self.end(pod, name, None, exit_code).is_some()
    }

    /// Loses a sandbox with all that ran in it, as the death of a shim does; answers whether there was one.
    pub fn lose(&self, pod: &Uid, message: &str) -> bool {
        let mut state = self.lock();
        let found = state.sandboxes.remove(pod);
        if let Some(sandbox) = &found {
            state.tell(sandbox.handler, &RuntimeEvent::SandboxLost { pod: pod.clone(), message: message.to_owned() });
        }
        found.is_some()
    }

    /// What a volume of a pod was last prepared with.
    pub fn volume(&self, pod: &Uid, name: &str) -> Option<VolumeContent> {
        self.lock().sandboxes.get(pod)?.volumes.get(name).cloned()
    }

    /// Marks the end of a running attempt (`None`: whichever runs) and tells the subscribers.
    fn end(&self, pod: &Uid, name: &str, attempt: Option<u32>, exit_code: i32) -> Option<ExitRecord> {
        let now = self.0.clock.now();
        let mut state = self.lock();
        let sandbox = state.sandboxes.get_mut(pod)?;
        let handler = sandbox.handler;
        let container = sandbox.find(name)?;
        if container.record.exit.is_some() || attempt.is_some_and(|a| a != container.record.attempt) {
            return None;
        }
        let exit = ExitRecord {
            exit_code,
            signal: if (129..=192).contains(&exit_code) { exit_code - 128 } else { 0 },
            oom_killed: false,
            started_at_micros: container.record.started_at.micros(),
            finished_at_micros: now.micros(),
            message: Str::default(),
        };
        container.record.exit = Some(exit.clone());
        container.ended.send_replace(true);
        let event = RuntimeEvent::Exited { pod: pod.clone(), container: container.record.clone() };
        state.tell(handler, &event);
        Some(exit)
    }

    fn timer(&self, spec: &ContainerSpec, life: SimulatedLife) -> Option<SpawnHandle> {
        let (after, code) = life.exit?;
        let (this, pod, name, attempt) = (self.clone(), spec.pod.clone(), spec.name.clone(), spec.attempt);
        let task = async move {
            this.0.clock.sleep(after).await;
            this.end(&pod, &name, Some(attempt), code);
        };
        Some(self.0.spawner.spawn("simulated-exit", Box::pin(task)))
    }

    /// The running attempt of a container, and what changes when it ends.
    fn running(&self, pod: &Uid, name: &str) -> Result<(u32, SimulatedLife, watch::Receiver<bool>), RuntimeError> {
        let mut state = self.lock();
        let sandbox = state.sandboxes.get_mut(pod).ok_or_else(|| unknown(pod))?;
        let container = sandbox.find(name).filter(|c| c.record.exit.is_none());
        let container = container.ok_or_else(|| unknown_container(pod, name))?;
        Ok((container.record.attempt, container.life, container.ended.subscribe()))
    }
}

/// What runs uses what its life says, from its start on.
#[async_trait::async_trait]
impl MetricsSource for SimulatedRuntime {
    async fn usage(&self) -> Vec<PodReading> {
        let now = self.0.clock.now();
        let reading = |c: &Container| ContainerReading {
            name: c.record.name.clone(),
            attempt: c.record.attempt,
            cpu_nanos: c.life.cpu_milli.saturating_mul(micros(now.since(c.record.started_at))),
            memory_bytes: Some(c.life.memory_bytes),
        };
        let state = self.lock();
        let pods = state.sandboxes.iter().map(|(uid, sandbox)| {
            let running = sandbox.containers.iter().filter(|c| c.record.exit.is_none());
            PodReading { pod: uid.clone(), containers: running.map(reading).collect() }
        });
        pods.filter(|pod| !pod.containers.is_empty()).collect()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What runs is well from when its ports are open until its life says otherwise, however it is looked at.
#[async_trait::async_trait]
impl HealthMonitor for SimulatedRuntime {
    async fn check(&self, check: &HealthCheck) -> Result<(), Unhealthy> {
        let mut state = self.lock();
        let container = state.sandboxes.get_mut(&check.pod).and_then(|s| s.find(&check.container));
        let Some(container) = container.filter(|c| c.record.exit.is_none()) else {
            return Err(Unhealthy("it does not run".to_owned()));
        };
        let age = self.0.clock.now().since(container.record.started_at);
        let life = &container.life;
        if age < life.ports_open_after {
            return Err(Unhealthy("it has not opened its ports yet".to_owned()));
        }
        match life.unwell_after.filter(|after| age >= *after) {
            Some(after) => Err(Unhealthy(format!("unwell from {} s on", after.as_secs()))),
            None => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Runtime for SimulatedRuntime {
    fn handler(&self) -> &'static str {
        self.1
    }

    async fn conditions(&self) -> Vec<Condition> {
        Vec::new()
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError> {
        let annotated = Annotated::read(&spec.annotations)?;
        let mut state = self.lock();
        if let Some(sandbox) = state.sandboxes.get(&spec.uid) {
            return Ok(sandbox.ip);
        }
        let first = u32::from(self.0.config.first_address);
        let ip = Ipv4Addr::from(first.wrapping_add(state.addresses));
        state.addresses = state.addresses.wrapping_add(1);
        let (containers, volumes) = (Vec::new(), BTreeMap::new());
        let spec = spec.clone();
        let sandbox = Sandbox { handler: self.1, spec, annotated, ip, containers, volumes, released: false };
        state.sandboxes.insert(sandbox.spec.uid.clone(), sandbox);
        Ok(ip)
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxRecord>, RuntimeError> {
        let record = |s: &Sandbox| SandboxRecord {
            spec: s.spec.clone(),
            ip: s.ip,
            released: s.released,
            containers: s.containers.iter().map(|c| c.record.clone()).collect(),
        };
        Ok(self.lock().sandboxes.values().filter(|s| s.handler == self.1).map(record).collect())
    }

    async fn prepare_volume(&self, pod: &Uid, name: &str, content: &VolumeContent) -> Result<(), RuntimeError> {
        let mut state = self.lock();
        let sandbox = state.sandboxes.get_mut(pod).ok_or_else(|| unknown(pod))?;
        sandbox.volumes.insert(name.to_owned(), content.clone());
        Ok(())
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<ContainerRecord, RuntimeError> {
        if !self.0.config.start_delay.is_zero() {
            self.0.clock.sleep(self.0.config.start_delay).await;
        }
        let life = (self.0.config.script)(spec);
        let now = self.0.clock.now();
        let mut state = self.lock();
        let sandbox = state.sandboxes.get_mut(&spec.pod).ok_or_else(|| unknown(&spec.pod))?;
        if let Some(known) = sandbox.find(&spec.name).filter(|c| c.record.attempt >= spec.attempt) {
            return Ok(known.record.clone());
        }
        let life = sandbox.annotated.over(life, spec);
        let record = ContainerRecord {
            name: spec.name.clone(),
            attempt: spec.attempt,
            id: format!("{}-{}-{}", spec.pod, spec.name, spec.attempt).into(),
            pid: None,
            started_at: now,
            exit: None,
        };
        let timer = self.timer(spec, life);
        let container = Container { record: record.clone(), life, ended: watch::Sender::new(false), _timer: timer };
        match sandbox.find(&spec.name) {
            Some(place) => *place = container,
            None => sandbox.containers.push(container),
        }
        Ok(record)
    }

    async fn stop_container(&self, pod: &Uid, name: &str, grace: Duration) -> Result<ExitRecord, RuntimeError> {
        let ended = |this: &Self| {
            let mut state = this.lock();
            let container = state.sandboxes.get_mut(pod)?.find(name)?;
            container.record.exit.clone()
        };
        if let Some(exit) = ended(self) {
            return Ok(exit);
        }
        let (attempt, life, mut over) = self.running(pod, name)?;
        let (wait, code) = if life.ends_in < grace { (life.ends_in, life.term_code) } else { (grace, 137) };
        if !wait.is_zero() {
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => {}
                () = self.0.clock.sleep(wait) => {}
            }
        }
        let exit = self.end(pod, name, Some(attempt), code).or_else(|| ended(self));
        exit.ok_or_else(|| unknown_container(pod, name))
    }

    async fn exec(&self, pod: &Uid, name: &str, _: &[String], _: Duration) -> Result<ExecOutput, RuntimeError> {
        self.running(pod, name)?;
        Ok(ExecOutput { exit_code: 0, output: Vec::new() })
    }

    async fn ports_open(&self, pod: &Uid, _ports: &[u16]) -> Result<(), RuntimeError> {
        let opens = {
            let state = self.lock();
            let sandbox = state.sandboxes.get(pod).ok_or_else(|| unknown(pod))?;
            let alive = sandbox.containers.iter().filter(|c| c.record.exit.is_none());
            alive.map(|c| c.record.started_at.after(c.life.ports_open_after)).max().unwrap_or_default()
        };
        let wait = opens.since(self.0.clock.now());
        if !wait.is_zero() {
            self.0.clock.sleep(wait).await;
        }
        Ok(())
    }

    async fn logs(&self, query: LogQuery) -> Result<Box<dyn LogStream>, RuntimeError> {
        let mut state = self.lock();
        let sandbox = state.sandboxes.get_mut(&query.pod).ok_or_else(|| unknown(&query.pod))?;
        let container = sandbox.find(&query.container);
        let container = container.filter(|c| query.attempt.is_none_or(|a| a == c.record.attempt));
        let container = container.ok_or_else(|| unknown_container(&query.pod, &query.container))?;
        let record = &container.record;
        let line = format!("simulated {} attempt {}\n", record.name, record.attempt);
        Ok(Box::new(SimulatedLog {
            line: logged(&query, record.started_at, line),
            follow: query.follow.then(|| container.ended.subscribe()),
        }))
    }

    async fn release_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        if let Some(sandbox) = self.lock().sandboxes.get_mut(pod) {
            sandbox.released = true;
            sandbox.volumes.clear();
        }
        Ok(())
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        let removed = self.lock().sandboxes.remove(pod);
        // Dropped outside the lock: dropping aborts timers.
        drop(removed);
        Ok(())
    }

    async fn events(&self) -> Box<dyn RuntimeEvents> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().subscribers.push((self.1, sender));
        Box::new(SimulatedEvents(receiver))
    }
}

/// The one line of a simulated log, as far as the query wants it.
fn logged(query: &LogQuery, at: Time, line: String) -> Option<bytes::Bytes> {
    if query.tail == Some(0) || query.since.is_some_and(|since| at < since) {
        return None;
    }
    let text = if query.timestamps { format!("{} {line}", steersman_domain::MicroTime(at)) } else { line };
    let mut bytes = bytes::Bytes::from(text);
    if let Some(limit) = query.limit_bytes {
        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Some(bytes)
}

struct SimulatedLog {
    line: Option<bytes::Bytes>,
    /// While following: changes when the container ends.
    follow: Option<watch::Receiver<bool>>,
}

#[async_trait::async_trait]
impl LogStream for SimulatedLog {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>, RuntimeError> {
        if let Some(line) = self.line.take() {
            return Ok(Some(line));
        }
        if let Some(ended) = &mut self.follow {
            // A sender that is gone means that the sandbox is, which is an end as well.
            let _ = ended.wait_for(|ended| *ended).await;
        }
        Ok(None)
    }
}

struct SimulatedEvents(mpsc::UnboundedReceiver<RuntimeEvent>);

#[async_trait::async_trait]
impl RuntimeEvents for SimulatedEvents {
    async fn next(&mut self) -> Option<RuntimeEvent> {
        self.0.recv().await
    }
}
