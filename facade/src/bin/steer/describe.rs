//! `steer describe`: all of an object for people: who it is, what it shall be, how it is, and what happened to it.

mod kinds;

use crate::client::{self, Api, Call, Discovery, Resource, ScopeFlags};
use crate::get::Select;
use crate::{events, out};
use anyhow::bail;
use clap::Args;
use serde_json::Value;

/// The arguments of `describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// TYPE, TYPE NAME…, TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    #[command(flatten)]
    scope: ScopeFlags,
    #[command(flatten)]
    select: Select,
}

/// What is known about an object beside itself.
#[derive(Debug, Default)]
struct Around {
    events: Vec<Value>,
    /// The pods of a node.
    pods: Vec<Value>,
    /// The endpoint slices of a service.
    slices: Vec<Value>,
}

/// Runs `describe`.
///
/// # Errors
/// As the server refuses, or for words that name nothing.
pub(crate) async fn run(describe: Describe) -> anyhow::Result<()> {
    let api = Api::new(&describe.scope.target.client)?;
    let scope = describe.scope.scope(&api.namespace);
    let mut printed = 0;
    for target in client::resolve(&describe.what, &Discovery::load(&api).await?)? {
        let path = |name| target.resource.path(scope.namespace(), name);
        let mut objects = Vec::new();
        if target.names.is_empty() {
            objects = api.list(&describe.select.apply(Call::get(path(None)))).await?;
        } else if describe.scope.all_namespaces || !describe.select.is_empty() {
            bail!("a selector or --all-namespaces cannot go with a name");
        }
        for name in &target.names {
            objects.push(api.json(Call::get(path(Some(name)))).await?);
        }
        for object in objects {
            let around = around(&api, &target.resource, &object).await?;
            let separator = if printed > 0 { "\n\n" } else { "" };
            out::print(&format!("{separator}{}", render(&target.resource, &object, &around, out::now())))?;
            printed += 1;
        }
    }
    if printed == 0 {
        out::note("No resources found");
    }
    Ok(())
}

async fn around(api: &Api, resource: &Resource, object: &Value) -> anyhow::Result<Around> {
    let mut around = Around { events: events::of(api, object).await?, ..Around::default() };
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if resource.is("", "Node") {
        let pods = Call::get("/api/v1/pods").query("fieldSelector", format!("spec.nodeName={name}"));
        around.pods = api.list(&pods).await?;
    } else if resource.is("", "Service") {
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let slices = Call::get(path).query("labelSelector", format!("kubernetes.io/service-name={name}"));
        around.slices = api.list(&slices).await?;
    }
    Ok(around)
}

fn render(resource: &Resource, object: &Value, around: &Around, now: i64) -> String {
    let mut page = Page::default();
    identity(&mut page, object, now);
    if resource.is("", "Pod") {
        kinds::pod(&mut page, object, now);
    } else if resource.is("apps", "Deployment") {
        kinds::deployment(&mut page, object);
    } else if resource.is("", "Node") {
        kinds::node(&mut page, object, &around.pods);
    } else if resource.is("", "Service") {
        kinds::service(&mut page, object, &around.slices);
    } else {
        kinds::any(&mut page, resource, object);
    }
    conditions(&mut page, object, now);
    if around.events.is_empty() {
        page.field("Events", "<none>");
    } else {
        page.table("Events", &events::short_table(&around.events, now));
    }
    page.text
}

fn identity(page: &mut Page, object: &Value, now: i64) {
    let metadata = &object["metadata"];
    page.field("Name", plain(&metadata["name"]));
    if metadata["namespace"].is_string() {
        page.field("Namespace", plain(&metadata["namespace"]));
    }
    page.pairs("Labels", &metadata["labels"]);
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        // A copy of the whole object, for machines.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    page.pairs("Annotations", &annotations);
    let created = &metadata["creationTimestamp"];
    page.field("Created", format!("{} ({} ago)", plain(created), out::age(created, now)));
    if metadata["deletionTimestamp"].is_string() {
        page.field("Deleting", format!("gone by {}", plain(&metadata["deletionTimestamp"])));
        page.field("Held By", joined(&metadata["finalizers"]));
    }
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        if owner["controller"] == true {
            page.field("Controlled By", format!("{}/{}", plain(&owner["kind"]), plain(&owner["name"])));
        }
    }
}

fn conditions(page: &mut Page, object: &Value, now: i64) {
    let Some(conditions) = object["status"]["conditions"].as_array().filter(|list| !list.is_empty()) else { return };
    page.table("Conditions", &condition_table(conditions, now));
}

/// A table of conditions, head first.
pub(crate) fn condition_table(conditions: &[Value], now: i64) -> Vec<Vec<String>> {
    let mut lines = vec![["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"].map(str::to_owned).to_vec()];
    for condition in conditions {
        let text = |field: &str| condition[field].as_str().unwrap_or_default().replace('\n', " ");
        let since = out::age(&condition["lastTransitionTime"], now);
        lines.push(vec![text("type"), text("status"), since, text("reason"), text("message")]);
    }
    lines
}

/// The text that is being written.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref().trim_end());
        self.text.push('\n');
    }

    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.line(format!("{:<18}{}", format!("{name}:"), value.as_ref()));
    }

    fn pairs(&mut self, name: &str, pairs: &Value) {
        let pairs = pairs.as_object().filter(|pairs| !pairs.is_empty());
        let Some(pairs) = pairs else { return self.field(name, "<none>") };
        for (at, (key, value)) in pairs.iter().enumerate() {
            let text = format!("{key}={}", plain(value).replace('\n', " "));
            if at == 0 { self.field(name, text) } else { self.line(format!("{:18}{text}", "")) }
        }
    }

    fn tree(&mut self, name: &str, value: &Value) {
        if is_empty(value) {
            return;
        }
        self.line(format!("{name}:"));
        self.text.push_str(&tree(value, 2));
    }

    fn table(&mut self, name: &str, lines: &[Vec<String>]) {
        self.line(format!("{name}:"));
        for line in out::columns(lines, false).lines() {
            self.line(format!("  {line}"));
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value as one line.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A list as one line, or `<none>`.
fn joined(list: &Value) -> String {
    let parts: Vec<_> = list.as_array().into_iter().flatten().map(plain).collect();
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(", ") }
}

/// A value as an indented tree, much like YAML; each line ends with a line end.
pub(crate) fn tree(value: &Value, indent: usize) -> String {
    let mut text = String::new();
    branch(value, indent, &mut text);
    text
}

fn branch(value: &Value, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
                match leaf(value) {
                    Some(leaf) => text.push_str(&format!("{margin}{name}: {leaf}\n")),
                    None => {
                        text.push_str(&format!("{margin}{name}:\n"));
                        branch(value, indent + 2, text);
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match leaf(item) {
                    Some(leaf) => text.push_str(&format!("{margin}- {leaf}\n")),
                    None => {
                        let inner = tree(item, indent + 2);
                        // The first line of the item stands behind the dash.
                        text.push_str(&format!("{margin}- {}", inner.trim_start_matches(' ')));
                    }
                }
            }
        }
        other => {
            for line in plain(other).lines() {
                text.push_str(&format!("{margin}{line}\n"));
            }
        }
    }
}

/// A value that fits behind its name.
fn leaf(value: &Value) -> Option<String> {
    match value {
        Value::Object(_) => None,
        Value::Array(items) => {
            let short = items.len() <= 8
                && items.iter().all(|item| matches!(item, Value::String(s) if s.len() < 40 && !s.contains('\n')));
            short.then(|| Value::Array(items.clone()).to_string())
        }
        Value::String(text) if text.contains('\n') => None,
        other => Some(plain(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(group: &str, kind: &str) -> Resource {
        Resource { group: group.to_owned(), kind: kind.to_owned(), ..Resource::default() }
    }

    #[test]
    fn trees_leave_out_what_is_empty() {
        let value = json!({"a": {"b": [{"c": 1, "d": "x\ny"}, {"c": 2}], "e": {}, "f": null}, "g": ["p", "q"]});
        let want =
            "  a:\n    b:\n      - c: 1\n        d:\n          x\n          y\n      - c: 2\n  g: [\"p\",\"q\"]\n";
        assert_eq!(tree(&value, 2), want);
    }

    #[test]
    fn any_kind_has_its_identity_conditions_and_events() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "labels": {"x": "1", "y": "2"}, "creationTimestamp": "1970-01-01T00:00:00Z",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"size": 3},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Why", "message": "m"}]}
        });
        let around = Around { events: vec![json!({"reason": "Made", "message": "it was made"})], ..Around::default() };
        let text = render(&resource("x", "Thing"), &object, &around, 90);
        for part in [
            "Name:             a\nNamespace:        n\nLabels:           x=1\n                  y=2\nAnnotations:      <none>\n",
            "Created:          1970-01-01T00:00:00Z (90s ago)\n",
            "Spec:\n  size: 3\n",
            "Why      m\n",
            "Made     it was made\n",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "aGVsbG8="}});
        let text = render(&resource("", "Secret"), &secret, &Around::default(), 0);
        assert!(text.contains("password: 5 bytes") && !text.contains("aGVsbG8"), "{text}");
    }

    #[test]
    fn pods_tell_of_their_containers() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i", "command": ["run", "x"], "resources": {"limits": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "podIP": "127.72.0.1", "containerStatuses": [{"name": "c", "ready": false, "restartCount": 2,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}]}
        });
        let text = render(&resource("", "Pod"), &pod, &Around::default(), 0);
        for part in [
            "Node:             n1",
            "Waiting: CrashLoopBackOff (back-off 10s)",
            "Terminated: Error (exit code 3",
            "Restarts:       2",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn deployments_nodes_and_services_are_summed_up() {
        let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {}},
            "status": {"replicas": 3, "updatedReplicas": 2, "availableReplicas": 1}});
        let text = render(&resource("apps", "Deployment"), &deployment, &Around::default(), 0);
        assert!(text.contains("3 desired, 2 updated, 3 in all, 1 available, 2 unavailable"), "{text}");
        let pod = json!({"metadata": {"namespace": "x", "name": "p"}, "spec": {"containers": [{"resources": {"requests": {"cpu": "50m"}}}]}});
        let node = json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true}, "status": {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "1"}}});
        let around = Around { pods: vec![pod], ..Around::default() };
        let text = render(&resource("", "Node"), &node, &around, 0);
        assert!(
            text.contains("Unschedulable:    true") && text.contains("cpu        2          1") && text.contains("50m"),
            "{text}"
        );
        let service = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "127.64.0.1", "ports": [{"name": "h", "port": 80, "targetPort": "http"}]}});
        let slice = json!({"ports": [{"name": "h", "port": 8080}], "endpoints": [
            {"addresses": ["127.72.0.2"], "conditions": {"ready": true}}, {"addresses": ["127.72.0.3"], "conditions": {"ready": false}}]});
        let around = Around { slices: vec![slice], ..Around::default() };
        let text = render(&resource("", "Service"), &service, &around, 0);
        assert!(
            text.contains("h 80/TCP -> http") && text.contains("127.72.0.2:8080\n") && !text.contains("127.72.0.3"),
            "{text}"
        );
    }
}
