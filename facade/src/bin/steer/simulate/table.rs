//! A report as people read it.

use super::report::{Failure, NodeReport, Report};
use crate::out;
use std::collections::BTreeMap;

/// So many nodes are shown; of more, those that carry most.
const NODES: usize = 20;
/// So many workloads and reasons are shown.
const MOST: usize = 20;

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// `12.3 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Seconds as people say them: exact below two minutes, shortened above.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 120.0 && seconds.fract() != 0.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(clippy::cast_possible_truncation, reason = "spans of a simulation are far below 2^63 seconds")]
    let whole = seconds.round() as i64;
    out::duration(whole)
}

/// An amount of a resource as Kubernetes would write it, shortened.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn amount(resource: &str, amount: i64) -> String {
    let shown = match resource {
        _ if amount == 0 => return "0".into(),
        "cpu" => format!("{:.1}", amount as f64 / 1000.0),
        "memory" => format!("{:.1}Gi", amount as f64 / f64::from(1 << 30)),
        _ => return amount.to_string(),
    };
    shown.replace(".0Gi", "Gi").trim_end_matches(".0").to_owned()
}

/// The report in tables.
pub(super) fn text(report: &Report, colour: bool) -> String {
    let mut parts = vec![summary(report)];
    let mut table = |title: &str, lines: Vec<Vec<String>>, hidden: usize| {
        if lines.len() > 1 {
            let more = if hidden > 0 { format!("… and {hidden} more\n") } else { String::new() };
            parts.push(format!("{title}\n{}{more}", out::columns(&lines, colour)));
        }
    };
    table("Utilisation (requested of what ready nodes have)", utilisation(report), 0);
    table("Workloads at the end", workloads(report), report.workloads.len().saturating_sub(MOST));
    table("Failures", failures(&report.failures), 0);
    table("Nodes at the end", nodes(&report.nodes), report.nodes.len().saturating_sub(NODES));
    table("Pods that wait at the end", waiting(report), report.waiting.len().saturating_sub(MOST));
    parts.join("\n")
}

fn summary(report: &Report) -> String {
    let (pods, waits) = (&report.pods, &report.waits);
    let ready = report.nodes.iter().filter(|node| node.ready).count();
    let unfinished = if report.unfinished { " (ended here: the cluster never comes to rest)" } else { "" };
    let lines = [
        row(["Simulated", &format!("{}{unfinished}", span(report.simulated_seconds))]),
        row(["Nodes", &format!("{} ({ready} ready at the end)", report.nodes.len())]),
        row(["Pods", &format!("{} made, {} bound", pods.created, pods.bound)]),
        row(["", &format!("{} succeeded, {} failed, {} deleted", pods.succeeded, pods.failed, pods.deleted)]),
        row(["", &format!("{} have a node and {} wait at the end", pods.running, pods.waiting)]),
        row([
            "Waiting",
            &format!(
                "mean {}, p50 {}, p95 {}, p99 {}, longest {}",
                span(waits.mean),
                span(waits.p50),
                span(waits.p95),
                span(waits.p99),
                span(waits.max)
            ),
        ]),
        row(["Placement", &format!("checksum {}, seed {}", report.placement_checksum, report.seed)]),
    ];
    out::columns(&lines, false)
}

fn utilisation(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![row(["RESOURCE", "MEAN", "PEAK", "AT"])];
    for (name, used) in &report.utilisation {
        lines.push(row([name, &percent(used.mean), &percent(used.peak), &span(used.peak_at)]));
    }
    lines
}

fn workloads(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![row(["NAMESPACE", "KIND", "NAME", "READY"])];
    for workload in report.workloads.iter().take(MOST) {
        let ready = format!("{}/{}", workload.done, workload.wanted);
        lines.push(row([&workload.namespace, workload.kind, &workload.name, &ready]));
    }
    lines
}

fn failures(failures: &[Failure]) -> Vec<Vec<String>> {
    let mut lines = vec![row(["NODE", "AT", "PODS", "NOTICED AFTER", "READY PODS", "AS MANY AGAIN AFTER"])];
    let after = |seconds: Option<f64>| seconds.map_or_else(|| "never".to_owned(), span);
    for failure in failures {
        let ready = format!("{} -> {}", failure.ready_before, failure.ready_least);
        let (noticed, recovered) = (after(failure.noticed_after), after(failure.recovered_after));
        let pods = failure.pods.to_string();
        lines.push(row([&failure.node, &span(failure.at), &pods, &noticed, &ready, &recovered]));
    }
    lines
}

fn nodes(nodes: &[NodeReport]) -> Vec<Vec<String>> {
    let mut shown: Vec<&NodeReport> = nodes.iter().collect();
    if shown.len() > NODES {
        shown.sort_by(|a, b| b.peak.total_cmp(&a.peak).then_with(|| a.name.cmp(&b.name)));
        shown.truncate(NODES);
    }
    let mut resources: BTreeMap<&str, ()> = BTreeMap::new();
    for name in nodes.iter().flat_map(|node| node.allocatable.keys()) {
        resources.insert(name, ());
    }
    let mut head = row(["NODE", "STATUS", "PODS"]);
    head.extend(resources.keys().map(|name| name.rsplit('/').next().unwrap_or(name).to_uppercase()));
    head.push("PEAK".into());
    let mut lines = vec![head];
    for node in shown {
        let status = if node.ready { "Ready" } else { "NotReady" };
        let mut line = row([&node.name, status, &node.pods.to_string()]);
        for name in resources.keys() {
            let of = |amounts: &BTreeMap<String, i64>| amount(name, amounts.get(*name).copied().unwrap_or(0));
            line.push(format!("{}/{}", of(&node.requested), of(&node.allocatable)));
        }
        line.push(percent(node.peak));
        lines.push(line);
    }
    lines
}

fn waiting(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![row(["PODS", "ONE OF THEM", "WHY"])];
    for waiting in report.waiting.iter().take(MOST) {
        lines.push(row([&waiting.pods.to_string(), &waiting.example, &waiting.reason]));
    }
    lines
}
