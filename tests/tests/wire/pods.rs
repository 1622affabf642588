//! What can be asked below a pod.

use crate::world::{PODS, World, node, pod};
use http::Method;
use serde_json::json;

async fn bound() -> World {
    let world = World::new().await;
    world.post("/api/v1/nodes", &node("n")).await.expect(201);
    world.post(PODS, &pod("a")).await.expect(201);
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    let answer = world.post(&format!("{PODS}/a/binding"), &binding).await.expect(201);
    assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
    world
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let world = bound().await;
    assert_eq!(world.get(&format!("{PODS}/a")).await.expect(200)["spec"]["nodeName"], "n");
    let again = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    let message = world.post("/api/v1/namespaces/default/bindings", &again).await.refusal(409, "Conflict");
    assert!(message.contains("already assigned"), "{message}");
    world.post(&format!("{PODS}/a/binding"), &json!({"target": {}})).await.refusal(422, "Invalid");
}

#[tokio::test]
async fn evictions_of_both_versions_delete() {
    for version in ["policy/v1", "policy/v1beta1"] {
        let world = bound().await;
        let eviction = |name: &str| {
            json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": name, "namespace": "default"},
                "deleteOptions": {"gracePeriodSeconds": 5}})
        };
        let path = format!("{PODS}/a/eviction");
        world.post(&path, &eviction("b")).await.refusal(400, "BadRequest");
        world.post(&format!("{path}?dryRun=All"), &eviction("a")).await.expect(201);
        assert!(world.get(&format!("{PODS}/a")).await.expect(200)["metadata"].get("deletionTimestamp").is_none());
        assert_eq!(world.post(&path, &eviction("a")).await.expect(201)["status"], "Success");
        let meta = world.get(&format!("{PODS}/a")).await.expect(200)["metadata"].clone();
        assert_eq!(meta["deletionGracePeriodSeconds"], 5);
    }
}

#[tokio::test]
async fn a_bound_pod_ends_with_grace_and_an_unbound_one_at_once() {
    let world = bound().await;
    let going = world.delete(&format!("{PODS}/a?gracePeriodSeconds=7")).await.expect(200);
    assert_eq!((&going["kind"], &going["metadata"]["deletionGracePeriodSeconds"]), (&json!("Pod"), &json!(7)));
    world.delete(&format!("{PODS}/a?gracePeriodSeconds=0")).await.expect(200);
    world.get(&format!("{PODS}/a")).await.refusal(404, "NotFound");
}

#[tokio::test]
async fn logs_are_asked_for_as_the_client_does() {
    let world = bound().await;
    let path = format!("{PODS}/a/log");
    let waiting = world.get(&path).await.refusal(400, "BadRequest");
    assert!(waiting.contains("is waiting to start"), "{waiting}");
    let status = json!({"status": {"containerStatuses": [
        {"name": "main", "image": "one", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}}},
    ]}});
    world.patch(&format!("{PODS}/a/status"), "strategic-merge", &status).await.expect(200);
    let query = "tailLines=2&sinceSeconds=60&timestamps=true&limitBytes=100&container=main";
    let answer = world.get(&format!("{path}?{query}")).await;
    answer.expect(200);
    assert!(answer.headers["content-type"].to_str().is_ok_and(|t| t.starts_with("text/plain")));
    assert_eq!(
        std::str::from_utf8(&answer.bytes).expect("text"),
        "n main tail=Some(2) since=Some(\"2023-12-31T23:59:00Z\") timestamps=true limit=Some(100)\nsecond\n"
    );
    for (query, code) in [
        ("tailLines=-1", 422),
        ("sinceSeconds=0", 422),
        ("limitBytes=0", 422),
        ("sinceSeconds=1&sinceTime=2024-01-01T00:00:00Z", 422),
        ("sinceTime=yesterday", 400),
        ("container=none", 400),
        ("previous=true", 400),
    ] {
        assert_eq!(world.get(&format!("{path}?{query}")).await.code, code, "{query}");
    }
}

#[tokio::test]
async fn what_is_not_done_here_says_so() {
    let world = bound().await;
    for path in ["exec?command=true", "attach", "portforward", "proxy", "proxy/some/path"] {
        for method in [Method::GET, Method::POST] {
            let answer = world.ask(method, &format!("{PODS}/a/{path}")).send().await;
            assert!([405, 501].contains(&answer.code.as_u16()), "{path}: {}", answer.code);
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains("not supported"), "{path}: {message}");
        }
    }
    let answer = world.get("/api/v1/nodes/n/proxy/metrics").await;
    assert!(answer.json()["message"].as_str().is_some_and(|m| m.contains("not supported")), "{:?}", answer.bytes);
}

#[tokio::test]
async fn the_placement_of_a_pod_can_be_asked_for() {
    let world = bound().await;
    let explanation = world.get(&format!("{PODS}/a/explain")).await.expect(200);
    assert!(explanation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{explanation}");
    world.get(&format!("{PODS}/none/explain")).await.refusal(404, "NotFound");
}
