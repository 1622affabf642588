//! The table of autoscalers, from the words of `autoscaling/v2`.

use super::{AGE, NAME, Printer, age, column, count, elements, name, number, text};
use serde_json::Value;

/// Metrics that are shown; of the others, how many there are.
const SHOWN: usize = 2;

pub(super) const AUTOSCALER: Printer = Printer {
    columns: &[
        NAME,
        column("Reference", "The workload that is scaled."),
        column("Targets", "What each metric is, and what it should be."),
        count("MinPods", "The fewest replicas."),
        count("MaxPods", "The most replicas."),
        count("Replicas", "How many replicas there are."),
        AGE,
    ],
    cells: |autoscaler, now| {
        let (spec, status) = (&autoscaler["spec"], &autoscaler["status"]);
        let target = &spec["scaleTargetRef"];
        let least = spec["minReplicas"].as_i64().map_or_else(|| "<unset>".into(), Value::from);
        vec![
            name(autoscaler),
            format!("{}/{}", text(target, "kind"), text(target, "name")).into(),
            targets(spec, status).into(),
            least,
            number(spec, "maxReplicas").into(),
            number(status, "currentReplicas").into(),
            age(autoscaler, now),
        ]
    },
};

fn targets(spec: &Value, status: &Value) -> String {
    let metrics = elements(spec, "metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let mut list: Vec<String> = metrics.iter().take(SHOWN).map(|metric| target(metric, status)).collect();
    if metrics.len() > SHOWN {
        list.push(format!("{} more...", metrics.len() - SHOWN));
    }
    list.join(", ")
}

/// `cpu: 12%/80%`, `memory: 12Mi/64Mi`, `web/cpu: <unknown>/80%`.
fn target(metric: &Value, status: &Value) -> String {
    let kind = text(metric, "type");
    let field = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        other => return format!("<unknown> ({other})"),
    };
    let wanted = &metric[field];
    let same = |current: &&Value| {
        let current = &current[field];
        current["name"] == wanted["name"] && current["container"] == wanted["container"]
    };
    let current = elements(status, "currentMetrics").iter().find(same).map(|current| &current[field]["current"]);
    let by_value = !wanted["target"]["averageValue"].is_null();
    let shown = |value: &Value| match by_value {
        true => value["averageValue"].as_str().map(str::to_owned),
        false => value["averageUtilization"].as_i64().map(|percent| format!("{percent}%")),
    };
    let unknown = || "<unknown>".to_owned();
    let place = match text(wanted, "container") {
        "" => String::new(),
        container => format!("{container}/"),
    };
    format!(
        "{place}{}: {}/{}",
        text(wanted, "name"),
        current.and_then(shown).unwrap_or_else(unknown),
        shown(&wanted["target"]).unwrap_or_else(unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metrics_are_shown_beside_their_targets() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
        let memory = json!({"type": "ContainerResource",
            "containerResource": {"name": "memory", "container": "web", "target": {"averageValue": "64Mi"}}});
        let status = json!({"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}}]});
        let shown = |metrics: Value| targets(&json!({"metrics": metrics}), &status);
        assert_eq!(shown(json!([cpu, memory])), "cpu: 12%/80%, web/memory: <unknown>/64Mi");
        assert_eq!(shown(json!([cpu, cpu, cpu, cpu])), "cpu: 12%/80%, cpu: 12%/80%, 2 more...");
        assert_eq!(shown(json!([])), "<none>");
    }
}
