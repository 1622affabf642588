//! The tables of deployments, replica sets and scales.

use super::services::containers;
use super::{AGE, Column, NAME, NONE, Printer, age, column, count, elements, name, number, text, wide};
use serde_json::Value;

pub(super) const CONTAINERS: Column = wide("Containers", "The names of the containers.");
pub(super) const IMAGES: Column = wide("Images", "The images of the containers.");
pub(super) const SELECTOR: Column = wide("Selector", "The labels of the pods.");

pub(super) const DEPLOYMENT: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "How many pods are ready, of how many wanted."),
        count("Up-to-date", "How many pods have the latest template."),
        count("Available", "How many pods have been ready long enough."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |deployment, now| {
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let [names, images] = containers(&spec["template"]);
        vec![
            name(deployment),
            format!("{}/{}", number(status, "readyReplicas"), number(spec, "replicas")).into(),
            number(status, "updatedReplicas").into(),
            number(status, "availableReplicas").into(),
            age(deployment, now),
            names,
            images,
            selector(&spec["selector"]).into(),
        ]
    },
};

pub(super) const REPLICA_SET: Printer = Printer {
    columns: &[
        NAME,
        count("Desired", "How many pods are wanted."),
        count("Current", "How many pods there are."),
        count("Ready", "How many pods are ready."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |set, now| {
        let (spec, status) = (&set["spec"], &set["status"]);
        let [names, images] = containers(&spec["template"]);
        vec![
            name(set),
            number(spec, "replicas").into(),
            number(status, "replicas").into(),
            number(status, "readyReplicas").into(),
            age(set, now),
            names,
            images,
            selector(&spec["selector"]).into(),
        ]
    },
};

pub(super) const SCALE: Printer = Printer {
    columns: &[
        NAME,
        count("Desired", "How many replicas are wanted."),
        count("Available", "How many replicas there are."),
        AGE,
    ],
    cells: |scale, now| {
        let (wanted, current) = (number(&scale["spec"], "replicas"), number(&scale["status"], "replicas"));
        vec![name(scale), wanted.into(), current.into(), age(scale, now)]
    },
};

/// A label selector in the form that kubectl takes: `a=1,b in (x,y),!c`, in order of key.
pub(super) fn selector(selector: &Value) -> String {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<(&str, String)> =
        equal.map(|(k, v)| (k.as_str(), format!("{k}={}", v.as_str().unwrap_or_default()))).collect();
    for expression in elements(selector, "matchExpressions") {
        let key = text(expression, "key");
        let mut values: Vec<&str> = elements(expression, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key, part));
    }
    parts.sort_by_key(|(key, _)| *key);
    let parts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    if parts.is_empty() { NONE.to_owned() } else { parts.join(",") }
}
