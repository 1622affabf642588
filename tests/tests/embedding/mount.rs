//! The API in a router of the host, under a path of the host, behind the host's authentication.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steersman::Cluster;
use steersman::http::User;
use tower_service::Service as _;

async fn ask(router: &Router, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("x-who", "ann").body(axum::body::Body::from(body)).expect("a request");
    let answer = router.clone().call(request).await.expect("infallible");
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("whole").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()))
}

#[tokio::test]
async fn a_router_serves_the_api_beside_its_own_routes() {
    let cluster = Cluster::builder().start().await.expect("starts");
    let router = Router::new()
        .route("/hello", axum::routing::get(async || "own"))
        .nest_service("/cluster", cluster.http().as_user(User::master("host")));
    assert_eq!(ask(&router, "GET", "/hello", Value::Null).await, (200, "own".into()));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let maps = "/cluster/api/v1/namespaces/default/configmaps";
    assert_eq!(ask(&router, "POST", maps, map).await.0, 201);
    let (code, list) = ask(&router, "GET", maps, Value::Null).await;
    assert_eq!((code, &list["items"][0]["data"]["k"]), (200, &json!("v")));
    let (code, status) = ask(&router, "POST", maps, json!("not an object")).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{status}");
}

#[tokio::test]
async fn the_host_says_who_asks() {
    let cluster = Cluster::builder().start().await.expect("starts");
    let bare = Router::new().fallback_service(cluster.http());
    let (code, status) = ask(&bare, "GET", "/api/v1/nodes", Value::Null).await;
    assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")));

    let known = |user: User| {
        let layer = move |mut request: Request, next: Next| {
            let user = user.clone();
            async move {
                request.extensions_mut().insert(user);
                let answer: Response = next.run(request).await;
                answer
            }
        };
        Router::new().fallback_service(cluster.http()).layer(middleware::from_fn(layer))
    };
    let (code, status) = ask(&known(User::new("ann", &[])), "GET", "/api/v1/nodes", Value::Null).await;
    assert_eq!(code, 403, "{status}");
    assert!(status["message"].as_str().is_some_and(|text| text.contains("User \"ann\"")), "{status}");
    assert_eq!(ask(&known(User::master("ann")), "GET", "/api/v1/nodes", Value::Null).await.0, 200);
}
