//! Autoscalers.

use super::path::{Errors, Path};
use crate::{HorizontalPodAutoscaler, MetricSpec, MetricTarget, ScalingRules};

const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/// The longest window and period, in seconds.
const LONGEST: i32 = 3600;

/// An autoscaler.
pub(super) fn check(autoscaler: &HorizontalPodAutoscaler, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &autoscaler.spec);
    let target = path.field("scaleTargetRef");
    for (field, value) in [("kind", &spec.scale_target_ref.kind), ("name", &spec.scale_target_ref.name)] {
        if value.is_empty() {
            errors.required(&target.field(field), "");
        }
    }
    if spec.max_replicas < 1 {
        errors.invalid(&path.field("maxReplicas"), spec.max_replicas, "must be greater than 0");
    }
    if let Some(min) = spec.min_replicas {
        if min < 1 {
            errors.invalid(&path.field("minReplicas"), min, "must be greater than or equal to 1");
        }
        if spec.max_replicas < min {
            let detail = "must be greater than or equal to `minReplicas`";
            errors.invalid(&path.field("maxReplicas"), spec.max_replicas, detail);
        }
    }
    let metrics = path.field("metrics");
    for (at, metric) in spec.metrics.iter().enumerate() {
        self::metric(metric, &metrics.index(at), errors);
    }
    if let Some(behavior) = &spec.behavior {
        let path = path.field("behavior");
        for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
            if let Some(rules) = rules {
                self::rules(rules, &path.field(field), errors);
            }
        }
    }
}

fn metric(metric: &MetricSpec, path: &Path<'_>, errors: &mut Errors) {
    if metric.kind.is_empty() {
        return errors.required(&path.field("type"), "must specify a metric source type");
    }
    errors.one_of(&path.field("type"), &metric.kind, &TYPES);
    match (metric.kind.as_str(), &metric.resource, &metric.container_resource) {
        ("Resource", None, _) => {
            errors.required(&path.field("resource"), "must populate information for the given metric source");
        }
        ("ContainerResource", _, None) => {
            errors.required(&path.field("containerResource"), "must populate information for the given metric source");
        }
        ("Resource", Some(source), _) => {
            let path = path.field("resource");
            if source.name.is_empty() {
                errors.required(&path.field("name"), "must specify a resource name");
            }
            target_of_resource(&source.target, &path.field("target"), errors);
        }
        ("ContainerResource", _, Some(source)) => {
            let path = path.field("containerResource");
            for (field, value) in [("name", &source.name), ("container", &source.container)] {
                if value.is_empty() {
                    errors.required(&path.field(field), "");
                }
            }
            target_of_resource(&source.target, &path.field("target"), errors);
        }
        _ => {}
    }
}

fn target_of_resource(target: &MetricTarget, path: &Path<'_>, errors: &mut Errors) {
    errors.one_of(&path.field("type"), &target.kind, &["AverageValue", "Utilization"]);
    match (target.average_utilization, &target.average_value) {
        (Some(_), Some(_)) => {
            errors.forbidden(path, "may not set both a target raw value and a target utilization");
        }
        (None, None) => {
            errors.required(path, "must set either a target raw value or a target utilization");
        }
        (Some(percent), None) if percent < 1 => {
            errors.invalid(&path.field("averageUtilization"), percent, "must be greater than 0");
        }
        (None, Some(value)) if value.milli() <= 0 => {
            errors.invalid(&path.field("averageValue"), value.as_str(), "must be positive");
        }
        _ => {}
    }
}

fn rules(rules: &ScalingRules, path: &Path<'_>, errors: &mut Errors) {
    if let Some(window) = rules.stabilization_window_seconds.filter(|w| !(0..=LONGEST).contains(w)) {
        let detail = format!("must be between 0 and {LONGEST}, inclusive");
        errors.invalid(&path.field("stabilizationWindowSeconds"), window, detail);
    }
    if !rules.select_policy.is_empty() {
        errors.one_of(&path.field("selectPolicy"), &rules.select_policy, &["Disabled", "Max", "Min"]);
    }
    if let Some(tolerance) = rules.tolerance.as_ref().filter(|t| t.milli() < 0) {
        errors.invalid(&path.field("tolerance"), tolerance.as_str(), "must be greater than or equal to 0");
    }
    let policies = path.field("policies");
    for (at, policy) in rules.policies.iter().enumerate() {
        let path = policies.index(at);
        errors.one_of(&path.field("type"), &policy.kind, &["Percent", "Pods"]);
        if policy.value < 1 {
            errors.invalid(&path.field("value"), policy.value, "must be greater than 0");
        }
        if !(1..=LONGEST / 2).contains(&policy.period_seconds) {
            let detail = format!("must be between 1 and {}, inclusive", LONGEST / 2);
            errors.invalid(&path.field("periodSeconds"), policy.period_seconds, detail);
        }
    }
}
