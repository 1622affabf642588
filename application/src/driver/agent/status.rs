//! The status of a pod out of what the agent knows: phase, conditions, container states. Pure. Parts of the status that
//! others write (PodScheduled, conditions of other controllers, the nominated node) stay as they are.
//! Source of the rules: Kubernetes "Pod Lifecycle".

use super::backoff;
use super::next::{init_succeeded, outcome, sidecar_was_up};
use super::state::{
    Block, ContainerPhase, ContainerRun, EndCause, PodRuntimeState, Progress, Role, SandboxState, all_containers,
    policy, tcp_ports,
};
use steersman_domain::meta::{self, set_condition};
use steersman_domain::{
    AlwaysBool, AlwaysI32, AlwaysStr, Condition, Container, ContainerState, ContainerStateRunning,
    ContainerStateWaiting, ContainerStatus, Pod, PodIp, PodPhase, PodStatus, ProbeKind, Str, Time,
};

/// The conditions that the agent alone writes.
pub(super) const OWNED_CONDITIONS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"];

/// The status to write now. `previous` is the newest status known, written or about to be; times of transitions go by it,
/// and a terminal one stays as it is.
pub(super) fn status(
    pod: &Pod,
    previous: &PodStatus,
    observed: &PodRuntimeState,
    host_ips: &[Str],
    now: Time,
) -> PodStatus {
    let mut status = previous.clone();
    if previous.phase.is_terminal() {
        return status;
    }
    status.observed_generation = pod.metadata.generation;
    status.start_time = observed.started_at;
    if status.qos_class.is_empty() {
        status.qos_class = pod.qos_class().into();
    }
    status.host_ip = host_ips.first().cloned().unwrap_or_default();
    status.host_ips = host_ips.iter().map(|ip| PodIp { ip: ip.clone(), ..PodIp::default() }).collect();
    if let Some(ip) = observed.sandbox.ip() {
        let ip = Str::from(ip.to_string());
        status.pod_ips = vec![PodIp { ip: ip.clone(), ..PodIp::default() }];
        status.pod_ip = ip;
    } else if observed.end.is_none() {
        status.pod_ips.clear();
        status.pod_ip = Str::default();
    }
    let shown = |role_is_main: bool| {
        all_containers(pod)
            .filter(move |(role, _)| (*role == Role::Main) == role_is_main)
            .filter_map(|(role, c)| Some(container_status(pod, observed, (role, c, observed.run(&c.name)?), now)))
            .collect::<Vec<_>>()
    };
    status.init_container_statuses = shown(false);
    status.container_statuses = shown(true);
    let phase = phase(pod, observed);
    status.phase = status.phase.on(phase).unwrap_or(status.phase);
    (status.reason, status.message) = reason(observed);
    conditions(pod, observed, &mut status, now);
    status
}

/// Our status on top of a newer one: what others write is taken from the newer, and phases never go back.
pub(super) fn merge(fresh: &PodStatus, ours: &PodStatus) -> PodStatus {
    if fresh.phase.is_terminal() {
        return fresh.clone();
    }
    let mut merged = ours.clone();
    merged.conditions = fresh.conditions.clone();
    for condition in ours.conditions.iter().filter(|c| OWNED_CONDITIONS.contains(&c.kind.as_str())) {
        match merged.conditions.iter_mut().find(|c| c.kind == condition.kind) {
            Some(old) => *old = condition.clone(),
            None => merged.conditions.push(condition.clone()),
        }
    }
    merged.nominated_node_name = fresh.nominated_node_name.clone();
    merged.extra = fresh.extra.clone();
    // A phase that is not terminal goes on to any later one; to go back would be illegal.
    merged.phase = fresh.phase.on(ours.phase).unwrap_or(fresh.phase);
    merged
}

/// Whether somebody else set a condition that the agent alone writes, against what the agent says (`ours`). `seen` is the
/// version of the status known before `fresh`. A fresh condition that is older than ours is no objection: ours is still on
/// its way.
pub(super) fn contested(seen: &PodStatus, fresh: &PodStatus, ours: &PodStatus) -> bool {
    let says = |c: &Condition| (c.status.clone(), c.reason.clone(), c.message.clone());
    OWNED_CONDITIONS.into_iter().any(|kind| {
        let of = |status: &PodStatus| meta::condition(&status.conditions, kind).cloned();
        let (Some(ours), Some(fresh)) = (of(ours), of(fresh)) else { return false };
        let was_written = of(seen).is_some_and(|seen| says(&seen) == says(&ours));
        says(&fresh) != says(&ours) && (was_written || fresh.last_transition_time > ours.last_transition_time)
    })
}

/// Owned conditions that somebody else had turned over turn back now.
pub(super) fn renew_transitions(written: &PodStatus, ours: &mut PodStatus, now: Time) {
    for condition in ours.conditions.iter_mut().filter(|c| OWNED_CONDITIONS.contains(&c.kind.as_str())) {
        let before = meta::condition(&written.conditions, &condition.kind);
        if before.is_some_and(|before| before.status != condition.status) {
            condition.last_transition_time = Some(now);
        }
    }
}

fn reason(observed: &PodRuntimeState) -> (Str, Str) {
    if let Some((reason, message)) = &observed.rejected {
        return (reason.clone(), message.clone());
    }
    match &observed.end {
        Some(end) if end.cause == EndCause::DeadlineExceeded => {
            ("DeadlineExceeded".into(), "Pod was active on the node longer than the specified deadline".into())
        }
        Some(_) | None => (Str::default(), Str::default()),
    }
}

fn phase(pod: &Pod, observed: &PodRuntimeState) -> PodPhase {
    if observed.rejected.is_some() {
        return PodPhase::Failed;
    }
    let alive = observed.any_alive();
    let cause = observed.end.as_ref().map(|end| end.cause);
    let clean = observed.containers.values().all(|run| match &run.phase {
        ContainerPhase::Exited(end) => end.exit_code.0 == 0,
        ContainerPhase::Waiting { .. } | ContainerPhase::Starting | ContainerPhase::Running(_) => false,
    });
    match (cause, alive) {
        (Some(EndCause::DeadlineExceeded), false) => return PodPhase::Failed,
        (Some(EndCause::Deleted), false) if clean => return PodPhase::Succeeded,
        (Some(EndCause::Deleted), false) => return PodPhase::Failed,
        (Some(EndCause::AgentStop), _) => return running_phase(pod, observed),
        (Some(EndCause::DeadlineExceeded | EndCause::Deleted | EndCause::Gone) | None, _) => {}
    }
    match outcome(pod, observed) {
        // Sidecars end before the pod has come out.
        Some(outcome) if !alive => outcome,
        Some(_) | None => running_phase(pod, observed),
    }
}

/// Pending until the first main container has started, Running from then on.
fn running_phase(pod: &Pod, observed: &PodRuntimeState) -> PodPhase {
    let started = |c: &Container| observed.run(&c.name).is_some_and(|run| run.ever_started());
    if pod.spec.containers.iter().all(|c| started(c)) { PodPhase::Running } else { PodPhase::Pending }
}

/// Whether a container takes traffic: it runs, has come up, and its readiness probe found it well; without one, its declared
/// ports accept connections.
fn is_ready(container: &Container, run: &ContainerRun) -> bool {
    match &run.phase {
        ContainerPhase::Running(r) => {
            let takes = match &container.readiness_probe {
                Some(_) => r.probes.of(ProbeKind::Readiness).well == Some(true),
                None => r.ports == Progress::Done || tcp_ports(container).is_empty(),
            };
            r.is_up(container) && !r.stopping && takes
        }
        ContainerPhase::Waiting { .. } | ContainerPhase::Starting | ContainerPhase::Exited(_) => false,
    }
}

fn container_status(
    pod: &Pod,
    observed: &PodRuntimeState,
    (role, container, run): (Role, &Container, &ContainerRun),
    now: Time,
) -> ContainerStatus {
    let (state, last) = states(pod, observed, (role, run), now);
    let id = match (&run.phase, &run.last) {
        (ContainerPhase::Running(r), _) => r.id.clone(),
        (ContainerPhase::Exited(end), _) => end.container_id.clone(),
        (ContainerPhase::Waiting { .. } | ContainerPhase::Starting, Some(last)) => last.container_id.clone(),
        (ContainerPhase::Waiting { .. } | ContainerPhase::Starting, None) => Str::default(),
    };
    let ready = match role {
        Role::Init => init_succeeded(run),
        Role::Main | Role::Sidecar => is_ready(container, run),
    };
    let image = match &run.phase {
        ContainerPhase::Running(r) => &r.image,
        ContainerPhase::Waiting { .. } | ContainerPhase::Starting | ContainerPhase::Exited(_) => &container.image,
    };
    let started = matches!(&run.phase, ContainerPhase::Running(r) if r.is_up(container));
    ContainerStatus {
        name: container.name.clone(),
        state,
        last_state: last,
        ready: AlwaysBool(ready),
        restart_count: AlwaysI32(i32::try_from(run.restarts()).unwrap_or(i32::MAX)),
        image: AlwaysStr(image.clone()),
        image_id: AlwaysStr(Str::default()),
        container_id: id,
        started: Some(started),
        ..ContainerStatus::default()
    }
}

/// State and last state.
fn states(
    pod: &Pod,
    observed: &PodRuntimeState,
    (role, run): (Role, &ContainerRun),
    now: Time,
) -> (ContainerState, ContainerState) {
    let ended = |end| ContainerState { terminated: Some(end), ..ContainerState::default() };
    let last = run.last.clone().map(ended).unwrap_or_default();
    match &run.phase {
        ContainerPhase::Running(r) => {
            let running = ContainerStateRunning { started_at: Some(r.started_at), ..ContainerStateRunning::default() };
            (ContainerState { running: Some(running), ..ContainerState::default() }, last)
        }
        ContainerPhase::Exited(end) => {
            let restarts = policy(pod, role).restarts(end.exit_code.0) && observed.end.is_none();
            let delay = backoff::delay(run.crashes);
            if restarts && now < backoff::due_at(end, run.crashes) {
                let message = back_off_message(pod, observed_name(observed, run), delay.as_secs());
                (waiting("CrashLoopBackOff", &message), ended(end.clone()))
            } else {
                (ended(end.clone()), last)
            }
        }
        ContainerPhase::Waiting { blocked: Some(block) } => (waiting(&block.reason, &block.message), last),
        ContainerPhase::Waiting { blocked: None } | ContainerPhase::Starting => {
            (waiting_for_frame(pod, observed), last)
        }
    }
}

fn observed_name<'a>(observed: &'a PodRuntimeState, run: &ContainerRun) -> &'a str {
    observed.containers.iter().find(|(_, r)| std::ptr::eq(*r, run)).map_or("", |(name, _)| name.as_str())
}

/// The message of a back-off, as Kubernetes words it.
pub(super) fn back_off_message(pod: &Pod, container: &str, seconds: u64) -> String {
    let meta = &pod.metadata;
    let wait = match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s}s"),
        (m, s) => format!("{m}m{s}s"),
    };
    format!(
        "back-off {wait} restarting failed container={container} pod={}_{}({})",
        meta.name, meta.namespace, meta.uid
    )
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let waiting =
        ContainerStateWaiting { reason: reason.into(), message: message.into(), ..ContainerStateWaiting::default() };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// Why a container that nobody has tried to start yet waits.
fn waiting_for_frame(pod: &Pod, observed: &PodRuntimeState) -> ContainerState {
    let block: Option<&Block> = match &observed.sandbox {
        SandboxState::Absent { blocked } => blocked.as_ref(),
        SandboxState::Ready { .. } if !observed.volumes.ready => observed.volumes.blocked.as_ref(),
        SandboxState::Ready { .. }
        | SandboxState::Creating
        | SandboxState::Lost { .. }
        | SandboxState::Removing { .. } => None,
    };
    if let Some(block) = block {
        return waiting(&block.reason, &block.message);
    }
    // As Kubernetes: what is waited for is the whole of the beginning, up to the start of the main containers.
    waiting(if pod.spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" }, "")
}

fn incomplete(pod: &Pod, observed: &PodRuntimeState) -> Vec<Str> {
    let done = |(role, container): (Role, &Container), run: &ContainerRun| match role {
        Role::Init => init_succeeded(run),
        Role::Sidecar => sidecar_was_up(container, run),
        Role::Main => true,
    };
    all_containers(pod)
        .filter(|(role, c)| !observed.run(&c.name).is_some_and(|run| done((*role, c), run)))
        .map(|(_, c)| c.name.clone())
        .collect()
}

fn names(list: &[Str]) -> String {
    format!("[{}]", list.join(" "))
}

fn conditions(pod: &Pod, observed: &PodRuntimeState, status: &mut PodStatus, now: Time) {
    let unready: Vec<Str> = all_containers(pod)
        .filter(|(role, _)| *role != Role::Init)
        .filter(|(_, c)| !observed.run(&c.name).is_some_and(|run| is_ready(c, run)))
        .map(|(_, c)| c.name.clone())
        .collect();
    let incomplete = incomplete(pod, observed);
    let phase = status.phase;
    let framed = matches!(observed.sandbox, SandboxState::Ready { .. });
    let over = match phase {
        PodPhase::Succeeded => Some("PodCompleted"),
        PodPhase::Failed => Some("PodFailed"),
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown => None,
    };
    let unready_message = format!("containers with unready status: {}", names(&unready));
    let (containers_ready, ready) = match over {
        Some(reason) => ((false, reason, String::new()), (false, reason, String::new())),
        None if !unready.is_empty() => {
            let not = (false, "ContainersNotReady", unready_message);
            (not.clone(), not)
        }
        None if observed.end.is_some() => {
            ((true, "", String::new()), (false, "PodTerminating", "the pod is being ended".to_owned()))
        }
        None => ((true, "", String::new()), (true, "", String::new())),
    };
    let init = match phase {
        PodPhase::Succeeded => (true, "PodCompleted", String::new()),
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown | PodPhase::Failed if incomplete.is_empty() => {
            (true, "", String::new())
        }
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown | PodPhase::Failed => {
            let message = format!("containers with incomplete status: {}", names(&incomplete));
            (false, "ContainersNotInitialized", message)
        }
    };
    let values = [(framed, "", String::new()), init, containers_ready, ready];
    // A pod that was created with its node in it passed the scheduler by.
    if meta::condition(&status.conditions, "PodScheduled").is_none() {
        status.conditions.push(Condition::new("PodScheduled", true, "", "", now));
    }
    for (kind, (value, reason, message)) in OWNED_CONDITIONS.into_iter().zip(values) {
        let mut condition = Condition::new(kind, value, reason, message, now);
        condition.observed_generation = pod.metadata.generation;
        set_condition(&mut status.conditions, condition);
    }
}
