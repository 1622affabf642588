//! DaemonSets, StatefulSets, their revisions, and disruption budgets.

use super::path::{Errors, Path};
use super::workload::{bound, is_zero, selector};
use super::{meta, pod};
use crate::{
    ControllerRevision, DaemonSet, DaemonSetUpdateStrategy, IntOrString, PodDisruptionBudget, StatefulSet,
    StatefulSetUpdateStrategy, names,
};

/// A DaemonSet.
pub(super) fn daemon_set(set: &DaemonSet, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &set.spec);
    errors.not_negative(&path.field("minReadySeconds"), spec.min_ready_seconds.into());
    errors.not_negative(&path.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or(0).into());
    selector(&spec.selector, &spec.template, "daemonset", errors);
    pod::template(&spec.template, "DaemonSet", &path.field("template"), errors);
    daemon_strategy(&spec.update_strategy, &path.field("updateStrategy"), errors);
}

fn daemon_strategy(strategy: &DaemonSetUpdateStrategy, path: &Path<'_>, errors: &mut Errors) {
    let rolling = path.field("rollingUpdate");
    let update = match (strategy.kind.as_str(), &strategy.rolling_update) {
        ("OnDelete", _) | ("" | "RollingUpdate", None) => return,
        ("" | "RollingUpdate", Some(update)) => update,
        (other, _) => return errors.unsupported(&path.field("type"), other, &["RollingUpdate", "OnDelete"]),
    };
    let (one, none) = (IntOrString::Int(1), IntOrString::Int(0));
    let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
    let down = update.max_unavailable.as_ref().unwrap_or(&one);
    let up = update.max_surge.as_ref().unwrap_or(&none);
    if !(bound(down, &unavailable, errors) & bound(up, &surge, errors)) {
        return;
    }
    match (is_zero(down), is_zero(up)) {
        (true, true) => errors.required(&unavailable, "cannot be 0 when maxSurge is 0"),
        (false, false) => errors.invalid(&surge, up.to_string(), "may not be set when maxUnavailable is non-zero"),
        _ => {}
    }
}

/// A StatefulSet.
pub(super) fn stateful_set(set: &StatefulSet, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &set.spec);
    errors.not_negative(&path.field("replicas"), spec.replicas.unwrap_or(0).into());
    errors.not_negative(&path.field("minReadySeconds"), spec.min_ready_seconds.into());
    errors.not_negative(&path.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or(0).into());
    let ordinals = path.field("ordinals");
    errors.not_negative(&ordinals.field("start"), set.first_ordinal().into());
    if !spec.pod_management_policy.is_empty() {
        let policies = ["OrderedReady", "Parallel"];
        errors.one_of(&path.field("podManagementPolicy"), &spec.pod_management_policy, &policies);
    }
    // The name is part of a label and a host name of each pod.
    let last = i64::from(set.first_ordinal()) + i64::from(spec.replicas.unwrap_or(1)) - 1;
    let name = format!("{}-{}", set.metadata.name, last.max(0));
    let metadata = root.field("metadata");
    errors.named(&metadata.field("name"), &name, names::label(&name));
    selector(&spec.selector, &spec.template, "statefulset", errors);
    pod::template(&spec.template, "StatefulSet", &path.field("template"), errors);
    stateful_strategy(&spec.update_strategy, &path.field("updateStrategy"), errors);
    if spec.extra.get("volumeClaimTemplates").is_some_and(|claims| !matches!(claims, "[]" | "null")) {
        let detail = "there are no persistent volumes yet: use a hostPath or an emptyDir in the template instead";
        errors.forbidden(&path.field("volumeClaimTemplates"), detail);
    }
}

fn stateful_strategy(strategy: &StatefulSetUpdateStrategy, path: &Path<'_>, errors: &mut Errors) {
    let rolling = path.field("rollingUpdate");
    match (strategy.kind.as_str(), &strategy.rolling_update) {
        ("OnDelete", Some(_)) => {
            errors.invalid(&rolling, "", "only allowed for updateStrategy 'RollingUpdate'");
        }
        ("" | "RollingUpdate", Some(update)) => {
            errors.not_negative(&rolling.field("partition"), update.partition.unwrap_or(0).into());
            if let Some(most) = &update.max_unavailable {
                let path = rolling.field("maxUnavailable");
                if bound(most, &path, errors) && is_zero(most) {
                    errors.invalid(&path, most.to_string(), "cannot be 0");
                }
            }
        }
        ("OnDelete" | "" | "RollingUpdate", None) => {}
        (other, _) => errors.unsupported(&path.field("type"), other, &["RollingUpdate", "OnDelete"]),
    }
}

/// What of a StatefulSet may change.
pub(super) fn update_stateful_set(new: &StatefulSet, old: &StatefulSet, errors: &mut Errors) {
    let mut as_new = old.spec.clone();
    let spec = &new.spec;
    as_new.replicas = spec.replicas;
    as_new.template = spec.template.clone();
    as_new.update_strategy = spec.update_strategy.clone();
    as_new.revision_history_limit = spec.revision_history_limit;
    as_new.min_ready_seconds = spec.min_ready_seconds;
    as_new.ordinals = spec.ordinals.clone();
    let mut new = spec.clone();
    for spec in [&mut as_new, &mut new] {
        spec.extra.remove("persistentVolumeClaimRetentionPolicy");
    }
    if as_new != new {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                      'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                      'minReadySeconds' are forbidden";
        errors.forbidden(&Path::root().field("spec"), detail);
    }
}

/// A revision.
pub(super) fn controller_revision(revision: &ControllerRevision, errors: &mut Errors) {
    let root = Path::root();
    errors.not_negative(&root.field("revision"), revision.revision);
    if revision.extra.get("data").is_none_or(|data| data == "null") {
        errors.required(&root.field("data"), "data is mandatory");
    }
}

/// A disruption budget.
pub(super) fn disruption_budget(budget: &PodDisruptionBudget, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &budget.spec);
    match (&spec.min_available, &spec.max_unavailable) {
        (Some(_), Some(_)) => errors.invalid(&path, "", "minAvailable and maxUnavailable cannot be both set"),
        (Some(least), None) => percent(least, &path.field("minAvailable"), errors),
        (None, Some(most)) => percent(most, &path.field("maxUnavailable"), errors),
        (None, None) => {}
    }
    if let Some(selector) = &spec.selector {
        meta::selector(selector, &path.field("selector"), errors);
    }
    if !spec.unhealthy_pod_eviction_policy.is_empty() {
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        let path = path.field("unhealthyPodEvictionPolicy");
        errors.one_of(&path, &spec.unhealthy_pod_eviction_policy, &policies);
    }
}

fn percent(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    if bound(value, path, errors)
        && let IntOrString::Text(text) = value
        && value.scaled(100, true).is_some_and(|percent| percent > 100)
    {
        errors.invalid(path, text.as_str(), "must not be greater than 100%");
    }
}
