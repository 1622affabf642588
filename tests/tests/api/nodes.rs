//! What the agent of a joined node may read and write.

use serde_json::{Value, json};
use std::sync::Arc;
use steersman_application::client::{ApiError, Client, DeleteOptions, Part, Selection, Write, WriteOptions};
use steersman_domain::ports::Scope;
use steersman_domain::selector::FieldSelector;
use steersman_domain::{Key, Kind, Node, Object, Pod, Resource as _, Uid};
use steersman_http::RemoteClient;

use crate::remote::Served;
use crate::world::{World, key, object, pod};

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"password": "hush"}})
}

fn selection(kind: Kind, fields: &str) -> Selection {
    let scope = Scope { namespace: kind.info().namespaced.then(|| "default".into()), ..Scope::kind(kind) };
    Selection { scope, fields: FieldSelector::parse(fields).expect("parses"), ..Selection::default() }
}

/// A pod with a secret in its environment, bound to a node.
async fn bound(world: &World, name: &str, secret: &str, node: &str) -> Key {
    let mut value = pod(name, 1);
    let from = json!({"secretKeyRef": {"name": secret, "key": "password"}});
    value["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "valueFrom": from}]);
    let pod = world.create(Kind::Pod, value).await.key.clone();
    let bind = Write::Bind { pod: pod.clone(), uid: Uid::default(), node: node.into() };
    world.write(vec![bind]).await.pop().expect("an answer").expect("binds");
    pod
}

#[track_caller]
fn forbidden<T>(answer: Result<T, ApiError>, why: &str) {
    match answer {
        Err(ApiError::Forbidden { message, .. }) => assert!(message.contains(why), "{message}"),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("allowed"),
    }
}

/// Everything of a node object may be changed but what `change` says.
async fn rewrite(client: &RemoteClient, change: impl FnOnce(&mut Node)) -> Result<(), ApiError> {
    let stored = client.get(&Key::cluster(Kind::Node, "n1")).await?;
    let mut node = Node::clone(stored.typed::<Node>().expect("a node"));
    change(&mut node);
    client.update(Node::into_object(Arc::new(node)), Part::Main, &WriteOptions::default()).await.map(|_| ())
}

#[tokio::test]
async fn a_node_reads_only_what_its_pods_refer_to() {
    let served = Served::new().await;
    let world = &served.world;
    for name in ["mine", "other", "nobodys"] {
        world.create(Kind::Secret, secret(name)).await;
    }
    let client = served.node("n1").await;
    world.node("n1", 1000).await;
    world.node("n2", 1000).await;
    let why = "no pod that is bound to node n1 refers to it";
    forbidden(client.get(&key(Kind::Secret, "mine")).await, why);
    let first = bound(world, "a", "mine", "n1").await;
    let second = bound(world, "b", "mine", "n1").await;
    bound(world, "c", "other", "n2").await;
    client.get(&key(Kind::Secret, "mine")).await.expect("its pod refers to it");
    forbidden(client.get(&key(Kind::Secret, "other")).await, why);
    forbidden(client.get(&key(Kind::Secret, "nobodys")).await, why);
    forbidden(client.get(&key(Kind::Secret, "missing")).await, why);
    forbidden(client.list(&selection(Kind::Secret, "")).await, "one by one");
    forbidden(client.list(&selection(Kind::Secret, "metadata.name!=mine")).await, "one by one");
    let own = selection(Kind::Secret, "metadata.name=mine");
    let page = client.list(&own).await.expect("one object");
    client.watch(&own, page.revision).await.expect("one object");
    forbidden(client.watch(&selection(Kind::Secret, "metadata.name=other"), page.revision).await, why);
    forbidden(client.list(&Selection { scope: Scope::kind(Kind::Secret), ..own.clone() }).await, "one by one");
    forbidden(client.get(&key(Kind::ServiceAccount, "robot")).await, why);

    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    world.api.delete(&first, &now).await.expect("goes");
    client.get(&key(Kind::Secret, "mine")).await.expect("the other pod still refers to it");
    world.api.delete(&second, &now).await.expect("goes");
    // The changes in between are forgotten: the references are read anew.
    let head = world.api.head().await.expect("a head").revision;
    steersman_domain::ports::Store::compact(&*world.store, head).await.expect("compacts");
    forbidden(client.get(&key(Kind::Secret, "mine")).await, why);
    bound(world, "d", "nobodys", "n1").await;
    client.get(&key(Kind::Secret, "nobodys")).await.expect("at once, when the pod is bound");
    served.stop().await;
}

#[tokio::test]
async fn a_node_writes_only_its_own_and_no_more_of_it_than_it_needs() {
    let served = Served::new().await;
    let world = &served.world;
    let client = served.node("n1").await;
    let options = WriteOptions::default();
    let room = json!({"cpu": "1", "memory": "1Gi", "pods": "10"});
    let make = |name: &str, label: &str| {
        let labels = json!({label: "x"});
        object(Kind::Node, json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": room}}))
    };
    let restricted = "node-restriction.kubernetes.io/vault";
    forbidden(client.create(make("n1", restricted), &options).await, restricted);
    forbidden(client.create(make("n2", "zone"), &options).await, "only its own objects");
    client.create(make("n1", "zone"), &options).await.expect("its own");
    let taint = |node: &mut Node| {
        let taint = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
        node.spec.taints = serde_json::from_value(taint).expect("a taint");
    };
    world.update::<Node>(&Key::cluster(Kind::Node, "n1"), Part::Main, taint).await.expect("an operator may");
    rewrite(&client, |n| _ = n.metadata.labels.insert("zone", "b".into())).await.expect("a free label");
    forbidden(rewrite(&client, |n| _ = n.metadata.labels.insert(restricted, "b".into())).await, restricted);
    forbidden(rewrite(&client, |n| n.spec.taints.clear()).await, "may not change its taints");
    let node = world.typed::<Node>(&Key::cluster(Kind::Node, "n1")).await.expect("there");
    assert_eq!((node.spec.taints.len(), node.metadata.labels.contains_key(restricted)), (1, false));

    world.node("n2", 1000).await;
    let lift = |node: &mut Node| node.spec.taints.clear();
    world.update::<Node>(&Key::cluster(Kind::Node, "n1"), Part::Main, lift).await.expect("an operator may");
    let (mine, other) = (bound(world, "a", "s", "n1").await, bound(world, "b", "s", "n2").await);
    forbidden(client.get(&other).await, "not bound to node n1");
    forbidden(client.delete(&other, &DeleteOptions::default()).await, "not bound to node n1");
    forbidden(client.list(&selection(Kind::Pod, "")).await, "fieldSelector=spec.nodeName=n1");
    let page = client.list(&selection(Kind::Pod, "spec.nodeName=n1")).await.expect("its own");
    assert_eq!(page.items.len(), 1);
    let mut pod = Pod::clone(page.items[0].typed::<Pod>().expect("a pod"));
    pod.status.message = "at work".into();
    let status = |pod: &Pod| Object::Pod(Arc::new(pod.clone()));
    let written = client.update(status(&pod), Part::Status, &options).await.expect("its status");
    let mut pod = Pod::clone(written.typed::<Pod>().expect("a pod"));
    pod.metadata.labels.insert("app", "bank".into());
    forbidden(client.update(status(&pod), Part::Status, &options).await, "labels of a pod");
    forbidden(client.update(status(&pod), Part::Main, &options).await, "does nothing else to pods");
    forbidden(client.list(&selection(Kind::Deployment, "")).await, "no need of it");
    client.delete(&mine, &DeleteOptions::default()).await.expect("its own");
    served.stop().await;
}

#[tokio::test]
async fn a_node_renews_its_own_certificate_and_shows_it_from_the_next_connection_on() {
    let mut served = Served::new().await;
    let client = served.node("n1").await;
    let (first, second) = (client.renew().await.expect("renewed"), client.renew().await.expect("again"));
    assert!(first.certificate != second.certificate && first.key != second.key);
    let admin = served.client("admin", "system:masters");
    forbidden(admin.renew().await, "only nodes renew");
    let other = served.node("n2").await.renew().await.expect("renewed");
    // Whose certificate is shown tells which node the server takes the client for.
    for name in ["n1", "n2"] {
        served.world.node(name, 1000).await;
    }
    let (one, two) = (bound(&served.world, "a", "s", "n1").await, bound(&served.world, "b", "s", "n2").await);
    client.show(served.authority.certificate(), &other).expect("a certificate");
    client.get(&one).await.expect("the connection that stands stays");
    served.restart().await;
    // The request that finds the connection broken fails; the next one connects.
    if client.get(&two).await.is_err() {
        client.get(&two).await.expect("the new certificate is shown");
    }
    forbidden(client.get(&one).await, "not bound to node n2");
    served.stop().await;
}

#[tokio::test]
async fn a_node_tells_of_ports_that_it_cannot_bind_and_draws_no_traffic() {
    let served = Served::new().await;
    let world = &served.world;
    let client = served.node("n1").await;
    let ports = json!([{"port": 80}]);
    world.create(Kind::Service, json!({"metadata": {"name": "web"}, "spec": {"ports": ports}})).await;
    let write = async |status: Value| {
        let stored = client.get(&key(Kind::Service, "web")).await?;
        let mut value: Value = serde_json::from_slice(&stored.json()).expect("JSON");
        value["status"] = status;
        let service = Object::from_value(Kind::Service, value).expect("a service");
        client.update(service, Part::Status, &WriteOptions::default()).await.map(drop)
    };
    write(json!({"conditions": [{"type": "PortsBound", "status": "False"}]})).await.expect("it may say so");
    forbidden(write(json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})).await, "PortsBound");
}
