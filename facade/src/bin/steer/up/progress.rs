//! How far workloads are, as a pure function of the objects that a watch shows: one line for each workload, redrawn on
//! a terminal, or plain lines when something changes.

use crate::files::Document;
use crate::out::Colour;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// States of a container that a person should see at once, beside `Pending` and `Running`.
const TROUBLE: [&str; 8] = [
    "CrashLoopBackOff",
    "RunContainerError",
    "CreateContainerError",
    "CreateContainerConfigError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "OOMKilled",
];

/// A workload: a deployment, or a pod that belongs to none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// How far a workload is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    wanted: i64,
    updated: i64,
    ready: i64,
    /// What it waits for; empty when it is ready.
    waits: String,
    /// It will not become ready by itself.
    failed: bool,
}

/// Workloads by kind in lower case, namespace and name.
pub(crate) type Workloads = BTreeSet<(String, String, String)>;

/// The workloads among manifests; `namespace` is that of objects that name none.
pub(crate) fn workloads(documents: &[Document], namespace: &str) -> Workloads {
    let of = |document: &Document| {
        let object = &document.object;
        let kind = object["kind"].as_str().filter(|kind| ["Deployment", "Pod"].contains(kind))?.to_lowercase();
        let own = object["metadata"]["namespace"].as_str().filter(|own| !own.is_empty());
        Some((kind, own.unwrap_or(namespace).to_owned(), text(&object["metadata"]["name"])))
    };
    documents.iter().filter_map(of).collect()
}

/// The progress of workloads.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Leaves out all others, when set.
    only: Option<Workloads>,
    workloads: BTreeMap<Key, State>,
    /// From the uid of a replica set to its deployment.
    owners: BTreeMap<String, Key>,
    /// From the uid of a pod to its owner's uid and what troubles it.
    troubles: BTreeMap<String, (String, String)>,
    /// Lines of the last frame, which the next one replaces.
    drawn: usize,
}

impl Progress {
    /// Takes in an event of a watch (`ADDED`, `MODIFIED`, `DELETED`) of a deployment, replica set or pod; gives the plain
    /// lines that tell what is new. Other kinds are left out.
    pub(crate) fn observe(&mut self, event: &str, object: &Value) -> Vec<String> {
        let before = self.lines();
        let gone = event == "DELETED";
        match object["kind"].as_str().unwrap_or_default() {
            "Deployment" => self.put(key("deployment", object), (!gone).then(|| deployment(object))),
            "ReplicaSet" => self.replica_set(object, gone),
            "Pod" => self.pod(object, gone),
            _ => {}
        }
        self.lines().into_iter().filter(|line| !before.contains(line)).collect()
    }

    /// The progress of these workloads, or of all.
    pub(crate) fn new(only: Option<Workloads>) -> Self {
        Self { only, ..Self::default() }
    }

    fn put(&mut self, key: Key, state: Option<State>) {
        let named = || (key.kind.to_owned(), key.namespace.clone(), key.name.clone());
        if self.only.as_ref().is_some_and(|only| !only.contains(&named())) {
            return;
        }
        match state {
            Some(state) => self.workloads.insert(key, state),
            None => self.workloads.remove(&key),
        };
    }

    fn replica_set(&mut self, object: &Value, gone: bool) {
        let Some(uid) = object["metadata"]["uid"].as_str() else { return };
        match controller(object) {
            Some((kind, name, _)) if kind == "Deployment" && !gone => {
                let namespace = text(&object["metadata"]["namespace"]);
                self.owners.insert(uid.to_owned(), Key { kind: "deployment", namespace, name });
            }
            _ => {
                self.owners.remove(uid);
            }
        }
    }

    fn pod(&mut self, object: &Value, gone: bool) {
        let Some(uid) = object["metadata"]["uid"].as_str() else { return };
        match controller(object) {
            None => self.put(key("pod", object), (!gone).then(|| pod(object))),
            Some((_, _, owner)) => {
                let trouble = if gone { None } else { trouble(object) };
                match trouble {
                    Some(trouble) => self.troubles.insert(uid.to_owned(), (owner, trouble)),
                    None => self.troubles.remove(uid),
                };
            }
        }
    }

    /// Whether every workload is ready; without any it is.
    pub(crate) fn is_ready(&self) -> bool {
        self.workloads.values().all(|state| state.waits.is_empty())
    }

    /// The workloads that will not become ready by themselves, with the reason.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.workloads.iter().filter(|(_, state)| state.failed);
        failed.map(|(key, state)| format!("{}: {}", named(key), state.waits)).collect()
    }

    /// What troubles the pods of a workload.
    fn trouble_of(&self, key: &Key) -> Option<&str> {
        let of = |(owner, _): &&(String, String)| self.owners.get(owner) == Some(key);
        self.troubles.values().find(of).map(|(_, trouble)| trouble.as_str())
    }

    /// A line for each workload, in order of namespace, kind and name.
    fn lines(&self) -> Vec<String> {
        self.workloads.iter().map(|(key, state)| format!("{} {}", named(key), self.words(key, state))).collect()
    }

    fn words(&self, key: &Key, state: &State) -> String {
        let mut words = format!("{}/{} ready", state.ready, state.wanted);
        if state.updated < state.wanted && key.kind == "deployment" {
            words.push_str(&format!(", {} updated", state.updated));
        }
        if !state.waits.is_empty() {
            words.push_str(&format!(": {}", self.trouble_of(key).unwrap_or(&state.waits)));
        }
        words
    }

    /// The text that replaces the last frame on a screen.
    pub(crate) fn redraw(&mut self, screen: Screen) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first line of the last frame, and clear from there to the end.
            text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        let width = self.workloads.keys().map(|key| named(key).chars().count()).max().unwrap_or(0);
        // The cursor cannot go up beyond the screen: one line for it, and one for what is left out.
        let most = screen.rows.saturating_sub(2).max(1);
        for (key, state) in self.workloads.iter().take(most) {
            let line = format!("{:width$}  {}", named(key), self.words(key, state));
            // A line that the terminal breaks in two would spoil the count of lines.
            let line: String = line.chars().take(screen.columns.saturating_sub(1)).collect();
            let paint = match (state.failed || self.trouble_of(key).is_some(), state.waits.is_empty()) {
                (_, true) => Colour::Green,
                (true, false) => Colour::Red,
                (false, false) => Colour::Yellow,
            };
            text.push_str(&if screen.colour { paint.paint(&line) } else { line });
            text.push('\n');
        }
        let all = self.workloads.len();
        self.drawn = all.min(most);
        if all > most {
            text.push_str(&format!("… and {} more\n", all - most));
            self.drawn += 1;
        }
        text
    }
}

/// Where a frame is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Characters in a line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) rows: usize,
    pub(crate) colour: bool,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn key(kind: &'static str, object: &Value) -> Key {
    let metadata = &object["metadata"];
    Key { kind, namespace: text(&metadata["namespace"]), name: text(&metadata["name"]) }
}

fn named(key: &Key) -> String {
    let namespace = if key.namespace == "default" { String::new() } else { format!("{}/", key.namespace) };
    format!("{namespace}{}/{}", key.kind, key.name)
}

/// Kind, name and uid of the owner that manages an object.
fn controller(object: &Value) -> Option<(String, String, String)> {
    let mut owners = object["metadata"]["ownerReferences"].as_array()?.iter();
    let owner = owners.find(|owner| owner["controller"] == true)?;
    Some((text(&owner["kind"]), text(&owner["name"]), text(&owner["uid"])))
}

fn deployment(object: &Value) -> State {
    use crate::rollout::Progress as Rollout;
    let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    let (waits, failed) = match crate::rollout::progress(object, 0) {
        Rollout::Done(_) => (String::new(), false),
        Rollout::Fails(why) => (why, true),
        Rollout::Waits(what) => {
            // Without what the line says already: which deployment it is about.
            let short = what.rsplit_once("to finish: ").map_or(what.as_str(), |(_, short)| short);
            (short.trim_end_matches("...").to_owned(), false)
        }
    };
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    State { wanted, updated: count("updatedReplicas"), ready: count("readyReplicas"), waits, failed }
}

fn pod(object: &Value) -> State {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
    let phase = status["phase"].as_str().unwrap_or("Pending");
    let (ready, failed) = (phase == "Succeeded" || is("Ready"), phase == "Failed");
    let waits = match (ready, failed) {
        (true, _) => String::new(),
        (false, true) => trouble(object).unwrap_or_else(|| "it failed".to_owned()),
        (false, false) => trouble(object).unwrap_or_else(|| format!("it is {phase}")),
    };
    State { wanted: 1, updated: 1, ready: i64::from(ready), waits, failed }
}

/// What a person should know of a pod at once: a container that does not start or stay, or no node for it.
fn trouble(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let say = |what: &str, why: &str| {
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.replace('\n', " ")) };
        Some(format!("{name}: {what}{why}"))
    };
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            for state in [&container["state"]["waiting"], &container["state"]["terminated"]] {
                let reason = state["reason"].as_str().unwrap_or_default();
                if TROUBLE.contains(&reason) {
                    return say(reason, state["message"].as_str().unwrap_or_default());
                }
            }
        }
    }
    if status["phase"] == "Failed" {
        let reason = status["reason"].as_str().unwrap_or("Failed");
        return say(reason, status["message"].as_str().unwrap_or_default());
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|c| c["type"] == "PodScheduled" && c["status"] == "False" && c["reason"] == "Unschedulable")?;
    say("Unschedulable", unscheduled["message"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCREEN: Screen = Screen { columns: 80, rows: 24, colour: false };

    fn web(updated: i64, available: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"namespace": "default", "name": "web"}, "spec": {"replicas": 2},
            "status": {"replicas": updated, "updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available}})
    }

    fn owned(kind: &str, name: &str, owner: (&str, &str), status: Value) -> Value {
        json!({"kind": kind, "metadata": {"namespace": "default", "name": name, "uid": name, "ownerReferences": [
            {"controller": true, "kind": owner.0, "name": owner.1, "uid": owner.1}]}, "status": status})
    }

    #[test]
    fn lines_come_only_with_news() {
        let mut progress = Progress::default();
        assert!(progress.is_ready());
        let said = progress.observe("ADDED", &web(0, 0));
        assert_eq!(said, ["deployment/web 0/2 ready, 0 updated: 0 out of 2 new replicas have been updated"]);
        assert!(progress.observe("MODIFIED", &web(0, 0)).is_empty());
        assert!(!progress.is_ready());
        assert_eq!(progress.observe("MODIFIED", &web(2, 2)), ["deployment/web 2/2 ready"]);
        assert!(progress.is_ready() && progress.failed().is_empty());
        assert!(progress.observe("DELETED", &web(2, 2)).is_empty());
        assert_eq!(progress.redraw(SCREEN), "");
    }

    #[test]
    fn the_trouble_of_a_pod_is_its_deployments() {
        let mut progress = Progress::default();
        progress.observe("ADDED", &web(2, 1));
        progress.observe("ADDED", &owned("ReplicaSet", "web-1", ("Deployment", "web"), json!({})));
        let waiting = json!({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "again in 10s"}}}]});
        let said = progress.observe("ADDED", &owned("Pod", "web-1-x", ("ReplicaSet", "web-1"), waiting));
        assert_eq!(said, ["deployment/web 1/2 ready: web-1-x: CrashLoopBackOff (again in 10s)"]);
        let said = progress.observe("MODIFIED", &owned("Pod", "web-1-x", ("ReplicaSet", "web-1"), json!({})));
        assert_eq!(said, ["deployment/web 1/2 ready: 1 of 2 updated replicas are available"]);
    }

    #[test]
    fn a_pod_of_its_own_is_a_workload() {
        let mut progress = Progress::default();
        let pod = |status: Value| json!({"kind": "Pod", "metadata": {"namespace": "x", "name": "p", "uid": "u"}, "status": status});
        assert_eq!(progress.observe("ADDED", &pod(json!({}))), ["x/pod/p 0/1 ready: it is Pending"]);
        let unscheduled = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits"}]});
        assert_eq!(
            progress.observe("MODIFIED", &pod(unscheduled)),
            ["x/pod/p 0/1 ready: p: Unschedulable (no node fits)"]
        );
        progress.observe("MODIFIED", &pod(json!({"phase": "Failed", "reason": "Evicted"})));
        assert_eq!(progress.failed(), ["x/pod/p: p: Evicted"]);
    }

    #[test]
    fn other_workloads_are_left_out() {
        let document = |object: Value| Document { from: String::new(), object };
        let documents = [document(web(0, 0)), document(json!({"kind": "Service", "metadata": {"name": "web"}}))];
        let only = workloads(&documents, "default");
        assert_eq!(only.len(), 1);
        let mut progress = Progress::new(Some(only));
        let mut other = web(0, 0);
        other["metadata"]["namespace"] = json!("elsewhere");
        assert!(progress.observe("ADDED", &other).is_empty() && progress.is_ready());
        assert_eq!(progress.observe("ADDED", &web(0, 0)).len(), 1);
    }

    #[test]
    fn a_frame_fits_on_its_screen() {
        let mut progress = Progress::default();
        for number in 0..9 {
            let mut object = web(2, 2);
            object["metadata"]["name"] = json!(format!("web-{number}"));
            progress.observe("ADDED", &object);
        }
        let small = Screen { rows: 4, ..SCREEN };
        let frame = progress.redraw(small);
        assert_eq!(frame, "deployment/web-0  2/2 ready\ndeployment/web-1  2/2 ready\n… and 7 more\n");
        assert!(progress.redraw(small).starts_with("\x1b[3A"));
    }

    #[test]
    fn a_frame_replaces_the_one_before() {
        let mut progress = Progress::default();
        progress.observe("ADDED", &web(2, 2));
        assert_eq!(progress.redraw(SCREEN), "deployment/web  2/2 ready\n");
        progress.observe("MODIFIED", &web(2, 1));
        let frame = progress.redraw(Screen { columns: 30, colour: true, ..SCREEN });
        assert_eq!(frame, "\x1b[1A\x1b[J\x1b[33mdeployment/web  1/2 ready: 1 \x1b[0m\n");
    }
}
