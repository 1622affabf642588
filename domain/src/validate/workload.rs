//! Deployments and ReplicaSets.

use super::path::{Errors, Path};
use super::{meta, pod};
use crate::selector::Selector;
use crate::{Deployment, DeploymentStrategy, IntOrString, LabelSelector, PodTemplateSpec, ReplicaSet};

/// A Deployment.
pub(super) fn deployment(deployment: &Deployment, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &deployment.spec);
    errors.not_negative(&path.field("replicas"), spec.replicas.unwrap_or(0).into());
    errors.not_negative(&path.field("minReadySeconds"), spec.min_ready_seconds.into());
    errors.not_negative(&path.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or(0).into());
    if let Some(deadline) = spec.progress_deadline_seconds {
        errors.not_negative(&path.field("progressDeadlineSeconds"), deadline.into());
        if deadline <= spec.min_ready_seconds {
            errors.invalid(&path.field("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
        }
    }
    selector(&spec.selector, &spec.template, "deployment", errors);
    pod::template(&spec.template, "Deployment", &path.field("template"), errors);
    strategy(&spec.strategy, &path.field("strategy"), errors);
}

/// A ReplicaSet.
pub(super) fn replica_set(set: &ReplicaSet, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("spec");
    errors.not_negative(&path.field("replicas"), set.spec.replicas.unwrap_or(0).into());
    errors.not_negative(&path.field("minReadySeconds"), set.spec.min_ready_seconds.into());
    selector(&set.spec.selector, &set.spec.template, "replicaset", errors);
    pod::template(&set.spec.template, "ReplicaSet", &path.field("template"), errors);
}

pub(super) fn selector(selector: &LabelSelector, template: &PodTemplateSpec, kind: &str, errors: &mut Errors) {
    let root = Path::root();
    let spec = root.field("spec");
    let path = spec.field("selector");
    if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
        let detail = format!("empty selector is invalid for {kind}: name the labels of its pods in matchLabels");
        return errors.required(&path, &detail);
    }
    meta::selector(selector, &path, errors);
    if let Ok(parsed) = Selector::from_labels(selector) {
        let labels = &template.metadata.labels;
        if !parsed.matches(labels) {
            let path = spec.field("template");
            let path = path.field("metadata");
            errors.invalid(&path.field("labels"), labels, "`selector` does not match template `labels`");
        }
    }
}

/// The selector of apps/v1 never changes.
pub(super) fn same_selector(new: &LabelSelector, old: &LabelSelector, errors: &mut Errors) {
    let root = Path::root();
    let spec = root.field("spec");
    errors.immutable(&spec.field("selector"), &new.match_labels, new == old);
}

fn strategy(strategy: &DeploymentStrategy, path: &Path<'_>, errors: &mut Errors) {
    let rolling = path.field("rollingUpdate");
    match (strategy.kind.as_str(), &strategy.rolling_update) {
        ("Recreate", Some(_)) => {
            errors.forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("" | "RollingUpdate", Some(update)) => {
            let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
            let quarter = IntOrString::Text("25%".into());
            let down = update.max_unavailable.as_ref().unwrap_or(&quarter);
            let up = update.max_surge.as_ref().unwrap_or(&quarter);
            let (down_ok, up_ok) = (bound(down, &unavailable, errors), bound(up, &surge, errors));
            if let IntOrString::Text(text) = down
                && down_ok
                && down.scaled(100, true).is_some_and(|percent| percent > 100)
            {
                errors.invalid(&unavailable, text.as_str(), "must not be greater than 100%");
            }
            if down_ok && up_ok && is_zero(down) && is_zero(up) {
                errors.invalid(&unavailable, down.to_string(), "may not be 0 when `maxSurge` is 0");
            }
        }
        ("Recreate", None) | ("" | "RollingUpdate", None) => {}
        (other, _) => errors.unsupported(&path.field("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

pub(super) fn is_zero(bound: &IntOrString) -> bool {
    bound.scaled(100, true) == Some(0)
}

/// A number that is not negative, or a percentage.
pub(super) fn bound(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) -> bool {
    match value {
        IntOrString::Int(n) if *n < 0 => {
            errors.invalid(path, n, "must be greater than or equal to 0");
            false
        }
        IntOrString::Int(_) => true,
        IntOrString::Text(text) => {
            let digits = text.strip_suffix('%').unwrap_or("");
            let ok = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
            if !ok {
                errors.invalid(
                    path,
                    text.as_str(),
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%')",
                );
            }
            ok
        }
    }
}
