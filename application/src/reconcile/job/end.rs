//! Whether a Job is over, and why.

use super::tally::Tally;
use crate::reconcile::{Moment, Outcome};
use std::time::Duration;
use steersman_domain::indexes::Indexes;
use steersman_domain::{Condition, Job, RestartPolicy, SuccessPolicyRule};

/// Why a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) reason: String,
    pub(super) message: String,
}

/// What becomes of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoesOn,
    Fails(Cause),
    Succeeds(Cause),
}

fn cause(reason: &str, message: impl Into<String>) -> Cause {
    Cause { reason: reason.into(), message: message.into() }
}

/// What becomes of the Job. A verdict that the status has told before stands.
pub(super) fn verdict(job: &Job, tally: &Tally<'_>, now: Moment, outcome: &mut Outcome) -> Verdict {
    let told = |kind: &str| job.status.conditions.iter().find(|c| c.kind == kind && c.is_true());
    let again = |c: &Condition| Cause { reason: c.reason.to_string(), message: c.message.to_string() };
    if let Some(target) = told("FailureTarget") {
        return Verdict::Fails(again(target));
    }
    if let Some(met) = told("SuccessCriteriaMet") {
        return Verdict::Succeeds(again(met));
    }
    if let Some(why) = fails(job, tally, now, outcome) {
        return Verdict::Fails(why);
    }
    match succeeds(job, tally) {
        Some(why) => Verdict::Succeeds(why),
        None => Verdict::GoesOn,
    }
}

fn fails(job: &Job, tally: &Tally<'_>, now: Moment, outcome: &mut Outcome) -> Option<Cause> {
    if let Some(why) = &tally.fatal {
        return Some(cause("PodFailurePolicy", why));
    }
    let limit = job.spec.backoff_limit.unwrap_or(6);
    if tally.failed > limit || restarts_too_often(job, tally, limit) {
        return Some(cause("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    if let (Some(deadline), Some(start), false) =
        (job.spec.active_deadline_seconds, job.status.start_time, job.is_suspended())
    {
        let end = start.after(Duration::from_secs(u64::try_from(deadline).unwrap_or(0)));
        if end <= now.time {
            return Some(cause("DeadlineExceeded", "Job was active longer than specified deadline"));
        }
        outcome.look_again(end.since(now.time));
    }
    let failed = tally.failed_indexes.as_ref().map_or(0, Indexes::len);
    if job.spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(cause("MaxFailedIndexesExceeded", message));
    }
    if failed > 0 && job.spec.completions.is_some_and(|all| tally.succeeded + failed >= all) && tally.active.is_empty()
    {
        return Some(cause("FailedIndexes", "Job has failed indexes"));
    }
    None
}

/// Containers that are started again in place are failures as well.
fn restarts_too_often(job: &Job, tally: &Tally<'_>, limit: i32) -> bool {
    if job.spec.template.spec.restart_policy != RestartPolicy::OnFailure {
        return false;
    }
    let statuses = tally
        .active
        .iter()
        .flat_map(|pod| pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses));
    let restarts: i64 = statuses.map(|s| i64::from(s.restart_count.0)).sum();
    if limit == 0 { restarts > 0 } else { restarts >= i64::from(limit) }
}

fn succeeds(job: &Job, tally: &Tally<'_>) -> Option<Cause> {
    let rules = job.spec.success_policy.iter().flat_map(|policy| &policy.rules);
    if let Some(at) = rules.into_iter().position(|rule| is_met(rule, &tally.completed)) {
        return Some(cause("SuccessPolicy", format!("Matched rules at index {at}")));
    }
    let enough = match job.spec.completions {
        None => tally.succeeded > 0 && tally.active.is_empty(),
        Some(wanted) => tally.succeeded >= wanted && !job.is_suspended(),
    };
    enough.then(|| cause("CompletionsReached", "Reached expected number of succeeded pods"))
}

fn is_met(rule: &SuccessPolicyRule, completed: &Indexes) -> bool {
    let asked = Indexes::parse(&rule.succeeded_indexes).unwrap_or_default();
    let (done, all) = match asked.is_empty() {
        true => (completed.len(), i32::MAX),
        false => {
            let done = asked.iter().filter(|index| completed.contains(*index)).count();
            (i32::try_from(done).unwrap_or(i32::MAX), asked.len())
        }
    };
    done >= rule.succeeded_count.unwrap_or(all)
}
