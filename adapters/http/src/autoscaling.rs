//! Autoscalers are one object in two versions: `autoscaling/v2`, in which they are stored, and `v1`, which knows the target
//! of cpu alone and carries the rest in annotations, under the names that Kubernetes uses. Nothing is lost either way.

use serde_json::{Map, Value, json};

/// Annotation, and the field of `spec` or `status` whose content it holds as JSON.
const CARRIED: [(&str, &str, &str); 4] = [
    ("autoscaling.alpha.kubernetes.io/metrics", "spec", "metrics"),
    ("autoscaling.alpha.kubernetes.io/behavior", "spec", "behavior"),
    ("autoscaling.alpha.kubernetes.io/current-metrics", "status", "currentMetrics"),
    ("autoscaling.alpha.kubernetes.io/conditions", "status", "conditions"),
];

/// A metric of the whole pod's cpu by utilization: what version 1 has a field for.
fn cpu_percent<'a>(metric: &'a Value, value_of: &str) -> Option<&'a Value> {
    let resource = &metric["resource"];
    (metric["type"] == "Resource" && resource["name"] == "cpu")
        .then(|| &resource[value_of]["averageUtilization"])
        .filter(|v| v.is_i64())
}

/// A stored autoscaler in the words of `autoscaling/v1`.
pub(crate) fn to_v1(mut value: Value) -> Value {
    for (part, list, target, field) in [
        ("spec", "metrics", "target", "targetCPUUtilizationPercentage"),
        ("status", "currentMetrics", "current", "currentCPUUtilizationPercentage"),
    ] {
        let Some(part) = value[part].as_object_mut() else { continue };
        let Some(Value::Array(metrics)) = part.get_mut(list) else { continue };
        if let Some(at) = metrics.iter().position(|metric| cpu_percent(metric, target).is_some()) {
            let percent = cpu_percent(&metrics[at], target).cloned().unwrap_or_default();
            // Of what is measured only the percentage fits; the rest of it is not wanted back.
            if metrics.len() == 1 {
                part.remove(list);
            }
            part.insert(field.to_owned(), percent);
        }
    }
    for (annotation, part, field) in CARRIED {
        let taken = value[part].as_object_mut().and_then(|part| part.remove(field));
        if let Some(taken) = taken.filter(|taken| !taken.is_null()) {
            value["metadata"]["annotations"][annotation] = json!(taken.to_string());
        }
    }
    value["apiVersion"] = json!("autoscaling/v1");
    value
}

/// An autoscaler of `autoscaling/v1` as it is stored. An annotation that is no JSON is left where it is.
pub(crate) fn to_v2(mut value: Value) -> Value {
    for (annotation, part, field) in CARRIED {
        let text = value["metadata"]["annotations"][annotation].as_str();
        let Some(content) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { continue };
        value[part][field] = content;
        if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
            annotations.remove(annotation);
            if annotations.is_empty()
                && let Some(metadata) = value["metadata"].as_object_mut()
            {
                metadata.remove("annotations");
            }
        }
    }
    for (part, list, target, field) in [
        ("spec", "metrics", "target", "targetCPUUtilizationPercentage"),
        ("status", "currentMetrics", "current", "currentCPUUtilizationPercentage"),
    ] {
        let Some(map) = value[part].as_object_mut() else { continue };
        let Some(percent) = map.remove(field).filter(|percent| !percent.is_null()) else { continue };
        set_percent(map, (list, target), percent);
    }
    clean(&mut value);
    value["apiVersion"] = json!("autoscaling/v2");
    value
}

/// Says the percentage where the metric of cpu is, or adds one.
fn set_percent(part: &mut Map<String, Value>, (list, target): (&str, &str), percent: Value) {
    let metrics = part.entry(list).or_insert_with(|| json!([]));
    let Some(metrics) = metrics.as_array_mut() else { return };
    if let Some(known) = metrics.iter_mut().find(|metric| cpu_percent(metric, target).is_some()) {
        known["resource"][target]["averageUtilization"] = percent;
        return;
    }
    let mut value = json!({"averageUtilization": percent});
    if target == "target" {
        value["type"] = json!("Utilization");
    }
    metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", target: value}}));
}

/// Looking for what is not there leaves nulls behind.
fn clean(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, v| !v.is_null());
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, v| key != "annotations" || !v.is_null());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(percent: i32) -> Value {
        json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
    }

    fn v2(spec: Value) -> Value {
        let mut whole = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole["spec"][key] = value.clone();
        }
        whole
    }

    #[test]
    fn nothing_is_lost_on_the_way_through_version_1() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "64Mi"}}});
        for spec in [
            json!({"metrics": [cpu(50)]}),
            json!({"metrics": [memory.clone(), cpu(50)]}),
            json!({"metrics": [memory], "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}),
            json!({}),
        ] {
            let whole = v2(spec);
            let old = to_v1(whole.clone());
            assert_eq!(old["apiVersion"], "autoscaling/v1");
            assert!(old["spec"].get("metrics").is_none() && old["spec"].get("behavior").is_none(), "{old}");
            assert_eq!(to_v2(old), whole);
        }
        let mut whole = v2(json!({"metrics": [cpu(50)]}));
        whole["status"] = json!({"desiredReplicas": 2, "conditions": [{"type": "AbleToScale", "status": "True"}]});
        assert_eq!(to_v2(to_v1(whole.clone())), whole);
    }

    #[test]
    fn what_version_1_says_counts() {
        let old = json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "a"}, "spec": {"maxReplicas": 5,
            "targetCPUUtilizationPercentage": 70, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        assert_eq!(to_v2(old.clone())["spec"]["metrics"], json!([cpu(70)]));
        let mut carried = to_v1(v2(json!({"metrics": [cpu(50), {"type": "External"}]})));
        assert_eq!(carried["spec"]["targetCPUUtilizationPercentage"], 50);
        carried["spec"]["targetCPUUtilizationPercentage"] = json!(60);
        assert_eq!(to_v2(carried)["spec"]["metrics"], json!([cpu(60), {"type": "External"}]));
        let mut bad = old;
        bad["metadata"]["annotations"] = json!({"autoscaling.alpha.kubernetes.io/metrics": "no JSON"});
        assert_eq!(to_v2(bad)["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"], "no JSON");
    }
}
