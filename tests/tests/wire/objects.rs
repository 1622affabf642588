//! Objects: create, read, replace, delete, and the refusals on the way.

use crate::world::{CONFIG_MAPS, DEPLOYMENTS, World, deployment};
use http::Method;
use serde_json::json;
use steersman_http::User;

#[tokio::test]
async fn an_object_is_created_read_replaced_and_deleted() {
    let world = World::new().await;
    let created = world.config_map("a", "x").await;
    let meta = &created["metadata"];
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(meta["namespace"], "default");
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(meta[field].as_str().is_some_and(|v| !v.is_empty()), "{field}: {created}");
    }
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(world.get(&path).await.expect(200), created);

    let mut changed = created.clone();
    changed["data"]["k"] = json!("w");
    let replaced = world.put(&path, &changed).await.expect(200);
    assert_eq!(replaced["data"], json!({"k": "w"}));
    assert_ne!(replaced["metadata"]["resourceVersion"], meta["resourceVersion"]);
    let message = world.put(&path, &changed).await.refusal(409, "Conflict");
    assert!(message.contains("the object has been modified"), "{message}");

    let gone = world.delete(&path).await.expect(200);
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(gone["details"]["uid"], meta["uid"]);
    let missing = world.get(&path).await;
    assert_eq!(missing.refusal(404, "NotFound"), r#"configmaps "a" not found"#);
    assert_eq!(missing.json()["details"], json!({"kind": "configmaps", "name": "a"}));
    world.delete(&path).await.refusal(404, "NotFound");
}

#[tokio::test]
async fn names_can_be_generated_and_are_taken_once() {
    let world = World::new().await;
    let wish = json!({"metadata": {"generateName": "job-"}});
    let (one, two) =
        (world.post(CONFIG_MAPS, &wish).await.expect(201), world.post(CONFIG_MAPS, &wish).await.expect(201));
    let name = one["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("job-") && name.len() == "job-".len() + 5, "{name}");
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);

    world.config_map("a", "x").await;
    let again = world.post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(again.refusal(409, "AlreadyExists"), r#"configmaps "a" already exists"#);
    world.post(CONFIG_MAPS, &json!({"metadata": {}})).await.refusal(422, "Invalid");
}

#[tokio::test]
async fn what_the_path_says_and_what_the_body_says_must_agree() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    let path = format!("{CONFIG_MAPS}/a");
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    let message = world.post(CONFIG_MAPS, &elsewhere).await.refusal(400, "BadRequest");
    assert!(message.contains("namespace of the provided object does not match the namespace"), "{message}");
    let message = world.put(&path, &json!({"metadata": {"name": "b"}})).await.refusal(400, "BadRequest");
    assert!(message.contains("the name of the object (b) does not match the name on the URL (a)"), "{message}");
    for (field, value) in [("kind", "Secret"), ("apiVersion", "v2")] {
        let mut body = json!({"metadata": {"name": "c"}});
        body[field] = json!(value);
        let message = world.post(CONFIG_MAPS, &body).await.refusal(400, "BadRequest");
        assert!(message.contains(value), "{message}");
    }
    let path = "/api/v1/namespaces/nowhere/configmaps";
    let message = world.post(path, &json!({"metadata": {"name": "a"}})).await.refusal(404, "NotFound");
    assert_eq!(message, r#"namespaces "nowhere" not found"#);
}

#[tokio::test]
async fn rules_that_are_broken_are_all_named() {
    let world = World::new().await;
    let mut bad = deployment("web");
    bad["spec"]["replicas"] = json!(-1);
    bad["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    let answer = world.post(DEPLOYMENTS, &bad).await;
    answer.refusal(422, "Invalid");
    let details = &answer.json()["details"];
    assert_eq!(
        (&details["kind"], &details["group"], &details["name"]),
        (&json!("Deployment"), &json!("apps"), &json!("web"))
    );
    let fields: Vec<&str> =
        details["causes"].as_array().into_iter().flatten().filter_map(|c| c["field"].as_str()).collect();
    assert!(fields.contains(&"spec.replicas") && fields.contains(&"spec.template.metadata.labels"), "{fields:?}");
}

#[tokio::test]
async fn a_trial_stores_nothing() {
    let world = World::new().await;
    let trial = format!("{CONFIG_MAPS}?dryRun=All");
    let answer = world.post(&trial, &json!({"metadata": {"name": "a"}})).await.expect(201);
    assert_eq!(answer["metadata"]["name"], "a");
    world.get(&format!("{CONFIG_MAPS}/a")).await.refusal(404, "NotFound");
    world.config_map("b", "x").await;
    let path = format!("{CONFIG_MAPS}/b");
    world.delete(&format!("{path}?dryRun=All")).await.expect(200);
    world.patch(&format!("{path}?dryRun=All"), "merge", &json!({"data": {"k": "w"}})).await.expect(200);
    assert_eq!(world.get(&path).await.expect(200)["data"]["k"], "v");
    world
        .post(&format!("{CONFIG_MAPS}?dryRun=Some"), &json!({"metadata": {"name": "c"}}))
        .await
        .refusal(422, "Invalid");
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let world = World::new().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        world.config_map(name, app).await;
    }
    let gone = world.delete(&format!("{CONFIG_MAPS}?labelSelector=app%3Dx")).await.expect(200);
    assert_eq!(gone["items"].as_array().map(Vec::len), Some(2));
    let left = world.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    world.delete("/api/v1/configmaps").await.refusal(405, "MethodNotAllowed");
}

#[tokio::test]
async fn preconditions_of_a_deletion_hold_in_json_and_in_the_query() {
    let world = World::new().await;
    let created = world.config_map("a", "x").await;
    let path = format!("{CONFIG_MAPS}/a");
    let with =
        |uid: &str| json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}).to_string();
    let send = |uid: String| world.ask(Method::DELETE, &path).body("application/json", uid).send();
    send(with("another")).await.refusal(409, "Conflict");
    world.delete(&format!("{path}?propagationPolicy=Sideways")).await.refusal(422, "Invalid");
    send(with(created["metadata"]["uid"].as_str().expect("a uid"))).await.expect(200);

    world.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let kept = world.delete(&format!("{DEPLOYMENTS}/web?propagationPolicy=Foreground")).await.expect(200);
    assert_eq!(kept["kind"], "Deployment");
    assert_eq!(kept["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(kept["metadata"]["deletionTimestamp"].is_string(), "{kept}");
}

#[tokio::test]
async fn events_have_two_vocabularies() {
    let world = World::new().await;
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "a"}, "note": "happened",
        "reason": "Because", "type": "Normal", "action": "Testing", "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "tests", "reportingInstance": "one", "deprecatedCount": 2,
    });
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let new = world.post(path, &event).await.expect(201);
    assert_eq!((&new["apiVersion"], &new["note"]), (&json!("events.k8s.io/v1"), &json!("happened")));
    let core = world.get("/api/v1/namespaces/default/events/e").await.expect(200);
    assert_eq!((&core["message"], &core["count"], &core["apiVersion"]), (&json!("happened"), &json!(2), &json!("v1")));
    assert_eq!(core["involvedObject"]["name"], "a");
    assert!(core.get("note").is_none(), "{core}");
    for (name, found) in [("a", 1), ("b", 0)] {
        let list = world.get(&format!("{path}?fieldSelector=regarding.name%3D{name}")).await.expect(200);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(found), "{list}");
        assert_eq!(list["apiVersion"], "events.k8s.io/v1");
    }
}

#[tokio::test]
async fn who_may_not_is_told_what() {
    let world = World::new().await;
    let eve = User::new("eve", &["system:authenticated"]);
    let answer = world.ask_as(eve, Method::GET, CONFIG_MAPS).send().await;
    let message = answer.refusal(403, "Forbidden");
    assert!(message.contains(r#"User "eve" cannot list resource "configmaps" in API group """#), "{message}");
    assert!(message.contains(r#"in the namespace "default""#), "{message}");
}
