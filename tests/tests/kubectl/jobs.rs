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
