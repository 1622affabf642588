//! The parts of a description that belong to one kind.

use super::{Page, joined, plain};
use crate::client::Resource;
use crate::out;
use serde_json::{Map, Value};

/// A kind without a form of its own: all its fields as trees; of secrets only the sizes.
pub(super) fn any(page: &mut Page, resource: &Resource, object: &Value) {
    const SHOWN: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];
    for (name, value) in object.as_object().into_iter().flatten().filter(|(name, _)| !SHOWN.contains(&name.as_str())) {
        let mut title = name.clone();
        if let Some(first) = title.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        match value {
            Value::Object(data) if resource.is("", "Secret") => page.tree(&title, &sizes(data)),
            Value::Object(_) | Value::Array(_) => page.tree(&title, value),
            other => page.field(&title, plain(other)),
        }
    }
    page.tree("Status", &without_conditions(&object["status"]));
}

fn sizes(data: &Map<String, Value>) -> Value {
    let size = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).map_or(text.len(), |bytes| bytes.len())
    };
    let sized = |(name, value): (&String, &Value)| {
        (name.clone(), Value::from(format!("{} bytes", size(value.as_str().unwrap_or_default()))))
    };
    Value::Object(data.iter().map(sized).collect())
}

fn without_conditions(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(status) = status.as_object_mut() {
        status.remove("conditions");
    }
    status
}

pub(super) fn pod(page: &mut Page, object: &Value, now: i64) {
    let (spec, status) = (&object["spec"], &object["status"]);
    page.field("Node", plain(&spec["nodeName"]));
    let mut phase = plain(&status["phase"]);
    for detail in ["reason", "message"] {
        if let Some(text) = status[detail].as_str() {
            phase.push_str(&format!(", {text}"));
        }
    }
    page.field("Status", phase);
    page.field("IP", plain(&status["podIP"]));
    for (field, name) in [
        ("runtimeClassName", "Runtime"),
        ("serviceAccountName", "Service Account"),
        ("restartPolicy", "Restart Policy"),
        ("priorityClassName", "Priority"),
        ("schedulerName", "Scheduler"),
    ] {
        if spec[field].is_string() {
            page.field(name, plain(&spec[field]));
        }
    }
    for (title, list, statuses) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ] {
        let Some(containers) = spec[list].as_array().filter(|list| !list.is_empty()) else { continue };
        page.line(format!("{title}:"));
        for container in containers {
            let of = |status: &&Value| status["name"] == container["name"];
            let status = status[statuses].as_array().into_iter().flatten().find(of);
            self::container(page, container, status.unwrap_or(&Value::Null), now);
        }
    }
    page.tree("Volumes", &spec["volumes"]);
    page.tree("Node Selector", &spec["nodeSelector"]);
    page.tree("Tolerations", &spec["tolerations"]);
}

fn container(page: &mut Page, container: &Value, status: &Value, now: i64) {
    page.line(format!("  {}:", plain(&container["name"])));
    let mut field = |name: &str, value: String| page.line(format!("    {:<16}{value}", format!("{name}:")));
    if container["image"].is_string() {
        field("Image", plain(&container["image"]));
    }
    for (name, words) in [("Command", "command"), ("Args", "args")] {
        if container[words].is_array() {
            let words = container[words].as_array().into_iter().flatten().map(plain).collect::<Vec<_>>();
            field(name, words.join(" "));
        }
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let name = port["name"].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
        field("Port", format!("{}/{protocol}{name}", plain(&port["containerPort"])));
    }
    field("State", state(&status["state"], now));
    if status["lastState"].as_object().is_some_and(|last| !last.is_empty()) {
        field("Last State", state(&status["lastState"], now));
    }
    field("Ready", plain(&Value::Bool(status["ready"] == true)));
    field("Restarts", status["restartCount"].as_i64().unwrap_or(0).to_string());
    for (title, part) in [("Requests", "requests"), ("Limits", "limits")] {
        if let Some(list) = container["resources"][part].as_object().filter(|list| !list.is_empty()) {
            let list: Vec<_> = list.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            field(title, list.join(", "));
        }
    }
    for part in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "envFrom", "env", "volumeMounts"] {
        let inner = super::tree(&container[part], 6);
        if !inner.is_empty() {
            page.line(format!("    {part}:"));
            page.text.push_str(&inner);
        }
    }
}

/// The state of a container as a sentence.
pub(crate) fn state(state: &Value, now: i64) -> String {
    let detail = |state: &Value| {
        let message = state["message"].as_str().filter(|text| !text.is_empty());
        message.map(|text| format!(" ({text})")).unwrap_or_default()
    };
    if let Some(running) = state.get("running") {
        return format!("Running for {}", out::age(&running["startedAt"], now));
    }
    if let Some(ended) = state.get("terminated") {
        let signal = ended["signal"].as_i64().filter(|signal| *signal != 0);
        let signal = signal.map(|signal| format!(", signal {signal}")).unwrap_or_default();
        let ago = out::age(&ended["finishedAt"], now);
        let reason = ended["reason"].as_str().unwrap_or("Ended");
        let code = plain(&ended["exitCode"]);
        return format!("Terminated: {reason} (exit code {code}{signal}, {ago} ago){}", detail(ended));
    }
    match state.get("waiting") {
        Some(waiting) => format!("Waiting: {}{}", waiting["reason"].as_str().unwrap_or("unknown"), detail(waiting)),
        None => "Waiting: not started".to_owned(),
    }
}

pub(super) fn deployment(page: &mut Page, object: &Value) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let count = |value: &Value| value.as_i64().unwrap_or(0);
    page.field("Selector", crate::table::all_labels(&spec["selector"]["matchLabels"]));
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let available = count(&status["availableReplicas"]);
    page.field(
        "Replicas",
        format!(
            "{wanted} desired, {} updated, {} in all, {available} available, {} unavailable",
            count(&status["updatedReplicas"]),
            count(&status["replicas"]),
            status["unavailableReplicas"].as_i64().unwrap_or_else(|| (wanted - available).max(0)),
        ),
    );
    page.field("Paused", plain(&Value::Bool(spec["paused"] == true)));
    page.tree("Strategy", &spec["strategy"]);
    page.tree("Pod Template", &spec["template"]);
}

pub(super) fn node(page: &mut Page, object: &Value, pods: &[Value]) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let taints = spec["taints"].as_array().into_iter().flatten();
    let taint = |taint: &Value| {
        let value = taint["value"].as_str().map(|value| format!("={value}")).unwrap_or_default();
        Value::from(format!("{}{value}:{}", plain(&taint["key"]), plain(&taint["effect"])))
    };
    page.field("Taints", joined(&taints.map(taint).collect()));
    page.field("Unschedulable", plain(&Value::Bool(spec["unschedulable"] == true)));
    for address in status["addresses"].as_array().into_iter().flatten() {
        page.field(&plain(&address["type"]), plain(&address["address"]));
    }
    let mut lines = vec![["RESOURCE", "CAPACITY", "ALLOCATABLE"].map(str::to_owned).to_vec()];
    for (name, capacity) in status["capacity"].as_object().into_iter().flatten() {
        lines.push(vec![name.clone(), plain(capacity), plain(&status["allocatable"][name])]);
    }
    page.table("Resources", &lines);
    page.tree("System", &status["nodeInfo"]);
    let mut lines = vec![["NAMESPACE", "NAME", "PHASE", "CPU REQUESTS", "MEMORY REQUESTS"].map(str::to_owned).to_vec()];
    for pod in pods {
        let requests = |what: &str| {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            let each = containers.filter_map(|container| container["resources"]["requests"][what].as_str());
            let each: Vec<_> = each.collect();
            if each.is_empty() { "0".to_owned() } else { each.join("+") }
        };
        let metadata = &pod["metadata"];
        let phase = plain(&pod["status"]["phase"]);
        lines.push(vec![
            plain(&metadata["namespace"]),
            plain(&metadata["name"]),
            phase,
            requests("cpu"),
            requests("memory"),
        ]);
    }
    page.table(&format!("Pods ({})", pods.len()), &lines);
}

pub(super) fn service(page: &mut Page, object: &Value, slices: &[Value]) {
    let spec = &object["spec"];
    page.field("Selector", crate::table::all_labels(&spec["selector"]));
    page.field("Type", plain(&spec["type"]));
    page.field("IP", plain(&spec["clusterIP"]));
    page.field("Session Affinity", plain(&spec["sessionAffinity"]));
    for port in spec["ports"].as_array().into_iter().flatten() {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let name = port["name"].as_str().unwrap_or("<unnamed>");
        page.field("Port", format!("{name} {}/{protocol} -> {}", plain(&port["port"]), plain(target)));
        if !port["nodePort"].is_null() {
            page.field("NodePort", format!("{name} {}/{protocol}", plain(&port["nodePort"])));
        }
        let endpoints = endpoints(slices, &port["name"]);
        page.field("Endpoints", if endpoints.is_empty() { "<none>".to_owned() } else { endpoints.join(", ") });
    }
}

/// The ready addresses behind a port of a service.
fn endpoints(slices: &[Value], port_name: &Value) -> Vec<String> {
    let same = |name: &Value| name.as_str().unwrap_or_default() == port_name.as_str().unwrap_or_default();
    let mut found = Vec::new();
    for slice in slices {
        let ports = slice["ports"].as_array().into_iter().flatten();
        for port in ports.filter(|port| same(&port["name"])) {
            // An endpoint of unknown readiness counts as ready, as the API says.
            let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
            for endpoint in slice["endpoints"].as_array().into_iter().flatten().filter(ready) {
                let addresses = endpoint["addresses"].as_array().into_iter().flatten();
                found.extend(addresses.map(|address| format!("{}:{}", plain(address), plain(&port["port"]))));
            }
        }
    }
    found.sort_unstable();
    found
}
