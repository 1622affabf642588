//! DaemonSets and StatefulSets: a pod on every node, and pods with names.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use steersman_application::client::Propagation;
use steersman_domain::{ControllerRevision, DaemonSet, Kind, Pod, StatefulSet};

use crate::history::{History, State, image};
use crate::world::{Setup, check};

fn set(kind: &str, version: &str, spec: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "own"},
        "spec": {"selector": {"matchLabels": {"app": "own"}},
            "template": {"metadata": {"labels": {"app": "own"}}, "spec": {
                "containers": [{"name": "main", "image": version, "ports": [{"containerPort": 8080}]}]}}},
    });
    for (field, value) in spec.as_object().expect("fields") {
        set["spec"][field] = value.clone();
    }
    set
}

fn to_version(set: &mut Value, version: &str) {
    set["spec"]["template"]["spec"]["containers"][0]["image"] = version.into();
}

/// The nodes that have a ready pod of a version.
fn served(state: &State, version: &str) -> BTreeSet<String> {
    let ready = state.active("own").into_iter().filter(|p| p.is_ready() && image(p) == version);
    ready.map(|p| p.spec.node_name.to_string()).collect()
}

fn ready_names(state: &State, version: &str) -> Vec<String> {
    let ready = state.active("own").into_iter().filter(|p| p.is_ready() && image(p) == version);
    ready.map(|p| p.metadata.name.to_string()).collect()
}

fn nodes(count: usize) -> Setup {
    Setup { nodes: count, ..Setup::default() }
}

#[test]
fn a_daemon_set_has_a_pod_on_every_node_that_suits() {
    let history = check(
        nodes(4),
        async |world| {
            world
                .edit(Kind::Node, "n001", |n| n["spec"]["taints"] = json!([{"key": "gpu", "effect": "NoSchedule"}]))
                .await;
            world.edit(Kind::Node, "n002", |n| n["spec"]["unschedulable"] = true.into()).await;
            world.create(set("DaemonSet", "v1", json!({}))).await;
            let three = |s: &State| served(s, "v1").len() == 3;
            let state = world.until("three nodes have one", three).await;
            assert!(!served(&state, "v1").contains("n001"), "its taint is not tolerated");
            assert!(served(&state, "v1").contains("n002"), "a cordon is");
            let status = &world
                .until("the status says so", |s| {
                    s.get::<DaemonSet>("own").is_some_and(|d| d.status.number_available == 3)
                })
                .await
                .get::<DaemonSet>("own")
                .expect("there")
                .status
                .clone();
            assert_eq!((status.desired_number_scheduled.0, status.current_number_scheduled.0), (3, 3));
            assert_eq!(
                (status.number_unavailable, status.number_misscheduled.0, status.updated_number_scheduled),
                (0, 0, 3)
            );
            // Nodes come, change and go.
            world.cluster.add_node("late", steersman::simulation::size(4, 8));
            world.until("the new node has one", |s| served(s, "v1").contains("late")).await;
            world.edit(Kind::Node, "n001", |n| n["spec"]["taints"] = json!([])).await;
            world.until("the node without taint has one", |s| served(s, "v1").len() == 5).await;
            let evicting = json!([{"key": "gone", "effect": "NoExecute"}]);
            world.edit(Kind::Node, "n003", |n| n["spec"]["taints"] = evicting.clone()).await;
            world
                .until("the node that evicts has none", |s| {
                    served(s, "v1").len() == 4 && !served(s, "v1").contains("n003")
                })
                .await;
            // Whoever deletes one gets another.
            let name = world.state().await.active("own")[0].metadata.name.to_string();
            world.delete(Kind::Pod, &name, Propagation::Background).await;
            world.until("it is replaced", |s| served(s, "v1").len() == 4 && s.get::<Pod>(&name).is_none()).await;
        },
        |_| {},
    );
    one_per_node(&history);
}

/// Never two running pods of the set on one node, as long as nothing surges.
fn one_per_node(history: &History) {
    history.each(|step| {
        let nodes: Vec<_> = step.state.active("own").iter().map(|p| p.spec.node_name.clone()).collect();
        let bound: Vec<_> = nodes.iter().filter(|n| !n.is_empty()).collect();
        assert_eq!(bound.iter().collect::<BTreeSet<_>>().len(), bound.len(), "{nodes:?}");
    });
}

#[test]
fn a_daemon_set_is_rolled_within_its_bounds_and_back() {
    for (bounds, least, most) in [
        (json!({"maxUnavailable": 1}), 4, 5),
        (json!({"maxUnavailable": "40%"}), 3, 5),
        (json!({"maxUnavailable": 0, "maxSurge": 2}), 5, 7),
    ] {
        let history = check(
            nodes(5),
            async |world| {
                world.create(set("DaemonSet", "v1", json!({"updateStrategy": {"rollingUpdate": bounds}}))).await;
                world.until("all have v1", |s| served(s, "v1").len() == 5).await;
                world.edit(Kind::DaemonSet, "own", |d| to_version(d, "v2")).await;
                let all = |s: &State, version: &str| served(s, version).len() == 5 && s.active("own").len() == 5;
                world.within(Duration::from_secs(300), "all have v2", |s| all(s, "v2")).await;
                world.edit(Kind::DaemonSet, "own", |d| to_version(d, "v1")).await;
                let state = world.within(Duration::from_secs(300), "all have v1 again", |s| all(s, "v1")).await;
                let mut revisions: Vec<i64> = state.all::<ControllerRevision>().map(|r| r.revision).collect();
                revisions.sort_unstable();
                assert_eq!(revisions, [2, 3], "the old template is the latest again");
            },
            |_| {},
        );
        let all_there = |s: &State| served(s, "v1").len() == 5;
        history.keeps_bounds("own", all_there, least, most);
    }
}

#[test]
fn a_daemon_set_that_is_updated_on_deletion_waits_for_it() {
    check(
        nodes(2),
        async |world| {
            world.create(set("DaemonSet", "v1", json!({"updateStrategy": {"type": "OnDelete"}}))).await;
            world.until("both have v1", |s| served(s, "v1").len() == 2).await;
            world.edit(Kind::DaemonSet, "own", |d| to_version(d, "v2")).await;
            world.pass(Duration::from_secs(60)).await;
            assert_eq!(served(&world.state().await, "v1").len(), 2);
            let name = world.state().await.active("own")[0].metadata.name.to_string();
            world.delete(Kind::Pod, &name, Propagation::Background).await;
            world.until("one has v2", |s| served(s, "v2").len() == 1 && served(s, "v1").len() == 1).await;
        },
        |_| {},
    );
}

#[test]
fn a_stateful_set_is_made_and_ended_in_order() {
    let history = check(
        nodes(3),
        async |world| {
            world.create(set("StatefulSet", "v1", json!({"replicas": 3, "serviceName": "own"}))).await;
            let state = world.until("all are ready", |s| ready_names(s, "v1").len() == 3).await;
            assert_eq!(ready_names(&state, "v1"), ["own-0", "own-1", "own-2"]);
            let pod = state.get::<Pod>("own-1").expect("there");
            assert_eq!((pod.spec.hostname.as_str(), pod.spec.subdomain.as_str()), ("own-1", "own"));
            let label = |name: &str| pod.metadata.labels.get(name).map(|v| v.to_string()).unwrap_or_default();
            assert_eq!(label("statefulset.kubernetes.io/pod-name"), "own-1");
            assert_eq!(label("apps.kubernetes.io/pod-index"), "1");
            world.edit(Kind::StatefulSet, "own", |s| s["spec"]["replicas"] = 1.into()).await;
            world.until("one is left", |s| s.pods("own").len() == 1).await;
            world.edit(Kind::StatefulSet, "own", |s| s["spec"]["replicas"] = 2.into()).await;
            let state = world
                .until("two are ready", |s| {
                    ready_names(s, "v1").len() == 2
                        && s.get::<StatefulSet>("own").is_some_and(|s| s.status.available_replicas.0 == 2)
                })
                .await;
            let status = &state.get::<StatefulSet>("own").expect("there").status;
            assert_eq!((status.replicas.0, status.ready_replicas, status.updated_replicas), (2, 2, 2));
            assert_eq!(status.current_revision, status.update_revision);
        },
        |_| {},
    );
    in_order(&history);
}

/// Whenever a pod appears, all before it are ready; whenever one begins to end by a smaller count, none after it is there.
fn in_order(history: &History) {
    let mut known = BTreeSet::new();
    history.each(|step| {
        let pods = step.state.pods("own");
        for pod in &pods {
            if known.insert(pod.metadata.uid.clone()) {
                let before = pods.iter().filter(|p| p.metadata.name < pod.metadata.name);
                assert!(before.clone().all(|p| p.is_ready()), "{} came too early", pod.metadata.name);
            }
        }
    });
}

#[test]
fn a_parallel_stateful_set_does_not_wait() {
    check(
        nodes(3),
        async |world| {
            let spec = json!({"replicas": 5, "podManagementPolicy": "Parallel", "ordinals": {"start": 7}});
            world.create(set("StatefulSet", "v1", spec)).await;
            let state = world.until("all are there at once", |s| s.pods("own").len() == 5).await;
            assert!(state.pods("own").iter().all(|p| !p.is_ready()), "none has waited for another");
            let state = world.until("all are ready", |s| ready_names(s, "v1").len() == 5).await;
            assert_eq!(ready_names(&state, "v1")[0], "own-10");
            assert!(state.get::<Pod>("own-7").is_some() && state.get::<Pod>("own-11").is_some());
        },
        |_| {},
    );
}

#[test]
fn a_stateful_set_is_rolled_from_the_last_to_the_partition() {
    let history = check(
        nodes(3),
        async |world| {
            let partition = |n: i32| json!({"rollingUpdate": {"partition": n}});
            world.create(set("StatefulSet", "v1", json!({"replicas": 4, "updateStrategy": partition(2)}))).await;
            world.until("all have v1", |s| ready_names(s, "v1").len() == 4).await;
            world.edit(Kind::StatefulSet, "own", |s| to_version(s, "v2")).await;
            world.until("two have v2", |s| ready_names(s, "v2") == ["own-2", "own-3"]).await;
            // One below the partition comes back as it was.
            world.delete(Kind::Pod, "own-0", Propagation::Background).await;
            let back = |s: &State| ready_names(s, "v1") == ["own-0", "own-1"] && ready_names(s, "v2").len() == 2;
            let state = world.until("it is back", back).await;
            let status = &state.get::<StatefulSet>("own").expect("there").status;
            assert_eq!((status.current_replicas, status.updated_replicas), (2, 2));
            assert_ne!(status.current_revision, status.update_revision);
            world.edit(Kind::StatefulSet, "own", |s| s["spec"]["updateStrategy"] = partition(0)).await;
            let state = world
                .until("all have v2", |s| {
                    let set = s.get::<StatefulSet>("own").expect("there");
                    ready_names(s, "v2").len() == 4 && set.status.current_revision == set.status.update_revision
                })
                .await;
            assert_eq!(state.get::<StatefulSet>("own").expect("there").status.current_replicas, 4);
        },
        |_| {},
    );
    history.keeps_bounds("own", |s| ready_names(s, "v1").len() == 4, 3, 4);
}

#[test]
fn a_bad_template_stops_at_the_first_pod() {
    check(
        nodes(3),
        async |world| {
            world.create(set("StatefulSet", "v1", json!({"replicas": 3}))).await;
            world.until("all have v1", |s| ready_names(s, "v1").len() == 3).await;
            world
                .edit(Kind::StatefulSet, "own", |s| {
                    s["spec"]["template"]["spec"]["nodeSelector"] = json!({"nobody": "has-it"});
                })
                .await;
            world
                .until("the last one waits", |s| s.get::<Pod>("own-2").is_some_and(|p| p.spec.node_name.is_empty()))
                .await;
            world.pass(Duration::from_secs(120)).await;
            assert_eq!(ready_names(&world.state().await, "v1"), ["own-0", "own-1"], "the others go on");
            // The way back needs no help.
            world.edit(Kind::StatefulSet, "own", |s| s["spec"]["template"]["spec"]["nodeSelector"] = Value::Null).await;
            world.until("all serve again", |s| ready_names(s, "v1").len() == 3).await;
        },
        |_| {},
    );
}

#[test]
fn a_pod_of_a_lost_node_keeps_its_name_until_the_node_is_back() {
    check(
        nodes(3),
        async |world| {
            world.create(set("StatefulSet", "v1", json!({"replicas": 2}))).await;
            let state = world.until("both are ready", |s| ready_names(s, "v1").len() == 2).await;
            let lost = state.get::<Pod>("own-1").expect("there").spec.node_name.to_string();
            let uid = state.get::<Pod>("own-1").expect("there").metadata.uid.clone();
            world.cluster.cut_node(&lost).expect("a node");
            let ending = |s: &State| s.get::<Pod>("own-1").is_some_and(|p| p.metadata.is_deleting());
            world.within(Duration::from_secs(900), "it is to end", ending).await;
            world.pass(Duration::from_secs(3600)).await;
            let state = world.state().await;
            assert_eq!(state.get::<Pod>("own-1").expect("still there").metadata.uid, uid, "it may still run there");
            world.cluster.join_node(&lost).expect("a node");
            let anew = |s: &State| s.get::<Pod>("own-1").is_some_and(|p| p.metadata.uid != uid && p.is_ready());
            world.within(Duration::from_secs(300), "it is made anew", anew).await;
        },
        |_| {},
    );
}

#[test]
fn controllers_that_die_after_every_write_make_the_same_sets() {
    for writes in [1, 3] {
        for kind in ["DaemonSet", "StatefulSet"] {
            let history = check(
                nodes(3),
                async |world| {
                    let spec = if kind == "StatefulSet" { json!({"replicas": 3}) } else { json!({}) };
                    world.create(set(kind, "v1", spec)).await;
                    world.with_mortals(writes, "all are ready", |s| ready_names(s, "v1").len() == 3).await;
                    let kind = if kind == "StatefulSet" { Kind::StatefulSet } else { Kind::DaemonSet };
                    world.edit(kind, "own", |s| to_version(s, "v2")).await;
                    world.with_mortals(writes, "all are of v2", |s| ready_names(s, "v2").len() == 3).await;
                },
                |_| {},
            );
            one_per_node_of(&history, kind);
        }
    }
}

fn one_per_node_of(history: &History, kind: &str) {
    if kind == "DaemonSet" {
        one_per_node(history);
    } else {
        in_order(history);
    }
}
