//! The end of a pod, step by step: out of the proxies, the containers together, the sidecars last started first, the
//! sandbox, the last status, the object. Pure, as [`next`](super::next).

use super::next::{Earliest, Step};
use super::state::{ContainerPhase, End, EndCause, PodRuntimeState, Progress, Role, SandboxState, all_containers};
use std::time::Duration;
use steersman_domain::{Pod, Str, Time};

/// How long after the deadline a runtime may take to report ends, before the sandbox is removed regardless: removal kills
/// what is left, so a runtime that lost an answer cannot keep a pod for ever.
const SLACK: Duration = Duration::from_secs(10);

pub(super) fn next(pod: &Pod, observed: &PodRuntimeState, end: &End, now: Time) -> Step {
    let mut until = Earliest::default();
    if observed.any_alive() && now < end.deadline.after(SLACK) {
        until.add(end.deadline.after(SLACK));
        return stop(pod, observed, end, (now, until));
    }
    match end.cause {
        EndCause::DeadlineExceeded => return super::next::release(pod, observed, now, until),
        // The logs of a pod that came out stay readable under the next agent.
        EndCause::AgentStop if pod.is_terminal() => return report(end, false),
        EndCause::AgentStop | EndCause::Deleted | EndCause::Gone => {}
    }
    match &observed.sandbox {
        SandboxState::Creating | SandboxState::Removing { .. } => Step::Wait { until: None },
        SandboxState::Ready { handler, .. } => Step::RemoveSandbox { handler },
        SandboxState::Lost { handler, retry_at } => match retry_at {
            Some(at) if now < *at => Step::Wait { until: Some(*at) },
            Some(_) | None => Step::RemoveSandbox { handler },
        },
        SandboxState::Absent { .. } => match end.cause {
            EndCause::Gone | EndCause::DeadlineExceeded => Step::Done,
            EndCause::Deleted => report(end, true),
            EndCause::AgentStop => report(end, false),
        },
    }
}

fn report(end: &End, delete: bool) -> Step {
    match end.report {
        Progress::Todo => Step::Report { delete },
        Progress::Doing => Step::Wait { until: None },
        Progress::Done => Step::Done,
    }
}

/// Drains, then stops the containers together, then the sidecars.
fn stop(pod: &Pod, observed: &PodRuntimeState, end: &End, (now, mut until): (Time, Earliest)) -> Step {
    match end.drain {
        Progress::Todo => {
            return Step::Drain { until: now.after(end.deadline.since(now) / 2) };
        }
        Progress::Doing if now < end.drain_until => {
            until.add(end.drain_until);
            return until.wait();
        }
        Progress::Doing | Progress::Done => {}
    }
    let others = all_containers(pod).filter(|(role, _)| *role != Role::Sidecar);
    let mut alive = false;
    for (_, container) in others {
        if let Some(step) = stop_one(observed, &container.name, (end.deadline, now), &mut until) {
            return step;
        }
        alive |= observed.run(&container.name).is_some_and(super::state::ContainerRun::is_alive);
    }
    if alive {
        return until.wait();
    }
    stop_sidecars(pod, observed, (end.deadline, now), &mut until).unwrap_or_else(|| until.wait())
}

/// Stops the sidecar that was started last, when none is stopping.
pub(super) fn stop_sidecars(
    pod: &Pod,
    observed: &PodRuntimeState,
    times: (Time, Time),
    until: &mut Earliest,
) -> Option<Step> {
    let sidecars: Vec<Str> =
        all_containers(pod).filter(|(role, _)| *role == Role::Sidecar).map(|(_, c)| c.name.clone()).collect();
    let last =
        sidecars.iter().rev().find(|name| observed.run(name).is_some_and(super::state::ContainerRun::is_alive))?;
    stop_one(observed, last, times, until)
}

/// The stop of one container, when it runs and was not told yet.
fn stop_one(
    observed: &PodRuntimeState,
    name: &str,
    (deadline, now): (Time, Time),
    until: &mut Earliest,
) -> Option<Step> {
    let run = observed.run(name)?;
    let ContainerPhase::Running(running) = &run.phase else { return None };
    if running.stopping {
        return None;
    }
    match running.stop_retry_at {
        Some(at) if now < at => {
            until.add(at);
            None
        }
        Some(_) | None => Some(Step::Stop { container: name.into(), attempt: run.attempt, deadline }),
    }
}
