//! How far workloads are, as a pure function of the objects that a watch shows: one line for each workload, redrawn on
//! a terminal, or plain lines when something changes.

use super::state::{self, State};
use crate::files::Document;
use crate::out::Colour;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A workload that no other manages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// Workloads by kind in lower case, namespace and name.
pub(crate) type Workloads = BTreeSet<(String, String, String)>;

/// The workloads among manifests; `namespace` is that of objects that name none.
pub(crate) fn workloads(documents: &[Document], namespace: &str) -> Workloads {
    let of = |document: &Document| {
        let object = &document.object;
        let kind = state::word(object)?.to_owned();
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
    /// From the uid of what manages pods to the workload that they are of.
    owners: BTreeMap<String, Key>,
    /// From the uid of a pod to its owner's uid and what troubles it.
    troubles: BTreeMap<String, (String, String)>,
    /// Lines of the last frame, which the next one replaces.
    drawn: usize,
}

impl Progress {
    /// Takes in an event of a watch (`ADDED`, `MODIFIED`, `DELETED`) of a workload or a pod; gives the plain lines that tell what
    /// is new. Other kinds are left out.
    pub(crate) fn observe(&mut self, event: &str, object: &Value) -> Vec<String> {
        let before = self.lines();
        let gone = event == "DELETED";
        if let Some(kind) = state::word(object) {
            self.take(kind, object, gone);
        }
        self.lines().into_iter().filter(|line| !before.contains(line)).collect()
    }

    fn take(&mut self, kind: &'static str, object: &Value, gone: bool) {
        let Some(uid) = object["metadata"]["uid"].as_str() else { return };
        let namespace = text(&object["metadata"]["namespace"]);
        let own = Key { kind, namespace: namespace.clone(), name: text(&object["metadata"]["name"]) };
        let manager = controller(object);
        if kind == "pod" {
            let trouble = if gone { None } else { state::trouble(object) };
            match (trouble, &manager) {
                (Some(trouble), Some((_, _, owner))) => self.troubles.insert(uid.to_owned(), (owner.clone(), trouble)),
                _ => self.troubles.remove(uid),
            };
        } else if gone {
            self.owners.remove(uid);
        } else {
            let of = match &manager {
                Some((kind, name, _)) if kind == "Deployment" => {
                    Key { kind: "deployment", namespace, name: name.clone() }
                }
                _ => own.clone(),
            };
            self.owners.insert(uid.to_owned(), of);
        }
        if manager.is_none() {
            self.put(own, if gone { None } else { state::of(object) });
        }
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
        let mut words =
            format!("{}/{} {}", state.ready, state.wanted, if key.kind == "job" { "done" } else { "ready" });
        if state.updated < state.wanted {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCREEN: Screen = Screen { columns: 80, rows: 24, colour: false };

    fn web(updated: i64, available: i64) -> Value {
        json!({"kind": "Deployment", "metadata": {"namespace": "default", "name": "web", "uid": "web"}, "spec": {"replicas": 2},
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
