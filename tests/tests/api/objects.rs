//! Creating and updating through the use cases.

use std::sync::atomic::Ordering;

use serde_json::json;
use steersman_application::client::{ApiError, Client as _, Part, Write, WriteOptions};
use steersman_domain::{ConfigMap, Deployment, Kind, Namespace, Pod, PodPhase, Secret, Str};

use crate::world::{World, config, deployment, key, object, pod};

#[tokio::test]
async fn a_new_object_gets_its_identity() {
    let world = World::new().await;
    let stored = world.create(Kind::Deployment, deployment("web")).await;
    let meta = stored.object.meta();
    assert_eq!(meta.uid.as_str().len(), 36);
    assert_eq!((meta.generation, meta.creation_timestamp), (1, Some(world.api.now())));
    assert_eq!(meta.resource_version, stored.revision);
    let error = world.try_create(Kind::Deployment, deployment("web")).await.expect_err("taken");
    assert_eq!(error.to_string(), "deployments.apps \"web\" already exists");
    let mut generated = config("");
    generated["metadata"]["generateName"] = json!("cm-");
    let name = world.create(Kind::ConfigMap, generated).await.key.name.clone();
    assert!(name.starts_with("cm-") && name.len() == 8, "{name}");
}

#[tokio::test]
async fn a_thousand_creations_are_one_commit() {
    let world = World::new().await;
    let before = world.store.commits.load(Ordering::Relaxed);
    let writes = (0..1000).map(|n| Write::Create(object(Kind::ConfigMap, config(&format!("c{n}"))))).collect();
    let answers = world.write(writes).await;
    assert!(answers.len() == 1000 && answers.iter().all(Result::is_ok));
    assert_eq!(world.store.commits.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test]
async fn writes_of_a_batch_are_independent_and_in_order() {
    let world = World::new().await;
    let namespace = object(Kind::Namespace, json!({"metadata": {"name": "team"}}));
    let inside = object(Kind::ConfigMap, json!({"metadata": {"name": "a", "namespace": "team"}}));
    let bad = object(Kind::ConfigMap, json!({"metadata": {"name": "B!", "namespace": "team"}}));
    let answers = world
        .write(vec![
            Write::Create(namespace),
            Write::Create(inside.clone()),
            Write::Create(bad),
            Write::Delete(key(Kind::ConfigMap, "none"), Default::default()),
            Write::Create(inside),
        ])
        .await;
    let words: Vec<&str> = answers
        .iter()
        .map(|a| match a {
            Ok(_) => "ok",
            Err(ApiError::Invalid { .. }) => "invalid",
            Err(ApiError::NotFound(_)) => "missing",
            Err(ApiError::AlreadyExists(_)) => "exists",
            Err(_) => "other",
        })
        .collect();
    assert_eq!(words, ["ok", "ok", "invalid", "missing", "exists"]);
}

#[tokio::test]
async fn the_namespace_must_be_there_and_stay() {
    let world = World::new().await;
    let lost = json!({"metadata": {"name": "a", "namespace": "nowhere"}});
    let error = world.try_create(Kind::ConfigMap, lost).await.expect_err("no namespace").to_string();
    assert_eq!(error, "namespaces \"nowhere\" not found");
    world.create(Kind::Namespace, json!({"metadata": {"name": "team"}})).await;
    let namespace = world.delete(&key(Kind::Namespace, "team")).await.expect("begins");
    assert!(namespace.typed::<Namespace>().is_some_and(|n| n.is_terminating()));
    let late = json!({"metadata": {"name": "a", "namespace": "team"}});
    let error = world.try_create(Kind::ConfigMap, late).await.expect_err("terminating");
    assert!(matches!(error, ApiError::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn an_update_of_one_part_keeps_the_other() {
    let world = World::new().await;
    world.create(Kind::Deployment, deployment("web")).await;
    let web = key(Kind::Deployment, "web");
    let change = |d: &mut Deployment| {
        d.spec.replicas = Some(5);
        d.status.replicas = 3;
    };
    let main = world.update::<Deployment>(&web, Part::Main, change).await.expect("updates");
    let d = main.typed::<Deployment>().expect("a deployment");
    assert_eq!((d.replicas(), d.status.replicas, d.metadata.generation), (5, 0, 2));
    let change = |d: &mut Deployment| {
        d.spec.replicas = Some(9);
        d.status.replicas = 3;
        d.metadata.labels.insert("seen", "yes".into());
    };
    let status = world.update::<Deployment>(&web, Part::Status, change).await.expect("updates");
    let d = status.typed::<Deployment>().expect("a deployment");
    assert_eq!((d.replicas(), d.status.replicas, d.metadata.generation), (5, 3, 2));
    assert_eq!(d.metadata.labels.get("seen").map(Str::as_str), Some("yes"));
    let same = world.update::<Deployment>(&web, Part::Main, |_| {}).await.expect("changes nothing");
    assert_eq!(same.revision, status.revision);
}

#[tokio::test]
async fn a_stale_update_is_a_conflict() {
    let world = World::new().await;
    let first = world.create(Kind::ConfigMap, config("a")).await;
    world.update::<ConfigMap>(&first.key, Part::Main, |c| _ = c.data.insert("x", "1".into())).await.expect("updates");
    let stale = world.api.update(first.object.clone(), Part::Main, &WriteOptions::default()).await;
    assert_eq!(
        stale.expect_err("stale").to_string(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let mut other = first.object.clone();
    other.meta_mut().resource_version = Default::default();
    other.meta_mut().uid = "other".into();
    let error = world.api.update(other, Part::Main, &WriteOptions::default()).await.expect_err("another object");
    assert!(error.to_string().contains("Precondition failed: UID in precondition: other"), "{error}");
}

#[tokio::test]
async fn the_last_finalizer_lets_go() {
    let world = World::new().await;
    let mut held = config("a");
    held["metadata"]["finalizers"] = json!(["x/y"]);
    let a = world.create(Kind::ConfigMap, held).await.key.clone();
    let waiting = world.delete(&a).await.expect("begins");
    assert!(waiting.object.meta().is_deleting());
    let more = |c: &mut ConfigMap| c.metadata.finalizers.push("x/z".into());
    let error = world.update::<ConfigMap>(&a, Part::Main, more).await.expect_err("too late").to_string();
    assert!(error.contains("no new finalizers can be added"), "{error}");
    world.update::<ConfigMap>(&a, Part::Main, |c| c.metadata.finalizers.clear()).await.expect("lets go");
    assert!(matches!(world.api.get(&a).await, Err(ApiError::NotFound(_))));
}

#[tokio::test]
async fn secrets_and_pods_are_completed() {
    let world = World::new().await;
    let secret = world.create(Kind::Secret, json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}})).await;
    let secret = secret.typed::<Secret>().expect("a secret").clone();
    assert_eq!((secret.data.get("k").map(Str::as_str), secret.kind.as_str()), (Some("dg=="), "Opaque"));
    assert!(secret.string_data.is_empty());
    let mut lying = pod("p", 100);
    lying["status"] = json!({"phase": "Running"});
    let p = world.create(Kind::Pod, lying).await;
    let p = p.typed::<Pod>().expect("a pod");
    assert_eq!((p.status.phase, p.status.qos_class.as_str()), (PodPhase::Pending, "Burstable"));
    assert_eq!((p.spec.runtime_class_name.as_str(), p.spec.tolerations.len()), ("process", 2));
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let world = World::new().await;
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let before = world.api.head().await.expect("a head").revision;
    let imagined = world.api.create(object(Kind::Deployment, deployment("web")), &dry).await.expect("would do");
    assert_eq!(imagined.object.meta().generation, 1);
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    world.api.create(object(Kind::Service, service), &dry).await.expect("would do");
    assert_eq!(world.api.head().await.expect("a head").revision, before);
}
