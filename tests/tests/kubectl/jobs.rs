//! Jobs and what kubectl does with them.

use steersman_tests::kubectl::Kubectl;

use crate::{SOON, apply, each, has};

fn job(name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n{more}  template:\n    spec:\n      \
         restartPolicy: Never\n      runtimeClassName: process\n      containers:\n      - name: main\n        command: [sh, -c, {script:?}]\n"
    )
}

fn field(k: &Kubectl, what: &str, path: &str) -> String {
    k.ok(&["get", what, "--output", &format!("jsonpath={path}")])
}

#[test]
fn a_job_is_waited_for_read_and_deleted() {
    each("jobs", |k| {
        let indexed = "  completions: 3\n  parallelism: 2\n  completionMode: Indexed\n";
        apply(k, &job("parts", "echo part $JOB_COMPLETION_INDEX of $HOSTNAME", indexed));
        k.ok(&["wait", "--for=condition=complete", "job/parts", "--timeout=60s"]);
        assert_eq!(field(k, "job/parts", "{.status.succeeded} {.status.completedIndexes}"), "3 0-2");
        has(&k.ok(&["get", "jobs"]), "3/3");
        let logs = k.ok(&["logs", "--selector", "job-name=parts", "--prefix"]);
        for index in 0..3 {
            has(&logs, &format!("part {index} of parts-{index}"));
        }
        has(&k.ok(&["describe", "job/parts"]), "Succeeded");
        k.ok(&["delete", "job/parts", "--timeout=30s"]);
        k.becomes(SOON, "pods", "{.items[*].metadata.name}", "");
    });
}

#[test]
fn a_failed_job_says_why() {
    each("jobs-fail", |k| {
        apply(k, &job("bad", "echo no; exit 3", ""));
        k.ok(&["wait", "--for=condition=failed", "job/bad", "--timeout=60s"]);
        let condition = "{.status.conditions[?(@.type=='Failed')].reason}";
        assert_eq!(field(k, "job/bad", condition), "BackoffLimitExceeded");
        let state = "{.items[0].status.containerStatuses[0].state.terminated.exitCode}";
        assert_eq!(field(k, "pods", state), "3");
        k.fails(&["patch", "job/bad", "--patch", r#"{"spec":{"completions":5}}"#], &["field is immutable"]);
        k.fails_with(
            &["apply", "--filename", "-"],
            &job("worse", "true", "").replace("Never", "Always"),
            &["restartPolicy", "OnFailure", "Never"],
        );
    });
}

#[test]
fn a_job_made_by_hand_runs_and_can_be_suspended() {
    each("jobs-made", |k| {
        apply(k, &job("hand", "sleep 300", ""));
        k.becomes(SOON, "job/hand", "{.status.active}", "1");
        k.ok(&["patch", "job/hand", "--patch", r#"{"spec":{"suspend":true}}"#]);
        k.ok(&["wait", "--for=condition=suspended", "job/hand", "--timeout=30s"]);
        k.becomes(SOON, "pods", "{.items[*].metadata.name}", "");
        k.ok(&["patch", "job/hand", "--patch", r#"{"spec":{"suspend":false}}"#]);
        k.becomes(SOON, "job/hand", "{.status.active}", "1");
    });
}

#[test]
fn a_cron_job_is_made_shown_and_run_by_hand() {
    each("cron", |k| {
        let line = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: night}\nspec:\n  schedule: '30 3 * * *'\n  timeZone: Europe/Berlin\n  \
                    jobTemplate: {spec: {template: {spec: {restartPolicy: Never, runtimeClassName: process, containers: [{name: main, \
                    command: [sh, -c, 'echo by hand']}]}}}}\n";
        apply(k, line);
        let shown = k.ok(&["get", "cronjobs"]);
        has(&shown, "30 3 * * *");
        has(&shown, "Europe/Berlin");
        for (from, to, words) in [
            ("30 3 * * *", "0 0 30 2 *", ["spec.schedule", "never fires"]),
            ("Europe/Berlin", "Europe/Atlantis", ["spec.timeZone", "unknown time zone"]),
        ] {
            k.fails_with(&["apply", "--filename", "-"], &line.replace(from, to), &words);
        }
        if k.minor() < 21 {
            // It makes and reads CronJobs only by a version that is no more.
            return;
        }
        k.ok(&["create", "job", "now", "--from=cronjob/night"]);
        k.ok(&["wait", "--for=condition=complete", "job/now", "--timeout=60s"]);
        has(&k.ok(&["logs", "job/now"]), "by hand");
        k.ok(&["create", "cronjob", "often", "--image=i", "--schedule=*/5 * * * *", "--", "true"]);
        has(&k.ok(&["describe", "cronjob/often"]), "*/5 * * * *");
        k.ok(&["delete", "cronjob", "night", "often", "--timeout=30s"]);
        k.becomes(SOON, "jobs", "{.items[*].metadata.name}", "");
    });
}
