//! Bodies of requests: forms, limits, validation, warnings.

use crate::world::{CONFIG_MAPS, DEPLOYMENTS, World, deployment};
use http::Method;
use serde_json::json;

/// A field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|l| *l < 128).expect("short enough for one byte of length");
    [&[number << 3 | 2, length], bytes].concat()
}

#[tokio::test]
async fn protobuf_bodies_are_decoded() {
    let world = World::new().await;
    let meta = field(1, b"from-protobuf");
    let entry = [field(1, b"k"), field(2, b"v")].concat();
    let object = [field(1, &meta), field(2, &entry)].concat();
    let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
    let body = [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat();
    let created = world
        .ask(Method::POST, CONFIG_MAPS)
        .body("application/vnd.kubernetes.protobuf", body)
        .header(http::header::ACCEPT, "application/vnd.kubernetes.protobuf,application/json")
        .send()
        .await;
    assert_eq!(created.expect(201)["data"], json!({"k": "v"}));
    assert_eq!(created.headers["content-type"], "application/json");
    let broken = world.ask(Method::POST, CONFIG_MAPS).body("application/vnd.kubernetes.protobuf", "k8s\0\u{1}junk");
    broken.send().await.refusal(400, "BadRequest");

    let kind = [field(1, b"v1"), field(2, b"DeleteOptions")].concat();
    // propagationPolicy is field 4.
    let body = [b"k8s\0".to_vec(), field(1, &kind), field(2, &field(4, b"Foreground"))].concat();
    world.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let kept =
        world.ask(Method::DELETE, &path).body("application/vnd.kubernetes.protobuf", body).send().await.expect(200);
    assert_eq!(kept["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn questions_may_come_as_protobuf() {
    let world = World::new().await;
    let kind = [field(1, b"authorization.k8s.io/v1"), field(2, b"SelfSubjectAccessReview")].concat();
    // The verb is field 2 and the resource field 5 of the attributes, which are field 1 of the spec, which is field 2.
    let attributes = [field(2, b"list"), field(5, b"pods")].concat();
    let object = field(2, &field(1, &attributes));
    let body = [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer =
        world.ask(Method::POST, path).body("application/vnd.kubernetes.protobuf", body).send().await.expect(201);
    assert_eq!(answer["spec"], json!({"resourceAttributes": {"verb": "list", "resource": "pods"}}));
    assert_eq!(answer["status"]["allowed"], true);
}

#[tokio::test]
async fn yaml_and_unnamed_bodies_are_read() {
    let world = World::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"1\"\n";
    let created = world.ask(Method::POST, CONFIG_MAPS).body("application/yaml", yaml).send().await.expect(201);
    assert_eq!(created["data"]["k"], "1");
    world.ask(Method::POST, CONFIG_MAPS).body("", r#"{"metadata":{"name":"b"}}"#).send().await.expect(201);

    let bad = "metadata:\n  name: [\n";
    let message = world.ask(Method::POST, CONFIG_MAPS).body("application/yaml", bad).send().await;
    assert!(message.refusal(400, "BadRequest").contains("line "), "{:?}", message.bytes);
    let message = world.ask(Method::POST, CONFIG_MAPS).body("application/json", "{\"metadata\":\n{,}}").send().await;
    assert!(message.refusal(400, "BadRequest").contains("line 2 column 2"), "{:?}", message.bytes);
    world.ask(Method::POST, CONFIG_MAPS).body("text/csv", "a,b").send().await.refusal(415, "UnsupportedMediaType");
    for body in ["", "[]", "3", "null"] {
        world.ask(Method::POST, CONFIG_MAPS).body("application/json", body).send().await.refusal(400, "BadRequest");
    }
}

#[tokio::test]
async fn large_and_deep_bodies_are_refused() {
    let world = World::new().await;
    let large = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(3 * 1024 * 1024)}});
    world.post(CONFIG_MAPS, &large).await.refusal(413, "RequestEntityTooLarge");
    let deep = format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500));
    world.ask(Method::POST, CONFIG_MAPS).body("application/json", deep).send().await.refusal(400, "BadRequest");
    let deep = "[".repeat(500);
    world.ask(Method::POST, CONFIG_MAPS).body("application/yaml", deep).send().await.refusal(400, "BadRequest");
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_ignored() {
    let world = World::new().await;
    let body = r#"{"metadata":{"name":"NAME"},"dada":{"k":"v"},"data":{"a":"1"},"data":{"a":"2"}}"#;
    let send = |name: &'static str, mode: &str| {
        let path = format!("{CONFIG_MAPS}{mode}");
        world.ask(Method::POST, &path).body("application/json", body.replace("NAME", name)).send()
    };
    let strict = send("a", "?fieldValidation=Strict").await;
    let message = strict.refusal(400, "BadRequest");
    let causes = &strict.json()["details"]["causes"];
    assert_eq!(causes.as_array().map(Vec::len), Some(2), "{causes}");
    for part in [
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error",
        r#"unknown field "dada""#,
        r#"duplicate field "data""#,
    ] {
        assert!(message.contains(part), "{message}");
    }
    for (name, mode) in [("b", "?fieldValidation=Warn"), ("c", "")] {
        let warned = send(name, mode).await;
        warned.expect(201);
        let warnings = warned.warnings();
        assert!(warnings.iter().all(|w| w.starts_with("299 - \"") && w.ends_with('"')), "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains(r#"unknown field \"dada\""#)), "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains(r#"duplicate field \"data\""#)), "{warnings:?}");
    }
    let ignored = send("d", "?fieldValidation=Ignore").await;
    ignored.expect(201);
    assert_eq!(ignored.warnings(), Vec::<String>::new());
    send("e", "?fieldValidation=Sometimes").await.refusal(422, "Invalid");
}

#[tokio::test]
async fn a_wrong_type_is_refused_whatever_the_validation() {
    let world = World::new().await;
    let mut bad = deployment("web");
    bad["spec"]["replicas"] = json!("three");
    let path = format!("{DEPLOYMENTS}?fieldValidation=Ignore");
    let message = world.post(&path, &bad).await.refusal(400, "BadRequest");
    assert!(message.contains("Deployment in version \"v1\" cannot be handled as a Deployment"), "{message}");
    assert!(message.contains("spec.replicas"), "{message}");
}

#[tokio::test]
async fn fields_without_effect_are_warned_of_and_come_back_whole() {
    let world = World::new().await;
    let mut wish = deployment("web");
    wish["spec"]["template"]["spec"]["dnsConfig"] = json!({"nameservers": ["10.0.0.1"]});
    let answer = world.post(DEPLOYMENTS, &wish).await;
    let created = answer.expect(201);
    assert_eq!(created["spec"]["template"]["spec"]["dnsConfig"], json!({"nameservers": ["10.0.0.1"]}));
    let warnings = answer.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("spec.template.spec.dnsConfig"), "{warnings:?}");
    // What the server itself filled in is not held against the client who sends it back.
    let mut again = created.clone();
    again["spec"]["template"]["spec"].as_object_mut().expect("a pod spec").remove("dnsConfig");
    let answer = world.put(&format!("{DEPLOYMENTS}/web"), &again).await;
    answer.expect(200);
    assert_eq!(answer.warnings(), Vec::<String>::new());
}
