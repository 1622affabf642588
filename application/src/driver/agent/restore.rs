//! What an agent takes over after a restart: the state of a pod from its object's status and from the sandbox that the
//! runtime still holds, if any. Pure.

use super::state::{
    ContainerPhase, ContainerRun, INTERRUPTED, PodRuntimeState, Probes, Progress, Release, Role, Running, SandboxState,
    UNKNOWN_END, all_containers, container_id, terminated, unknown_end,
};
use steersman_domain::ports::{ContainerRecord, SandboxRecord};
use steersman_domain::{Container, ContainerStateTerminated, ContainerStatus, Pod, Time};

impl PodRuntimeState {
    /// The state of a pod as it was left.
    ///
    /// Running containers of a sandbox that still exists are adopted; exits that happened meanwhile are taken in with their
    /// real codes. Without a sandbox, containers that were running, or were ended by an agent that stopped in order, start
    /// again at once, counted as restarts; init containers do their work again. A pod that came out stays as it is.
    pub(super) fn restore(pod: &Pod, sandbox: Option<(&'static str, &SandboxRecord)>, now: Time) -> Self {
        let mut state = PodRuntimeState::new(pod, now);
        if let Some((handler, record)) = sandbox {
            state.sandbox = SandboxState::Ready { handler, ip: record.ip };
            if record.released {
                state.release = Release::Done;
            }
        }
        for (role, container) in all_containers(pod) {
            let status = status_of(pod, &container.name);
            let record = sandbox.and_then(|(h, s)| Some((h, s.containers.iter().find(|c| c.name == container.name)?)));
            let run = match (record, status) {
                (Some((handler, record)), status) => adopt((handler, record), container, status),
                (None, Some(status)) => remember(pod, role, status, now),
                (None, None) => ContainerRun::fresh(),
            };
            state.containers.insert(container.name.clone(), run);
        }
        if sandbox.is_none() && !pod.is_terminal() {
            state.repeat_init(pod);
        }
        state
    }
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses).find(|s| s.name == name)
}

/// Ends in a row are not written down; the restart count is the nearest thing to them.
fn crashes(attempt: u32) -> u32 {
    attempt.min(16)
}

fn adopt(
    (handler, record): (&str, &ContainerRecord),
    container: &Container,
    status: Option<&ContainerStatus>,
) -> ContainerRun {
    let same = status.is_some_and(|s| u32::try_from(s.restart_count.0).ok() == Some(record.attempt));
    let last = status.and_then(|s| if same { s.last_state.terminated.clone() } else { s.state.terminated.clone() });
    // What was ready stays so: an agent that comes back must not take its pods out of service.
    let was_ready = same && status.is_some_and(|s| s.ready.0);
    let phase = match &record.exit {
        None => ContainerPhase::Running(Running {
            id: container_id(handler, &record.id),
            image: status.filter(|_| same).map_or_else(|| container.image.clone(), |s| s.image.0.clone()),
            started_at: record.started_at,
            hook_done: true,
            ports: if was_ready { Progress::Done } else { Progress::Todo },
            probes: Probes::known(same && status.is_some_and(|s| s.started == Some(true)), was_ready),
            stopping: false,
            stop_retry_at: None,
        }),
        Some(exit) => ContainerPhase::Exited(terminated(handler, record, exit)),
    };
    let ended = u32::from(record.exit.is_some());
    ContainerRun { attempt: record.attempt, used: true, phase, last, crashes: crashes(record.attempt) + ended }
}

/// A container without a record in the runtime, from its status alone.
fn remember(pod: &Pod, role: Role, status: &ContainerStatus, now: Time) -> ContainerRun {
    let attempt = u32::try_from(status.restart_count.0).unwrap_or(0);
    let ended = |end: ContainerStateTerminated| ContainerRun {
        attempt,
        used: true,
        phase: ContainerPhase::Exited(end),
        last: status.last_state.terminated.clone(),
        crashes: crashes(attempt) + 1,
    };
    if let Some(running) = &status.state.running {
        let message = "the container was gone when the agent came back";
        let mut run = ended(unknown_end(message, running.started_at, &status.container_id, now));
        if !pod.is_terminal() {
            run.again();
        }
        return run;
    }
    if let Some(end) = &status.state.terminated {
        let mut run = ended(end.clone());
        let interrupted = end.reason == INTERRUPTED || end.reason == UNKNOWN_END;
        if !pod.is_terminal() && (interrupted || role == Role::Sidecar) {
            run.again();
        }
        return run;
    }
    match &status.last_state.terminated {
        // It was waiting to start again.
        Some(last) => {
            let mut run = ended(last.clone());
            run.last = None;
            if pod.is_terminal() {
                return run;
            }
            run.again();
            run
        }
        None => ContainerRun { attempt, ..ContainerRun::fresh() },
    }
}
