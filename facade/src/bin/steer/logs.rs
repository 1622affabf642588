//! `steer logs`: what containers print, of one pod or of all that a selector finds.

use crate::client::{self, Api, Call, Discovery, Resource, TargetFlags};
use crate::out;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Containers that are followed at once, each by a connection of its own.
const MOST_STREAMS: usize = 50;
/// Lines of each container when a selector chooses and nothing else is said, as kubectl does.
const TAIL_OF_MANY: i64 = 10;

/// The arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// POD, TYPE/NAME, or POD CONTAINER
    #[arg(value_name = "WHAT", required_unless_present = "selector", conflicts_with = "selector", num_args = 0..=2)]
    what: Vec<String>,
    #[command(flatten)]
    target: TargetFlags,
    /// The logs of all pods with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// The container; else the first, or the one that the pod's annotation names
    #[arg(short, long, conflicts_with = "all_containers")]
    container: Option<String>,
    /// All containers, init containers too
    #[arg(long)]
    all_containers: bool,
    /// Go on with what is printed next
    #[arg(short, long)]
    follow: bool,
    /// Of the container that ran before this one
    #[arg(short, long)]
    previous: bool,
    /// Only what is younger than this, such as `5m`
    #[arg(long, value_name = "SPAN", value_parser = steersman::domain::spans::read)]
    since: Option<Duration>,
    /// Only what was printed at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    since_time: Option<String>,
    /// Only so many of the last lines; -1 is all
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..))]
    tail: Option<i64>,
    /// The time before each line
    #[arg(long)]
    timestamps: bool,
    /// The pod and container before each line, also of a single one
    #[arg(long)]
    prefix: bool,
}

/// One container whose log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    pod: String,
    container: String,
}

/// Runs `logs`.
///
/// # Errors
/// As the server refuses.
pub(crate) async fn run(logs: Logs) -> anyhow::Result<()> {
    let api = Arc::new(Api::new(&logs.target.client)?);
    let namespace = logs.target.namespace(&api.namespace);
    let pods_path = format!("/api/v1/namespaces/{namespace}/pods");
    let pods = pods(&logs, &api, &namespace, &pods_path).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for container in containers(&logs, pod)? {
            sources.push(Source { pod: name.to_owned(), container });
        }
    }
    if sources.is_empty() {
        crate::out::note(format!("No resources found in {namespace} namespace."));
        return Ok(());
    }
    if logs.follow && sources.len() > MOST_STREAMS {
        bail!(
            "{} containers are too many to follow, at most {MOST_STREAMS}: choose fewer with -l or -c",
            sources.len()
        );
    }
    let several = logs.prefix || (logs.selector.is_some() && sources.len() > 1);
    let mut streams = JoinSet::new();
    for source in sources {
        let call = call(&logs, &format!("{pods_path}/{}/log", source.pod), &source.container);
        let prefix = if several { format!("[pod/{}/{}] ", source.pod, source.container) } else { String::new() };
        let copying = copy(Arc::clone(&api), call, prefix);
        if logs.follow {
            streams.spawn(copying);
        } else {
            copying.await?;
        }
    }
    while let Some(ended) = streams.join_next().await {
        ended.context("reading a log failed")??;
    }
    Ok(())
}

async fn copy(api: Arc<Api>, call: Call, prefix: String) -> anyhow::Result<()> {
    let mut lines = api.lines(call).await?;
    while let Some(line) = lines.next().await? {
        out::say(format!("{prefix}{}", String::from_utf8_lossy(&line)))?;
    }
    Ok(())
}

fn call(logs: &Logs, path: &str, container: &str) -> Call {
    let flag = |name: bool| if name { "true" } else { "" };
    let many = logs.selector.is_some().then_some(TAIL_OF_MANY);
    let tail = logs.tail.or(many).filter(|tail| *tail >= 0);
    // A span shorter than a second is one second, for zero would mean nothing.
    let since = logs.since.map(|since| since.as_secs().max(1).to_string());
    Call::get(path)
        .query("container", container)
        .query("follow", flag(logs.follow))
        .query("previous", flag(logs.previous))
        .query("timestamps", flag(logs.timestamps))
        .query("sinceSeconds", since.unwrap_or_default())
        .query("sinceTime", logs.since_time.clone().unwrap_or_default())
        .query("tailLines", tail.map(|tail| tail.to_string()).unwrap_or_default())
        .accept("*/*")
}

/// The pods that are meant.
async fn pods(logs: &Logs, api: &Api, namespace: &str, pods_path: &str) -> anyhow::Result<Vec<Value>> {
    if let Some(selector) = &logs.selector {
        return api.list(&Call::get(pods_path).query("labelSelector", selector.as_str())).await;
    }
    let what = logs.what.first().context("name a pod")?;
    if !what.contains('/') {
        return Ok(vec![api.json(Call::get(format!("{pods_path}/{what}"))).await?]);
    }
    let (resource, name) = client::one(std::slice::from_ref(what), &Discovery::load(api).await?)?;
    let object = api.json(Call::get(resource.path(Some(namespace), Some(&name)))).await?;
    if resource.is("", "Pod") {
        return Ok(vec![object]);
    }
    let selector = selector_of(&resource, &object)?;
    let mut found = api.list(&Call::get(pods_path).query("labelSelector", selector)).await?;
    // Running ones first: they have something to say.
    found.sort_by_key(|pod| pod["status"]["phase"] != "Running");
    if found.len() > 1 {
        let first = found[0]["metadata"]["name"].as_str().unwrap_or_default();
        crate::out::note(format!("Found {} pods, using pod/{first}; all of them: -l SELECTOR", found.len()));
        found.truncate(1);
    }
    Ok(found)
}

/// The selector by which an object finds its pods, as a text.
///
/// # Errors
/// When the kind selects no pods.
pub(crate) fn selector_of(resource: &Resource, object: &Value) -> anyhow::Result<String> {
    let selector = &object["spec"]["selector"];
    let labels = if resource.is("", "Service") { selector } else { &selector["matchLabels"] };
    let labels = labels.as_object().into_iter().flatten();
    let mut parts: Vec<_> =
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    for requirement in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = requirement["key"].as_str().unwrap_or_default();
        let values = requirement["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        parts.push(match requirement["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            other => bail!("the selector has an unknown operator {other:?}"),
        });
    }
    if parts.is_empty() {
        bail!("{} select no pods", resource.qualified());
    }
    Ok(parts.join(","))
}

/// The containers of a pod whose logs are meant.
fn containers(logs: &Logs, pod: &Value) -> anyhow::Result<Vec<String>> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array().into_iter().flatten();
        list.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
    };
    let (first, usual) = (names("initContainers"), names("containers"));
    let asked = logs.container.as_ref().or(logs.what.get(1));
    if let Some(asked) = asked {
        if !first.contains(asked) && !usual.contains(asked) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let all = [first, usual].concat().join(", ");
            bail!("container {asked} is not valid for pod {name}: it has {all}");
        }
        return Ok(vec![asked.clone()]);
    }
    if logs.all_containers {
        return Ok([first, usual].concat());
    }
    let annotated = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let default = annotated.filter(|name| usual.iter().any(|have| have == name)).map(str::to_owned);
    let chosen = default.or_else(|| usual.first().cloned()).context("the pod has no container")?;
    if usual.len() > 1 && annotated.is_none() {
        crate::out::note(format!("Defaulted container {chosen:?} out of: {}", usual.join(", ")));
    }
    Ok(vec![chosen])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        logs: Logs,
    }

    fn logs(words: &str) -> Logs {
        Line::try_parse_from(std::iter::once("logs").chain(words.split_whitespace())).expect("good").logs
    }

    #[test]
    fn containers_are_chosen_or_found_missing() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(containers(&logs("p"), &pod).expect("the first"), ["a"]);
        assert_eq!(containers(&logs("p -c i"), &pod).expect("named"), ["i"]);
        assert_eq!(containers(&logs("p b"), &pod).expect("named"), ["b"]);
        assert_eq!(containers(&logs("p --all-containers"), &pod).expect("all"), ["i", "a", "b"]);
        let error = containers(&logs("p -c x"), &pod).expect_err("unknown").to_string();
        assert_eq!(error, "container x is not valid for pod p: it has i, a, b");
    }

    #[test]
    fn selectors_are_written_as_text() {
        let deployment = Resource { group: "apps".to_owned(), kind: "Deployment".to_owned(), ..Resource::default() };
        let object = json!({"spec": {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["x", "y"]}, {"key": "old", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector_of(&deployment, &object).expect("good"), "a=b,t in (x,y),!old");
        let service = Resource { kind: "Service".to_owned(), ..Resource::default() };
        assert_eq!(selector_of(&service, &json!({"spec": {"selector": {"a": "b"}}})).expect("good"), "a=b");
        assert!(selector_of(&service, &json!({})).is_err());
    }

    #[test]
    fn flags_become_parameters() {
        let text = format!("{:?}", call(&logs("p -f -p --since 90s --tail 5 --timestamps"), "/log", "c"));
        for part in [
            "(\"follow\", \"true\")",
            "(\"previous\", \"true\")",
            "(\"sinceSeconds\", \"90\")",
            "(\"tailLines\", \"5\")",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let all = format!("{:?}", call(&logs("-l a=b --tail -1"), "/log", "c"));
        assert!(!all.contains("tailLines"), "{all}");
        assert!(format!("{:?}", call(&logs("-l a=b"), "/log", "c")).contains("(\"tailLines\", \"10\")"));
    }
}
