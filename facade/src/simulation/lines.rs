//! A trace in words: one line for each thing that a person would want to know of. Pods, nodes, events and endpoints have words
//! of their own; of all other kinds the fields that changed are told. Ledgers and heartbeats are not.

use super::names::Counted;
use super::trace::{Entry, Names};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use steersman_domain::meta::condition;
use steersman_domain::ports::Change;
use steersman_domain::{ContainerStatus, EndpointSlice, Event, Key, Kind, Node, Pod, Resource, Stored};

/// Of so many fields it is told how they changed.
const FIELDS: usize = 6;

/// The lines of all entries.
pub(super) fn lines(entries: &[Entry], names: Names) -> Vec<String> {
    let mut counted = Counted::default();
    let mut lines = Vec::new();
    for Entry { at, change, .. } in entries {
        if names == Names::Counted {
            counted.note(change);
        }
        for told in tell(change) {
            lines.push(format!("{} {}", seconds(*at), counted.write(&told)));
        }
    }
    lines
}

/// Seconds with milliseconds.
fn seconds(at: Duration) -> String {
    format!("{}.{:03}", at.as_secs(), at.subsec_millis())
}

/// `pod default/web-1`.
pub(super) fn named(key: &Key) -> String {
    let kind = key.kind.info().singular;
    if key.namespace.is_empty() {
        format!("{kind} {}", key.name)
    } else {
        format!("{kind} {}/{}", key.namespace, key.name)
    }
}

fn typed<T: Resource>(stored: &Stored) -> Option<&T> {
    stored.typed::<T>().map(|object| &**object)
}

fn tell(change: &Change) -> Vec<String> {
    let key = change.key();
    // What is carried twice, or for the cluster's own use.
    if matches!(key.kind, Kind::Lease | Kind::NodeLedger | Kind::AddressLedger | Kind::Endpoints) {
        return Vec::new();
    }
    let about = |what: Vec<String>| what.into_iter().map(|what| format!("{} {what}", named(key))).collect();
    let (before, after) = match change {
        Change::Put { before, after } => (before.as_deref(), after),
        Change::Delete { .. } if key.kind == Kind::Event => return Vec::new(),
        Change::Delete { .. } => return about(vec!["is gone".into()]),
    };
    if let Some(event) = typed::<Event>(after) {
        return event_told(before.and_then(typed::<Event>), event);
    }
    let mut told = match before {
        None => vec![created(after)],
        Some(before) => deletion(before, after).into_iter().collect(),
    };
    if let Some(pod) = typed::<Pod>(after) {
        told.extend(pod_told(before.and_then(typed::<Pod>).unwrap_or(&Pod::default()), pod));
    } else if let Some(node) = typed::<Node>(after) {
        told.extend(node_told(before.and_then(typed::<Node>).unwrap_or(&Node::default()), node));
    } else if let Some(slice) = typed::<EndpointSlice>(after) {
        told.push(endpoints_told(slice));
    } else if let Some(before) = before {
        told.extend(fields_told(before, after));
    }
    about(told)
}

fn created(after: &Stored) -> String {
    match after.object.meta().controller() {
        Some(owner) => format!("is made for {} {}", owner.kind.to_lowercase(), owner.name),
        None => "is made".into(),
    }
}

fn deletion(before: &Stored, after: &Stored) -> Option<String> {
    let (old, new) = (before.object.meta(), after.object.meta());
    if old.is_deleting() || !new.is_deleting() {
        return None;
    }
    Some(match new.deletion_grace_period_seconds {
        Some(grace) if grace > 0 => format!("is to end within {grace} s"),
        _ if new.finalizers.is_empty() => "is to end".into(),
        _ => format!("is to end once it is let go by {}", new.finalizers.join(", ")),
    })
}

/// What the pods themselves tell.
const TOLD: [&str; 2] = ["FailedScheduling", "BackOff"];

/// Warnings, and how controllers scale; what else events say the objects themselves tell.
fn event_told(before: Option<&Event>, event: &Event) -> Vec<String> {
    let warns = event.kind == "Warning" && !TOLD.contains(&event.reason.as_str());
    let counts = warns || matches!(event.reason.as_str(), "ScalingReplicaSet" | "SuccessfulRescale");
    if !counts || before.is_some_and(|old| old.count == event.count) {
        return Vec::new();
    }
    let object = &event.involved_object;
    let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
    vec![format!("{} {}: {}: {}{times}", object.kind.to_lowercase(), object.name, event.reason, event.message)]
}

fn pod_told(before: &Pod, after: &Pod) -> Vec<String> {
    let mut told = Vec::new();
    if before.spec.node_name != after.spec.node_name {
        told.push(format!("bound to {}", after.spec.node_name));
    }
    let (old, new) = (&before.status, &after.status);
    let waits = |pod: &Pod| condition(&pod.status.conditions, "PodScheduled").filter(|c| !c.is_true()).cloned();
    if let Some(reason) = waits(after).filter(|reason| waits(before).is_none_or(|old| old.message != reason.message)) {
        told.push(format!("waits for a node: {}", reason.message));
    }
    if old.phase != new.phase {
        told.push(format!("{:?}", new.phase));
    }
    if old.reason != new.reason && !new.reason.is_empty() {
        told.push(format!("{}: {}", new.reason, new.message));
    }
    for container in new.init_container_statuses.iter().chain(&new.container_statuses) {
        let mut all = old.init_container_statuses.iter().chain(&old.container_statuses);
        let before = all.find(|c| c.name == container.name).cloned().unwrap_or_default();
        told.extend(container_told(&before, container).map(|what| format!("{} {what}", container.name)));
    }
    if before.is_ready() != after.is_ready() {
        told.push(if after.is_ready() { "ready".into() } else { "not ready".into() });
    }
    told
}

fn container_told(before: &ContainerStatus, after: &ContainerStatus) -> Option<String> {
    let end = |c: &ContainerStatus| c.state.terminated.clone().or_else(|| c.last_state.terminated.clone());
    let waiting = |c: &ContainerStatus| c.state.waiting.as_ref().map(|w| (w.reason.clone(), w.message.clone()));
    let mut told = Vec::new();
    if let Some(ended) = end(after).filter(|ended| end(before).is_none_or(|b| b.finished_at != ended.finished_at)) {
        told.push(format!("ended with {} ({})", ended.exit_code.0, ended.reason));
    }
    if let Some((reason, message)) = waiting(after).filter(|now| waiting(before).as_ref() != Some(now)) {
        told.push(if message.is_empty() { format!("waits: {reason}") } else { format!("waits: {reason}: {message}") });
    }
    let started = |c: &ContainerStatus| c.state.running.as_ref().map(|r| r.started_at);
    if started(after).is_some() && started(after) != started(before) {
        told.push(match after.restart_count.0 {
            0 => "runs".into(),
            restarts => format!("runs again, restart {restarts}"),
        });
    }
    (!told.is_empty()).then(|| told.join(", "))
}

fn node_told(before: &Node, after: &Node) -> Vec<String> {
    let mut told = Vec::new();
    let ready = |node: &Node| condition(&node.status.conditions, "Ready").cloned();
    if let Some(now) = ready(after).filter(|now| ready(before).is_none_or(|old| old.status != now.status)) {
        told.push(match now.status.as_str() {
            "True" => "ready".into(),
            _ => format!("not ready ({}): {}", now.reason, now.message),
        });
    }
    let taints = |node: &Node| -> Vec<String> {
        node.spec.taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
    };
    if taints(before) != taints(after) {
        let now = taints(after).join(" ");
        told.push(if now.is_empty() { "without taints".into() } else { format!("tainted {now}") });
    }
    if before.spec.unschedulable != after.spec.unschedulable {
        told.push(if after.spec.unschedulable { "cordoned".into() } else { "uncordoned".into() });
    }
    told
}

fn endpoints_told(slice: &EndpointSlice) -> String {
    let mut names: Vec<String> = Vec::new();
    for endpoint in &slice.endpoints {
        let name = endpoint.target_ref.as_ref().map_or_else(
            || endpoint.addresses.first().map(ToString::to_string).unwrap_or_default(),
            |target| target.name.to_string(),
        );
        let conditions = &endpoint.conditions;
        match (conditions.ready == Some(true), conditions.terminating == Some(true)) {
            (true, _) => names.push(name),
            (false, true) => names.push(format!("{name} (ending)")),
            (false, false) => names.push(format!("{name} (not ready)")),
        }
    }
    if names.is_empty() { "has no endpoints".into() } else { format!("has {}", names.join(", ")) }
}

/// The fields that changed, in one line; nothing when none of interest did.
fn fields_told(before: &Stored, after: &Stored) -> Option<String> {
    let (old, new) = (leaves(before), leaves(after));
    let mut told = Vec::new();
    for path in old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))) {
        match (old.get(path), new.get(path)) {
            (Some(from), Some(to)) if from != to => told.push(format!("{path} {from} -> {to}")),
            (None, Some(to)) => told.push(format!("{path} {to}")),
            (Some(from), None) => told.push(format!("{path} {from} -> none")),
            (Some(_) | None, _) => {}
        }
    }
    let more = told.len().saturating_sub(FIELDS);
    told.truncate(FIELDS);
    if more > 0 {
        told.push(format!("{more} more"));
    }
    (!told.is_empty()).then(|| told.join(", "))
}

/// The leaves of an object by path, without those that change with every write or only with time.
fn leaves(stored: &Stored) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    if let Ok(value) = serde_json::from_slice::<Value>(&stored.json()) {
        gather(&value, String::new(), &mut leaves);
    }
    leaves
}

fn gather(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            let still = ["resourceVersion", "generation", "observedGeneration", "managedFields", "uid"];
            for (name, value) in fields.iter().filter(|(name, _)| !still.contains(&name.as_str())) {
                if !(name.ends_with("Time") || name.ends_with("Timestamp")) {
                    gather(value, under(name), leaves);
                }
            }
        }
        // A condition in two words: its message says what its reason does.
        Value::Array(items) if path.ends_with("conditions") => {
            for item in items {
                let text = |field: &str| item[field].as_str().unwrap_or_default();
                leaves.insert(under(text("type")), format!("{} ({})", text("status"), text("reason")));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = item["type"].as_str().or(item["name"].as_str());
                gather(item, under(name.unwrap_or(&index.to_string())), leaves);
            }
        }
        Value::String(text) => drop(leaves.insert(path, text.clone())),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => drop(leaves.insert(path, value.to_string())),
    }
}
