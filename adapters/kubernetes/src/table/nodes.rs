//! The table of nodes.

use super::{AGE, NAME, NONE, Printer, age, column, condition, elements, name, text, text_or, wide};
use serde_json::Value;

pub(super) const PRINTER: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "Whether the node is ready and takes pods."),
        column("Roles", "The roles that labels give the node."),
        AGE,
        column("Version", "The version of the node's agent."),
        wide("Internal-IP", "The address within the cluster."),
        wide("External-IP", "The address outside the cluster."),
        wide("OS-Image", "The operating system."),
        wide("Kernel-Version", "The kernel."),
        wide("Container-Runtime", "The container runtime and its version."),
    ],
    cells,
};

fn cells(node: &Value, now: i64) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    vec![
        name(node),
        state(node).into(),
        roles(node).into(),
        age(node, now),
        text(info, "kubeletVersion").into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        text_or(info, "osImage", "<unknown>").into(),
        text_or(info, "kernelVersion", "<unknown>").into(),
        text_or(info, "containerRuntimeVersion", "<unknown>").into(),
    ]
}

fn state(node: &Value) -> String {
    let ready = match condition(elements(&node["status"], "conditions"), "Ready") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node["spec"]["unschedulable"] == true;
    format!("{ready}{}", if cordoned { ",SchedulingDisabled" } else { "" })
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let addresses = elements(&node["status"], "addresses");
    addresses.iter().find(|a| text(a, "type") == kind).map_or(NONE, |a| text_or(a, "address", NONE))
}
