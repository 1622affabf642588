//! `steer top`: what pods and nodes use, as their nodes have measured it.

use crate::client::{Api, Call, ScopeFlags};
use crate::out;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use steersman::domain::Quantity;

/// The arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Of what
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    scope: ScopeFlags,
    /// Only what has these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    selector: String,
    /// What the largest comes first of; without it, by name
    #[arg(long, value_enum)]
    sort_by: Option<Resource>,
    /// No line with the titles
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    #[value(alias = "pod", alias = "po")]
    Pods,
    #[value(alias = "node", alias = "no")]
    Nodes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Resource {
    Cpu,
    Memory,
}

/// Thousandths of a core, and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    cpu_milli: i64,
    memory_bytes: i64,
}

impl Used {
    fn of(usage: &Value) -> Self {
        let amount = |name: &str| usage[name].as_str().and_then(|text| Quantity::parse(text).ok());
        Used {
            cpu_milli: amount("cpu").map_or(0, |cpu| cpu.milli()),
            memory_bytes: amount("memory").map_or(0, |memory| memory.value()),
        }
    }

    fn plus(self, other: Used) -> Self {
        Used {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn cells(self) -> [String; 2] {
        [format!("{}m", self.cpu_milli), format!("{}Mi", self.memory_bytes >> 20)]
    }
}

/// A line: namespace, name, what it uses, what it has.
type Line = (String, String, Used, Option<Used>);

/// Runs `top`.
///
/// # Errors
/// As the server refuses.
pub(crate) async fn run(top: Top) -> anyhow::Result<()> {
    let api = Api::new(&top.scope.target.client)?;
    let scope = top.scope.scope(&api.namespace);
    let path = match (top.what, scope.namespace()) {
        (What::Nodes, _) => "/apis/metrics.k8s.io/v1beta1/nodes".to_owned(),
        (What::Pods, Some(namespace)) => format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"),
        (What::Pods, None) => "/apis/metrics.k8s.io/v1beta1/pods".to_owned(),
    };
    let measured = api.list(&Call::get(path).query("labelSelector", top.selector.as_str())).await?;
    let room: BTreeMap<String, Used> = match top.what {
        What::Pods => BTreeMap::new(),
        What::Nodes => {
            let nodes = api.list(&Call::get("/api/v1/nodes")).await?;
            nodes.iter().map(|node| (name(node), Used::of(&node["status"]["allocatable"]))).collect()
        }
    };
    let line = |metrics: &Value| -> Line {
        let containers = metrics["containers"].as_array().into_iter().flatten().map(|c| Used::of(&c["usage"]));
        let used = containers.fold(Used::of(&metrics["usage"]), Used::plus);
        let namespace = metrics["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        (namespace, name(metrics), used, room.get(&name(metrics)).copied())
    };
    let mut lines: Vec<Line> = measured.iter().map(line).collect();
    if lines.is_empty() {
        out::note("nothing is measured yet: a pod shows once it has run for a whole window");
        return Ok(());
    }
    match top.sort_by {
        None => lines.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1))),
        Some(Resource::Cpu) => lines.sort_by_key(|line| Reverse(line.2.cpu_milli)),
        Some(Resource::Memory) => lines.sort_by_key(|line| Reverse(line.2.memory_bytes)),
    }
    let namespaces = top.what == What::Pods && scope.namespace().is_none();
    let text = out::columns(&table(top.what, namespaces, &lines), out::coloured());
    text.lines().skip(usize::from(top.no_headers)).try_for_each(out::say)
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The table, head first.
fn table(what: What, namespaces: bool, lines: &[Line]) -> Vec<Vec<String>> {
    let mut head = vec!["NAME", "CPU", "MEMORY"];
    if what == What::Nodes {
        head = vec!["NAME", "CPU", "CPU%", "MEMORY", "MEMORY%"];
    }
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    let mut table = vec![head.into_iter().map(str::to_owned).collect()];
    for (namespace, name, used, room) in lines {
        let [cpu, memory] = used.cells();
        let percent = |part: i64, of: fn(&Used) -> i64| match room.as_ref().map(of) {
            Some(whole) if whole > 0 => format!("{}%", part.saturating_mul(100) / whole),
            _ => "<unknown>".to_owned(),
        };
        let mut row = if namespaces { vec![namespace.clone()] } else { Vec::new() };
        row.push(name.clone());
        match what {
            What::Pods => row.extend([cpu, memory]),
            What::Nodes => row.extend([
                cpu,
                percent(used.cpu_milli, |room| room.cpu_milli),
                memory,
                percent(used.memory_bytes, |room| room.memory_bytes),
            ]),
        }
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_is_read_in_every_unit_and_shown_beside_what_there_is() {
        let used = Used::of(&json!({"cpu": "250000000n", "memory": "2048Ki"}));
        assert_eq!(used, Used { cpu_milli: 250, memory_bytes: 2 << 20 });
        assert_eq!(Used::of(&json!({"cpu": "1"})), Used { cpu_milli: 1000, memory_bytes: 0 });
        let room = Some(Used { cpu_milli: 1000, memory_bytes: 8 << 20 });
        let lines = [("d".to_owned(), "n".to_owned(), used, room), ("d".to_owned(), "m".to_owned(), used, None)];
        let nodes = table(What::Nodes, false, &lines);
        assert_eq!(nodes[1], ["n", "250m", "25%", "2Mi", "25%"]);
        assert_eq!(nodes[2], ["m", "250m", "<unknown>", "2Mi", "<unknown>"]);
        assert_eq!(table(What::Pods, true, &lines)[1], ["d", "n", "250m", "2Mi"]);
    }
}
