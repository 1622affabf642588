//! The nodes of a what-if: Kubernetes nodes as `kubectl get nodes -o yaml` prints them, a short form, or a table.

use super::csv::{self, Row};
use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use steersman::domain::ledger::Resources;
use steersman::domain::{Kind, Node, Object, Resource as _};
use steersman::simulation::SimulatedNode;
use steersman_kubernetes::{Gvk, check_fields, flatten_lists, yaml_documents};

/// Pods on a node that says nothing of them, as in Kubernetes.
const PODS: i64 = 110;
/// More nodes than this are taken for a mistake.
const MOST: usize = 100_000;
/// The label by which the model of a node's GPUs is known.
pub(super) const GPU_MODEL: &str = "nvidia.com/gpu.product";
/// The fields of the short form.
const FIELDS: [&str; 9] =
    ["name", "count", "cpu", "memory", "pods", "ephemeralStorage", "resources", "labels", "taints"];
/// Labels that every node sets for itself.
const OWN_LABELS: [&str; 3] = ["kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"];

/// A node to simulate.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) node: SimulatedNode,
    pub(super) cordoned: bool,
}

/// Reads the nodes of a file: YAML or JSON, or a table when its name ends with `.csv`.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Spec>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let specs = if path.extension().is_some_and(|end| end == "csv") { table(&text) } else { documents(&text) };
    specs.with_context(|| format!("in {}", path.display()))
}

fn documents(text: &str) -> anyhow::Result<Vec<Spec>> {
    let mut nodes = Vec::new();
    for document in flatten_lists(yaml_documents(text)?) {
        match &document["nodes"] {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    nodes.extend(short(item).with_context(|| format!("nodes[{at}]"))?);
                }
            }
            Value::Null if document["kind"] == "Node" => nodes.push(document),
            _ => bail!(
                "there is a document that is neither a Node nor a list `nodes:` of them, such as\n\
                 nodes:\n- {{name: small, count: 3, cpu: 4, memory: 16Gi, labels: {{topology.kubernetes.io/zone: a}}}}"
            ),
        }
        ensure!(nodes.len() <= MOST, "there are more than {MOST} nodes");
    }
    all(nodes)
}

/// The Kubernetes nodes that one entry of the short form stands for.
fn short(item: &Value) -> anyhow::Result<Vec<Value>> {
    let fields = item.as_object().ok_or_else(|| anyhow!("it must be an object with {}", FIELDS.join(", ")))?;
    if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        bail!("there is no field {unknown:?}; there are {}", FIELDS.join(", "));
    }
    let name = item["name"].as_str().filter(|name| !name.is_empty()).context("it needs a name")?;
    for needed in ["cpu", "memory"] {
        ensure!(!item[needed].is_null(), "{name} needs {needed}");
    }
    let count =
        match &item["count"] {
            Value::Null => None,
            count => Some(count.as_u64().filter(|count| (1..=MOST as u64).contains(count)).with_context(|| {
                format!("the count of {name} is {count}: it must be a whole number from 1 to {MOST}")
            })?),
        };
    let mut amounts = match &item["resources"] {
        Value::Null => Map::new(),
        Value::Object(amounts) => amounts.clone(),
        _ => bail!("the resources of {name} must be an object, such as {{nvidia.com/gpu: 8}}"),
    };
    for (field, resource) in
        [("cpu", "cpu"), ("memory", "memory"), ("pods", "pods"), ("ephemeralStorage", "ephemeral-storage")]
    {
        if !item[field].is_null() {
            amounts.insert(resource.to_owned(), item[field].clone());
        }
    }
    let node = |name: String| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": item["labels"]},
            "spec": {"taints": item["taints"]}, "status": {"allocatable": amounts},
        })
    };
    Ok(match count {
        None => vec![node(name.to_owned())],
        Some(count) => (1..=count).map(|number| node(format!("{name}-{number}"))).collect(),
    })
}

/// A table of nodes; see `docs/guides/simulate.md` for its columns.
fn table(text: &str) -> anyhow::Result<Vec<Spec>> {
    let node = |row: &Row<'_>| -> anyhow::Result<Value> {
        let name = row.text("name").or_else(|| row.text("sn")).context("there must be a column name (or sn)")?;
        let mut amounts = row.amounts()?;
        if let Some(gpus) = row.number("gpu")?.filter(|gpus| *gpus > 0.0) {
            amounts.insert("nvidia.com/gpu".into(), csv::whole(gpus).into());
        }
        let mut labels = Map::new();
        if let Some(model) = row.text("model") {
            labels.insert(GPU_MODEL.into(), model.into());
        }
        Ok(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "status": {"allocatable": amounts},
        }))
    };
    let (nodes, unused) = csv::read(text, node)?;
    csv::tell_unused(&unused);
    all(nodes)
}

fn all(nodes: Vec<Value>) -> anyhow::Result<Vec<Spec>> {
    ensure!(!nodes.is_empty(), "there is no node");
    let mut names = BTreeSet::new();
    let mut specs = Vec::with_capacity(nodes.len());
    for value in nodes {
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        specs.push(spec(value).with_context(|| format!("node {name:?}"))?);
        ensure!(names.insert(name.clone()), "there are two nodes {name:?}");
    }
    Ok(specs)
}

fn spec(value: Value) -> anyhow::Result<Spec> {
    let problems = check_fields(Gvk { group: "", version: "v1", kind: "Node" }, &value);
    ensure!(problems.is_empty(), "{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let object = Object::from_value(Kind::Node, value)?;
    let node: &Arc<Node> = Node::from_object(&object).context("it is no node")?;
    let status = &node.status;
    let amounts = if status.allocatable.is_empty() { &status.capacity } else { &status.allocatable };
    ensure!(!amounts.is_empty(), "it has neither status.allocatable nor status.capacity");
    let mut size = Resources::of_list(amounts);
    ensure!(size.cpu_milli >= 0 && size.memory_bytes >= 0 && size.pods >= 0, "it has less than nothing of a resource");
    if !amounts.contains_key("pods") {
        size.pods = PODS;
    }
    let mut simulated = SimulatedNode::new(&node.metadata.name, size);
    for (key, text) in node.metadata.labels.iter().filter(|(key, _)| !OWN_LABELS.contains(&key.as_str())) {
        simulated = simulated.label(key, text);
    }
    // Those of its state then are not those of its state here.
    for taint in node.spec.taints.iter().filter(|taint| !taint.key.starts_with("node.kubernetes.io/")) {
        simulated = simulated.taint(taint.clone());
    }
    Ok(Spec { node: simulated, cordoned: node.spec.unschedulable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let specs = documents(text).map_err(|error| format!("{error:#}"))?;
        Ok(specs.iter().map(|spec| format!("{:?}", spec.node)).collect())
    }

    #[test]
    fn all_forms_are_read() {
        let short = "nodes:\n- {name: a, count: 2, cpu: 4, memory: 8Gi, labels: {zone: x}, resources: {nvidia.com/gpu: 2},\n   \
                     taints: [{key: gpu, effect: NoSchedule}]}\n- {name: b, cpu: 500m, memory: 1Gi, pods: 5}";
        let read = names(short).expect("well-formed");
        assert_eq!(read.len(), 3);
        for said in ["\"a-1\"", "cpu_milli: 4000", "pods: 110", "nvidia.com/gpu", "zone", "NoSchedule"] {
            assert!(read[0].contains(said), "{said}: {}", read[0]);
        }
        assert!(read[2].contains("\"b\"") && read[2].contains("pods: 5") && read[2].contains("cpu_milli: 500"));
        let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: old, labels: \
                    {kubernetes.io/hostname: old, zone: east}}\n  spec: {unschedulable: true, taints: [{key: \
                    node.kubernetes.io/unschedulable, effect: NoSchedule}]}\n  status: {capacity: {cpu: 8, memory: 1Gi}, \
                    allocatable: {cpu: 7, memory: 1Gi, pods: 20}}";
        let specs = documents(list).expect("well-formed");
        let shown = format!("{specs:?}");
        assert!(specs[0].cordoned && shown.contains("cpu_milli: 7000"), "{shown}");
        assert!(!shown.contains("hostname") && !shown.contains("NoSchedule"), "{shown}");
        let rows = table("sn,cpu_milli,memory_mib,gpu,model\nx,64000,1024,2,P100\ny,1000,1,0,\n").expect("well-formed");
        let shown = format!("{rows:?}");
        assert!(shown.contains("P100") && shown.contains("memory_bytes: 1073741824"), "{shown}");
    }

    #[test]
    fn what_is_no_node_is_refused_with_its_place() {
        for (text, said) in [
            ("kind: Pod", "neither a Node nor a list `nodes:`"),
            ("nodes: []", "there is no node"),
            ("nodes: [{cpu: 1, memory: 1Gi}]", "nodes[0]: it needs a name"),
            ("nodes: [{name: a, memory: 1Gi}]", "a needs cpu"),
            ("nodes: [{name: a, cpu: 1, memory: 1Gi, colour: red}]", "no field \"colour\"; there are name"),
            ("nodes: [{name: a, count: 0, cpu: 1, memory: 1Gi}]", "from 1 to"),
            ("nodes: [{name: a, cpu: much, memory: 1Gi}]", "status.allocatable.cpu"),
            ("nodes: [{name: a, cpu: -1, memory: 1Gi}]", "less than nothing"),
            ("nodes: [{name: a, cpu: 1, memory: 1}, {name: a, cpu: 1, memory: 1}]", "two nodes \"a\""),
            ("{apiVersion: v1, kind: Node, metadata: {name: a}}", "neither status.allocatable nor"),
        ] {
            let error = names(text).expect_err(said);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
