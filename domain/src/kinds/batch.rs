//! Jobs: pods that are to end.

use crate::entity::entity;
use crate::{
    Condition, Kind, LabelSelector, ObjectMeta, ObjectReference, Pod, PodTemplateSpec, Shared, Str, Time, Uid,
};

/// The finalizer that keeps an ended pod of a Job until it has been counted.
pub const JOB_TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The annotation and label that hold the index of a pod of an indexed Job.
pub const JOB_COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation that counts the failures of an index before this pod.
pub const JOB_INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// The label that holds the uid of the Job.
pub const JOB_CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// The label that holds the name of the Job.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// The annotation that holds the time for which a Job of a CronJob was made.
pub const CRON_JOB_TIME: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

entity! {
    /// Runs pods until enough of them have succeeded.
    pub struct Job[Kind::Job] {
        metadata: ObjectMeta = "metadata",
        spec: JobSpec = "spec",
        status: JobStatus = "status",
    }

    /// The desired state of a Job.
    pub struct JobSpec {
        /// Pods at a time; absent: 1.
        parallelism: Option<i32> = "parallelism",
        /// Pods that are to succeed; absent: the first success is enough, and the others end by themselves.
        completions: Option<i32> = "completions",
        /// Seconds since the start after which the Job fails.
        active_deadline_seconds: Option<i64> = "activeDeadlineSeconds",
        /// What failures of pods mean; the first rule that matches counts.
        pod_failure_policy: Option<PodFailurePolicy> = "podFailurePolicy",
        /// When an indexed Job has succeeded before all its indexes have.
        success_policy: Option<SuccessPolicy> = "successPolicy",
        /// Failures of pods before the Job fails; absent: 6, or no limit with `backoffLimitPerIndex`.
        backoff_limit: Option<i32> = "backoffLimit",
        /// Failures of one index before the index fails.
        backoff_limit_per_index: Option<i32> = "backoffLimitPerIndex",
        /// Failed indexes before the Job fails.
        max_failed_indexes: Option<i32> = "maxFailedIndexes",
        selector: Option<LabelSelector> = "selector",
        /// The selector and the labels are the user's; otherwise they are made from the uid.
        manual_selector: Option<bool> = "manualSelector",
        template: Shared<PodTemplateSpec> = "template",
        /// Seconds after the end after which the Job is deleted; absent: it stays.
        ttl_seconds_after_finished: Option<i32> = "ttlSecondsAfterFinished",
        /// `NonIndexed` (the default) or `Indexed`.
        completion_mode: Str = "completionMode",
        /// No pods run meanwhile.
        suspend: Option<bool> = "suspend",
        /// `TerminatingOrFailed` (the default) or `Failed`: when a pod that ends is replaced.
        pod_replacement_policy: Str = "podReplacementPolicy",
        /// Another controller than Steersman's, by name.
        managed_by: Str = "managedBy",
    }

    /// What failures of pods mean.
    pub struct PodFailurePolicy {
        rules: Vec<PodFailurePolicyRule> = "rules",
    }

    /// What to do with failures of a kind.
    pub struct PodFailurePolicyRule {
        /// `FailJob`, `FailIndex`, `Ignore` or `Count`.
        action: Str = "action",
        on_exit_codes: Option<PodFailurePolicyOnExitCodes> = "onExitCodes",
        on_pod_conditions: Vec<PodFailurePolicyOnPodCondition> = "onPodConditions",
    }

    /// Failures by exit code; 0 is none.
    pub struct PodFailurePolicyOnExitCodes {
        /// Empty: any container.
        container_name: Str = "containerName",
        /// `In` or `NotIn`.
        operator: Str = "operator",
        values: Vec<i32> = "values",
    }

    /// Failures by a condition of the pod.
    pub struct PodFailurePolicyOnPodCondition {
        kind: Str = "type",
        /// Empty: `True`.
        status: Str = "status",
    }

    /// When a Job has succeeded: by the first rule that is met.
    pub struct SuccessPolicy {
        rules: Vec<SuccessPolicyRule> = "rules",
    }

    /// Enough success.
    pub struct SuccessPolicyRule {
        /// `0,2-5`; empty: all indexes count.
        succeeded_indexes: Str = "succeededIndexes",
        /// So many of them; absent: all of them.
        succeeded_count: Option<i32> = "succeededCount",
    }

    /// The observed state of a Job.
    pub struct JobStatus {
        conditions: Vec<Condition> = "conditions",
        start_time: Option<Time> = "startTime",
        completion_time: Option<Time> = "completionTime",
        active: i32 = "active",
        succeeded: i32 = "succeeded",
        failed: i32 = "failed",
        /// Pods that end.
        terminating: Option<i32> = "terminating",
        /// `0,2-5`.
        completed_indexes: Str = "completedIndexes",
        failed_indexes: Option<Str> = "failedIndexes",
        uncounted_terminated_pods: Option<UncountedTerminatedPods> = "uncountedTerminatedPods",
        ready: Option<i32> = "ready",
    }

    /// Ended pods that are noted, but not in the counts yet, by uid.
    pub struct UncountedTerminatedPods {
        succeeded: Vec<Uid> = "succeeded",
        failed: Vec<Uid> = "failed",
    }

    /// Makes a Job at set times.
    pub struct CronJob[Kind::CronJob] {
        metadata: ObjectMeta = "metadata",
        spec: CronJobSpec = "spec",
        status: CronJobStatus = "status",
    }

    /// The desired state of a CronJob.
    pub struct CronJobSpec {
        /// A cron line; see [`Cron`](crate::cron::Cron).
        schedule: Str = "schedule",
        /// By the IANA database; absent: UTC.
        time_zone: Option<Str> = "timeZone",
        /// Seconds after its time until which a Job may still start; absent: no limit.
        starting_deadline_seconds: Option<i64> = "startingDeadlineSeconds",
        /// `Allow` (the default), `Forbid` or `Replace`: what happens when the Job before still runs.
        concurrency_policy: Str = "concurrencyPolicy",
        suspend: Option<bool> = "suspend",
        job_template: JobTemplateSpec = "jobTemplate",
        /// Absent: 3.
        successful_jobs_history_limit: Option<i32> = "successfulJobsHistoryLimit",
        /// Absent: 1.
        failed_jobs_history_limit: Option<i32> = "failedJobsHistoryLimit",
    }

    /// The Jobs that a CronJob makes.
    pub struct JobTemplateSpec {
        metadata: ObjectMeta = "metadata",
        spec: JobSpec = "spec",
    }

    /// The observed state of a CronJob.
    pub struct CronJobStatus {
        /// The Jobs that run.
        active: Vec<ObjectReference> = "active",
        last_schedule_time: Option<Time> = "lastScheduleTime",
        last_successful_time: Option<Time> = "lastSuccessfulTime",
    }
}

impl Job {
    /// Pods at a time.
    pub fn parallelism(&self) -> i32 {
        self.spec.parallelism.unwrap_or(1)
    }

    /// Whether each success has an index of its own.
    pub fn is_indexed(&self) -> bool {
        self.spec.completion_mode == "Indexed"
    }

    /// Whether no pods are to run.
    pub fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// The condition by which the Job is over: `Complete` or `Failed`.
    pub fn finished(&self) -> Option<&Condition> {
        self.status.conditions.iter().find(|c| c.is_true() && matches!(c.kind.as_str(), "Complete" | "Failed"))
    }
}

impl Pod {
    /// The index of a pod of an indexed Job.
    pub fn completion_index(&self) -> Option<i32> {
        self.metadata.annotations.get(JOB_COMPLETION_INDEX)?.parse().ok().filter(|index| *index >= 0)
    }
}
