//! `steer why`: why an object is as it is. Of a pod the server knows every decision; of other kinds the conditions and
//! events speak, and the pods that hold them back.

use crate::client::{self, Api, Call, Discovery, Resource, TargetFlags, is_refused};
use crate::{describe, events, logs, out};
use clap::Args;
use serde_json::{Map, Value};

/// Pods that are explained below another object; more would hide the first.
const MOST_PODS: usize = 5;
/// Events that are shown, the latest.
const MOST_EVENTS: usize = 10;

/// The arguments of `why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// TYPE/NAME or TYPE NAME
    #[arg(required = true, value_name = "WHAT", num_args = 1..=2)]
    what: Vec<String>,
    #[command(flatten)]
    target: TargetFlags,
}

/// Runs `why`.
///
/// # Errors
/// As the server refuses.
pub(crate) async fn run(why: Why) -> anyhow::Result<()> {
    let api = Api::new(&why.target.client)?;
    let namespace = why.target.namespace(&api.namespace);
    let (resource, name) = client::one(&why.what, &Discovery::load(&api).await?)?;
    let path = resource.path(Some(&namespace), Some(&name));
    let now = out::now();
    if resource.is("", "Pod") {
        return out::print(&pod(&api, &path, &name, now).await?);
    }
    let object = api.json(Call::get(path.clone())).await?;
    let explained = api.json(Call::get(format!("{path}/explain"))).await?;
    out::print(&other(&api, (&resource, &object), &explained, now).await?)?;
    let Ok(selector) = logs::selector_of(&resource, &object) else { return Ok(()) };
    let pods_path = format!("/api/v1/namespaces/{namespace}/pods");
    let pods = api.list(&Call::get(pods_path.clone()).query("labelSelector", selector)).await?;
    let held: Vec<_> = pods.iter().filter(|pod| !is_ready(pod)).collect();
    out::say(match (pods.len(), held.len()) {
        (0, _) => "It has no pods.".to_owned(),
        (all, 0) => format!("All of its {all} pods are ready."),
        (all, held) => format!("{held} of its {all} pods are not ready:"),
    })?;
    for pod_ in held.iter().take(MOST_PODS) {
        let name = pod_["metadata"]["name"].as_str().unwrap_or_default();
        match pod(&api, &format!("{pods_path}/{name}"), name, now).await {
            Ok(text) => out::print(&format!("\n{text}"))?,
            // It went away in between, and holds nothing back any more.
            Err(error) if is_refused(&error, 404) => {}
            Err(error) => return Err(error),
        }
    }
    if held.len() > MOST_PODS {
        out::say(format!("\n… and {} more", held.len() - MOST_PODS))?;
    }
    Ok(())
}

async fn pod(api: &Api, path: &str, name: &str, now: i64) -> anyhow::Result<String> {
    let object = api.json(Call::get(path.to_owned())).await?;
    let explained = api.json(Call::get(format!("{path}/explain"))).await?;
    let mut page = explanation(name, &explained, now);
    let waiting = waiting(&object);
    if !waiting.is_empty() {
        page.push_str("Containers that wait:\n");
        waiting.iter().for_each(|line| page.push_str(&format!("  - {line}\n")));
    }
    page.push_str(&happened(api, &object, now).await?);
    Ok(page)
}

/// The latest events about an object, under their title; nothing when there are none.
async fn happened(api: &Api, object: &Value, now: i64) -> anyhow::Result<String> {
    let events = events::of(api, object).await?;
    let latest = &events[events.len().saturating_sub(MOST_EVENTS)..];
    Ok(if latest.is_empty() { String::new() } else { section("What happened", &events::short_table(latest, now)) })
}

/// Why containers of a pod do not run, in the words of its status.
fn waiting(pod: &Value) -> Vec<String> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let statuses = lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let line = |status: &Value| {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        let message = waiting["message"].as_str().map(|m| format!(": {m}")).unwrap_or_default();
        Some(format!("{}: {reason}{message}", status["name"].as_str().unwrap_or_default()))
    };
    statuses.filter_map(line).collect()
}

async fn other(
    api: &Api,
    (resource, object): (&Resource, &Value),
    explained: &Value,
    now: i64,
) -> anyhow::Result<String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut text = format!("{}\n", resource.named(name));
    if let Some(conditions) = object["status"]["conditions"].as_array().filter(|list| !list.is_empty()) {
        text.push_str(&section("Conditions", &describe::condition_table(conditions, now)));
    }
    let decided = history(explained, now);
    if decided.len() > 1 {
        text.push_str(&section("Last decided", &decided));
    }
    text.push_str(&happened(api, object, now).await?);
    Ok(text)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["status"]["phase"] == "Succeeded"
        || conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// What the server explains of a pod, for people.
fn explanation(name: &str, explained: &Value, now: i64) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut page = format!("pod/{name}: {}\n", explained["phase"].as_str().unwrap_or("Unknown"));
    if explained["summary"].as_str().is_some_and(|summary| !summary.is_empty()) {
        page.push_str(&format!("  {}\n", text(&explained["summary"])));
    }
    let list = |field: &str| explained[field].as_array().map_or(&[][..], Vec::as_slice);
    if !list("waitingFor").is_empty() {
        page.push_str("Waits for:\n");
        for what in list("waitingFor") {
            let what = what.as_str().map_or_else(|| what.to_string(), str::to_owned);
            page.push_str(&format!("  - {what}\n"));
        }
    }
    if !list("nodes").is_empty() {
        page.push_str(&section("Nodes", &nodes(list("nodes"))));
        for (score, measures) in explained["scores"].as_object().into_iter().flatten() {
            page.push_str(&format!("  {score}: {}\n", text(measures)));
        }
    }
    let decided = history(explained, now);
    if decided.len() > 1 {
        page.push_str(&section("History", &decided));
    }
    page
}

/// What was decided and why, under a line of titles.
fn history(explained: &Value, now: i64) -> Vec<Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![["AGE", "WHAT", "WHY"].map(str::to_owned).to_vec()];
    for step in explained["history"].as_array().into_iter().flatten() {
        lines.push(vec![out::age(&step["time"], now), text(&step["what"]), text(&step["why"])]);
    }
    lines
}

/// Nodes with what the filters said and how they scored, the best first.
fn nodes(nodes: &[Value]) -> Vec<Vec<String>> {
    let mut nodes: Vec<_> = nodes.iter().collect();
    nodes.sort_by_key(|node| {
        (node["feasible"] != true, std::cmp::Reverse(node["total"].as_i64().unwrap_or(0)), node["node"].to_string())
    });
    let empty = Map::new();
    let scores = |node: &'_ Value| node["scores"].as_object().unwrap_or(&empty).clone();
    let mut names: Vec<String> =
        nodes.iter().flat_map(|node| scores(node).keys().cloned().collect::<Vec<_>>()).collect();
    names.sort_unstable();
    names.dedup();
    let mut head = vec!["NODE".to_owned(), "FITS".to_owned()];
    head.extend(names.iter().map(|name| name.to_uppercase()));
    head.extend(["TOTAL".to_owned(), "REASON".to_owned()]);
    let mut lines = vec![head];
    for node in nodes {
        let shown = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let fits = if node["feasible"] == true { "yes" } else { "no" };
        let mut line = vec![shown(&node["node"]), fits.to_owned()];
        line.extend(names.iter().map(|name| shown(&node["scores"][name])));
        line.extend([shown(&node["total"]), node["reason"].as_str().unwrap_or_default().to_owned()]);
        lines.push(line);
    }
    lines
}

fn section(title: &str, lines: &[Vec<String>]) -> String {
    let table = out::columns(lines, false);
    let indented: String = table.lines().map(|line| format!("  {line}\n")).collect();
    format!("{title}:\n{indented}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_explanation_shows_nodes_waits_and_history() {
        let explained = json!({
            "phase": "Pending", "summary": "no node fits: 1 insufficient cpu",
            "nodes": [
                {"node": "a", "feasible": false, "reason": "insufficient cpu: asks 2, free 1", "scores": {}, "total": null},
                {"node": "b", "feasible": true, "reason": "", "scores": {"spread": 10, "least": 40}, "total": 50}
            ],
            "scores": {"least": "what stays free"},
            "waitingFor": ["more cpu on a node"],
            "history": [{"time": "1970-01-01T00:00:00Z", "what": "not scheduled", "why": "insufficient cpu"}]
        });
        let want = "pod/p: Pending\n  no node fits: 1 insufficient cpu\nWaits for:\n  - more cpu on a node\n\
            Nodes:\n  NODE   FITS   LEAST   SPREAD   TOTAL   REASON\n  b      yes    40      10       50\n\
            \x20 a      no     -       -        -       insufficient cpu: asks 2, free 1\n\
            \x20 least: what stays free\nHistory:\n  AGE   WHAT            WHY\n  9s    not scheduled   insufficient cpu\n";
        assert_eq!(explanation("p", &explained, 9), want);
        assert_eq!(explanation("p", &json!({}), 9), "pod/p: Unknown\n");
    }

    #[test]
    fn waiting_containers_are_told_with_their_reason() {
        let pod = json!({"status": {"containerStatuses": [
            {"name": "a", "state": {"running": {}}},
            {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}]}});
        assert_eq!(waiting(&pod), ["b: CrashLoopBackOff: back-off 10s"]);
    }

    #[test]
    fn readiness_is_a_condition() {
        let pod = |phase: &str, ready: &str| json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        assert!(is_ready(&pod("Running", "True")) && is_ready(&pod("Succeeded", "False")));
        assert!(!is_ready(&pod("Running", "False")) && !is_ready(&json!({})));
    }
}
