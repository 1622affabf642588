//! Tables (`application/json;as=Table;v=v1;g=meta.k8s.io`): the columns and cells that `kubectl get` shows, named
//! and formatted as Kubernetes' own printers do. A kind without a printer has its name and age.

mod autoscaling;
mod batch;
mod events;
mod nodes;
mod pods;
mod services;
mod sets;
mod small;
mod workloads;

use crate::duration::since;
use crate::schema::Gvk;
use serde_json::{Value, json};

/// What of its object a row carries (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// A `PartialObjectMetadata`; what the API answers when it is not asked.
    #[default]
    Metadata,
    /// The object whole.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; absent and unknown values are [`IncludeObject::Metadata`].
    #[must_use]
    pub fn from_query(value: &str) -> Self {
        match value {
            "None" => Self::None,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// As Kubernetes names it, such as `Up-to-date`; clients print it in capitals.
    pub name: &'static str,
    /// `string`, `integer` or `number`.
    pub kind: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    /// For people who read the API.
    pub description: &'static str,
}

/// A column that is always shown.
const fn column(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0, description }
}

/// A column that `-o wide` adds.
const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 1, description }
}

/// A column of numbers that is always shown.
const fn count(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "integer", format: "", priority: 0, description }
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
    description: "Name must be unique within a namespace.",
};
const AGE: Column = column("Age", "How long ago the object was created.");
const CREATED: Column = wide("Created At", "When the object was created.");

/// The columns and the row of a kind.
struct Printer {
    columns: &'static [Column],
    /// The cells of an object at a time in seconds since 1970, as many as there are columns.
    cells: fn(&Value, i64) -> Vec<Value>,
}

const GENERIC: Printer = Printer {
    columns: &[NAME, AGE, CREATED],
    cells: |object, now| vec![name(object), age(object, now), object["metadata"]["creationTimestamp"].clone()],
};

fn printer(gvk: Gvk<'_>) -> &'static Printer {
    match (gvk.group, gvk.kind) {
        ("", "Pod") => &pods::PRINTER,
        ("", "Node") => &nodes::PRINTER,
        ("", "Service") => &services::SERVICE,
        ("", "Endpoints") => &services::ENDPOINTS,
        ("discovery.k8s.io", "EndpointSlice") => &services::ENDPOINT_SLICE,
        ("apps", "Deployment") => &workloads::DEPLOYMENT,
        ("apps", "ReplicaSet") => &workloads::REPLICA_SET,
        ("apps", "DaemonSet") => &sets::DAEMON_SET,
        ("apps", "StatefulSet") => &sets::STATEFUL_SET,
        ("apps", "ControllerRevision") => &sets::CONTROLLER_REVISION,
        ("policy", "PodDisruptionBudget") => &small::POD_DISRUPTION_BUDGET,
        ("batch", "CronJob") => &batch::CRON_JOB,
        ("batch", "Job") => &batch::JOB,
        ("autoscaling", "HorizontalPodAutoscaler") => &autoscaling::AUTOSCALER,
        ("autoscaling", "Scale") => &workloads::SCALE,
        ("", "Event") => &events::CORE,
        ("events.k8s.io", "Event") => &events::EVENTS,
        ("", "Namespace") => &small::NAMESPACE,
        ("", "ConfigMap") => &small::CONFIG_MAP,
        ("", "Secret") => &small::SECRET,
        ("", "ServiceAccount") => &small::SERVICE_ACCOUNT,
        ("coordination.k8s.io", "Lease") => &small::LEASE,
        ("node.k8s.io", "RuntimeClass") => &small::RUNTIME_CLASS,
        ("scheduling.k8s.io", "PriorityClass") => &small::PRIORITY_CLASS,
        _ => &GENERIC,
    }
}

/// The columns of a kind.
#[must_use]
pub fn columns(gvk: Gvk<'_>) -> &'static [Column] {
    printer(gvk).columns
}

/// The cells of one object, as many as its kind has [`columns`]. `now` is in seconds since 1970.
#[must_use]
pub fn cells(gvk: Gvk<'_>, object: &Value, now: i64) -> Vec<Value> {
    (printer(gvk).cells)(object, now)
}

/// A `meta.k8s.io/v1` Table of objects of one kind. `now` is in seconds since 1970. The caller puts the list's
/// `resourceVersion`, `continue` and `remainingItemCount` into `metadata`.
#[must_use]
pub fn table<'a>(
    gvk: Gvk<'_>,
    objects: impl IntoIterator<Item = &'a Value>,
    now: i64,
    include: IncludeObject,
) -> Value {
    let printer = printer(gvk);
    let columns: Vec<Value> = printer
        .columns
        .iter()
        .map(|c| {
            json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description,
                "priority": c.priority})
        })
        .collect();
    let row = |object: &Value| {
        let mut row = json!({"cells": (printer.cells)(object, now)});
        match include {
            IncludeObject::None => {}
            IncludeObject::Metadata => {
                row["object"] = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": object["metadata"]});
            }
            IncludeObject::Object => row["object"] = object.clone(),
        }
        row
    };
    let rows: Vec<Value> = objects.into_iter().map(row).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows})
}

/// What stands in a cell that has nothing to say.
const NONE: &str = "<none>";

fn name(object: &Value) -> Value {
    object["metadata"]["name"].as_str().unwrap_or_default().into()
}

fn age(object: &Value, now: i64) -> Value {
    since(&object["metadata"]["creationTimestamp"], now).into()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The text of a field, or what stands in its place.
fn text_or<'a>(value: &'a Value, field: &str, absent: &'a str) -> &'a str {
    match text(value, field) {
        "" => absent,
        text => text,
    }
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or(0)
}

fn elements<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a field of every element, joined by commas.
fn joined(list: &[Value], field: &str) -> String {
    list.iter().map(|v| text(v, field)).collect::<Vec<_>>().join(",")
}

/// Whether a list of conditions has one of this type that is `True`; nothing when it has none.
fn condition(conditions: &[Value], kind: &str) -> Option<bool> {
    conditions.iter().find(|c| text(c, "type") == kind).map(|c| text(c, "status") == "True")
}

/// Labels as `a=1,b=2` in order of key, or `<none>`.
fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// The first three of a list and how many there are more; `absent` for an empty one.
fn first_three(list: &[String], absent: &str) -> String {
    match list.len() {
        0 => absent.to_owned(),
        1..=3 => list.join(","),
        more => format!("{} + {} more...", list[..3].join(","), more - 3),
    }
}

#[cfg(test)]
mod tests;
