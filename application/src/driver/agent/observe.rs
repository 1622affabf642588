//! How observations change what the agent knows of a pod. Pure: the same state and observation give the same state, late
//! and repeated observations change nothing.

use super::backoff;
use super::next::Step;
use super::state::{
    Block, ContainerPhase, ContainerRun, End, EndCause, INTERRUPTED, PodRuntimeState, Probes, Progress, Release, Role,
    Running, SandboxState, VolumesState, container_id, find_container, terminated, unknown_end,
};
use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::ContainerRecord;
use steersman_domain::{AlwaysI32, ContainerStateTerminated, Pod, ProbeKind, Str, Time};

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartFailure {
    /// Not an attempt: it is tried again with the same number.
    Blocked(Block),
    /// An attempt that ended at once.
    CannotRun { reason: &'static str, message: String, exit_code: i32 },
}

/// Something that the agent learned about a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Observation {
    Sandbox(Result<(&'static str, Ipv4Addr), Block>),
    /// The runtime lost the sandbox.
    SandboxLost {
        message: String,
    },
    Volumes(Result<(), Block>),
    /// A ConfigMap, Secret or other object that the pod refers to changed or appeared.
    SourcesChanged,
    Started {
        record: ContainerRecord,
        image: Str,
        /// Whether a postStart hook is still to end.
        hook: bool,
    },
    StartFailed {
        container: Str,
        attempt: u32,
        failure: StartFailure,
    },
    HookDone {
        container: Str,
        attempt: u32,
    },
    PortsOpen {
        container: Str,
        attempt: u32,
    },
    /// A probe found a container well, or unwell.
    Health {
        container: Str,
        attempt: u32,
        probe: ProbeKind,
        well: bool,
    },
    /// A container ended, as an event or as the answer to a stop.
    Exited {
        record: ContainerRecord,
    },
    /// A stop found nothing to stop.
    Vanished {
        container: Str,
        attempt: u32,
    },
    /// A stop could not be done.
    StopFailed {
        container: Str,
        attempt: u32,
    },
    Drained,
    Removed(Result<(), String>),
    Released(Result<(), String>),
    Reported,
    /// The object is gone.
    Gone,
    /// The agent stops in order.
    StopAsked {
        grace: Duration,
    },
}

/// How long a failed stop or removal waits before it is tried again.
const RETRY: Duration = Duration::from_secs(2);

impl PodRuntimeState {
    /// Notes that a step is under way.
    pub(super) fn begin(&mut self, step: &Step) {
        match step {
            Step::RunSandbox => self.sandbox = SandboxState::Creating,
            Step::PrepareVolumes => {
                self.volumes.preparing = true;
                self.volumes.stale = false;
            }
            Step::Start { container, attempt } => {
                if let Some(run) = self.containers.get_mut(container) {
                    run.begin_start(*attempt);
                }
            }
            Step::ProbePorts { container, attempt } => {
                if let Some(r) = self.running(container, *attempt) {
                    r.ports = Progress::Doing;
                }
            }
            Step::Watch { container, attempt, probe } => {
                if let Some(r) = self.running(container, *attempt) {
                    r.probes.of_mut(*probe).watched = true;
                }
            }
            Step::Begin { cause, deadline } => self.begin_end(*cause, *deadline),
            Step::Drain { until } => {
                if let Some(end) = &mut self.end {
                    end.drain = Progress::Doing;
                    end.drain_until = *until;
                }
            }
            Step::Stop { container, attempt, .. } => {
                if let Some(r) = self.running(container, *attempt) {
                    r.stopping = true;
                }
            }
            Step::RemoveSandbox { handler } => self.sandbox = SandboxState::Removing { handler },
            Step::Release { .. } => self.release = Release::Doing,
            Step::Report { .. } => {
                if let Some(end) = &mut self.end {
                    end.report = Progress::Doing;
                }
            }
            Step::Wait { .. } | Step::Done => {}
        }
    }

    /// Takes an observation in.
    pub(super) fn observe(&mut self, pod: &Pod, observation: Observation, now: Time) {
        match observation {
            Observation::Sandbox(Ok((handler, ip))) => self.sandbox = SandboxState::Ready { handler, ip },
            Observation::Sandbox(Err(block)) => self.sandbox = SandboxState::Absent { blocked: Some(block) },
            Observation::SandboxLost { message } => self.lose_sandbox(&message, now),
            Observation::Volumes(outcome) => self.volumes_prepared(outcome),
            Observation::SourcesChanged => self.sources_changed(now),
            Observation::Started { record, image, hook } => self.started(pod, &record, (image, hook)),
            Observation::StartFailed { container, attempt, failure } => {
                self.start_failed(&container, attempt, failure, now);
            }
            Observation::HookDone { container, attempt } => {
                if let Some(r) = self.running(&container, attempt) {
                    r.hook_done = true;
                }
            }
            Observation::PortsOpen { container, attempt } => {
                if let Some(r) = self.running(&container, attempt) {
                    r.ports = Progress::Done;
                }
            }
            Observation::Health { container, attempt, probe, well } => {
                if let Some(r) = self.running(&container, attempt) {
                    r.probes.of_mut(probe).well = Some(well);
                }
            }
            Observation::Exited { record } => self.exited(pod, &record),
            Observation::Vanished { container, attempt } => self.vanished(&container, attempt, now),
            Observation::StopFailed { container, attempt } => {
                if let Some(r) = self.running(&container, attempt) {
                    r.stopping = false;
                    r.stop_retry_at = Some(now.after(RETRY));
                }
            }
            Observation::Drained => {
                if let Some(end) = &mut self.end {
                    end.drain = Progress::Done;
                }
            }
            Observation::Removed(outcome) => self.removed(pod, outcome, now),
            Observation::Released(Ok(())) => self.release = Release::Done,
            Observation::Released(Err(_)) => self.release = Release::Failed { retry_at: now.after(RETRY) },
            Observation::Reported => {
                if let Some(end) = &mut self.end {
                    end.report = Progress::Done;
                }
            }
            Observation::Gone => self.begin_end(EndCause::Gone, now),
            Observation::StopAsked { grace } => {
                let deadline = now.after(grace);
                match &self.end {
                    None => self.begin_end(EndCause::AgentStop, deadline),
                    Some(end) if end.cause == EndCause::DeadlineExceeded => {
                        self.begin_end(EndCause::AgentStop, deadline);
                    }
                    Some(_) => self.shorten(deadline, now),
                }
            }
        }
    }

    /// A later request to end with less grace brings the deadline forward, and the end of a drain under way with it; they
    /// never move back.
    pub(super) fn shorten(&mut self, deadline: Time, now: Time) {
        if let Some(end) = &mut self.end
            && deadline < end.deadline
        {
            end.deadline = deadline;
            end.drain_until = end.drain_until.min(now.after(deadline.since(now) / 2));
        }
    }

    fn begin_end(&mut self, cause: EndCause, deadline: Time) {
        let (drain, drain_until, deadline) = match &self.end {
            Some(end) if end.cause != EndCause::DeadlineExceeded || self.any_alive() => {
                (end.drain, end.drain_until, end.deadline.min(deadline))
            }
            Some(_) | None => (Progress::Todo, deadline, deadline),
        };
        // What is gone has no grace: its address may be given to another pod at any time.
        let drain = if cause == EndCause::Gone { Progress::Done } else { drain };
        self.end = Some(End { cause, deadline, drain, drain_until, report: Progress::Todo });
    }

    fn running(&mut self, container: &str, attempt: u32) -> Option<&mut Running> {
        let run = self.containers.get_mut(container).filter(|r| r.attempt == attempt)?;
        match &mut run.phase {
            ContainerPhase::Running(running) => Some(running),
            ContainerPhase::Waiting { .. } | ContainerPhase::Starting | ContainerPhase::Exited(_) => None,
        }
    }

    fn handler(&self) -> &'static str {
        self.sandbox.handler().unwrap_or("unknown")
    }

    fn volumes_prepared(&mut self, outcome: Result<(), Block>) {
        self.volumes.preparing = false;
        match outcome {
            Ok(()) => {
                self.volumes.ready = true;
                self.volumes.blocked = None;
            }
            Err(block) => {
                self.volumes.stale = self.volumes.ready;
                self.volumes.blocked = Some(block);
            }
        }
    }

    fn sources_changed(&mut self, now: Time) {
        self.volumes.stale = true;
        let blocks = self.containers.values_mut().filter_map(|run| match &mut run.phase {
            ContainerPhase::Waiting { blocked } => blocked.as_mut(),
            ContainerPhase::Starting | ContainerPhase::Running(_) | ContainerPhase::Exited(_) => None,
        });
        for block in blocks.chain(self.volumes.blocked.as_mut()) {
            block.retry_at = block.retry_at.min(now);
        }
    }

    fn started(&mut self, pod: &Pod, record: &ContainerRecord, (image, hook): (Str, bool)) {
        let handler = self.handler();
        let Some(run) = self.containers.get_mut(&record.name).filter(|r| r.attempt == record.attempt) else { return };
        if run.phase != ContainerPhase::Starting {
            return;
        }
        run.used = true;
        run.phase = ContainerPhase::Running(Running {
            id: container_id(handler, &record.id),
            image,
            started_at: record.started_at,
            hook_done: !hook,
            ports: Progress::Todo,
            probes: Probes::default(),
            stopping: false,
            stop_retry_at: None,
        });
        if record.exit.is_some() {
            self.exited(pod, record);
        }
    }

    fn start_failed(&mut self, container: &str, attempt: u32, failure: StartFailure, now: Time) {
        let Some(run) = self.containers.get_mut(container).filter(|r| r.attempt == attempt) else { return };
        if run.phase != ContainerPhase::Starting {
            return;
        }
        match failure {
            StartFailure::Blocked(block) => run.phase = ContainerPhase::Waiting { blocked: Some(block) },
            StartFailure::CannotRun { reason, message, exit_code } => {
                run.end(ContainerStateTerminated {
                    exit_code: AlwaysI32(exit_code),
                    reason: reason.into(),
                    message: message.into(),
                    started_at: Some(now),
                    finished_at: Some(now),
                    ..ContainerStateTerminated::default()
                });
            }
        }
    }

    fn exited(&mut self, pod: &Pod, record: &ContainerRecord) {
        let handler = self.handler();
        let (ending, stopped) = (self.end.is_some(), self.end.as_ref().is_some_and(|e| e.cause == EndCause::AgentStop));
        let Some(exit) = &record.exit else { return };
        let Some(run) = self.containers.get_mut(&record.name).filter(|r| r.attempt == record.attempt) else { return };
        if !run.is_alive() {
            return;
        }
        let mut end = terminated(handler, record, exit);
        let mut renewed = false;
        if let ContainerPhase::Running(r) = &run.phase {
            end.container_id = r.id.clone();
            end.started_at = Some(r.started_at);
            let image = find_container(pod, &record.name).map(|(_, c)| &c.image);
            renewed = r.stopping && !ending && image.is_some_and(|image| *image != r.image);
        }
        if stopped {
            end.reason = INTERRUPTED.into();
        }
        run.end(end);
        if renewed {
            // Ended to start with its new image, which is no crash.
            run.crashes = 0;
            run.again();
        }
    }

    fn vanished(&mut self, container: &str, attempt: u32, now: Time) {
        let Some(run) = self.containers.get_mut(container).filter(|r| r.attempt == attempt) else { return };
        if let ContainerPhase::Running(r) = &run.phase {
            let end = unknown_end("the runtime does not know the container any more", Some(r.started_at), &r.id, now);
            run.end(end);
        }
    }

    /// Everything that ran in the sandbox has ended, nobody knows how.
    fn lose_sandbox(&mut self, message: &str, now: Time) {
        let SandboxState::Ready { handler, .. } = self.sandbox else { return };
        self.sandbox = SandboxState::Lost { handler, retry_at: None };
        let message = format!("the sandbox was lost: {message}");
        for run in self.containers.values_mut() {
            match &run.phase {
                ContainerPhase::Running(r) => {
                    let end = unknown_end(&message, Some(r.started_at), &r.id, now);
                    run.end(end);
                }
                ContainerPhase::Starting => run.phase = ContainerPhase::Waiting { blocked: None },
                ContainerPhase::Waiting { .. } | ContainerPhase::Exited(_) => {}
            }
        }
    }

    fn removed(&mut self, pod: &Pod, outcome: Result<(), String>, now: Time) {
        let SandboxState::Removing { handler } = self.sandbox else { return };
        if outcome.is_err() {
            self.sandbox = SandboxState::Lost { handler, retry_at: Some(now.after(RETRY)) };
            return;
        }
        self.sandbox = SandboxState::Absent { blocked: None };
        self.volumes = VolumesState::default();
        // Removal killed what still ran.
        for run in self.containers.values_mut() {
            let end = match &run.phase {
                ContainerPhase::Running(r) => unknown_end("killed with its sandbox", Some(r.started_at), &r.id, now),
                ContainerPhase::Starting => unknown_end("killed with its sandbox", None, &Str::default(), now),
                ContainerPhase::Waiting { .. } | ContainerPhase::Exited(_) => continue,
            };
            run.end(end);
        }
        if self.end.is_none() {
            self.repeat_init(pod);
        }
    }

    /// A new sandbox has empty volumes, so init containers do their work again.
    pub(super) fn repeat_init(&mut self, pod: &Pod) {
        for (name, run) in &mut self.containers {
            let init = find_container(pod, name).is_some_and(|(role, _)| role == Role::Init);
            if init && super::next::init_succeeded(run) {
                run.again();
            }
        }
    }
}

impl ContainerRun {
    fn begin_start(&mut self, attempt: u32) {
        if let ContainerPhase::Exited(end) = &self.phase {
            self.last = Some(end.clone());
        }
        self.attempt = attempt;
        self.used = false;
        self.phase = ContainerPhase::Starting;
    }

    fn end(&mut self, end: ContainerStateTerminated) {
        self.used = true;
        let at = end.finished_at.unwrap_or_default();
        self.crashes = backoff::count(self.crashes, end.started_at, at);
        self.phase = ContainerPhase::Exited(end);
    }

    /// Makes a container that ended wait for its next start, at once and whatever its policy.
    pub(super) fn again(&mut self) {
        if let ContainerPhase::Exited(end) = &self.phase {
            self.last = Some(end.clone());
            self.attempt = self.next_attempt();
            self.used = false;
            self.phase = ContainerPhase::Waiting { blocked: None };
        }
    }
}
