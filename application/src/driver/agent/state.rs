//! What the agent knows about one pod on its node: the sandbox, the volumes, every container, and how far the end has come.
//! Plain data, changed in two ways only: [`PodRuntimeState::begin`] notes that a step is under way, and
//! [`PodRuntimeState::observe`](super::observe) takes in what came of it. Deciding is [`next`](super::next::next)'s business.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::{ContainerRecord, ExitRecord};
use steersman_domain::{
    AlwaysI32, Container, ContainerStateTerminated, Pod, ProbeKind, Protocol, RestartPolicy, Str, Time,
};

/// The reason that ends of containers carry when the agent itself was stopped in order. Such containers start again with
/// the next agent whatever their restart policy, because nothing was wrong with them.
pub(super) const INTERRUPTED: &str = "AgentStopped";

/// The reason of an end of which nobody saw the exit code.
pub(super) const UNKNOWN_END: &str = "ContainerStatusUnknown";

/// Why something cannot go on now, as the waiting state of containers shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// `ContainerCreating`, `CreateContainerConfigError`, `CreateContainerError`.
    pub(super) reason: Str,
    pub(super) message: Str,
    pub(super) retry_at: Time,
}

impl Block {
    /// A block that is tried again after `wait`.
    pub(super) fn new(reason: &str, message: impl Into<Str>, now: Time, wait: Duration) -> Self {
        Block { reason: reason.into(), message: message.into(), retry_at: now.after(wait) }
    }
}

/// The pod's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SandboxState {
    Absent {
        blocked: Option<Block>,
    },
    Creating,
    Ready {
        handler: &'static str,
        ip: Ipv4Addr,
    },
    /// The runtime lost it; what is left must be removed before a new one is made.
    Lost {
        handler: &'static str,
        retry_at: Option<Time>,
    },
    Removing {
        handler: &'static str,
    },
}

impl SandboxState {
    /// The address, while there is one.
    pub(super) fn ip(&self) -> Option<Ipv4Addr> {
        match self {
            SandboxState::Ready { ip, .. } => Some(*ip),
            SandboxState::Absent { .. }
            | SandboxState::Creating
            | SandboxState::Lost { .. }
            | SandboxState::Removing { .. } => None,
        }
    }

    /// The runtime that holds the sandbox.
    pub(super) fn handler(&self) -> Option<&'static str> {
        match self {
            SandboxState::Ready { handler, .. }
            | SandboxState::Lost { handler, .. }
            | SandboxState::Removing { handler } => Some(handler),
            SandboxState::Absent { .. } | SandboxState::Creating => None,
        }
    }
}

/// The pod's volumes, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VolumesState {
    /// All were prepared at least once.
    pub(super) ready: bool,
    pub(super) preparing: bool,
    /// A source changed since they were prepared.
    pub(super) stale: bool,
    pub(super) blocked: Option<Block>,
}

/// How far a single thing has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    #[default]
    Todo,
    Doing,
    Done,
}

/// What a probe has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Somebody looks.
    pub(super) watched: bool,
    /// `None`: not known yet.
    pub(super) well: Option<bool>,
}

/// What the probes of a container have found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probes {
    startup: Look,
    liveness: Look,
    readiness: Look,
}

impl Probes {
    /// As an agent finds them that takes over.
    pub(super) fn known(started: bool, ready: bool) -> Self {
        let found = |well: bool| Look { watched: false, well: well.then_some(true) };
        Probes { startup: found(started), liveness: Look::default(), readiness: found(ready) }
    }

    pub(super) fn of(&self, kind: ProbeKind) -> &Look {
        match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Liveness => &self.liveness,
            ProbeKind::Readiness => &self.readiness,
        }
    }

    pub(super) fn of_mut(&mut self, kind: ProbeKind) -> &mut Look {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Liveness => &mut self.liveness,
            ProbeKind::Readiness => &mut self.readiness,
        }
    }
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) id: Str,
    /// The image it was started with; another one in the pod means that it must start anew.
    pub(super) image: Str,
    pub(super) started_at: Time,
    /// The postStart hook has ended (or there is none).
    pub(super) hook_done: bool,
    /// Whether the declared ports accept connections.
    pub(super) ports: Progress,
    /// What the probes have found.
    pub(super) probes: Probes,
    /// It has been told to end.
    pub(super) stopping: bool,
    /// A stop failed; not tried again before.
    pub(super) stop_retry_at: Option<Time>,
}

impl Running {
    /// Whether it has come up: its hook has ended, and its startup probe, if it has one, found it well.
    pub(super) fn is_up(&self, container: &Container) -> bool {
        self.hook_done && (container.startup_probe.is_none() || self.probes.startup.well == Some(true))
    }

    /// The probe for which it has to be started again.
    pub(super) fn unwell(&self) -> Option<ProbeKind> {
        [ProbeKind::Startup, ProbeKind::Liveness].into_iter().find(|kind| self.probes.of(*kind).well == Some(false))
    }
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ContainerPhase {
    Waiting { blocked: Option<Block> },
    Starting,
    Running(Running),
    Exited(ContainerStateTerminated),
}

/// One container and its past.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ContainerRun {
    /// The attempt that is under way or comes next; counts from 0.
    pub(super) attempt: u32,
    /// Whether that attempt was started.
    pub(super) used: bool,
    pub(super) phase: ContainerPhase,
    /// How the attempt before ended.
    pub(super) last: Option<ContainerStateTerminated>,
    /// Ends in a row without ten minutes of running between them.
    pub(super) crashes: u32,
}

impl ContainerRun {
    pub(super) fn fresh() -> Self {
        ContainerRun {
            attempt: 0,
            used: false,
            phase: ContainerPhase::Waiting { blocked: None },
            last: None,
            crashes: 0,
        }
    }

    /// How often the container was started again.
    pub(super) fn restarts(&self) -> u32 {
        if self.used { self.attempt } else { self.attempt.saturating_sub(1) }
    }

    /// The number of the next start.
    pub(super) fn next_attempt(&self) -> u32 {
        if self.used { self.attempt.saturating_add(1) } else { self.attempt }
    }

    /// Whether any attempt was ever started.
    pub(super) fn ever_started(&self) -> bool {
        self.used || self.attempt > 0 || self.last.is_some()
    }

    /// Whether a program runs or may be running.
    pub(super) fn is_alive(&self) -> bool {
        match self.phase {
            ContainerPhase::Starting | ContainerPhase::Running(_) => true,
            ContainerPhase::Waiting { .. } | ContainerPhase::Exited(_) => false,
        }
    }
}

/// Why a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    /// Deletion was asked for.
    Deleted,
    /// The object is gone already: only clean up.
    Gone,
    /// The agent stops in order; the object stays.
    AgentStop,
    /// It ran longer than `activeDeadlineSeconds`, or was declared over; the object and its logs stay.
    DeadlineExceeded,
}

/// How far the release of a pod that is over has come: its address and volumes are given back, its logs stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Release {
    #[default]
    Todo,
    Doing,
    /// It failed; not tried again before.
    Failed {
        retry_at: Time,
    },
    Done,
}

/// An end under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) cause: EndCause,
    /// When what still runs is killed.
    pub(super) deadline: Time,
    pub(super) drain: Progress,
    /// When a drain under way is no longer waited for.
    pub(super) drain_until: Time,
    /// The last status is written, and the object deleted where that is the cause.
    pub(super) report: Progress,
}

/// Everything the agent knows of a pod on its node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodRuntimeState {
    /// The pod was not admitted: reason and message. It fails without running.
    pub(super) rejected: Option<(Str, Str)>,
    pub(super) started_at: Option<Time>,
    pub(super) sandbox: SandboxState,
    pub(super) volumes: VolumesState,
    pub(super) containers: BTreeMap<Str, ContainerRun>,
    pub(super) release: Release,
    pub(super) end: Option<End>,
}

impl PodRuntimeState {
    /// A pod that the node has not worked on.
    pub(super) fn new(pod: &Pod, now: Time) -> Self {
        PodRuntimeState {
            rejected: None,
            started_at: Some(pod.status.start_time.unwrap_or(now)),
            sandbox: SandboxState::Absent { blocked: None },
            volumes: VolumesState::default(),
            containers: all_containers(pod).map(|(_, c)| (c.name.clone(), ContainerRun::fresh())).collect(),
            release: Release::Todo,
            end: None,
        }
    }

    /// What is known of a container.
    pub(super) fn run(&self, name: &str) -> Option<&ContainerRun> {
        self.containers.get(name)
    }

    /// Whether a program of the pod runs or may be running.
    pub(super) fn any_alive(&self) -> bool {
        self.containers.values().any(ContainerRun::is_alive)
    }
}

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container that keeps running beside the others.
    Sidecar,
    Main,
}

/// Whether an init container is a sidecar.
pub(super) fn init_role(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
}

/// All containers in the order in which they start.
pub(super) fn all_containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    let init = pod.spec.init_containers.iter().map(|c| (init_role(c), &**c));
    init.chain(pod.spec.containers.iter().map(|c| (Role::Main, &**c)))
}

/// Container and role by name.
pub(super) fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, &'a Container)> {
    all_containers(pod).find(|(_, c)| c.name == name)
}

/// The rule by which a container is started again. Source: Kubernetes "Init containers" and "Sidecar containers".
pub(super) fn policy(pod: &Pod, role: Role) -> RestartPolicy {
    match (role, pod.spec.restart_policy) {
        (Role::Sidecar, _) => RestartPolicy::Always,
        (Role::Main, policy) => policy,
        (Role::Init, RestartPolicy::Never) => RestartPolicy::Never,
        (Role::Init, RestartPolicy::Always | RestartPolicy::OnFailure) => RestartPolicy::OnFailure,
    }
}

/// The TCP ports that a container declares.
pub(super) fn tcp_ports(container: &Container) -> Vec<u16> {
    let tcp = container.ports.iter().filter(|p| p.protocol == Protocol::Tcp);
    tcp.filter_map(|p| u16::try_from(p.container_port).ok()).filter(|&p| p > 0).collect()
}

/// An end as objects show it.
pub(super) fn terminated(handler: &str, record: &ContainerRecord, exit: &ExitRecord) -> ContainerStateTerminated {
    let reason = match (exit.oom_killed, exit.exit_code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    ContainerStateTerminated {
        exit_code: AlwaysI32(exit.exit_code),
        signal: exit.signal,
        reason: reason.into(),
        message: exit.message.clone(),
        started_at: Some(Time::from_micros(exit.started_at_micros)),
        finished_at: Some(Time::from_micros(exit.finished_at_micros)),
        container_id: container_id(handler, &record.id),
        ..ContainerStateTerminated::default()
    }
}

/// The end of a container of which nobody knows how it ended.
pub(super) fn unknown_end(message: &str, started_at: Option<Time>, id: &Str, now: Time) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: AlwaysI32(137),
        reason: UNKNOWN_END.into(),
        message: message.into(),
        started_at,
        finished_at: Some(now),
        container_id: id.clone(),
        ..ContainerStateTerminated::default()
    }
}

/// The id of a container as objects show it.
pub(super) fn container_id(handler: &str, id: &str) -> Str {
    if id.is_empty() { Str::default() } else { format!("{handler}://{id}").into() }
}
