//! A runtime that notes what it is asked, and an agent over it and an API in memory.

use super::api::{ApiHandle, MemoryApi};
use crate::client::{DeleteOptions, Write};
use crate::driver::agent::{
    Agent, AgentConfig, AgentPorts, SimulatedConfig, SimulatedLife, SimulatedRuntime, Stop, TrafficDrain,
};
use crate::driver::spawner::{SpawnHandle, Spawner, Task};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use steersman_domain::ports::{
    Clock, ContainerRecord, ContainerSpec, ExecOutput, ExitRecord, HealthAction, HealthCheck, HealthMonitor, LogQuery,
    LogStream, MetricsSource, PodReading, Runtime, RuntimeError, RuntimeEvents, SandboxRecord, SandboxSpec, Unhealthy,
    VolumeContent,
};
use steersman_domain::testing::{ManualClock, SeededEntropy};
use steersman_domain::{Condition, Key, Kind, Object, Pod, Uid};
use tokio::sync::watch;

pub(super) struct TokioSpawner;

impl Spawner for TokioSpawner {
    #[allow(clippy::disallowed_methods)]
    fn spawn(&self, _: &'static str, task: Task) -> SpawnHandle {
        let handle = tokio::spawn(task).abort_handle();
        SpawnHandle::new(move || handle.abort())
    }
}

/// What happened, in order: calls of the runtime and of the traffic port.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(super) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn position(&self, line: &str) -> usize {
        let lines = self.lines();
        lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no {line:?} in {lines:#?}"))
    }
}

/// The simulated runtime under the name `process`, with a journal and failures on demand.
pub(super) struct ScriptedRuntime {
    pub(super) inner: SimulatedRuntime,
    journal: Journal,
    /// The next starts answer these.
    pub(super) refusals: Mutex<Vec<RuntimeError>>,
    /// The specifications of all starts.
    pub(super) starts: Mutex<Vec<ContainerSpec>>,
}

#[async_trait::async_trait]
impl MetricsSource for ScriptedRuntime {
    async fn usage(&self) -> Vec<PodReading> {
        self.inner.usage().await
    }
}

#[async_trait::async_trait]
impl HealthMonitor for ScriptedRuntime {
    async fn check(&self, check: &HealthCheck) -> Result<(), Unhealthy> {
        if let HealthAction::Http { port, path, .. } = &check.action {
            self.journal.note(format!("get {port}{path}"));
        }
        self.inner.check(check).await
    }
}

#[async_trait::async_trait]
impl Runtime for ScriptedRuntime {
    fn handler(&self) -> &'static str {
        self.inner.handler()
    }

    async fn conditions(&self) -> Vec<Condition> {
        Vec::new()
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError> {
        self.journal.note(format!("sandbox {}", spec.name));
        self.inner.run_sandbox(spec).await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxRecord>, RuntimeError> {
        self.inner.sandboxes().await
    }

    async fn prepare_volume(&self, pod: &Uid, name: &str, content: &VolumeContent) -> Result<(), RuntimeError> {
        self.journal.note(format!("volume {name}"));
        self.inner.prepare_volume(pod, name, content).await
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<ContainerRecord, RuntimeError> {
        self.journal.note(format!("start {} {}", spec.name, spec.attempt));
        let refusal = self.refusals.lock().unwrap().pop();
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        self.starts.lock().unwrap().push(spec.clone());
        self.inner.start_container(spec).await
    }

    async fn stop_container(&self, pod: &Uid, name: &str, grace: Duration) -> Result<ExitRecord, RuntimeError> {
        self.journal.note(format!("stop {name} {}s", grace.as_secs()));
        self.inner.stop_container(pod, name, grace).await
    }

    async fn exec(
        &self,
        pod: &Uid,
        name: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError> {
        self.journal.note(format!("exec {name} {}", command.join(" ")));
        self.inner.exec(pod, name, command, timeout).await
    }

    async fn ports_open(&self, pod: &Uid, ports: &[u16]) -> Result<(), RuntimeError> {
        self.inner.ports_open(pod, ports).await
    }

    async fn logs(&self, query: LogQuery) -> Result<Box<dyn LogStream>, RuntimeError> {
        self.inner.logs(query).await
    }

    async fn release_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.journal.note(format!("release {pod}"));
        self.inner.release_sandbox(pod).await
    }

    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError> {
        self.journal.note(format!("remove {pod}"));
        self.inner.remove_sandbox(pod).await
    }

    async fn events(&self) -> Box<dyn RuntimeEvents> {
        self.inner.events().await
    }
}

struct JournalTraffic(Journal);

#[async_trait::async_trait]
impl TrafficDrain for JournalTraffic {
    async fn endpoint_down(&self, pod: &Uid) {
        self.0.note(format!("down {pod}"));
    }

    async fn endpoint_up(&self, pod: &Uid) {
        self.0.note(format!("up {pod}"));
    }

    async fn drain(&self, pod: &Uid, deadline: Duration) {
        self.0.note(format!("drain {pod} {}s", deadline.as_secs()));
    }
}

/// An agent with everything around it.
pub(super) struct World {
    pub(super) api: Arc<MemoryApi>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) runtime: Arc<ScriptedRuntime>,
    pub(super) journal: Journal,
    pub(super) agent: Arc<Agent>,
    pub(super) stop: watch::Sender<Stop>,
    running: Option<SpawnHandle>,
    finished: watch::Receiver<bool>,
}

impl World {
    /// An agent that runs, whose containers live as `life` says by name.
    pub(super) fn new(life: impl Fn(&ContainerSpec) -> SimulatedLife + Send + Sync + 'static) -> Self {
        let (clock, journal) = (Arc::new(ManualClock::default()), Journal::default());
        let config = SimulatedConfig { handler: "process", script: Arc::new(life), ..SimulatedConfig::default() };
        let inner = SimulatedRuntime::new(config, Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(TokioSpawner));
        let runtime = Arc::new(ScriptedRuntime {
            inner,
            journal: journal.clone(),
            refusals: Mutex::default(),
            starts: Mutex::default(),
        });
        let api = Arc::new(MemoryApi::default());
        World::over(api, clock, runtime, journal)
    }

    fn over(api: Arc<MemoryApi>, clock: Arc<ManualClock>, runtime: Arc<ScriptedRuntime>, journal: Journal) -> Self {
        let mut config = AgentConfig::new("n1");
        config.host_ips = vec!["127.0.0.1".into()];
        config.capacity.pods = 5;
        let ports = AgentPorts {
            client: Arc::new(ApiHandle(Arc::clone(&api))),
            runtimes: vec![Arc::clone(&runtime) as Arc<dyn Runtime>],
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(SeededEntropy::new(1)),
            spawner: Arc::new(TokioSpawner),
            traffic: Arc::new(JournalTraffic(journal.clone())),
        };
        let agent = Arc::new(Agent::new(config, ports));
        let (stop, asked) = watch::channel(Stop::Run);
        let (done, finished) = watch::channel(false);
        let runs = Arc::clone(&agent);
        let running = TokioSpawner.spawn(
            "agent",
            Box::pin(async move {
                runs.run(asked).await;
                done.send_replace(true);
            }),
        );
        World { api, clock, runtime, journal, agent, stop, running: Some(running), finished }
    }

    /// The next agent over the same API and runtime. With `reboot` the runtime has lost everything.
    pub(super) async fn restarted(mut self, reboot: bool) -> World {
        drop(self.running.take());
        settle().await;
        if reboot {
            for record in self.runtime.inner.sandboxes().await.expect("a list") {
                self.runtime.inner.remove_sandbox(&record.spec.uid).await.expect("removed");
            }
        }
        World::over(Arc::clone(&self.api), Arc::clone(&self.clock), Arc::clone(&self.runtime), self.journal.clone())
    }

    pub(super) fn create(&self, object: Object) {
        self.api.act(Write::Create(object));
    }

    /// Creates a pod out of its spec as JSON, bound to the node.
    pub(super) fn create_pod(&self, name: &str, spec: &str) {
        self.create(Object::Pod(Arc::new(pod(name, spec))));
    }

    pub(super) fn delete_pod(&self, name: &str, grace: Option<i64>) {
        let options = DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
        self.api.act(Write::Delete(Key::new(Kind::Pod, "default", name), options));
    }

    /// Waits until the predicate holds; shows the pod when it does not.
    pub(super) async fn until(&self, name: &str, holds: impl Fn(&Pod) -> bool) -> Arc<Pod> {
        for _ in 0..ROUNDS {
            if let Some(pod) = self.api.pod(name).filter(|p| holds(p)) {
                return pod;
            }
            tokio::task::yield_now().await;
        }
        panic!("never; the pod is {:#?}\n{:#?}", self.api.pod(name).map(|p| p.status.clone()), self.journal.lines());
    }

    pub(super) async fn until_line(&self, line: &str) {
        for _ in 0..ROUNDS {
            if self.journal.lines().iter().any(|l| l == line) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("no {line:?} in {:#?}", self.journal.lines());
    }

    pub(super) async fn until_gone(&self, name: &str) {
        for _ in 0..ROUNDS {
            if self.api.pod(name).is_none() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("still there: {:#?}\n{:#?}", self.api.pod(name), self.journal.lines());
    }

    pub(super) async fn until_stopped(&self) {
        for _ in 0..ROUNDS {
            if *self.finished.borrow() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the agent still runs: {:#?}", self.journal.lines());
    }

    /// Moves the clock once everything is at rest, and lets it come to rest again.
    pub(super) async fn advance(&self, by: Duration) {
        settle().await;
        self.clock.advance(by);
        settle().await;
    }

    pub(super) fn uid(&self, name: &str) -> Uid {
        Uid::from(format!("uid-{name}").as_str())
    }
}

/// How often tasks are let run before a predicate is given up on: a bound, not a measure of time.
const ROUNDS: usize = 5000;

/// Lets all tasks run until they wait for something.
pub(super) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A pod bound to the node.
pub(super) fn pod(name: &str, spec: &str) -> Pod {
    let mut pod = Pod { spec: serde_json::from_str(spec).expect("the spec of a pod"), ..Pod::default() };
    pod.metadata.name = name.into();
    pod.metadata.namespace = "default".into();
    pod.metadata.uid = Uid::from(format!("uid-{name}").as_str());
    pod.spec.node_name = "n1".into();
    pod
}

/// The waiting reason of a container.
pub(super) fn waiting_reason(pod: &Pod, container: &str) -> String {
    let all = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    let status = all.filter(|s| s.name == container).find_map(|s| s.state.waiting.as_ref());
    status.map(|w| w.reason.to_string()).unwrap_or_default()
}
