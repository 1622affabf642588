//! What to do next for a pod: a pure decision over the pod, what the agent observed, and the time. The worker performs one
//! step, observes what came of it, and asks again; so a lost answer or a restarted agent changes nothing but time.

use super::backoff;
use super::ending;
use super::state::{
    Block, ContainerPhase, ContainerRun, EndCause, PodRuntimeState, Progress, Release, Role, Running, SandboxState,
    all_containers, policy, tcp_ports,
};
use std::time::Duration;
use steersman_domain::{Container, Pod, PodPhase, ProbeKind, Str, Time};

/// One thing to do. Each is begun at once and observed later; none blocks the next decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the pod's frame in the runtime of its class.
    RunSandbox,
    /// Make or refresh all volumes.
    PrepareVolumes,
    Start {
        container: Str,
        attempt: u32,
    },
    /// Watch until the declared ports accept connections.
    ProbePorts {
        container: Str,
        attempt: u32,
    },
    /// Look at it by a probe, again and again.
    Watch {
        container: Str,
        attempt: u32,
        probe: ProbeKind,
    },
    /// The end of the pod begins.
    Begin {
        cause: EndCause,
        deadline: Time,
    },
    /// Out of every proxy, and wait for connections to end, at most until then.
    Drain {
        until: Time,
    },
    /// preStop, SIGTERM, and SIGKILL at the deadline.
    Stop {
        container: Str,
        attempt: u32,
        deadline: Time,
    },
    RemoveSandbox {
        handler: &'static str,
    },
    /// Give address and volumes of a pod that is over back.
    Release {
        handler: &'static str,
    },
    /// Write the last status for sure, and then delete the object if asked to.
    Report {
        delete: bool,
    },
    /// Nothing until an observation, or this time.
    Wait {
        until: Option<Time>,
    },
    /// The pod is no longer this node's.
    Done,
}

/// The earliest of several times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Earliest(pub(super) Option<Time>);

impl Earliest {
    pub(super) fn add(&mut self, at: Time) {
        self.0 = Some(self.0.map_or(at, |old| old.min(at)));
    }

    pub(super) fn wait(self) -> Step {
        Step::Wait { until: self.0 }
    }
}

/// The next step. Total: every state has an answer, and only [`Step::Done`] ends the pod's worker.
///
/// Steps that were begun are not repeated until they were observed. Readiness is not decided here but read off the state.
pub(super) fn next(pod: &Pod, observed: &PodRuntimeState, now: Time) -> Step {
    match &observed.end {
        // A pod that ended by its own deadline stays until it is deleted.
        Some(end) if !(end.cause == EndCause::DeadlineExceeded && pod.metadata.is_deleting()) => {
            return ending::next(pod, observed, end, now);
        }
        Some(_) | None => {}
    }
    if pod.metadata.is_deleting() {
        return Step::Begin { cause: EndCause::Deleted, deadline: now.after(deletion_grace(pod)) };
    }
    if observed.rejected.is_some() {
        return Step::Wait { until: None };
    }
    let came_out = outcome(pod, observed).is_some();
    if pod.is_terminal() && !came_out && observed.any_alive() {
        // Somebody else declared the pod over.
        return Step::Begin { cause: EndCause::DeadlineExceeded, deadline: now.after(grace(pod)) };
    }
    if came_out || pod.is_terminal() {
        return wind_down(pod, observed, now);
    }
    let mut until = Earliest::default();
    if let Some(deadline) = active_deadline(pod, observed) {
        if now >= deadline {
            return Step::Begin { cause: EndCause::DeadlineExceeded, deadline: now.after(grace(pod)) };
        }
        until.add(deadline);
    }
    match frame(pod, observed, now, &mut until) {
        Some(step) => step,
        None => containers(pod, observed, now, until),
    }
}

/// The grace of an ordinary end.
pub(super) fn grace(pod: &Pod) -> Duration {
    Duration::from_secs(u64::try_from(pod.grace_seconds()).unwrap_or(0))
}

/// The grace that the deletion named, else the pod's own.
pub(super) fn deletion_grace(pod: &Pod) -> Duration {
    let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| pod.grace_seconds());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn active_deadline(pod: &Pod, observed: &PodRuntimeState) -> Option<Time> {
    let seconds = u64::try_from(pod.spec.active_deadline_seconds?).ok()?;
    Some(observed.started_at?.after(Duration::from_secs(seconds)))
}

/// Sandbox and volumes: what must stand before containers start. `None`: they stand.
fn frame(pod: &Pod, observed: &PodRuntimeState, now: Time, until: &mut Earliest) -> Option<Step> {
    match &observed.sandbox {
        SandboxState::Absent { blocked } => {
            return Some(if is_due(blocked.as_ref(), now, until) { Step::RunSandbox } else { until.wait() });
        }
        SandboxState::Creating | SandboxState::Removing { .. } => return Some(until.wait()),
        SandboxState::Lost { handler, retry_at } => {
            return Some(match retry_at {
                Some(at) if now < *at => {
                    until.add(*at);
                    until.wait()
                }
                Some(_) | None => Step::RemoveSandbox { handler },
            });
        }
        SandboxState::Ready { .. } => {}
    }
    let volumes = &observed.volumes;
    if pod.spec.volumes.is_empty() {
        return None;
    }
    let wanted = !volumes.ready || volumes.stale;
    if wanted && !volumes.preparing && is_due(volumes.blocked.as_ref(), now, until) {
        return Some(Step::PrepareVolumes);
    }
    if volumes.ready { None } else { Some(until.wait()) }
}

/// Whether a block is over; when it is not, its time is noted.
fn is_due(blocked: Option<&Block>, now: Time, until: &mut Earliest) -> bool {
    match blocked {
        Some(block) if now < block.retry_at => {
            until.add(block.retry_at);
            false
        }
        Some(_) | None => true,
    }
}

fn containers(pod: &Pod, observed: &PodRuntimeState, now: Time, mut until: Earliest) -> Step {
    for (role, container) in all_containers(pod) {
        let Some(run) = observed.run(&container.name) else { continue };
        if let Some(step) = drive(pod, (role, container), run, now, &mut until) {
            return step;
        }
        let passed = match role {
            Role::Main => true,
            // A sidecar that crashes later holds nobody back: what counts is that it was up once.
            Role::Sidecar => sidecar_was_up(container, run),
            Role::Init => init_succeeded(run),
        };
        if !passed {
            return until.wait();
        }
    }
    until.wait()
}

/// Whether a sidecar came up at least once.
pub(super) fn sidecar_was_up(container: &Container, run: &ContainerRun) -> bool {
    match &run.phase {
        ContainerPhase::Running(r) => r.is_up(container),
        ContainerPhase::Waiting { .. } | ContainerPhase::Starting | ContainerPhase::Exited(_) => run.ever_started(),
    }
}

/// Whether an init container has done its work.
pub(super) fn init_succeeded(run: &ContainerRun) -> bool {
    matches!(&run.phase, ContainerPhase::Exited(end) if end.exit_code.0 == 0)
}

/// The next step of one container on its own.
fn drive(
    pod: &Pod,
    (role, container): (Role, &Container),
    run: &ContainerRun,
    now: Time,
    until: &mut Earliest,
) -> Option<Step> {
    let start = || Some(Step::Start { container: container.name.clone(), attempt: run.next_attempt() });
    match &run.phase {
        ContainerPhase::Waiting { blocked } => is_due(blocked.as_ref(), now, until).then(start).flatten(),
        ContainerPhase::Starting => None,
        ContainerPhase::Running(r) => {
            let unwell = r.unwell();
            if unwell.is_some() || r.image != container.image && role != Role::Init {
                let later = r.stop_retry_at.filter(|at| now < *at);
                later.into_iter().for_each(|at| until.add(at));
                return (!r.stopping && later.is_none()).then(|| Step::Stop {
                    container: container.name.clone(),
                    attempt: run.attempt,
                    deadline: now.after(grace_after(pod, container, unwell)),
                });
            }
            look(container, (run.attempt, r))
        }
        ContainerPhase::Exited(end) => {
            if !policy(pod, role).restarts(end.exit_code.0) {
                return None;
            }
            let due = backoff::due_at(end, run.crashes);
            if now >= due {
                return start();
            }
            until.add(due);
            None
        }
    }
}

/// The grace of a container that a probe ends, or nothing but a new image.
fn grace_after(pod: &Pod, container: &Container, unwell: Option<ProbeKind>) -> Duration {
    let probe = unwell.and_then(|kind| container.probe(kind));
    let own = probe.and_then(|p| p.termination_grace_period_seconds).and_then(|s| u64::try_from(s).ok());
    own.map_or_else(|| grace(pod), Duration::from_secs)
}

/// The next thing to look at of a container that runs: its ports, where no probe says whether it is ready, and by its probes.
fn look(container: &Container, (attempt, r): (u32, &Running)) -> Option<Step> {
    if !r.hook_done || r.stopping {
        return None;
    }
    let name = || container.name.clone();
    if r.ports == Progress::Todo && container.readiness_probe.is_none() && !tcp_ports(container).is_empty() {
        return Some(Step::ProbePorts { container: name(), attempt });
    }
    let due = |kind: &ProbeKind| {
        container.probe(*kind).is_some()
            && !r.probes.of(*kind).watched
            && (*kind == ProbeKind::Startup) != r.is_up(container)
    };
    let probe = ProbeKind::ALL.into_iter().find(due)?;
    Some(Step::Watch { container: name(), attempt, probe })
}

/// How the pod came out, once no container but sidecars will run again: `Succeeded` or `Failed`.
pub(super) fn outcome(pod: &Pod, observed: &PodRuntimeState) -> Option<PodPhase> {
    let ended = |role: Role, name: &str| match &observed.run(name)?.phase {
        ContainerPhase::Exited(end) if !policy(pod, role).restarts(end.exit_code.0) => Some(end.exit_code.0),
        ContainerPhase::Exited(_)
        | ContainerPhase::Waiting { .. }
        | ContainerPhase::Starting
        | ContainerPhase::Running(_) => None,
    };
    let init_failed = all_containers(pod)
        .filter(|(role, _)| *role == Role::Init)
        .any(|(role, c)| ended(role, &c.name).is_some_and(|code| code != 0));
    if init_failed {
        return Some(PodPhase::Failed);
    }
    let mut codes = Vec::with_capacity(pod.spec.containers.len());
    for container in &pod.spec.containers {
        codes.push(ended(Role::Main, &container.name)?);
    }
    if codes.is_empty() {
        return None;
    }
    Some(if codes.iter().all(|&code| code == 0) { PodPhase::Succeeded } else { PodPhase::Failed })
}

/// A pod that came out: its sidecars end, the last started first.
fn wind_down(pod: &Pod, observed: &PodRuntimeState, now: Time) -> Step {
    let mut until = Earliest::default();
    let stop = ending::stop_sidecars(pod, observed, (now.after(grace(pod)), now), &mut until);
    stop.unwrap_or_else(|| release(pod, observed, now, until))
}

/// Gives back what a pod holds that is over, once its object says so: the address goes last.
pub(super) fn release(pod: &Pod, observed: &PodRuntimeState, now: Time, mut until: Earliest) -> Step {
    if !pod.is_terminal() || observed.any_alive() {
        return until.wait();
    }
    let Some(handler) = observed.sandbox.handler() else { return until.wait() };
    match observed.release {
        Release::Todo => Step::Release { handler },
        Release::Failed { retry_at } if retry_at <= now => Step::Release { handler },
        Release::Failed { retry_at } => {
            until.add(retry_at);
            until.wait()
        }
        Release::Doing | Release::Done => until.wait(),
    }
}
