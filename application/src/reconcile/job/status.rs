//! The status of a Job: what has been counted, how it stands, and how it ended.

use super::Work;
use super::end::Verdict;
use super::tally::Tally;
use crate::client::{Part, Write};
use crate::reconcile::{Note, Outcome};
use std::sync::Arc;
use steersman_domain::meta::{condition, set_condition};
use steersman_domain::{Condition, Job, JobStatus, Object, Time};

/// Writes the status, if it differs.
pub(super) fn report(work: &Work<'_>, tally: &Tally<'_>, verdict: &Verdict, outcome: &mut Outcome) {
    let (job, now) = (work.job, work.now.time.truncated());
    let mut status = job.status.clone();
    counts(job, tally, &mut status);
    let mut notes = Vec::new();
    suspension(work, &mut status, now, &mut notes);
    let over = tally.active.is_empty() && tally.terminating == 0 && tally.is_complete();
    match verdict {
        Verdict::GoesOn => {}
        Verdict::Fails(why) => {
            let told = |kind: &str| Condition::new(kind, true, &why.reason, why.message.as_str(), now);
            if set_condition(&mut status.conditions, told("FailureTarget")) {
                outcome.why.push(format!("it fails: {}: {}", why.reason, why.message));
            }
            if over {
                set_condition(&mut status.conditions, told("Failed"));
                notes.push(work.note(true, reason(&why.reason), why.message.clone()));
            }
        }
        Verdict::Succeeds(why) => {
            let told = |kind: &str| Condition::new(kind, true, &why.reason, why.message.as_str(), now);
            if set_condition(&mut status.conditions, told("SuccessCriteriaMet")) {
                outcome.why.push(format!("it has succeeded: {}", why.message));
            }
            if over {
                set_condition(&mut status.conditions, told("Complete"));
                status.completion_time = Some(now);
                notes.push(work.note(false, "Completed", "Job completed".into()));
            }
        }
    }
    if status == job.status {
        return;
    }
    let mut changed = Job::clone(job);
    changed.status = status;
    let at = outcome.writes.len();
    outcome.writes.push(Write::Update(Object::Job(Arc::new(changed)), Part::Status));
    outcome.notes_of_writes.extend(notes.into_iter().map(|note| (at, note)));
}

/// The word of an event is one of a few.
fn reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 5] =
        ["PodFailurePolicy", "BackoffLimitExceeded", "DeadlineExceeded", "MaxFailedIndexesExceeded", "FailedIndexes"];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("JobFailed")
}

fn counts(job: &Job, tally: &Tally<'_>, status: &mut JobStatus) {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    status.active = number(tally.active.len());
    status.ready = Some(number(tally.ready));
    status.terminating = Some(number(tally.terminating));
    (status.succeeded, status.failed) = tally.counted;
    status.uncounted_terminated_pods = Some(tally.uncounted.clone());
    if job.is_indexed() {
        status.completed_indexes = tally.completed.to_string().into();
        status.failed_indexes = tally.failed_indexes.as_ref().map(|indexes| indexes.to_string().into());
    }
}

/// The start, and the time in between that does not count.
fn suspension(work: &Work<'_>, status: &mut JobStatus, now: Time, notes: &mut Vec<Note>) {
    let was = condition(&status.conditions, "Suspended").is_some_and(Condition::is_true);
    let ends = ["FailureTarget", "SuccessCriteriaMet"].iter().any(|kind| condition(&status.conditions, kind).is_some());
    if work.job.is_suspended() && !ends {
        let told = Condition::new("Suspended", true, "JobSuspended", "Job suspended", now);
        set_condition(&mut status.conditions, told);
        status.start_time = None;
        if !was {
            notes.push(work.note(false, "Suspended", "Job suspended".into()));
        }
    } else if status.start_time.is_none() {
        status.start_time = Some(now);
        if was {
            let told = Condition::new("Suspended", false, "JobResumed", "Job resumed", now);
            set_condition(&mut status.conditions, told);
            notes.push(work.note(false, "Resumed", "Job resumed".into()));
        }
    }
}
