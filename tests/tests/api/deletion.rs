//! Deleting: grace, namespaces, preconditions, collections.

use std::time::Duration;

use serde_json::json;
use steersman_application::client::{ApiError, Client as _, DeleteOptions, Part, Propagation, Selection};
use steersman_domain::ports::Scope;
use steersman_domain::{Kind, Namespace, Pod, PodPhase, Uid};

use crate::world::{World, config, deployment, key};

#[tokio::test]
async fn a_bound_pod_waits_for_its_agent() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let p = world.pod("p", 100).await;
    let bind = |node: &str| steersman_application::client::Write::Bind {
        pod: p.clone(),
        uid: Uid::default(),
        node: node.into(),
    };
    world.write(vec![bind("n1")]).await.pop().expect("an answer").expect("bound");
    let ending = world.delete(&p).await.expect("begins");
    let meta = ending.object.meta();
    assert_eq!(meta.deletion_timestamp, Some(world.api.now().after(Duration::from_secs(30))));
    assert_eq!(meta.deletion_grace_period_seconds, Some(30));
    let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    world.api.delete(&p, &at_once).await.expect("ends");
    assert!(matches!(world.api.get(&p).await, Err(ApiError::NotFound(_))));
}

#[tokio::test]
async fn pods_without_an_agent_go_at_once() {
    let world = World::new().await;
    let p = world.pod("p", 100).await;
    world.delete(&p).await.expect("goes");
    assert!(world.api.get(&p).await.is_err());
    world.node("n1", 1000).await;
    let mut bound = crate::world::pod("q", 100);
    bound["spec"]["nodeName"] = json!("n1");
    let q = world.create(Kind::Pod, bound).await.key.clone();
    world.update::<Pod>(&q, Part::Status, |p| p.status.phase = PodPhase::Succeeded).await.expect("ends");
    world.delete(&q).await.expect("goes");
    assert!(world.api.get(&q).await.is_err());
}

#[tokio::test]
async fn a_namespace_ends_when_its_finalizers_do() {
    let world = World::new().await;
    world.create(Kind::Namespace, json!({"metadata": {"name": "team"}})).await;
    let team = key(Kind::Namespace, "team");
    world.delete(&team).await.expect("begins");
    let main = world.update::<Namespace>(&team, Part::Main, |n| n.spec.finalizers.clear()).await.expect("ignored");
    assert_eq!(main.typed::<Namespace>().expect("a namespace").spec.finalizers, ["kubernetes"]);
    world.update::<Namespace>(&team, Part::Finalize, |n| n.spec.finalizers.clear()).await.expect("ends");
    assert!(world.api.get(&team).await.is_err());
    let error = world.delete(&key(Kind::Namespace, "default")).await.expect_err("kept").to_string();
    assert_eq!(error, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn preconditions_and_propagation_hold() {
    let world = World::new().await;
    let web = world.create(Kind::Deployment, deployment("web")).await;
    let other = DeleteOptions { uid: Some(Uid::from("other")), ..DeleteOptions::default() };
    assert!(matches!(world.api.delete(&web.key, &other).await, Err(ApiError::Conflict { .. })));
    let foreground = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
    let ending = world.api.delete(&web.key, &foreground).await.expect("begins");
    assert_eq!(ending.object.meta().finalizers, ["foregroundDeletion"]);
    assert_eq!(ending.object.meta().generation, 2);
    let again = world.api.delete(&web.key, &DeleteOptions::default()).await.expect("is on its way");
    assert_eq!(again.revision, ending.revision);
}

#[tokio::test]
async fn a_selection_is_deleted_as_a_whole() {
    let world = World::new().await;
    for n in 0..5 {
        world.create(Kind::ConfigMap, config(&format!("c{n}"))).await;
    }
    let scope = Scope::namespaced(Kind::ConfigMap, "default");
    let selection = Selection { scope, ..Selection::default() };
    let deleted = world.api.delete_selected(&selection, &DeleteOptions::default()).await.expect("all go");
    assert_eq!(deleted.len(), 5);
    assert!(world.api.list(&selection).await.expect("a list").items.is_empty());
}
