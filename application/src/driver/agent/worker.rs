//! The worker of one pod: asks what is next, begins it, and takes in what comes of it. It decides nothing itself; what it
//! adds is order: a death reaches the proxies first, then the state, then the status.

use super::backoff;
use super::effects::{self, Context};
use super::events::Told;
use super::inbox::Inbox;
use super::next::{Step, deletion_grace, next};
use super::observe::{Observation, StartFailure};
use super::probes::{self, Watch};
use super::shared::{Shared, View};
use super::state::{ContainerPhase, EndCause, PodRuntimeState, Role, all_containers, find_container, policy};
use super::status::{back_off_message, contested, merge, renew_transitions, status};
use super::writer::Pending;
use crate::driver::spawner::{SpawnHandle, Task};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::Runtime;
use steersman_domain::{Container, Pod, PodStatus, ProbeKind, Shared as Sub, Str, Time, meta};
use tokio::sync::watch;

/// A task that may be under way; a newer one of the same kind replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Sandbox,
    Volumes,
    Start(Str),
    Ports(Str),
    Watch(Str, ProbeKind),
    Drain,
    Stop(Str),
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    pod: Arc<Pod>,
    state: PodRuntimeState,
    effects: BTreeMap<Effect, SpawnHandle>,
    /// When containers that are stopping are killed.
    deadline: watch::Sender<Time>,
    /// The newest status, written or on its way.
    status: PodStatus,
    /// The pod was taken out of the proxies because a program of it died.
    down: bool,
    /// Somebody else wrote what only the agent knows: when it is written again.
    contested: Option<Time>,
    /// When that was done last.
    insisted: Option<Time>,
}

/// Between two answers to somebody who writes the agent's conditions: whoever insists too gets no endless quarrel.
const INSIST_AGAIN: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, inbox: Arc<Inbox>, pod: Arc<Pod>, state: PodRuntimeState) -> Self {
        let status = pod.status.clone();
        let deadline = watch::Sender::new(Time::default());
        Worker {
            shared,
            inbox,
            pod,
            state,
            effects: BTreeMap::new(),
            deadline,
            status,
            down: false,
            contested: None,
            insisted: None,
        }
    }

    /// Works until the pod is no longer this node's.
    pub(super) async fn run(mut self) {
        loop {
            let now = self.shared.clock.now();
            match next(&self.pod, &self.state, now) {
                Step::Wait { until } => {
                    self.publish().await;
                    let until = until.into_iter().chain(self.contested).min();
                    self.wait(until).await;
                }
                Step::Done => break,
                step => {
                    self.state.begin(&step);
                    self.perform(step).await;
                }
            }
        }
        let uid = self.inbox.uid().clone();
        self.shared.sources.unsubscribe(&uid);
        let gone = self.state.end.as_ref().is_some_and(|end| end.cause == EndCause::Gone);
        self.shared.registry.ended(&uid, gone);
    }

    async fn wait(&mut self, until: Option<Time>) {
        let clock = Arc::clone(&self.shared.clock);
        let pause = async {
            match until {
                Some(until) => clock.sleep(until.since(clock.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.inbox.rung() => {}
            () = pause => {}
        }
        let mail = self.inbox.take();
        if let Some(pod) = mail.pod {
            self.pod_changed(pod);
        }
        for observation in mail.observations {
            self.observe(observation).await;
        }
    }

    fn pod_changed(&mut self, pod: Arc<Pod>) {
        if pod.metadata.resource_version <= self.pod.metadata.resource_version {
            return;
        }
        if contested(&self.pod.status, &pod.status, &self.status) {
            let now = self.shared.clock.now();
            self.contested = Some(self.insisted.map_or(now, |last| now.max(last.after(INSIST_AGAIN))));
        }
        self.status = merge(&pod.status, &self.status);
        let grace = deletion_grace(&pod);
        let shorter =
            pod.metadata.is_deleting() && (!self.pod.metadata.is_deleting() || grace < deletion_grace(&self.pod));
        self.pod = pod;
        if shorter && self.state.end.as_ref().is_some_and(|end| end.cause == EndCause::Deleted) {
            let now = self.shared.clock.now();
            self.state.shorten(now.after(grace), now);
            self.set_deadline();
        }
    }

    async fn observe(&mut self, observation: Observation) {
        let now = self.shared.clock.now();
        if self.is_death(&observation) {
            self.down = true;
            self.shared.traffic.endpoint_down(self.inbox.uid()).await;
        }
        let subject = match &observation {
            Observation::Exited { record } => Some(record.name.clone()),
            Observation::StartFailed { container, failure: StartFailure::CannotRun { .. }, .. } => {
                Some(container.clone())
            }
            Observation::Sandbox(_)
            | Observation::SandboxLost { .. }
            | Observation::Volumes(_)
            | Observation::SourcesChanged
            | Observation::Started { .. }
            | Observation::StartFailed { .. }
            | Observation::HookDone { .. }
            | Observation::PortsOpen { .. }
            | Observation::Health { .. }
            | Observation::Vanished { .. }
            | Observation::StopFailed { .. }
            | Observation::Drained
            | Observation::Removed(_)
            | Observation::Released(_)
            | Observation::Reported
            | Observation::Gone
            | Observation::StopAsked { .. } => None,
        };
        if let Observation::SandboxLost { message } = &observation {
            self.shared
                .tell(&self.pod, Told::warning("SandboxChanged", "", format!("the sandbox was lost: {message}")));
        }
        let before = subject.as_ref().and_then(|name| self.state.run(name)).cloned();
        self.state.observe(&self.pod, observation, now);
        self.set_deadline();
        if let Some(name) = &subject {
            self.end_watches(name);
        }
        if let Some(name) = subject
            && before.as_ref() != self.state.run(&name)
        {
            self.tell_back_off(&name);
        }
    }

    /// Whether an observation says that a program died that may have been serving.
    fn is_death(&self, observation: &Observation) -> bool {
        if self.state.end.is_some() {
            return false;
        }
        match observation {
            Observation::Exited { record } => {
                let serving = find_container(&self.pod, &record.name).is_some_and(|(role, _)| role != Role::Init);
                serving && self.state.run(&record.name).is_some_and(|r| r.attempt == record.attempt && r.is_alive())
            }
            Observation::SandboxLost { .. } => true,
            Observation::Sandbox(_)
            | Observation::Volumes(_)
            | Observation::SourcesChanged
            | Observation::Started { .. }
            | Observation::StartFailed { .. }
            | Observation::HookDone { .. }
            | Observation::PortsOpen { .. }
            | Observation::Health { .. }
            | Observation::Vanished { .. }
            | Observation::StopFailed { .. }
            | Observation::Drained
            | Observation::Removed(_)
            | Observation::Released(_)
            | Observation::Reported
            | Observation::Gone
            | Observation::StopAsked { .. } => false,
        }
    }

    fn tell_back_off(&self, name: &str) {
        let (Some(run), Some((role, _))) = (self.state.run(name), find_container(&self.pod, name)) else { return };
        let ContainerPhase::Exited(end) = &run.phase else { return };
        let wait = backoff::delay(run.crashes);
        let waits = policy(&self.pod, role).restarts(end.exit_code.0) && wait > Duration::ZERO;
        if waits && self.state.end.is_none() {
            let message = back_off_message(&self.pod, name, wait.as_secs());
            self.shared.tell(&self.pod, Told::warning("BackOff", name, capitalized(&message)));
        }
    }

    fn set_deadline(&self) {
        if let Some(end) = &self.state.end {
            self.deadline.send_if_modified(|deadline| {
                let moved = *deadline != end.deadline;
                *deadline = end.deadline;
                moved
            });
        }
    }

    fn context(&self) -> Context {
        Context { shared: Arc::clone(&self.shared), inbox: Arc::clone(&self.inbox), pod: Arc::clone(&self.pod) }
    }

    fn runtime(&self) -> Option<Arc<dyn Runtime>> {
        self.state.sandbox.handler().and_then(|h| self.shared.runtimes.get(h)).cloned()
    }

    fn container(&self, name: &str) -> Option<Sub<Container>> {
        self.pod.spec.init_containers.iter().chain(&self.pod.spec.containers).find(|c| c.name == name).cloned()
    }

    async fn perform(&mut self, step: Step) {
        match step {
            Step::RunSandbox => self.spawn(Effect::Sandbox, Box::pin(effects::run_sandbox(self.context()))),
            Step::PrepareVolumes => {
                let Some(runtime) = self.runtime() else { return };
                self.spawn(Effect::Volumes, Box::pin(effects::prepare_volumes(self.context(), runtime)));
            }
            Step::Start { container, attempt } => self.start(&container, attempt),
            Step::ProbePorts { container, attempt } => {
                let (Some(runtime), Some(spec)) = (self.runtime(), self.container(&container)) else { return };
                let task = effects::probe_ports(self.context(), runtime, spec, attempt);
                self.spawn(Effect::Ports(container), Box::pin(task));
            }
            Step::Watch { container, attempt, probe } => self.watch(&container, attempt, probe),
            Step::Begin { cause, .. } => {
                if cause == EndCause::DeadlineExceeded && !self.pod.is_terminal() {
                    let message = "Pod was active on the node longer than the specified deadline";
                    self.shared.tell(&self.pod, Told::normal("DeadlineExceeded", "", message));
                }
                self.set_deadline();
                // Not ready first, so that endpoints leave while connections drain.
                self.publish().await;
            }
            Step::Drain { until } => {
                let within = until.since(self.shared.clock.now());
                self.spawn(Effect::Drain, Box::pin(effects::drain(self.context(), within)));
            }
            Step::Stop { container, attempt, deadline } => {
                let (Some(runtime), Some(spec), Some(ip)) =
                    (self.runtime(), self.container(&container), self.state.sandbox.ip())
                else {
                    return;
                };
                // A postStart hook that still runs ends with its container.
                self.effects.remove(&Effect::Start(container.clone()));
                self.end_watches(&container);
                self.deadline.send_replace(deadline);
                let why = self.why_it_ends(&container);
                let what = effects::Start { runtime, ip, container: spec, attempt };
                let task = effects::stop(self.context(), what, why, self.deadline.subscribe());
                self.spawn(Effect::Stop(container), Box::pin(task));
            }
            Step::RemoveSandbox { handler } => match self.shared.runtimes.get(handler).cloned() {
                Some(runtime) => {
                    // Whatever else was under way is about a sandbox that goes now.
                    self.effects.clear();
                    self.spawn(Effect::Sandbox, Box::pin(effects::remove_sandbox(self.context(), runtime)));
                }
                None => self.inbox.observed(Observation::Removed(Ok(()))),
            },
            Step::Release { handler } => match self.shared.runtimes.get(handler).cloned() {
                Some(runtime) => {
                    self.spawn(Effect::Sandbox, Box::pin(effects::release_sandbox(self.context(), runtime)));
                }
                None => self.inbox.observed(Observation::Released(Ok(()))),
            },
            Step::Report { delete } => self.report(delete),
            Step::Wait { .. } | Step::Done => {}
        }
    }

    fn start(&mut self, name: &Str, attempt: u32) {
        let (Some(runtime), Some(container), Some(ip)) =
            (self.runtime(), self.container(name), self.state.sandbox.ip())
        else {
            return;
        };
        let start = effects::Start { runtime, ip, container, attempt };
        self.effects.remove(&Effect::Ports(name.clone()));
        self.effects.remove(&Effect::Stop(name.clone()));
        self.spawn(Effect::Start(name.clone()), Box::pin(effects::start(self.context(), start)));
    }

    fn watch(&mut self, name: &Str, attempt: u32, kind: ProbeKind) {
        let (Some(runtime), Some(container), Some(ip)) =
            (self.runtime(), self.container(name), self.state.sandbox.ip())
        else {
            return;
        };
        let Some(ContainerPhase::Running(running)) = self.state.run(name).map(|run| &run.phase) else { return };
        let (started_at, well) = (running.started_at, running.probes.of(kind).well);
        let watch = Watch { runtime, ip, container, attempt, kind, started_at, well };
        self.spawn(Effect::Watch(name.clone(), kind), Box::pin(probes::watch(self.context(), watch)));
    }

    /// Nobody looks any more at a container that has ended, or is about to.
    fn end_watches(&mut self, name: &Str) {
        for kind in ProbeKind::ALL {
            self.effects.remove(&Effect::Watch(name.clone(), kind));
        }
    }

    /// Why a container is stopped, as events tell it.
    fn why_it_ends(&self, name: &str) -> String {
        let unwell = match self.state.run(name).map(|run| &run.phase) {
            Some(ContainerPhase::Running(running)) if self.state.end.is_none() => running.unwell(),
            _ => None,
        };
        match unwell {
            Some(kind) => {
                format!("Container {name} failed {} probe, will be restarted", kind.name().to_ascii_lowercase())
            }
            None => format!("Stopping container {name}"),
        }
    }

    fn spawn(&mut self, effect: Effect, task: Task) {
        // The old task is aborted before the new one starts.
        self.effects.remove(&effect);
        let handle = self.shared.spawner.spawn("agent-effect", task);
        self.effects.insert(effect, handle);
    }

    fn current_status(&self) -> PodStatus {
        let now = self.shared.clock.now();
        status(&self.pod, &self.status, &self.state, &self.shared.config.host_ips, now)
    }

    /// Queues the status when it changed.
    async fn publish(&mut self) {
        if self.state.end.as_ref().is_some_and(|end| end.cause == EndCause::Gone) {
            return;
        }
        let mut status = self.current_status();
        let now = self.shared.clock.now();
        let insist = self.contested.is_some_and(|due| due <= now);
        if insist {
            renew_transitions(&self.pod.status, &mut status, now);
            (self.contested, self.insisted) = (None, Some(now));
        }
        let changed = insist || status != self.status;
        self.status = status;
        self.show();
        if changed {
            self.shared.writer.status(self.pending(None));
        }
        let ready = meta::condition(&self.status.conditions, "Ready").is_some_and(|c| c.is_true());
        if self.down && ready {
            self.down = false;
            self.shared.traffic.endpoint_up(self.inbox.uid()).await;
        }
    }

    fn show(&self) {
        let view =
            View { pod: Arc::clone(&self.pod), status: self.status.clone(), handler: self.state.sandbox.handler() };
        self.shared.registry.show(self.inbox.uid(), view);
    }

    fn report(&mut self, delete: bool) {
        self.status = self.current_status();
        self.show();
        self.shared.writer.status(self.pending(Some(delete)));
    }

    fn pending(&self, report: Option<bool>) -> Pending {
        Pending { base: Arc::clone(&self.pod), status: self.status.clone(), inbox: Arc::clone(&self.inbox), report }
    }
}

/// How many containers a pod has; pods without any cannot be worked on.
pub(super) fn is_workable(pod: &Pod) -> bool {
    all_containers(pod).any(|(role, _)| role == Role::Main)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
