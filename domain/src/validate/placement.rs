//! What pods say about other pods and about their place: affinity to pods, topology spread and gates.

use super::path::{Errors, Path};
use crate::selector::Selector;
use crate::{
    Affinity, GANG, GANG_SIZE, LARGEST_GANG, LabelSelector, Map, PodAffinityTerm, PodSchedulingGate, Shared, Str,
    TopologySpreadConstraint, WeightedPodAffinityTerm, names,
};

/// Affinity and anti-affinity to pods. `path` is that of the affinity.
pub(super) fn pod_affinity(affinity: &Affinity, path: &Path<'_>, errors: &mut Errors) {
    if let Some(rules) = &affinity.pod_affinity {
        terms(&rules.required, &rules.preferred, &path.field("podAffinity"), errors);
    }
    if let Some(rules) = &affinity.pod_anti_affinity {
        terms(&rules.required, &rules.preferred, &path.field("podAntiAffinity"), errors);
    }
}

fn terms(required: &[PodAffinityTerm], preferred: &[WeightedPodAffinityTerm], path: &Path<'_>, errors: &mut Errors) {
    let list = path.field("requiredDuringSchedulingIgnoredDuringExecution");
    for (at, t) in required.iter().enumerate() {
        term(t, &list.index(at), errors);
    }
    let list = path.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (at, weighted) in preferred.iter().enumerate() {
        let path = list.index(at);
        if !(1..=100).contains(&weighted.weight) {
            errors.invalid(&path.field("weight"), weighted.weight, "must be in the range 1-100");
        }
        term(&weighted.term, &path.field("podAffinityTerm"), errors);
    }
}

fn term(term: &PodAffinityTerm, path: &Path<'_>, errors: &mut Errors) {
    key(&term.topology_key, &path.field("topologyKey"), errors);
    selector(term.label_selector.as_ref(), &path.field("labelSelector"), errors);
    selector(term.namespace_selector.as_ref(), &path.field("namespaceSelector"), errors);
    for (at, namespace) in term.namespaces.iter().enumerate() {
        let list = path.field("namespaces");
        errors.named(&list.index(at), namespace, names::label(namespace));
    }
    label_keys(&term.match_label_keys, term.label_selector.as_ref(), &path.field("matchLabelKeys"), errors);
    label_keys(&term.mismatch_label_keys, term.label_selector.as_ref(), &path.field("mismatchLabelKeys"), errors);
    for (at, both) in term.match_label_keys.iter().enumerate() {
        if term.mismatch_label_keys.contains(both) {
            let list = path.field("matchLabelKeys");
            errors.invalid(&list.index(at), both.as_str(), "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

/// The annotations that make a pod one of a gang. `path` is that of the annotations.
pub(super) fn gang(annotations: &Map<Str>, path: &Path<'_>, errors: &mut Errors) {
    match (annotations.get(GANG), annotations.get(GANG_SIZE)) {
        (None, None) => {}
        (None, Some(_)) => errors.required(&path.key(GANG), "it names the gang whose size is given"),
        (Some(_), None) => errors.required(&path.key(GANG_SIZE), "it says how many pods make the gang whole"),
        (Some(name), Some(size)) => {
            errors.named(&path.key(GANG), name, names::label(name));
            if !size.parse().is_ok_and(|size| (1..=LARGEST_GANG).contains(&size)) {
                let detail =
                    format!("must be a whole number from 1 to {LARGEST_GANG}: the pods that are placed together");
                errors.invalid(&path.key(GANG_SIZE), size.as_str(), detail);
            }
        }
    }
}

fn key(key: &str, path: &Path<'_>, errors: &mut Errors) {
    if key.is_empty() {
        errors.required(path, "can not be empty");
    } else {
        errors.named(path, key, names::qualified_name(key));
    }
}

fn selector(selector: Option<&LabelSelector>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(Err(reason)) = selector.map(Selector::from_labels) {
        errors.invalid(path, "", reason);
    }
}

fn label_keys(keys: &[Str], selector: Option<&LabelSelector>, path: &Path<'_>, errors: &mut Errors) {
    if !keys.is_empty() && selector.is_none() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (at, key) in keys.iter().enumerate() {
        errors.named(&path.index(at), key, names::qualified_name(key));
    }
}

/// Topology spread constraints.
pub(super) fn spread(list: &[Shared<TopologySpreadConstraint>], path: &Path<'_>, errors: &mut Errors) {
    for (at, constraint) in list.iter().enumerate() {
        let path = path.index(at);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.field("maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        key(&constraint.topology_key, &path.field("topologyKey"), errors);
        errors.one_of(
            &path.field("whenUnsatisfiable"),
            &constraint.when_unsatisfiable,
            &["DoNotSchedule", "ScheduleAnyway"],
        );
        if let Some(least) = constraint.min_domains {
            let path = path.field("minDomains");
            if least <= 0 {
                errors.invalid(&path, least, "must be greater than zero");
            }
            if !constraint.is_hard() {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                errors.invalid(&path, least, detail);
            }
        }
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy {
                errors.one_of(&path.field(field), policy, &["Honor", "Ignore"]);
            }
        }
        let keys = &constraint.match_label_keys;
        selector(constraint.label_selector.as_ref(), &path.field("labelSelector"), errors);
        label_keys(keys, constraint.label_selector.as_ref(), &path.field("matchLabelKeys"), errors);
        let same = |other: &Shared<TopologySpreadConstraint>| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        if list[..at].iter().any(same) {
            let pair = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            errors.duplicate(&path, pair);
        }
    }
}

/// Scheduling gates: named once each, and not on a pod that comes with its node.
pub(super) fn gates(gates: &[PodSchedulingGate], node: &str, path: &Path<'_>, errors: &mut Errors) {
    for (at, gate) in gates.iter().enumerate() {
        errors.named(&path.index(at).field("name"), &gate.name, names::qualified_name(&gate.name));
        if gates[..at].contains(gate) {
            errors.duplicate(&path.index(at), gate.name.as_str());
        }
    }
    if !gates.is_empty() && !node.is_empty() {
        errors.forbidden(path, "cannot be set until all schedulingGates have been cleared: nodeName is set too");
    }
}
