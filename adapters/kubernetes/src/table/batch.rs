//! The tables of jobs.

use super::services::containers;
use super::workloads::{CONTAINERS, IMAGES, SELECTOR, selector};
use super::{AGE, NAME, NONE, Printer, age, column, condition, count, elements, name, number, text, text_or};
use crate::duration::{human_duration, since, unix_seconds};
use serde_json::Value;

pub(super) const JOB: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "Whether it runs, is suspended, or how it ended."),
        column("Completions", "How many pods succeeded, of how many wanted."),
        column("Duration", "How long it ran, or has been running."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |job, now| {
        let [names, images] = containers(&job["spec"]["template"]);
        vec![
            name(job),
            state(job).into(),
            completions(job).into(),
            duration(job, now).into(),
            age(job, now),
            names,
            images,
            selector(&job["spec"]["selector"]).into(),
        ]
    },
};

pub(super) const CRON_JOB: Printer = Printer {
    columns: &[
        NAME,
        column("Schedule", "The cron line."),
        column("Timezone", "By whose clocks."),
        column("Suspend", "Whether no job is made."),
        count("Active", "How many jobs run."),
        column("Last Schedule", "How long ago the last job was due."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |cron, now| {
        let (spec, status) = (&cron["spec"], &cron["status"]);
        let job = &spec["jobTemplate"]["spec"];
        let [names, images] = containers(&job["template"]);
        let last = &status["lastScheduleTime"];
        let last = if last.is_null() { NONE.to_owned() } else { since(last, now) };
        vec![
            name(cron),
            text(spec, "schedule").into(),
            text_or(spec, "timeZone", NONE).into(),
            if spec["suspend"] == true { "True" } else { "False" }.into(),
            elements(status, "active").len().into(),
            last.into(),
            age(cron, now),
            names,
            images,
            selector(&job["selector"]).into(),
        ]
    },
};

fn state(job: &Value) -> &'static str {
    let conditions = elements(&job["status"], "conditions");
    let is = |kind| condition(conditions, kind) == Some(true);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !job["metadata"]["deletionTimestamp"].is_null() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let (spec, succeeded) = (&job["spec"], number(&job["status"], "succeeded"));
    match (spec["completions"].as_i64(), spec["parallelism"].as_i64().unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: i64) -> String {
    let status = &job["status"];
    let Some(start) = unix_seconds(&status["startTime"]) else { return String::new() };
    let ended = elements(status, "conditions").iter().find(|c| c["type"] == "Failed" && c["status"] == "True");
    let end =
        unix_seconds(&status["completionTime"]).or_else(|| ended.and_then(|c| unix_seconds(&c["lastTransitionTime"])));
    human_duration(end.unwrap_or(now) - start)
}
