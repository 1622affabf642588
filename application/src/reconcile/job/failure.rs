//! What the failure of a pod means: by the first rule of the failure policy that matches it.

use steersman_domain::{
    ContainerStateTerminated, JOB_INDEX_FAILURES, Job, Pod, PodFailurePolicyOnExitCodes, PodFailurePolicyRule, PodPhase,
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Counts,
    Ignored,
    FailsIndex,
    /// The Job fails, for this reason.
    FailsJob(String),
}

/// What the failure of this pod means.
pub(super) fn meaning(job: &Job, pod: &Pod) -> Meaning {
    let rules = job.spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules).enumerate();
    // A policy judges what has ended.
    for (at, rule) in rules.filter(|_| pod.status.phase == PodPhase::Failed) {
        let Some(what) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Meaning::Ignored,
            "FailIndex" => Meaning::FailsIndex,
            "FailJob" => Meaning::FailsJob(format!("{what} matching FailJob rule at index {at}")),
            _ => Meaning::Counts,
        };
    }
    Meaning::Counts
}

/// Failures of the pod's index before this pod.
pub(super) fn of_index_before(pod: &Pod) -> i32 {
    pod.metadata.annotations.get(JOB_INDEX_FAILURES).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What of the pod a rule matches, in words.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
    if let Some(codes) = &rule.on_exit_codes {
        let (container, code) = exited(codes, pod)?;
        return Some(format!("Container {container} for pod {namespace}/{name} failed with exit code {code}"));
    }
    let condition = rule.on_pod_conditions.iter().find(|wanted| {
        let status = if wanted.status.is_empty() { "True" } else { &wanted.status };
        pod.status.conditions.iter().any(|c| c.kind == wanted.kind && c.status == status)
    })?;
    Some(format!("Pod {namespace}/{name} has condition {}", condition.kind))
}

fn exited<'a>(codes: &PodFailurePolicyOnExitCodes, pod: &'a Pod) -> Option<(&'a str, i32)> {
    terminated(pod).find_map(|(name, end)| {
        let code = end.exit_code.0;
        let named = codes.container_name.is_empty() || codes.container_name == name;
        let listed = codes.values.contains(&code);
        (named && code != 0 && listed == (codes.operator == "In")).then_some((name, code))
    })
}

/// The containers of a pod that have ended.
pub(super) fn terminated(pod: &Pod) -> impl Iterator<Item = (&str, &ContainerStateTerminated)> {
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    statuses.filter_map(|s| s.state.terminated.as_ref().map(|end| (s.name.as_str(), end)))
}
