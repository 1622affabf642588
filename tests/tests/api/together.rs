//! Writes that are done all or none.

use std::sync::atomic::Ordering;

use serde_json::json;
use steersman_application::client::{ApiError, Client as _, DeleteOptions, Write, WriteOptions};
use steersman_domain::{Key, Kind, Pod, Uid};

use crate::world::{World, object, pod};

fn atomic() -> WriteOptions {
    WriteOptions { atomic: true, ..WriteOptions::default() }
}

fn bind(pod: &Key, node: &str) -> Write {
    Write::Bind { pod: pod.clone(), uid: Uid::default(), node: node.into() }
}

fn config(name: &str) -> Write {
    Write::Create(object(Kind::ConfigMap, json!({"metadata": {"name": name, "namespace": "default"}})))
}

#[tokio::test]
async fn binds_on_several_nodes_are_one_transaction() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    world.node("n2", 1000).await;
    let (a, b, c) = (world.pod("a", 600).await, world.pod("b", 600).await, world.pod("c", 400).await);
    let before = world.store.commits.load(Ordering::Relaxed);
    let answers = world.api.write(vec![bind(&a, "n1"), bind(&b, "n2"), bind(&c, "n1")], &atomic()).await;
    assert_eq!(world.store.commits.load(Ordering::Relaxed), before + 1);
    let nodes: Vec<String> = answers
        .iter()
        .map(|a| a.as_ref().expect("bound").typed::<Pod>().expect("a pod").spec.node_name.to_string())
        .collect();
    assert_eq!(nodes, ["n1", "n2", "n1"]);
}

#[tokio::test]
async fn one_that_cannot_be_done_leaves_all_undone_and_says_which() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    world.node("n2", 1000).await;
    let (a, b) = (world.pod("a", 600).await, world.pod("b", 1200).await);
    let answers = world.api.write(vec![bind(&a, "n1"), bind(&b, "n2")], &atomic()).await;
    let told: Vec<String> = answers.into_iter().map(|a| a.expect_err("refused").to_string()).collect();
    assert!(told[1].contains("insufficient cpu: requested 1200, free 1000"), "{told:?}");
    assert!(told[0].contains("not done, because it goes together with") && told[0].contains("default/b"), "{told:?}");
    assert_eq!(world.typed::<Pod>(&a).await.expect("there").spec.node_name, "");
    // Nothing was entered into the ledger either.
    assert!(world.write(vec![bind(&a, "n1")]).await[0].is_ok());
}

#[tokio::test]
async fn creations_updates_and_deletions_go_together_too() {
    let world = World::new().await;
    world.api.write(vec![config("old")], &WriteOptions::default()).await;
    let old = Key::new(Kind::ConfigMap, "default", "old");
    let delete = Write::Delete(old.clone(), DeleteOptions::default());
    let exists = world.api.write(vec![config("new"), config("old")], &atomic()).await;
    assert!(matches!(&exists[1], Err(ApiError::AlreadyExists(key)) if *key == old), "{exists:?}");
    assert!(matches!(&exists[0], Err(ApiError::Conflict { .. })), "{exists:?}");
    let new = Key::new(Kind::ConfigMap, "default", "new");
    assert!(matches!(world.api.get(&new).await, Err(ApiError::NotFound(_))));
    let twice = world.api.write(vec![config("x"), config("x")], &atomic()).await;
    assert!(
        twice.iter().all(|a| matches!(a, Err(ApiError::BadRequest(why)) if why.contains("different"))),
        "{twice:?}"
    );
    let imagined =
        world.api.write(vec![config("new"), delete.clone()], &WriteOptions { dry_run: true, ..atomic() }).await;
    assert!(imagined.iter().all(Result::is_ok), "{imagined:?}");
    assert!(matches!(world.api.get(&new).await, Err(ApiError::NotFound(_))) && world.api.get(&old).await.is_ok());
    let done = world.api.write(vec![config("new"), delete], &atomic()).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!(matches!(world.api.get(&old).await, Err(ApiError::NotFound(_))) && world.api.get(&new).await.is_ok());
}

#[tokio::test]
async fn a_gang_says_its_size() {
    let world = World::new().await;
    for (annotations, expected) in [
        (json!({"scheduling.steersman.io/gang": "g"}), "gang-size]: Required value"),
        (json!({"scheduling.steersman.io/gang-size": "2"}), "[scheduling.steersman.io/gang]: Required value"),
        (
            json!({"scheduling.steersman.io/gang": "g", "scheduling.steersman.io/gang-size": "0"}),
            "Invalid value: \"0\": must be a whole number from 1 to 10000",
        ),
        (
            json!({"scheduling.steersman.io/gang": "a b", "scheduling.steersman.io/gang-size": "2"}),
            "[scheduling.steersman.io/gang]: Invalid value: \"a b\"",
        ),
    ] {
        let mut value = pod("p", 1);
        value["metadata"]["annotations"] = annotations;
        let refused = world.try_create(Kind::Pod, value).await.expect_err("refused").to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}
