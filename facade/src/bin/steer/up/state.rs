//! How far one workload is, by its own status.

use crate::rollout::Progress as Rollout;
use serde_json::Value;

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

/// How far a workload is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) wanted: i64,
    pub(super) updated: i64,
    /// Ready pods; of a job those that have succeeded.
    pub(super) ready: i64,
    /// What it waits for; empty when it is ready, or done.
    pub(super) waits: String,
    /// It will not become ready by itself.
    pub(super) failed: bool,
}

/// What a workload of this kind is called; nothing for objects that are none. A CronJob is ready once it is there.
pub(super) fn word(object: &Value) -> Option<&'static str> {
    Some(match object["kind"].as_str()? {
        "Deployment" => "deployment",
        "StatefulSet" => "statefulset",
        "DaemonSet" => "daemonset",
        "ReplicaSet" => "replicaset",
        "Job" => "job",
        "Pod" => "pod",
        _ => return None,
    })
}

/// How far a workload is; nothing for objects that are none.
pub(super) fn of(object: &Value) -> Option<State> {
    Some(match word(object)? {
        "deployment" => deployment(object),
        "statefulset" => stateful_set(object),
        "daemonset" => daemon_set(object),
        "replicaset" => replica_set(object),
        "job" => job(object),
        _ => pod(object),
    })
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn waits_unless(ready: i64, wanted: i64) -> String {
    if ready < wanted { format!("{ready} of {wanted} pods are ready") } else { String::new() }
}

/// The controllers have seen the object as it is.
fn unobserved(object: &Value) -> Option<String> {
    let behind = count(&object["metadata"]["generation"]) > count(&object["status"]["observedGeneration"]);
    behind.then(|| "its spec has not been observed yet".to_owned())
}

fn stateful_set(object: &Value) -> State {
    let (spec, status) = (&object["spec"], &object["status"]);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let on_delete = spec["updateStrategy"]["type"] == "OnDelete";
    let partition = count(&spec["updateStrategy"]["rollingUpdate"]["partition"]);
    // Pods below the partition stay as they are, and those of OnDelete until a person deletes them.
    let to_update = if on_delete { 0 } else { (wanted - partition).max(0) };
    let settled = status["currentRevision"] == status["updateRevision"];
    let updated = if settled { wanted } else { count(&status["updatedReplicas"]) };
    let ready = count(&status["readyReplicas"]);
    let waits = unobserved(object).unwrap_or_else(|| {
        if updated < to_update {
            return format!("{updated} of {to_update} pods have been updated");
        }
        waits_unless(ready, wanted)
    });
    State { wanted, updated: updated.max(wanted - to_update), ready, waits, failed: false }
}

fn daemon_set(object: &Value) -> State {
    let status = &object["status"];
    let wanted = count(&status["desiredNumberScheduled"]);
    let on_delete = object["spec"]["updateStrategy"]["type"] == "OnDelete";
    let updated = if on_delete { wanted } else { count(&status["updatedNumberScheduled"]) };
    let ready = count(&status["numberReady"]);
    let waits = unobserved(object).unwrap_or_else(|| {
        if updated < wanted {
            return format!("{updated} of {wanted} pods have been updated");
        }
        waits_unless(count(&status["numberAvailable"]), wanted)
    });
    State { wanted, updated, ready, waits, failed: false }
}

fn replica_set(object: &Value) -> State {
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let ready = count(&object["status"]["readyReplicas"]);
    let waits = unobserved(object).unwrap_or_else(|| waits_unless(ready, wanted));
    State { wanted, updated: wanted, ready, waits, failed: false }
}

/// A job is ready when it is done; one that is suspended waits for nothing.
fn job(object: &Value) -> State {
    let (spec, status) = (&object["spec"], &object["status"]);
    let condition = |kind: &str| {
        let mut all = status["conditions"].as_array()?.iter();
        all.find(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let wanted = spec["completions"].as_i64().or_else(|| spec["parallelism"].as_i64()).unwrap_or(1);
    let ready = count(&status["succeeded"]);
    let (waits, failed) = match condition("Failed") {
        Some(failed) => {
            let message = failed["message"].as_str().filter(|message| !message.is_empty());
            (message.or(failed["reason"].as_str()).unwrap_or("it failed").to_owned(), true)
        }
        None if condition("Complete").is_some() || condition("Suspended").is_some() => (String::new(), false),
        None => (format!("{ready} of {wanted} completions"), false),
    };
    State { wanted, updated: wanted, ready, waits, failed }
}

fn deployment(object: &Value) -> State {
    let count = |field: &str| count(&object["status"][field]);
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
pub(super) fn trouble(pod: &Value) -> Option<String> {
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

    #[track_caller]
    fn waits(object: Value, want: &str) {
        assert_eq!(of(&object).expect("a workload").waits, want, "{object}");
    }

    #[test]
    fn stateful_sets_wait_for_the_pods_beyond_their_partition() {
        let set = |spec: Value, status: Value| json!({"kind": "StatefulSet", "spec": spec, "status": status});
        let moving = |updated: i64, ready: i64| json!({"currentRevision": "a", "updateRevision": "b", "updatedReplicas": updated, "readyReplicas": ready});
        waits(set(json!({"replicas": 3}), moving(1, 3)), "1 of 3 pods have been updated");
        waits(set(json!({"replicas": 3}), moving(3, 2)), "2 of 3 pods are ready");
        let partition = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
        waits(set(partition, moving(1, 3)), "");
        waits(set(json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}), moving(0, 3)), "");
        let mut unseen = set(json!({"replicas": 0}), json!({}));
        unseen["metadata"]["generation"] = json!(1);
        waits(unseen, "its spec has not been observed yet");
    }

    #[test]
    fn daemon_and_replica_sets_wait_for_their_pods() {
        let daemons = |updated: i64, available: i64| {
            json!({"kind": "DaemonSet", "status": {"desiredNumberScheduled": 2, "updatedNumberScheduled": updated,
                "numberReady": 2, "numberAvailable": available}})
        };
        waits(daemons(1, 2), "1 of 2 pods have been updated");
        waits(daemons(2, 1), "1 of 2 pods are ready");
        waits(daemons(2, 2), "");
        waits(
            json!({"kind": "ReplicaSet", "spec": {"replicas": 2}, "status": {"readyReplicas": 1}}),
            "1 of 2 pods are ready",
        );
        assert_eq!(of(&json!({"kind": "CronJob"})), None);
    }

    #[test]
    fn jobs_are_done_or_have_failed() {
        let job = |kind: &str| {
            json!({"kind": "Job", "spec": {"completions": 3}, "status": {"succeeded": 1,
                "conditions": [{"type": kind, "status": "True", "message": "why"}]}})
        };
        waits(job("Other"), "1 of 3 completions");
        waits(job("Complete"), "");
        waits(job("Suspended"), "");
        let failed = of(&job("Failed")).expect("a workload");
        assert_eq!((failed.waits.as_str(), failed.failed, failed.ready, failed.wanted), ("why", true, 1, 3));
    }
}
