//! What steps do outside: each effect is a task of its own that tells the worker's inbox what came of it.

use super::env::{EnvInput, hostname};
use super::events::Told;
use super::hooks::run_hook;
use super::inbox::Inbox;
use super::observe::{Observation, StartFailure};
use super::shared::Shared;
use super::state::{Block, tcp_ports};
use super::{env, sources, spec, volumes};
use crate::client::ApiError;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{ContainerRecord, ContainerSpec, OWN_PREFIX, Runtime, RuntimeError, SandboxSpec};
use steersman_domain::{Container, Key, Kind, Map, Pod, RuntimeClass, Shared as Sub, Str, Time};
use tokio::sync::watch;

/// After the API or a runtime could not be reached.
const SOON: Duration = Duration::from_secs(2);
/// After something that a change elsewhere must mend first; a watch usually comes earlier.
const LATER: Duration = Duration::from_secs(20);
/// After a refusal: only a change of the host could help.
const REFUSED: Duration = Duration::from_secs(300);
/// A postStart hook has no deadline in the API; one that hangs must not hold its container for ever.
const POST_START: Duration = Duration::from_secs(300);
/// What a container has left when its preStop hook used up the grace, as in Kubernetes.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// What every effect of a pod needs.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) pod: Arc<Pod>,
}

impl Context {
    fn now(&self) -> Time {
        self.shared.clock.now()
    }

    fn tell(&self, told: Told) {
        self.shared.tell(&self.pod, told);
    }

    fn block(&self, reason: &str, message: impl Into<Str>, wait: Duration) -> Block {
        Block::new(reason, message, self.now(), wait)
    }

    fn unreachable(&self, reason: &str, error: &ApiError) -> Block {
        self.block(reason, format!("the API cannot be reached: {error}"), SOON)
    }
}

/// Makes the sandbox in the runtime of the pod's class.
pub(super) async fn run_sandbox(context: Context) {
    let outcome = try_sandbox(&context).await;
    if let Err(block) = &outcome {
        context.tell(Told::warning("FailedCreatePodSandBox", "", block.message.to_string()));
    }
    context.inbox.observed(Observation::Sandbox(outcome));
}

async fn try_sandbox(context: &Context) -> Result<(&'static str, Ipv4Addr), Block> {
    let (shared, pod) = (&context.shared, &context.pod);
    let class = &pod.spec.runtime_class_name;
    let handler = if class.is_empty() {
        shared.config.default_runtime.clone()
    } else {
        match shared.client.get(&Key::cluster(Kind::RuntimeClass, class)).await {
            Ok(stored) => stored.typed::<RuntimeClass>().map_or_else(|| class.clone(), |c| c.handler.clone()),
            Err(ApiError::NotFound(_)) => class.clone(),
            Err(error) => return Err(context.unreachable("ContainerCreating", &error)),
        }
    };
    let Some(runtime) = shared.runtimes.get(handler.as_str()) else {
        let offered: Vec<&str> = shared.runtimes.keys().copied().collect();
        let message = format!(
            "node {} has no runtime handler {handler:?}: set spec.runtimeClassName to one of {}",
            shared.config.node_name,
            offered.join(", ")
        );
        return Err(context.block("ContainerCreating", message, LATER));
    };
    let spec = SandboxSpec {
        uid: pod.metadata.uid.clone(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        hostname: hostname(pod),
        // Validation has refused what is no group.
        fs_group: pod.spec.security_context.as_ref().and_then(|c| c.fs_group).and_then(|id| u32::try_from(id).ok()),
        service_account: pod.spec.service_account_name.clone(),
        labels: pod.metadata.labels.clone(),
        annotations: own_annotations(pod),
        main_container: main_container(pod),
    };
    match runtime.run_sandbox(&spec).await {
        Ok(ip) => Ok((runtime.handler(), ip)),
        Err(RuntimeError::Refused(message)) => Err(context.block("CreateContainerConfigError", message, REFUSED)),
        Err(error @ (RuntimeError::CannotRun { .. } | RuntimeError::NotFound(_) | RuntimeError::Unavailable(_))) => {
            Err(context.block("ContainerCreating", error.to_string(), SOON))
        }
    }
}

fn own_annotations(pod: &Pod) -> Map<Str> {
    let own = pod.metadata.annotations.iter().filter(|(key, _)| key.starts_with(OWN_PREFIX));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn main_container(pod: &Pod) -> Str {
    let named = pod.metadata.annotations.get("kubectl.kubernetes.io/default-container");
    let named = named.filter(|name| pod.spec.containers.iter().any(|c| c.name == **name)).cloned();
    named.or_else(|| pod.spec.containers.first().map(|c| c.name.clone())).unwrap_or_default()
}

/// Makes or refreshes all volumes, and watches what they are made of.
pub(super) async fn prepare_volumes(context: Context, runtime: Arc<dyn Runtime>) {
    let keys = context.pod.volume_references();
    for key in &keys {
        context.shared.sources.subscribe(&context.shared, key.clone(), &context.inbox);
    }
    let outcome = try_volumes(&context, &runtime, keys).await;
    if let Err(block) = &outcome {
        context.tell(Told::warning("FailedMount", "", block.message.to_string()));
    }
    context.inbox.observed(Observation::Volumes(outcome));
}

async fn try_volumes(context: &Context, runtime: &Arc<dyn Runtime>, keys: Vec<Key>) -> Result<(), Block> {
    const REASON: &str = "ContainerCreating";
    let found = sources::fetch(&*context.shared.client, keys).await;
    let found = found.map_err(|error| context.unreachable(REASON, &error))?;
    for volume in &context.pod.spec.volumes {
        let failed = |message: String, wait| {
            context.block(REASON, format!("MountVolume.SetUp failed for volume \"{}\" : {message}", volume.name), wait)
        };
        let content = volumes::content(&context.pod, volume, &found).map_err(|e| failed(e.0, LATER))?;
        let prepared = runtime.prepare_volume(&context.pod.metadata.uid, &volume.name, &content).await;
        prepared.map_err(|error| match error {
            RuntimeError::Refused(message) => failed(message, REFUSED),
            RuntimeError::CannotRun { message, .. } => failed(message, LATER),
            RuntimeError::NotFound(_) | RuntimeError::Unavailable(_) => failed(error.to_string(), SOON),
        })?;
    }
    Ok(())
}

/// What a start, or a stop, needs beside the context.
pub(super) struct Start {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) ip: Ipv4Addr,
    pub(super) container: Sub<Container>,
    pub(super) attempt: u32,
}

/// Starts a container and runs its postStart hook.
pub(super) async fn start(context: Context, start: Start) {
    let Start { runtime, container, attempt, .. } = &start;
    let failed = |failure| Observation::StartFailed { container: container.name.clone(), attempt: *attempt, failure };
    let spec = match prepare(&context, &start).await {
        Ok(spec) => spec,
        Err(block) => {
            context.tell(Told::warning("Failed", &container.name, format!("Error: {}", block.message)));
            return context.inbox.observed(failed(StartFailure::Blocked(block)));
        }
    };
    let record = match runtime.start_container(&spec).await {
        Ok(record) => record,
        Err(RuntimeError::NotFound(message)) => {
            return context.inbox.observed(Observation::SandboxLost { message });
        }
        Err(error) => {
            context.tell(Told::warning("Failed", &container.name, format!("Error: {error}")));
            return context.inbox.observed(failed(start_failure(&context, error)));
        }
    };
    let name = &container.name;
    context.tell(Told::normal("Created", name, format!("Created container: {name}")));
    context.tell(Told::normal("Started", name, format!("Started container {name}")));
    let hook = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
    context.inbox.observed(Observation::Started { record, image: container.image.clone(), hook: hook.is_some() });
    let Some(hook) = hook else { return };
    let uid = &context.pod.metadata.uid;
    match run_hook((&**runtime, &*context.shared.clock), (uid, start.ip), container, hook, POST_START).await {
        Ok(()) => context.inbox.observed(Observation::HookDone { container: name.clone(), attempt: *attempt }),
        Err(error) => {
            context.tell(Told::warning("FailedPostStartHook", name, format!("PostStartHook failed: {error}")));
            context.tell(Told::normal("Killing", name, "FailedPostStartHook"));
            // Its end arrives as an event, and its restart policy decides about the rest.
            if let Err(error) = runtime.stop_container(uid, name, super::next::grace(&context.pod)).await {
                tracing::warn!(pod = %context.pod.metadata.name, container = %name, %error, "a container was not stopped");
            }
        }
    }
}

fn start_failure(context: &Context, error: RuntimeError) -> StartFailure {
    match error {
        RuntimeError::CannotRun { reason, message, exit_code } => {
            StartFailure::CannotRun { reason, message, exit_code }
        }
        RuntimeError::Refused(message) => {
            StartFailure::Blocked(context.block("CreateContainerConfigError", message, REFUSED))
        }
        RuntimeError::NotFound(_) | RuntimeError::Unavailable(_) => {
            StartFailure::Blocked(context.block("CreateContainerError", error.to_string(), SOON))
        }
    }
}

/// The finished specification, with all references resolved.
async fn prepare(context: &Context, start: &Start) -> Result<ContainerSpec, Block> {
    const REASON: &str = "CreateContainerConfigError";
    let (shared, pod, container) = (&context.shared, &context.pod, &*start.container);
    let keys = container.env_references(&pod.metadata.namespace);
    let found = match sources::of_container(&*shared.client, pod, keys.clone()).await {
        Ok(found) => {
            context.inbox.know(&container.name, &found);
            found
        }
        // What ran before may run again: a node that is cut off keeps its pods going.
        Err(error @ ApiError::Unavailable(_)) => {
            context.inbox.known(&container.name).ok_or_else(|| context.unreachable(REASON, &error))?
        }
        Err(error) => return Err(context.unreachable(REASON, &error)),
    };
    let allocatable = shared.config.allocatable();
    let input = EnvInput {
        pod,
        container,
        pod_ip: start.ip,
        host_ips: &shared.config.host_ips,
        api_server: shared.config.api_server.as_ref().map(|(host, port)| (host.as_str(), *port)),
        allocatable: &allocatable,
        sources: &found,
    };
    let wanting = |error: env::ConfigError| {
        // What is missing may appear at any time.
        for key in &keys {
            shared.sources.subscribe(shared, key.clone(), &context.inbox);
        }
        context.block(REASON, error.0, LATER)
    };
    let environment = env::environment(input).map_err(wanting)?;
    for skipped in &environment.skipped {
        context.tell(Told::warning("InvalidEnvironmentVariableNames", &container.name, skipped.clone()));
    }
    spec::container_spec(pod, container, start.attempt, environment, shared.config.pids_limit).map_err(wanting)
}

/// Waits until the declared ports accept connections.
pub(super) async fn probe_ports(context: Context, runtime: Arc<dyn Runtime>, container: Sub<Container>, attempt: u32) {
    let ports = tcp_ports(&container);
    loop {
        match runtime.ports_open(&context.pod.metadata.uid, &ports).await {
            Ok(()) => {
                let container = container.name.clone();
                return context.inbox.observed(Observation::PortsOpen { container, attempt });
            }
            // The sandbox is gone; that is told by other means.
            Err(RuntimeError::NotFound(_)) => return,
            Err(RuntimeError::Refused(_) | RuntimeError::CannotRun { .. } | RuntimeError::Unavailable(_)) => {
                context.shared.clock.sleep(SOON).await;
            }
        }
    }
}

/// Takes the pod out of all proxies and waits for its connections to end.
pub(super) async fn drain(context: Context, within: Duration) {
    let clock = &context.shared.clock;
    tokio::select! {
        biased;
        () = context.shared.traffic.drain(&context.pod.metadata.uid, within) => {}
        // The port promises to answer by then; an end that hangs must not depend on it.
        () = clock.sleep(within.saturating_add(Duration::from_secs(1))) => {}
    }
    context.inbox.observed(Observation::Drained);
}

/// Runs preStop, then ends the container by the deadline, which may move closer meanwhile.
pub(super) async fn stop(
    context: Context,
    Start { runtime, ip, container, attempt }: Start,
    why: String,
    mut deadline: watch::Receiver<Time>,
) {
    let (uid, name) = (&context.pod.metadata.uid, &container.name);
    context.tell(Told::normal("Killing", name, why));
    let hook = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    let mut least = Duration::ZERO;
    let left = deadline.borrow().since(context.now());
    if let Some(hook) = hook.filter(|_| left > Duration::ZERO) {
        least = LEAST_GRACE;
        let outcome = tokio::select! {
            biased;
            outcome = run_hook((&*runtime, &*context.shared.clock), (uid, ip), &container, hook, left) => outcome,
            () = passed(&context, deadline.clone()) => Err("it did not end within the grace period".to_owned()),
        };
        if let Err(error) = outcome {
            context.tell(Told::warning("FailedPreStopHook", name, format!("PreStopHook failed: {error}")));
        }
    }
    let answer = loop {
        let grace = deadline.borrow_and_update().since(context.now()).max(least);
        tokio::select! {
            biased;
            answer = runtime.stop_container(uid, name, grace) => break answer,
            // Less grace: a second call brings the runtime's deadline forward.
            Ok(()) = deadline.changed() => least = Duration::ZERO,
        }
    };
    let container = name.clone();
    context.inbox.observed(match answer {
        Ok(exit) => Observation::Exited {
            record: ContainerRecord {
                name: container,
                attempt,
                id: Str::default(),
                pid: None,
                started_at: Time::from_micros(exit.started_at_micros),
                exit: Some(exit),
            },
        },
        Err(RuntimeError::NotFound(_)) => Observation::Vanished { container, attempt },
        Err(error) => {
            tracing::warn!(pod = %context.pod.metadata.name, %container, %error, "a container was not stopped");
            Observation::StopFailed { container, attempt }
        }
    });
}

/// Waits until the deadline has passed, wherever it moves.
async fn passed(context: &Context, mut deadline: watch::Receiver<Time>) {
    loop {
        let left = deadline.borrow_and_update().since(context.now());
        if left == Duration::ZERO {
            return;
        }
        tokio::select! {
            biased;
            () = context.shared.clock.sleep(left) => return,
            Ok(()) = deadline.changed() => {}
        }
    }
}

/// Removes the sandbox with everything in it.
pub(super) async fn remove_sandbox(context: Context, runtime: Arc<dyn Runtime>) {
    let outcome = runtime.remove_sandbox(&context.pod.metadata.uid).await;
    if let Err(error) = &outcome {
        context.tell(Told::warning("FailedKillPod", "", format!("error killing pod: {error}")));
    }
    context.inbox.observed(Observation::Removed(outcome.map_err(|e| e.to_string())));
}

/// Gives address and volumes of a pod that is over back, once no proxy knows it any more.
pub(super) async fn release_sandbox(context: Context, runtime: Arc<dyn Runtime>) {
    let uid = &context.pod.metadata.uid;
    context.shared.traffic.drain(uid, Duration::ZERO).await;
    let outcome = runtime.release_sandbox(uid).await.map_err(|e| e.to_string());
    context.inbox.observed(Observation::Released(outcome));
}
