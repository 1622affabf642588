//! What a client asks before it does anything, and who is let in.

use crate::world::{CONFIG_MAPS, TOKEN, World};
use http::{Method, header};
use serde_json::{Value, json};

#[tokio::test]
async fn only_health_answers_strangers() {
    let world = World::new().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz?verbose"] {
        let answer = world.anonymous(Method::GET, path).send().await;
        assert_eq!((answer.code.as_u16(), &answer.bytes[..]), (200, &b"ok"[..]), "{path}");
    }
    for path in ["/", "/api", "/apis", "/version", "/openapi/v2", "/openapi/v3", CONFIG_MAPS, "/nowhere"] {
        world.anonymous(Method::GET, path).send().await.refusal(401, "Unauthorized");
        let with = |value: &str| world.anonymous(Method::GET, path).header(header::AUTHORIZATION, value).send();
        with("Bearer wrong").await.refusal(401, "Unauthorized");
        let code = with(&format!("Bearer {TOKEN}")).await.code;
        assert_eq!(code, if path == "/nowhere" { 404 } else { 200 }, "{path}");
    }
}

#[tokio::test]
async fn groups_versions_and_resources_are_listed() {
    let world = World::new().await;
    assert_eq!(world.get("/api").await.expect(200)["versions"], json!(["v1"]));
    let groups = world.get("/apis").await.expect(200);
    assert_eq!(groups["kind"], "APIGroupList");
    let names: Vec<&str> =
        groups["groups"].as_array().into_iter().flatten().filter_map(|g| g["name"].as_str()).collect();
    for group in ["apps", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "node.k8s.io", "policy"] {
        assert!(names.contains(&group), "{group} in {names:?}");
        let one = world.get(&format!("/apis/{group}")).await.expect(200);
        for version in one["versions"].as_array().into_iter().flatten() {
            let path = format!("/apis/{}", version["groupVersion"].as_str().unwrap_or_default());
            assert_eq!(world.get(&path).await.expect(200)["kind"], "APIResourceList", "{path}");
        }
    }
    let policy = world.get("/apis/policy").await.expect(200);
    let versions: Vec<&Value> = policy["versions"].as_array().into_iter().flatten().map(|v| &v["version"]).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    world.get("/apis/nothing.example/v1").await.refusal(404, "NotFound");
}

fn resource<'a>(list: &'a Value, name: &str) -> &'a Value {
    list["resources"].as_array().into_iter().flatten().find(|r| r["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn resources_have_short_names_categories_and_subresources() {
    let world = World::new().await;
    let core = world.get("/api/v1").await.expect(200);
    let pods = resource(&core, "pods");
    assert_eq!((&pods["shortNames"], &pods["categories"]), (&json!(["po"]), &json!(["all"])));
    assert_eq!((&pods["singularName"], &pods["namespaced"]), (&json!("pod"), &json!(true)));
    let eviction = resource(&core, "pods/eviction");
    assert_eq!((&eviction["group"], &eviction["version"]), (&json!("policy"), &json!("v1")));
    assert_eq!(eviction["kind"], "Eviction");
    for name in ["pods/binding", "pods/log", "pods/status", "nodes/status", "services/status", "namespaces/finalize"] {
        assert!(resource(&core, name).is_object(), "{name}");
    }
    let scale = world.get("/apis/apps/v1").await.expect(200);
    let scale = resource(&scale, "deployments/scale");
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
}

#[tokio::test]
async fn discovery_is_also_answered_at_once() {
    let world = World::new().await;
    for version in ["v2", "v2beta1"] {
        let accept =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json");
        for (path, group, kind) in [("/api", "", "Pod"), ("/apis", "apps", "Deployment")] {
            let answer = world.ask(Method::GET, path).header(header::ACCEPT, &accept).send().await;
            let list = answer.expect(200);
            let media = answer.headers["content-type"].to_str().expect("text");
            assert!(media.contains("as=APIGroupDiscoveryList") && media.contains(&format!("v={version}")), "{media}");
            assert_eq!(list["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
            let found = list["items"].as_array().into_iter().flatten().find(|g| g["metadata"]["name"] == group);
            let resources = &found.expect("the group")["versions"][0]["resources"];
            let one = resources.as_array().into_iter().flatten().find(|r| r["responseKind"]["kind"] == kind);
            let one = one.expect("the kind");
            assert_eq!(one["scope"], "Namespaced");
            assert!(one["subresources"].as_array().is_some_and(|s| !s.is_empty()), "{one}");
        }
    }
}

#[tokio::test]
async fn schemas_are_given_in_the_forms_that_clients_ask_for() {
    let world = World::new().await;
    let v2 = world.get("/openapi/v2").await.expect(200);
    assert_eq!(v2["swagger"], "2.0");
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = world.ask(Method::GET, "/openapi/v2").header(header::ACCEPT, accept).send().await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert!(answer.bytes.len() > 10_000 && answer.bytes[0] != b'{');
    let index = world.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("apps is listed").to_owned();
    let document = world.get(&url).await.expect(200);
    assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.0")), "{url}");
    let tag = world.get(&url).await.headers["etag"].to_str().expect("text").to_owned();
    let again = world.ask(Method::GET, &url).header(header::IF_NONE_MATCH, &tag).send().await;
    assert_eq!((again.code.as_u16(), again.bytes.len()), (304, 0));
    world.get("/openapi/v3/apis/none/v1").await.refusal(404, "NotFound");
}

#[tokio::test]
async fn the_version_can_be_parsed() {
    let world = World::new().await;
    let version = world.get("/version").await.expect(200);
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("32")));
    assert!(version["gitVersion"].as_str().is_some_and(|v| v.starts_with("v1.32.0")), "{version}");
}

#[tokio::test]
async fn methods_and_paths_that_are_none_are_refused() {
    let world = World::new().await;
    for path in ["/nowhere", "/api/v2", "/api/v1/gadgets", "/apis/apps/v1/pods", "/api/v1/nodes/n/shape"] {
        let message = world.get(path).await.refusal(404, "NotFound");
        assert_eq!(message, "the server could not find the requested resource", "{path}");
    }
    for (method, path) in [
        (Method::POST, "/api/v1/configmaps"),
        (Method::PUT, CONFIG_MAPS),
        (Method::PATCH, CONFIG_MAPS),
        (Method::POST, "/api/v1/namespaces/default/configmaps/a"),
        (Method::POST, "/version"),
        (Method::DELETE, "/healthz"),
    ] {
        let answer = world.ask(method.clone(), path).body("application/json", "{}").send().await;
        assert_eq!(answer.code, 405, "{method} {path}: {:?}", answer.bytes);
    }
    world.config_map("a", "x").await;
    let head = world.ask(Method::HEAD, &format!("{CONFIG_MAPS}/a")).send().await;
    assert_eq!((head.code.as_u16(), head.bytes.len()), (200, 0));
}
