//! How long a Job waits after failures before it tries again: ten seconds after the first, twice as long after each one
//! that follows without a success, six minutes at most. With a limit for each index, each waits for itself.

use super::failure::terminated;
use super::tally::Tally;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{Job, Pod, Time};

const FIRST: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(360);

/// When a pod ended, as near as is known.
fn ended(pod: &Pod) -> Option<Time> {
    let last = terminated(pod).filter_map(|(_, end)| end.finished_at).max();
    last.or(pod.metadata.deletion_timestamp).or(pod.metadata.creation_timestamp)
}

fn delay(failures: usize) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(LAST),
    }
}

/// Until when no new pod is made; `None`: there is no wait.
fn until<'a>(failures: impl Iterator<Item = &'a Arc<Pod>>, last_success: Option<Time>) -> Option<Time> {
    let mut times: Vec<Time> = failures.filter_map(|pod| ended(pod)).collect();
    times.retain(|time| last_success.is_none_or(|success| *time > success));
    let last = times.iter().max()?;
    Some(last.after(delay(times.len())))
}

/// How long the Job waits as a whole.
pub(super) fn of_job(job: &Job, tally: &Tally<'_>, now: Time) -> Duration {
    if job.spec.backoff_limit_per_index.is_some() {
        return Duration::ZERO;
    }
    let last_success = tally.successes.iter().filter_map(|pod| ended(pod)).max();
    // What the status had counted before a suspension does not hold up the new start.
    let begun = job.status.start_time;
    let failures = tally.failures.iter().copied().filter(|pod| pod.metadata.creation_timestamp >= begun);
    until(failures, last_success).map_or(Duration::ZERO, |time| time.since(now))
}

/// How long an index waits.
pub(super) fn of_index(job: &Job, tally: &Tally<'_>, index: i32, now: Time) -> Duration {
    if job.spec.backoff_limit_per_index.is_none() {
        return Duration::ZERO;
    }
    let failures = tally.failures.iter().copied().filter(|pod| pod.completion_index() == Some(index));
    until(failures, None).map_or(Duration::ZERO, |time| time.since(now))
}
