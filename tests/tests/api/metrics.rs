//! `metrics.k8s.io`: what the heartbeats of nodes say, in the words of metrics-server.

use serde_json::{Value, json};

use crate::world::World;

/// A node, a pod, and a heartbeat that says what the pod uses; with another pod that is gone.
async fn measured() -> World {
    let world = World::new().await;
    let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1", "labels": {"zone": "a"}}});
    assert_eq!(world.ask("POST", "/api/v1/nodes", node).await.code, 201);
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "i"}]}});
    let pod = world.ask("POST", "/api/v1/namespaces/default/pods", pod).await.json();
    let usage = |uid: &Value| json!({"ns": "default", "name": "web", "uid": uid, "c": [{"name": "main", "cpu": 250_000_000, "mem": 1_048_576}]});
    let usages = json!({"at": "2026-01-02T03:04:05.000000Z", "window_ms": 10_050,
        "pods": [usage(&pod["metadata"]["uid"]), usage(&json!("gone"))]});
    let lease = json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": "n1", "annotations": {"steersman.io/usage": usages.to_string()}}, "spec": {}});
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let made = world.ask("POST", path, lease).await;
    assert_eq!(made.code, 201, "{}", made.json());
    world
}

const GROUP: &str = "/apis/metrics.k8s.io/v1beta1";

#[tokio::test]
async fn pods_and_nodes_are_told_by_what_was_measured() {
    let world = measured().await;
    let get = async |path: &str| world.ask("GET", &format!("{GROUP}/{path}"), Value::Null).await;
    let pod = get("namespaces/default/pods/web").await.json();
    assert_eq!((&pod["kind"], &pod["apiVersion"]), (&json!("PodMetrics"), &json!("metrics.k8s.io/v1beta1")));
    assert_eq!((&pod["timestamp"], &pod["window"]), (&json!("2026-01-02T03:04:05Z"), &json!("10.050s")));
    let usage = json!([{"name": "main", "usage": {"cpu": "250000000n", "memory": "1024Ki"}}]);
    assert_eq!((&pod["containers"], &pod["metadata"]["labels"]["app"]), (&usage, &json!("web")));
    let list = get("pods?labelSelector=app%3Dweb").await.json();
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("PodMetricsList"), Some(1)));
    assert_eq!(get("namespaces/default/pods?labelSelector=app%3Dnone").await.json()["items"], json!([]));
    let node = get("nodes/n1").await.json();
    assert_eq!(node["usage"], json!({"cpu": "500000000n", "memory": "2048Ki"}), "with what runs on without an object");
    assert_eq!(get("nodes").await.json()["items"][0]["metadata"]["labels"]["zone"], "a");
}

#[tokio::test]
async fn what_is_not_measured_is_not_found_and_nothing_can_be_written() {
    let world = measured().await;
    let gone = world.ask("GET", &format!("{GROUP}/namespaces/default/pods/none"), Value::Null).await;
    assert_eq!((gone.code.as_u16(), &gone.json()["reason"]), (404, &json!("NotFound")));
    assert_eq!(world.ask("GET", &format!("{GROUP}/nodes/n2"), Value::Null).await.code, 404);
    assert_eq!(world.ask("POST", &format!("{GROUP}/nodes"), json!({})).await.code, 405);
    assert_eq!(world.ask("GET", &format!("{GROUP}/nodes?watch=true"), Value::Null).await.code, 405);
    let eve = [("authorization", "Bearer eve-token")];
    assert_eq!(world.send("GET", &format!("{GROUP}/nodes"), &eve, Vec::new()).await.code, 403);
    let known = world.ask("GET", GROUP, Value::Null).await.json();
    assert_eq!(known["resources"].as_array().map(Vec::len), Some(2));
}
