//! Writing over HTTP: bodies, validation, patches, subresources, and what is refused.

use serde_json::{Value, json};
use steersman_application::client::Client as _;
use steersman_domain::{Kind, Pod};

use crate::world::{World, config, deployment, key, pod};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn an_object_lives_its_life_over_http() {
    let world = World::new().await;
    let created = world.ask("POST", CONFIGS, config("a")).await;
    assert_eq!(created.code, 201);
    let mut value = created.json();
    assert_eq!(world.ask("GET", &format!("{CONFIGS}/a"), Value::Null).await.json(), value);
    value["data"]["a"] = json!("c");
    let updated = world.ask("PUT", &format!("{CONFIGS}/a"), value.clone()).await;
    assert_eq!((updated.code.as_u16(), &updated.json()["data"]["a"]), (200, &json!("c")));
    assert_eq!(world.ask("PUT", &format!("{CONFIGS}/a"), value).await.json()["reason"], "Conflict");
    let deleted = world.ask("DELETE", &format!("{CONFIGS}/a"), Value::Null).await.json();
    assert_eq!((&deleted["status"], &deleted["details"]["kind"]), (&json!("Success"), &json!("configmaps")));
    let missing = world.ask("GET", &format!("{CONFIGS}/a"), Value::Null).await;
    assert_eq!(missing.json()["message"], "configmaps \"a\" not found");
}

#[tokio::test]
async fn bodies_come_in_several_forms() {
    let world = World::new().await;
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {a: \"1\"}\n".to_vec();
    let headers = [("content-type", "application/yaml")];
    assert_eq!(world.send("POST", CONFIGS, &headers, yaml).await.code, 201);
    let xml = world.send("POST", CONFIGS, &[("content-type", "application/xml")], b"<a/>".to_vec()).await;
    assert_eq!(xml.code, 415);
    let huge = world.send("POST", CONFIGS, &[], vec![b' '; 3 * 1024 * 1024 + 1]).await;
    assert_eq!((huge.code.as_u16(), &huge.json()["reason"]), (413, &json!("RequestEntityTooLarge")));
    let deep = [vec![b'['; 5000], vec![b']'; 5000]].concat();
    assert_eq!(world.send("POST", CONFIGS, &[], deep).await.code, 400);
    assert_eq!(world.send("POST", CONFIGS, &[], Vec::new()).await.code, 400);
    let wrong = world.ask("POST", CONFIGS, deployment("a")).await;
    assert!(wrong.json()["message"].as_str().is_some_and(|m| m.contains("does not match the expected API version")));
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
    assert_eq!(world.send("GET", CONFIGS, &protobuf, Vec::new()).await.code, 406);
}

#[tokio::test]
async fn fields_are_validated_as_asked() {
    let world = World::new().await;
    let body = br#"{"kind":"ConfigMap","metadata":{"name":"a"},"dat":{},"data":{"a":"1","a":"2"}}"#.to_vec();
    let strict = world.send("POST", &format!("{CONFIGS}?fieldValidation=Strict"), &[], body.clone()).await;
    let message = strict.json()["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(strict.code, 400);
    assert!(
        message.starts_with("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: ")
            && message.contains("unknown field \"dat\""),
        "{message}"
    );
    assert!(message.contains("duplicate field \"data.a\""), "{message}");
    let warned = world.send("POST", CONFIGS, &[], body.clone()).await;
    assert_eq!((warned.code.as_u16(), warned.warnings().len()), (201, 2), "{:?}", warned.warnings());
    let ignored = world.send("POST", &format!("{CONFIGS}?fieldValidation=Ignore&dryRun=All"), &[], body).await;
    assert!(ignored.warnings().is_empty());
    let mut carried = pod("p", 1);
    carried["spec"]["hostNetwork"] = json!(true);
    let answer = world.ask("POST", PODS, carried).await;
    assert_eq!(answer.warnings(), ["299 - \"spec.hostNetwork is stored but not acted on by Steersman\""]);
    assert_eq!(answer.json()["spec"]["hostNetwork"], true);
}

#[tokio::test]
async fn breaches_are_causes() {
    let world = World::new().await;
    let mut bad = deployment("web");
    bad["spec"]["replicas"] = json!(-1);
    let answer = world.ask("POST", DEPLOYMENTS, bad).await;
    assert_eq!((answer.code.as_u16(), &answer.json()["details"]["causes"][0]["field"]), (422, &json!("spec.replicas")));
    let missing = world.ask("POST", "/api/v1/namespaces/nowhere/configmaps", config("a")).await;
    assert_eq!(
        (missing.code.as_u16(), missing.json()["message"].clone()),
        (404, json!("namespaces \"nowhere\" not found"))
    );
}

#[tokio::test]
async fn patches_of_every_form_apply() {
    let world = World::new().await;
    let created = world.ask("POST", DEPLOYMENTS, deployment("web")).await.json();
    assert_eq!(
        (&created["spec"]["replicas"], &created["spec"]["strategy"]["type"]),
        (&json!(1), &json!("RollingUpdate"))
    );
    let path = format!("{DEPLOYMENTS}/web");
    let container = json!({"name": "c", "env": [{"name": "A", "value": "1"}]});
    for (form, patch, pointer, expected) in [
        (
            "json-patch+json",
            json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]),
            "/spec/replicas",
            json!(3),
        ),
        ("merge-patch+json", json!({"metadata": {"labels": {"x": "y"}}}), "/metadata/labels/x", json!("y")),
        (
            "strategic-merge-patch+json",
            json!({"spec": {"template": {"spec": {"containers": [container]}}}}),
            "/spec/template/spec/containers/0/image",
            json!("i:1"),
        ),
    ] {
        let media_type = format!("application/{form}");
        let answer = world.send("PATCH", &path, &[("content-type", &media_type)], patch.to_string().into_bytes()).await;
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{form}: {:?}", answer.json());
    }
    let apply = world.send("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], b"{}".to_vec()).await;
    assert_eq!(apply.code, 415);
    assert!(apply.json()["message"].as_str().is_some_and(|m| m.contains("without --server-side")));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}});
    let merge = [("content-type", "application/merge-patch+json")];
    assert_eq!(world.send("PATCH", &path, &merge, stale.to_string().into_bytes()).await.code, 409);
    let bad = json!({"spec": {"replicaz": 9}});
    let strict = format!("{path}?fieldValidation=Strict");
    assert_eq!(world.send("PATCH", &strict, &merge, bad.to_string().into_bytes()).await.code, 400);
}

#[tokio::test]
async fn a_scale_is_read_and_written() {
    let world = World::new().await;
    world.ask("POST", DEPLOYMENTS, deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = world.ask("GET", &path, Value::Null).await.json();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("app=web")));
    scale["spec"]["replicas"] = json!(4);
    assert_eq!(world.ask("PUT", &path, scale.clone()).await.json()["spec"]["replicas"], 4);
    assert_eq!(world.ask("PUT", &path, scale).await.code, 409);
    let merge = [("content-type", "application/merge-patch+json")];
    let patched = world.send("PATCH", &path, &merge, br#"{"spec":{"replicas":2}}"#.to_vec()).await.json();
    assert_eq!(patched["spec"]["replicas"], 2);
    let negative = world.send("PATCH", &path, &merge, br#"{"spec":{"replicas":-2}}"#.to_vec()).await;
    assert_eq!(negative.code, 422);
}

#[tokio::test]
async fn pods_are_bound_evicted_and_asked_for_logs() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    world.ask("POST", PODS, pod("p", 100)).await;
    let early = world.ask("GET", &format!("{PODS}/p/log"), Value::Null).await.json();
    assert_eq!(early["message"], "pod p does not have a host assigned");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(world.ask("POST", &format!("{PODS}/p/binding"), binding.clone()).await.code, 201);
    assert_eq!(world.ask("POST", "/api/v1/namespaces/default/bindings", binding).await.json()["reason"], "Conflict");
    let bound = world.typed::<Pod>(&key(Kind::Pod, "p")).await.expect("there");
    assert_eq!(bound.spec.node_name, "n1");
    let explained = world.ask("GET", &format!("{PODS}/p/explain"), Value::Null).await.json();
    assert_eq!(explained["phase"], "Unknown");
    for version in ["v1", "v1beta1"] {
        let eviction = json!({"apiVersion": format!("policy/{version}"), "kind": "Eviction", "metadata": {"name": "p"},
            "deleteOptions": {"gracePeriodSeconds": if version == "v1" { 20 } else { 0 }}});
        assert_eq!(world.ask("POST", &format!("{PODS}/p/eviction"), eviction).await.code, 201, "{version}");
    }
    assert!(world.api.get(&key(Kind::Pod, "p")).await.is_err());
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let world = World::new().await;
    world.ask("POST", PODS, pod("p", 100)).await;
    for sub in ["exec", "attach", "portforward", "ephemeralcontainers"] {
        let answer = world.ask("POST", &format!("{PODS}/p/{sub}"), Value::Null).await;
        assert_eq!(answer.code, 501, "{sub}");
        assert!(answer.json()["message"].as_str().is_some_and(|m| m.contains("is not supported")), "{sub}");
    }
    let nonsense = world.ask("GET", &format!("{PODS}/p/nonsense"), Value::Null).await;
    assert_eq!((nonsense.code.as_u16(), &nonsense.json()["details"]), (404, &json!({})), "kubectl reads the details");
    assert_eq!(world.ask("POST", &format!("{PODS}/p"), json!({})).await.code, 405);
    assert_eq!(world.ask("GET", "/apis/example.org/v1/widgets", Value::Null).await.code, 404);
}

#[tokio::test]
async fn options_of_a_deletion_are_honoured() {
    let world = World::new().await;
    world.ask("POST", DEPLOYMENTS, deployment("web")).await;
    let path = format!("{DEPLOYMENTS}/web");
    let dry = world.ask("DELETE", &format!("{path}?dryRun=All"), Value::Null).await;
    assert_eq!(dry.code, 200);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    assert_eq!(world.ask("DELETE", &path, options).await.code, 409);
    let answer = world.ask("DELETE", &path, json!({"propagationPolicy": "Foreground"})).await.json();
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let bad = world.ask("DELETE", &format!("{path}?propagationPolicy=Sideways"), Value::Null).await;
    assert_eq!(bad.code, 422);
}

#[tokio::test]
async fn events_speak_both_vocabularies() {
    let world = World::new().await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "it runs", "reason": "Started", "type": "Normal"});
    assert_eq!(world.ask("POST", "/api/v1/namespaces/default/events", event).await.code, 201);
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let list = world.ask("GET", &format!("{new}?fieldSelector=regarding.name%3Dp"), Value::Null).await.json();
    assert_eq!((&list["items"][0]["note"], &list["items"][0]["regarding"]["name"]), (&json!("it runs"), &json!("p")));
    let merge = [("content-type", "application/merge-patch+json")];
    world.send("PATCH", &format!("{new}/e"), &merge, br#"{"note":"it ran"}"#.to_vec()).await;
    let core = world.ask("GET", "/api/v1/namespaces/default/events/e", Value::Null).await.json();
    assert_eq!((&core["message"], &core["apiVersion"]), (&json!("it ran"), &json!("v1")));
}
