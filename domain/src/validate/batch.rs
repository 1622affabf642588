//! Jobs.

use super::path::{Errors, Path};
use super::{meta, pod};
use crate::cron::{Cron, time_zone};
use crate::indexes::Indexes;
use crate::selector::Selector;
use crate::{
    CronJob, Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodes, PodTemplateSpec, RestartPolicy, Shared,
    SuccessPolicy, names,
};

/// The most pods at a time, and indexes, of an indexed Job.
const MOST_INDEXED_PODS: i32 = 100_000;
/// The same, where each index has its own limit of failures.
const MOST_INDEXES_WITH_LIMITS: i32 = 100_000;
/// The most rules of a policy, and values of a rule.
const MOST_RULES: usize = 20;
const MOST_VALUES: usize = 255;

/// The longest name of a CronJob: eleven more are behind the names of its Jobs.
const LONGEST_CRON_NAME: usize = 52;

/// A Job.
pub(super) fn job(job: &Job, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("spec");
    let spec = &job.spec;
    if spec.completion_mode == "Indexed" && spec.completions.is_some_and(|c| c > 0) {
        let last = format!("{}-{}", job.metadata.name, spec.completions.unwrap_or(1) - 1);
        let metadata = root.field("metadata");
        errors.named(&metadata.field("name"), &last, names::label(&last));
    }
    job_spec(spec, &path, errors);
    match &spec.selector {
        None => errors.required(&path.field("selector"), "with manualSelector it is the user's to give"),
        Some(selector) => {
            meta::selector(selector, &path.field("selector"), errors);
            let matches = Selector::from_labels(selector).is_ok_and(|s| s.matches(&spec.template.metadata.labels));
            if !matches {
                let labels = &spec.template.metadata.labels;
                let template = path.field("template");
                let metadata = template.field("metadata");
                errors.invalid(&metadata.field("labels"), labels, "`selector` does not match template `labels`");
            }
        }
    }
}

/// A CronJob.
pub(super) fn cron_job(cron: &CronJob, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &cron.spec);
    if cron.metadata.name.len() > LONGEST_CRON_NAME {
        let metadata = root.field("metadata");
        let detail = format!("must be no more than {LONGEST_CRON_NAME} characters: its Jobs have the time behind it");
        errors.invalid(&metadata.field("name"), cron.metadata.name.as_str(), detail);
    }
    if spec.schedule.is_empty() {
        errors.required(&path.field("schedule"), "a cron line, such as \"*/5 * * * *\"");
    } else if let Err(why) = Cron::parse(&spec.schedule) {
        errors.invalid(&path.field("schedule"), spec.schedule.as_str(), why.to_string());
    }
    match spec.time_zone.as_deref() {
        None => {}
        Some("") => errors.invalid(&path.field("timeZone"), "", "must be nil or non-empty string"),
        Some(zone) => {
            if let Err(why) = time_zone(zone) {
                errors.invalid(&path.field("timeZone"), zone, why);
            }
        }
    }
    if !spec.concurrency_policy.is_empty() {
        let policies = ["Allow", "Forbid", "Replace"];
        errors.one_of(&path.field("concurrencyPolicy"), &spec.concurrency_policy, &policies);
    }
    for (field, value) in [
        ("startingDeadlineSeconds", spec.starting_deadline_seconds),
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit.map(i64::from)),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit.map(i64::from)),
    ] {
        errors.not_negative(&path.field(field), value.unwrap_or(0));
    }
    let template = path.field("jobTemplate");
    let metadata = template.field("metadata");
    let made = &spec.job_template;
    meta::labels(&made.metadata.labels, &metadata.field("labels"), errors);
    meta::annotations(&made.metadata.annotations, &metadata.field("annotations"), errors);
    let job = template.field("spec");
    if made.spec.manual_selector == Some(true) {
        errors.unsupported(&job.field("manualSelector"), true, &["nil", "false"]);
    }
    if made.spec.selector.is_some() {
        errors.invalid(&job.field("selector"), "", "`selector` will be auto-generated: leave it out");
    }
    job_spec(&made.spec, &job, errors);
}

/// What a Job and the template of a CronJob have in common.
pub(super) fn job_spec(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
    ] {
        errors.not_negative(&path.field(field), value.unwrap_or(0));
    }
    mode(spec, path, errors);
    pod::any_template(&spec.template, &path.field("template"), errors);
    restarts(spec, path, errors);
    if let Some(policy) = &spec.pod_failure_policy {
        failure_policy(policy, spec, &path.field("podFailurePolicy"), errors);
    }
    if let Some(policy) = &spec.success_policy {
        success_policy(policy, spec, &path.field("successPolicy"), errors);
    }
    if !spec.pod_replacement_policy.is_empty() {
        let path = path.field("podReplacementPolicy");
        let supported =
            if spec.pod_failure_policy.is_some() { &["Failed"][..] } else { &["Failed", "TerminatingOrFailed"] };
        errors.one_of(&path, &spec.pod_replacement_policy, supported);
    }
    if !spec.managed_by.is_empty() && !spec.managed_by.contains('/') {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.invalid(&path.field("managedBy"), spec.managed_by.as_str(), detail);
    }
}

fn mode(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    match spec.completion_mode.as_str() {
        "Indexed" => {
            let completions = path.field("completions");
            match spec.completions {
                None => errors.required(&completions, "when completion mode is Indexed"),
                Some(_) if spec.parallelism.unwrap_or(1) > MOST_INDEXED_PODS => {
                    let detail =
                        format!("must be less than or equal to {MOST_INDEXED_PODS} when completion mode is Indexed");
                    errors.invalid(&path.field("parallelism"), spec.parallelism.unwrap_or(1), detail);
                }
                Some(count) if spec.backoff_limit_per_index.is_some() && count > MOST_INDEXES_WITH_LIMITS => {
                    let detail =
                        format!("must be less than or equal to {MOST_INDEXES_WITH_LIMITS} with backoffLimitPerIndex");
                    errors.invalid(&completions, count, detail);
                }
                Some(_) => {}
            }
        }
        "" | "NonIndexed" => {
            let indexed = "requires indexed completion mode: set completionMode: Indexed";
            if spec.backoff_limit_per_index.is_some() {
                errors.invalid(&path.field("backoffLimitPerIndex"), spec.backoff_limit_per_index, indexed);
            }
            if spec.success_policy.is_some() {
                errors.invalid(&path.field("successPolicy"), "", indexed);
            }
        }
        other => errors.unsupported(&path.field("completionMode"), other, &["NonIndexed", "Indexed"]),
    }
    if let Some(most) = spec.max_failed_indexes {
        let path = path.field("maxFailedIndexes");
        if spec.backoff_limit_per_index.is_none() {
            errors.invalid(&path, most, "requires backoffLimitPerIndex");
        } else if most > spec.completions.unwrap_or(0) {
            errors.invalid(&path, most, "must be less than or equal to completions");
        }
    }
}

fn restarts(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let template = path.field("template");
    let template = template.field("spec");
    let path = template.field("restartPolicy");
    match spec.template.spec.restart_policy {
        RestartPolicy::Always => {
            errors.required(&path, "valid values: \"OnFailure\", \"Never\"; pods of a Job are to end");
        }
        RestartPolicy::OnFailure if spec.pod_failure_policy.is_some() => {
            errors.invalid(&path, "OnFailure", "only \"Never\" is supported when podFailurePolicy is specified");
        }
        RestartPolicy::OnFailure if spec.backoff_limit_per_index.is_some() => {
            errors.invalid(&path, "OnFailure", "only \"Never\" is supported when backoffLimitPerIndex is specified");
        }
        RestartPolicy::OnFailure | RestartPolicy::Never => {}
    }
}

fn failure_policy(policy: &PodFailurePolicy, spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let rules = path.field("rules");
    if policy.rules.len() > MOST_RULES {
        errors.invalid(&rules, policy.rules.len(), format!("must have at most {MOST_RULES} items"));
    }
    for (at, rule) in policy.rules.iter().enumerate() {
        let path = rules.index(at);
        let action = path.field("action");
        errors.one_of(&action, &rule.action, &["Count", "FailIndex", "FailJob", "Ignore"]);
        if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
            errors.invalid(&action, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
        match (&rule.on_exit_codes, rule.on_pod_conditions.is_empty()) {
            (Some(_), false) => {
                errors.invalid(&path, "", "specifying both OnExitCodes and OnPodConditions is not supported")
            }
            (None, true) => errors.invalid(&path, "", "specifying one of OnExitCodes and OnPodConditions is required"),
            (Some(codes), true) => exit_codes(codes, &spec.template, &path.field("onExitCodes"), errors),
            (None, false) => {}
        }
        for (at, condition) in rule.on_pod_conditions.iter().enumerate() {
            let list = path.field("onPodConditions");
            let path = list.index(at);
            errors.named(&path.field("type"), &condition.kind, names::qualified_name(&condition.kind));
            if !condition.status.is_empty() {
                errors.one_of(&path.field("status"), &condition.status, &["False", "True", "Unknown"]);
            }
        }
    }
}

fn exit_codes(
    codes: &PodFailurePolicyOnExitCodes,
    template: &Shared<PodTemplateSpec>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let spec = &template.spec;
    let known = || spec.containers.iter().chain(&spec.init_containers).any(|c| c.name == codes.container_name);
    if !codes.container_name.is_empty() && !known() {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&path.field("containerName"), codes.container_name.as_str(), detail);
    }
    errors.one_of(&path.field("operator"), &codes.operator, &["In", "NotIn"]);
    let values = path.field("values");
    if codes.values.is_empty() {
        errors.invalid(&values, &codes.values, "at least one value is required");
    } else if codes.values.len() > MOST_VALUES {
        errors.invalid(&values, codes.values.len(), format!("must have at most {MOST_VALUES} items"));
    }
    for (at, value) in codes.values.iter().enumerate() {
        if codes.values[..at].contains(value) {
            errors.duplicate(&values.index(at), value);
        } else if at > 0 && codes.values[at - 1] > *value {
            errors.invalid(&values, &codes.values, "must be ordered");
        }
        if *value == 0 && codes.operator == "In" {
            errors.invalid(&values.index(at), value, "must not be 0 for the In operator");
        }
    }
}

fn success_policy(policy: &SuccessPolicy, spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let rules = path.field("rules");
    match policy.rules.len() {
        0 => errors.required(&rules, "at least one rules must be specified when the successPolicy is specified"),
        1..=MOST_RULES => {}
        many => errors.invalid(&rules, many, format!("must have at most {MOST_RULES} items")),
    }
    let completions = spec.completions.unwrap_or(0);
    for (at, rule) in policy.rules.iter().enumerate() {
        let path = rules.index(at);
        if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_empty() {
            errors.required(&path, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut most = completions;
        if !rule.succeeded_indexes.is_empty() {
            let path = path.field("succeededIndexes");
            match Indexes::parse(&rule.succeeded_indexes) {
                Err(why) => errors.invalid(&path, rule.succeeded_indexes.as_str(), why.to_string()),
                Ok(indexes) if indexes.last().is_some_and(|last| last >= completions) => {
                    let detail = format!("must contain only indexes below the completions, {completions}");
                    errors.invalid(&path, rule.succeeded_indexes.as_str(), detail);
                }
                Ok(indexes) => most = indexes.len(),
            }
        }
        if let Some(count) = rule.succeeded_count.filter(|count| !(1..=most).contains(count)) {
            errors.invalid(&path.field("succeededCount"), count, format!("must be from 1 to {most}"));
        }
    }
}

/// What of a Job may change.
pub(super) fn update_job(new: &Job, old: &Job, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("spec");
    let (new, old, started) = (&new.spec, &old.spec, old.status.start_time.is_some());
    let can_move = old.completion_mode == "Indexed"
        && new.completions == new.parallelism
        && new.completions.is_some()
        && old.completions == old.parallelism;
    errors.immutable(&path.field("completions"), new.completions, new.completions == old.completions || can_move);
    errors.immutable(&path.field("selector"), "", new.selector == old.selector);
    errors.immutable(
        &path.field("completionMode"),
        new.completion_mode.as_str(),
        new.completion_mode == old.completion_mode,
    );
    errors.immutable(&path.field("podFailurePolicy"), "", new.pod_failure_policy == old.pod_failure_policy);
    errors.immutable(&path.field("successPolicy"), "", new.success_policy == old.success_policy);
    errors.immutable(
        &path.field("backoffLimitPerIndex"),
        new.backoff_limit_per_index,
        new.backoff_limit_per_index == old.backoff_limit_per_index,
    );
    errors.immutable(&path.field("managedBy"), new.managed_by.as_str(), new.managed_by == old.managed_by);
    // A suspended Job that has not started may still be told where its pods are to go.
    let movable = old.suspend == Some(true) && !started;
    errors.immutable(&path.field("template"), "", same_template(&new.template, &old.template, movable));
}

fn same_template(new: &Shared<PodTemplateSpec>, old: &Shared<PodTemplateSpec>, movable: bool) -> bool {
    if new == old || !movable {
        return new == old;
    }
    let mut moved = PodTemplateSpec::clone(new);
    let old_spec = &old.spec;
    moved.metadata = old.metadata.clone();
    moved.spec.node_selector = old_spec.node_selector.clone();
    moved.spec.affinity = old_spec.affinity.clone();
    moved.spec.tolerations = old_spec.tolerations.clone();
    moved.spec.scheduling_gates = old_spec.scheduling_gates.clone();
    moved == **old
}
