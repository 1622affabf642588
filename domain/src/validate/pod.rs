//! Pods and pod specs.

use super::container::{self, Frame};
use super::meta;
use super::path::{Errors, Path};
use super::placement;
use crate::{
    Affinity, NodeSelectorTerm, Pod, PodSpec, RestartPolicy, Shared, Toleration, Volume, names, selector::Requirement,
};
use std::collections::BTreeSet;

/// A pod.
pub(super) fn check(pod: &Pod, errors: &mut Errors) {
    placement::gang(&pod.metadata.annotations, &Path::root().field("metadata").field("annotations"), errors);
    spec(&pod.spec, &Path::root().field("spec"), errors);
}

/// The template of a controller, whose pods are always restarted.
pub(super) fn template(template: &crate::PodTemplateSpec, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    any_template(template, path, errors);
    let path = path.field("spec");
    match template.spec.restart_policy {
        RestartPolicy::Always => {}
        other @ (RestartPolicy::OnFailure | RestartPolicy::Never) => {
            errors.unsupported(&path.field("restartPolicy"), format!("{other:?}"), &["Always"]);
        }
    }
    if template.spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&path.field("activeDeadlineSeconds"), detail);
    }
}

/// The template of a controller, whatever becomes of pods that end.
pub(super) fn any_template(template: &crate::PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    let metadata = path.field("metadata");
    meta::labels(&template.metadata.labels, &metadata.field("labels"), errors);
    meta::annotations(&template.metadata.annotations, &metadata.field("annotations"), errors);
    placement::gang(&template.metadata.annotations, &metadata.field("annotations"), errors);
    spec(&template.spec, &path.field("spec"), errors);
}

fn spec(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    let mut frame = Frame { volumes: BTreeSet::new(), names: BTreeSet::new(), grace };
    volumes(&spec.volumes, &mut frame, &path.field("volumes"), errors);
    if spec.containers.is_empty() {
        errors.required(&path.field("containers"), "");
    }
    for (at, c) in spec.containers.iter().enumerate() {
        container::check(c, false, &mut frame, &path.field("containers").index(at), errors);
    }
    for (at, c) in spec.init_containers.iter().enumerate() {
        container::check(c, true, &mut frame, &path.field("initContainers").index(at), errors);
    }
    errors.not_negative(&path.field("terminationGracePeriodSeconds"), grace);
    if let Some(secs) = spec.active_deadline_seconds.filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        errors.invalid(&path.field("activeDeadlineSeconds"), secs, "must be between 1 and 2147483647, inclusive");
    }
    meta::labels(&spec.node_selector, &path.field("nodeSelector"), errors);
    for (field, value) in [
        ("nodeName", &spec.node_name),
        ("serviceAccountName", &spec.service_account_name),
        ("schedulerName", &spec.scheduler_name),
        ("runtimeClassName", &spec.runtime_class_name),
        ("priorityClassName", &spec.priority_class_name),
    ] {
        if !value.is_empty() {
            errors.named(&path.field(field), value, names::subdomain(value));
        }
    }
    if !spec.hostname.is_empty() {
        errors.named(&path.field("hostname"), &spec.hostname, names::label(&spec.hostname));
    }
    for (at, toleration) in spec.tolerations.iter().enumerate() {
        tolerates(toleration, &path.field("tolerations").index(at), errors);
    }
    if let Some(affinity) = &spec.affinity {
        let path = path.field("affinity");
        node_affinity(affinity, &path.field("nodeAffinity"), errors);
        placement::pod_affinity(affinity, &path, errors);
    }
    placement::spread(&spec.topology_spread_constraints, &path.field("topologySpreadConstraints"), errors);
    placement::gates(&spec.scheduling_gates, &spec.node_name, &path.field("schedulingGates"), errors);
    container::amounts(&spec.overhead, &path.field("overhead"), errors);
    if let Some(policy) = &spec.preemption_policy {
        errors.one_of(&path.field("preemptionPolicy"), policy, super::misc::PREEMPTION_POLICIES);
    }
    if let Some(context) = &spec.security_context {
        let path = path.field("securityContext");
        for (field, id) in
            [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)]
        {
            container::user_id(id, &path.field(field), errors);
        }
        for (at, id) in context.supplemental_groups.iter().enumerate() {
            container::user_id(Some(*id), &path.field("supplementalGroups").index(at), errors);
        }
    }
}

fn volumes<'a>(volumes: &'a [Shared<Volume>], frame: &mut Frame<'a>, path: &Path<'_>, errors: &mut Errors) {
    for (at, volume) in volumes.iter().enumerate() {
        let path = path.index(at);
        if volume.name.is_empty() {
            errors.required(&path.field("name"), "");
        } else {
            errors.named(&path.field("name"), &volume.name, names::label(&volume.name));
            if !frame.volumes.insert(&volume.name) {
                errors.duplicate(&path.field("name"), volume.name.as_str());
            }
        }
        let typed = [
            volume.empty_dir.is_some(),
            volume.config_map.is_some(),
            volume.secret.is_some(),
            volume.host_path.is_some(),
        ];
        match typed.iter().filter(|s| **s).count() + volume.extra.iter().count() {
            0 => errors.required(&path, "must specify a volume type"),
            1 => {}
            _ => errors.forbidden(&path, "may not specify more than 1 volume type"),
        }
        source(volume, &path, errors);
    }
}

fn source(volume: &Volume, path: &Path<'_>, errors: &mut Errors) {
    if let Some(dir) = &volume.empty_dir
        && let Some(limit) = dir.size_limit.as_ref().filter(|q| q.is_negative())
    {
        let path = path.field("emptyDir");
        errors.invalid(&path.field("sizeLimit"), limit.as_str(), "must be greater than or equal to 0");
    }
    let mut items = |items: &[crate::KeyToPath], mode: Option<i32>, path: &Path<'_>| {
        file_mode(mode, &path.field("defaultMode"), errors);
        for (at, item) in items.iter().enumerate() {
            let list = path.field("items");
            let path = list.index(at);
            if item.key.is_empty() {
                errors.required(&path.field("key"), "");
            }
            if item.path.is_empty() {
                errors.required(&path.field("path"), "");
            }
            container::relative(&item.path, &path.field("path"), errors);
            file_mode(item.mode, &path.field("mode"), errors);
        }
    };
    if let Some(map) = &volume.config_map {
        items(&map.items, map.default_mode, &path.field("configMap"));
    }
    if let Some(secret) = &volume.secret {
        items(&secret.items, secret.default_mode, &path.field("secret"));
    }
    if volume.config_map.as_ref().is_some_and(|m| m.name.is_empty()) {
        errors.required(&path.field("configMap").field("name"), "");
    }
    if volume.secret.as_ref().is_some_and(|s| s.secret_name.is_empty()) {
        errors.required(&path.field("secret").field("secretName"), "");
    }
    if let Some(host) = &volume.host_path {
        let path = path.field("hostPath");
        if host.path.is_empty() {
            errors.required(&path.field("path"), "");
        } else if host.path.split('/').any(|p| p == "..") {
            errors.invalid(&path.field("path"), host.path.as_str(), "must not contain '..'");
        }
    }
}

fn file_mode(mode: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn tolerates(t: &Toleration, path: &Path<'_>, errors: &mut Errors) {
    if !t.key.is_empty() {
        errors.named(&path.field("key"), &t.key, names::qualified_name(&t.key));
    } else if t.operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&path.field("operator"), t.operator.as_str(), detail);
    }
    match t.operator.as_str() {
        "" | "Equal" => errors.named(&path.field("value"), &t.value, names::label_value(&t.value)),
        "Exists" if !t.value.is_empty() => {
            errors.invalid(&path.field("value"), t.value.as_str(), "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        other => errors.unsupported(&path.field("operator"), other, &["Equal", "Exists"]),
    }
    if !t.effect.is_empty() {
        errors.one_of(&path.field("effect"), &t.effect, EFFECTS);
    }
    if t.toleration_seconds.is_some() && t.effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&path.field("effect"), t.effect.as_str(), detail);
    }
}

fn node_affinity(affinity: &Affinity, path: &Path<'_>, errors: &mut Errors) {
    let Some(nodes) = &affinity.node_affinity else { return };
    if let Some(required) = &nodes.required {
        let path = path.field("requiredDuringSchedulingIgnoredDuringExecution");
        let list = path.field("nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            errors.required(&list, "must have at least one node selector term");
        }
        for (at, t) in required.node_selector_terms.iter().enumerate() {
            term(t, &list.index(at), errors);
        }
    }
    for (at, preferred) in nodes.preferred.iter().enumerate() {
        let list = path.field("preferredDuringSchedulingIgnoredDuringExecution");
        let path = list.index(at);
        if !(1..=100).contains(&preferred.weight) {
            errors.invalid(&path.field("weight"), preferred.weight, "must be in the range 1-100");
        }
        term(&preferred.preference, &path.field("preference"), errors);
    }
}

fn term(term: &NodeSelectorTerm, path: &Path<'_>, errors: &mut Errors) {
    for (field, list) in [("matchExpressions", &term.match_expressions), ("matchFields", &term.match_fields)] {
        for (at, r) in list.iter().enumerate() {
            let path = path.field(field);
            if let Err(reason) = Requirement::new(&r.key, &r.operator, &r.values) {
                errors.invalid(&path.index(at), r.key.as_str(), reason);
            }
            if field == "matchFields" && r.key != "metadata.name" {
                errors.unsupported(&path.index(at).field("key"), r.key.as_str(), &["metadata.name"]);
            }
        }
    }
}

/// What may change in a pod that exists, and how its phase may move.
pub(super) fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("spec");
    if let Err(illegal) = old.status.phase.on(new.status.phase) {
        let path = root.field("status");
        errors.invalid(&path.field("phase"), format!("{:?}", new.status.phase), illegal.to_string());
    }
    match (old.spec.active_deadline_seconds, new.spec.active_deadline_seconds) {
        (Some(_), None) => errors.invalid(
            &path.field("activeDeadlineSeconds"),
            "",
            "must not update from a positive integer to nil value",
        ),
        (Some(before), Some(after)) if after > before => {
            errors.invalid(&path.field("activeDeadlineSeconds"), after, "must be less than or equal to previous value");
        }
        _ => {}
    }
    if !extends(&new.spec.tolerations, &old.spec.tolerations) {
        errors.forbidden(
            &path.field("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
    if new.spec != old.spec && munged(new, old) != old.spec {
        errors.forbidden(
            &path,
            "pod updates may not change fields other than `spec.containers[*].image`, \
             `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to \
             existing tolerations), `spec.schedulingGates` (only removals), \
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        );
    }
}

/// The new spec with everything that may change set back.
fn munged(new: &Pod, old: &Pod) -> PodSpec {
    let mut spec = new.spec.clone();
    let lists = [(&mut spec.containers, &old.spec.containers), (&mut spec.init_containers, &old.spec.init_containers)];
    for (list, before) in lists {
        for (c, before) in list.iter_mut().zip(before) {
            if c.image != before.image {
                Shared::make_mut(c).image = before.image.clone();
            }
        }
    }
    spec.active_deadline_seconds = old.spec.active_deadline_seconds;
    spec.tolerations.clone_from(&old.spec.tolerations);
    // Gates may go, one by one; none may come.
    if spec.scheduling_gates.iter().all(|g| old.spec.scheduling_gates.contains(g)) {
        spec.scheduling_gates.clone_from(&old.spec.scheduling_gates);
        if !old.spec.scheduling_gates.is_empty() && narrows(&new.spec, &old.spec) {
            spec.node_selector.clone_from(&old.spec.node_selector);
        }
    }
    spec
}

/// Whether a node selector keeps all its entries: while a pod is gated it may only gain some.
fn narrows(new: &PodSpec, old: &PodSpec) -> bool {
    old.node_selector.iter().all(|(key, value)| new.node_selector.get(key) == Some(value))
}

/// Whether every old toleration is still there, its seconds aside.
fn extends(new: &[Shared<Toleration>], old: &[Shared<Toleration>]) -> bool {
    let same = |a: &Toleration, b: &Toleration| {
        (&a.key, &a.operator, &a.value, &a.effect) == (&b.key, &b.operator, &b.value, &b.effect)
    };
    old.iter().all(|o| new.iter().any(|n| same(n, o)))
}
