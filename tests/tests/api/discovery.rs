//! Discovery, health and who may ask.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn nothing_but_health_answers_strangers() {
    let world = World::new().await;
    let stranger = [("authorization", "Bearer wrong")];
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(world.send("GET", path, &stranger, Vec::new()).await.bytes, "ok", "{path}");
    }
    for path in ["/", "/version", "/api", "/openapi/v2", "/api/v1/secrets", "/nonsense"] {
        let answer = world.send("GET", path, &stranger, Vec::new()).await;
        assert_eq!((answer.code.as_u16(), &answer.json()["reason"]), (401, &json!("Unauthorized")), "{path}");
    }
    let eve = [("authorization", "Bearer eve-token")];
    assert_eq!(world.send("GET", "/version", &eve, Vec::new()).await.code, 200);
    let refused = world.send("GET", "/api/v1/namespaces/default/secrets", &eve, Vec::new()).await;
    assert_eq!(
        refused.json()["message"],
        "secrets is forbidden: User \"eve\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""
    );
    world.service.set_ready(false);
    assert_eq!(world.send("GET", "/readyz", &stranger, Vec::new()).await.code, 503);
}

#[tokio::test]
async fn discovery_is_whole_in_both_forms() {
    let world = World::new().await;
    let groups = world.ask("GET", "/apis", Value::Null).await.json();
    for group in groups["groups"].as_array().expect("groups") {
        for version in group["versions"].as_array().expect("versions") {
            let path = format!("/apis/{}", version["groupVersion"].as_str().expect("a version"));
            assert_eq!(world.ask("GET", &path, Value::Null).await.json()["kind"], "APIResourceList", "{path}");
        }
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = world.send("GET", "/apis", &[("accept", accept)], Vec::new()).await;
    assert_eq!(answer.headers["content-type"], "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let apps = &answer.json()["items"][0];
    assert_eq!(
        (&apps["metadata"]["name"], &apps["versions"][0]["resources"][0]["resource"]),
        (&json!("apps"), &json!("deployments"))
    );
    assert_eq!(world.ask("GET", "/apis/nothing.example", Value::Null).await.code, 404);
}

#[tokio::test]
async fn openapi_documents_are_served() {
    let world = World::new().await;
    let v2 = world.ask("GET", "/openapi/v2", Value::Null).await;
    assert_eq!(v2.json()["swagger"], "2.0");
    let accept = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let protobuf = world.send("GET", "/openapi/v2", &accept, Vec::new()).await;
    assert_eq!(protobuf.headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let index = world.ask("GET", "/openapi/v3", Value::Null).await.json();
    assert!(index["paths"]["apis/apps/v1"].is_object());
    assert_eq!(world.ask("GET", "/openapi/v3/apis/apps/v1", Value::Null).await.json()["openapi"], "3.0.0");
}
