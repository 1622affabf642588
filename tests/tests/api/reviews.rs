//! Questions about oneself: who am I, may I, what may I.

use serde_json::{Value, json};
use steersman_application::client::Write;
use steersman_domain::{Kind, Uid};

use crate::world::{Answer, World, pod};

async fn ask(world: &World, token: &str, path: &str, spec: Value) -> Answer {
    let value = if spec.is_null() { json!({}) } else { json!({"spec": spec}) };
    let token = format!("Bearer {token}");
    world.send("POST", path, &[("authorization", &token)], value.to_string().into_bytes()).await
}

/// Whether the owner of a token is told that it may do something, and why.
async fn may(world: &World, token: &str, spec: Value) -> (bool, String) {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = ask(world, token, path, spec).await;
    assert_eq!(answer.code, 201, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["kind"], "SelfSubjectAccessReview");
    let why = answer["status"]["reason"].as_str().unwrap_or_default().to_owned();
    (answer["status"]["allowed"].as_bool().expect("an answer"), why)
}

fn on(verb: &str, group: &str, resource: &str, name: &str) -> Value {
    json!({"resourceAttributes": {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": "default"}})
}

#[tokio::test]
async fn an_answer_is_what_a_request_would_meet() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    world.create(Kind::Secret, json!({"metadata": {"name": "s"}})).await;
    let mut value = pod("p", 1);
    value["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
    let p = world.create(Kind::Pod, value).await.key.clone();
    let secret = || on("get", "", "secrets", "s");
    assert!(may(&world, "admin-token", on("delete", "apps", "deployments", "")).await.0);
    assert!(!may(&world, "eve-token", on("get", "", "pods", "p")).await.0);
    assert!(may(&world, "eve-token", on("create", "authorization.k8s.io", "selfsubjectaccessreviews", "")).await.0);
    let (allowed, why) = may(&world, "node-token", secret()).await;
    assert!(!allowed && why.contains("no pod that is bound to node n1"), "{why}");
    world
        .write(vec![Write::Bind { pod: p, uid: Uid::default(), node: "n1".into() }])
        .await
        .pop()
        .expect("one")
        .expect("binds");
    for (spec, expected) in [
        (secret(), true),
        (on("list", "", "secrets", ""), false),
        (on("get", "", "pods", "p"), true),
        (on("list", "", "pods", ""), false),
        (on("get", "apps", "deployments", "d"), false),
        (on("get", "", "unheardofs", ""), false),
    ] {
        let told = may(&world, "node-token", spec.clone()).await;
        assert_eq!(told.0, expected, "{spec} {told:?}");
        let what = &spec["resourceAttributes"];
        let text = |field: &str| what[field].as_str().unwrap_or_default().to_owned();
        let root = if text("group").is_empty() { "/api/v1".into() } else { format!("/apis/{}/v1", text("group")) };
        let path = format!("{root}/namespaces/default/{}/{}", text("resource"), text("name"));
        let answer = world.send("GET", &path, &[("authorization", "Bearer node-token")], Vec::new()).await;
        assert_eq!(answer.code == 200, expected, "{path} {answer:?}");
    }
    let own = json!({"verb": "list", "resource": "pods", "fieldSelector": {"rawSelector": "spec.nodeName=n1"}});
    assert!(may(&world, "node-token", json!({"resourceAttributes": own})).await.0);
    let path = |path: &str, verb: &str| json!({"nonResourceAttributes": {"path": path, "verb": verb}});
    assert!(may(&world, "eve-token", path("/openapi/v2", "get")).await.0);
    assert!(!may(&world, "eve-token", path("/openapi/v2", "delete")).await.0);
    assert!(!may(&world, "eve-token", path("/apis/steersman.io/v1/jointokens", "post")).await.0);
    assert!(!may(&world, "eve-token", path("/metrics", "get")).await.0);
    assert!(may(&world, "admin-token", path("/metrics", "get")).await.0);
}

#[tokio::test]
async fn users_learn_who_they_are_and_what_they_may() {
    let world = World::new().await;
    let me = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = ask(&world, "node-token", me, Value::Null).await;
    assert_eq!(answer.code, 201, "{answer:?}");
    let groups = json!(["system:nodes", "system:authenticated"]);
    assert_eq!(answer.json()["status"], json!({"userInfo": {"username": "system:node:n1", "groups": groups}}));
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let spec = || json!({"namespace": "default"});
    let all = ask(&world, "admin-token", rules, spec()).await.json();
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    assert_eq!((&all["status"]["resourceRules"], &all["status"]["incomplete"]), (&everything, &json!(false)));
    let few = ask(&world, "eve-token", rules, spec()).await.json();
    assert_eq!(few["status"]["resourceRules"].as_array().map(Vec::len), Some(2), "{few}");
    let node = ask(&world, "node-token", rules, spec()).await.json();
    assert_eq!(node["status"]["incomplete"], true);
    assert!(node["status"]["evaluationError"].as_str().is_some_and(|e| e.contains("by its name")), "{node}");

    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (path, spec, code, message) in [
        (rules, json!({}), 422, "name a namespace"),
        (access, json!({}), 422, "exactly one of"),
        (access, json!({"resourceAttributes": {}, "nonResourceAttributes": {}}), 422, "exactly one of"),
        (access, json!({"resourceAttributes": "pods"}), 400, "resourceAttributes"),
    ] {
        let answer = ask(&world, "admin-token", path, spec.clone()).await;
        assert_eq!(answer.code, code, "{spec} {answer:?}");
        assert!(answer.json()["message"].to_string().contains(message), "{answer:?}");
    }
    assert_eq!(world.ask("GET", access, Value::Null).await.code, 405);
    assert_eq!(ask(&world, "nobodys-token", me, Value::Null).await.code, 401);
}
