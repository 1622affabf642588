//! Patches of the three forms, and of parts of objects.

use crate::world::{CONFIG_MAPS, DEPLOYMENTS, World, deployment};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn the_three_forms_do_what_they_say() {
    let world = World::new().await;
    world.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let images = |object: &serde_json::Value| {
        let list = object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
        list.iter().map(|c| c["image"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let containers = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "three"}]}}}});
    let patched = world.patch(&path, "strategic-merge", &containers).await.expect(200);
    assert_eq!(images(&patched), ["one", "three"]);
    assert_eq!(patched["metadata"]["generation"], 2);
    let operations = json!([
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 5},
    ]);
    assert_eq!(world.patch(&path, "json", &operations).await.expect(200)["spec"]["replicas"], 5);
    world.patch(&path, "json", &operations).await.refusal(422, "Invalid");
    let patched = world.patch(&path, "merge", &containers).await.expect(200);
    assert_eq!(images(&patched), ["three"]);
    let before = world.get(&path).await.expect(200);
    let nothing = world.patch(&path, "merge", &json!({})).await.expect(200);
    assert_eq!(nothing, before);
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    let path = format!("{CONFIG_MAPS}/a");
    let apply = world.ask(Method::PATCH, &path).body("application/apply-patch+yaml", "data: {}").send().await;
    let message = apply.refusal(415, "UnsupportedMediaType");
    assert!(message.contains("kubectl apply` without --server-side"), "{message}");
    world.ask(Method::PATCH, &path).body("application/json", "{}").send().await.refusal(415, "UnsupportedMediaType");
    let text = world.ask(Method::PATCH, &path).body("application/merge-patch+json", "{").send().await;
    text.refusal(400, "BadRequest");
    world.patch(&path, "json", &json!({"op": "add"})).await.refusal(400, "BadRequest");
    world.patch(&path, "merge", &json!({"metadata": {"name": "b"}})).await.refusal(400, "BadRequest");
    world.patch(&format!("{CONFIG_MAPS}/none"), "merge", &json!({})).await.refusal(404, "NotFound");
    let strict = format!("{path}?fieldValidation=Strict");
    let message = world.patch(&strict, "merge", &json!({"dada": {}})).await.refusal(400, "BadRequest");
    assert!(message.contains(r#"unknown field "dada""#), "{message}");
}

#[tokio::test]
async fn a_patch_that_names_a_revision_is_for_that_revision() {
    let world = World::new().await;
    let old = world.config_map("a", "x").await["metadata"]["resourceVersion"].clone();
    let path = format!("{CONFIG_MAPS}/a");
    let pinned = json!({"metadata": {"resourceVersion": old}, "data": {"k": "w"}});
    world.patch(&path, "merge", &pinned).await.expect(200);
    world.patch(&path, "merge", &pinned).await.refusal(409, "Conflict");
}

#[tokio::test]
async fn patches_at_the_same_time_all_succeed() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    let path = format!("{CONFIG_MAPS}/a");
    let patches = ["k1", "k2", "k3"].map(|k| json!({"data": {k: "v"}}));
    let [one, two, three] = patches.each_ref().map(|p| world.patch(&path, "merge", p));
    let (one, two, three) = tokio::join!(one, two, three);
    [one, two, three].iter().for_each(|a| drop(a.expect(200)));
    let data = world.get(&path).await.expect(200)["data"].clone();
    assert_eq!(data.as_object().map(serde_json::Map::len), Some(4), "{data}");
}

#[tokio::test]
async fn status_and_the_rest_are_written_apart() {
    let world = World::new().await;
    world.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let both = json!({"spec": {"replicas": 9}, "status": {"replicas": 2}});
    let patched = world.patch(&format!("{path}/status"), "merge", &both).await.expect(200);
    assert_eq!((&patched["spec"]["replicas"], &patched["status"]["replicas"]), (&json!(3), &json!(2)));
    assert_eq!(patched["metadata"]["generation"], 1);
    let both = json!({"spec": {"replicas": 4}, "status": {"replicas": 7}});
    let patched = world.patch(&path, "merge", &both).await.expect(200);
    assert_eq!((&patched["spec"]["replicas"], &patched["status"]["replicas"]), (&json!(4), &json!(2)));
    assert_eq!(world.get(&format!("{path}/status")).await.expect(200), patched);
    world.get(&format!("{CONFIG_MAPS}/a/status")).await.refusal(404, "NotFound");
}

#[tokio::test]
async fn the_scale_is_read_written_and_patched() {
    let world = World::new().await;
    world.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let scale = world.get(&path).await.expect(200);
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(3), &json!("app=web")));
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = json!(6);
    assert_eq!(world.put(&path, &wanted).await.expect(200)["spec"]["replicas"], 6);
    world.put(&path, &wanted).await.refusal(409, "Conflict");
    let patched = world.patch(&path, "merge", &json!({"spec": {"replicas": 1}})).await.expect(200);
    assert_eq!(patched["spec"]["replicas"], 1);
    assert_eq!(world.get(&format!("{DEPLOYMENTS}/web")).await.expect(200)["spec"]["replicas"], 1);
    world.patch(&path, "merge", &json!({"spec": {"replicas": -2}})).await.refusal(422, "Invalid");
    world.patch(&path, "merge", &json!({"spec": {"replicas": "many"}})).await.json()["code"]
        .as_u64()
        .filter(|code| [400, 422].contains(code))
        .expect("text is not a number of replicas");
}

#[tokio::test]
async fn a_patch_answers_for_what_it_adds_alone() {
    let world = World::new().await;
    let odd = json!({"metadata": {"name": "a"}, "dada": {"k": "v"}});
    world.post(&format!("{CONFIG_MAPS}?fieldValidation=Ignore"), &odd).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a?fieldValidation=Strict");
    world.patch(&path, "merge", &json!({"data": {"k": "w"}})).await.expect(200);
    let twice = r#"{"data":{"k":"1"},"data":{"k":"2"}}"#;
    let answer = world.ask(Method::PATCH, &path).body("application/merge-patch+json", twice).send().await;
    let message = answer.refusal(400, "BadRequest");
    assert!(message.contains(r#"duplicate field "data""#), "{message}");
    let wish = json!([{"op": "add", "path": "/spec/template/spec/hostNetwork", "value": true}]);
    world.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let answer = world.patch(&format!("{DEPLOYMENTS}/web"), "json", &wish).await;
    answer.expect(200);
    assert_eq!(answer.warnings(), ["299 - \"spec.template.spec.hostNetwork is stored but not acted on by Steersman\""]);
}
