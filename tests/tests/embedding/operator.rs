//! An operator written with kube-rs, as it would run against any cluster, against one in its own process: for every ConfigMap
//! with the label `greeting` it keeps a Deployment of so many pods as the map says, and writes back how many are ready.

use crate::SOON;
use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use std::sync::Arc;
use steersman::Cluster;
use steersman::domain;

async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let namespace = map.namespace().unwrap_or_default();
    let (name, client) = (map.name_any(), Client::clone(&client));
    let wanted: i32 = map.data.as_ref().and_then(|data| data.get("greeters")?.parse().ok()).unwrap_or(0);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let ready = match deployments.get_opt(&name).await? {
        None => {
            let owner = map.controller_owner_ref(&()).expect("it is stored");
            let deployment = serde_json::from_value(json!({
                "metadata": {"name": name, "ownerReferences": [owner]},
                "spec": {
                    "replicas": wanted,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {
                        "metadata": {"labels": {"app": name}},
                        "spec": {"containers": [{"name": "greeter", "image": "greeter"}]},
                    },
                },
            }));
            deployments.create(&PostParams::default(), &deployment.expect("a deployment")).await?;
            0
        }
        Some(now) => {
            if now.spec.as_ref().and_then(|spec| spec.replicas) != Some(wanted) {
                let patch = json!({"spec": {"replicas": wanted}});
                deployments.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            }
            now.status.and_then(|status| status.ready_replicas).unwrap_or(0)
        }
    };
    let patch = json!({"metadata": {"annotations": {"greeters-ready": ready.to_string()}}});
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    maps.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(Action::await_change())
}

async fn operate(client: Client) {
    let labelled = watcher::Config::default().labels("greeting");
    Controller::new(Api::<ConfigMap>::all(client.clone()), labelled)
        .owns(Api::<Deployment>::all(client.clone()), watcher::Config::default())
        .run(reconcile, |_, error, _| panic!("the operator failed: {error}"), Arc::new(client))
        .for_each(async |_| {})
        .await;
}

#[tokio::test]
async fn an_operator_runs_against_a_cluster_in_its_own_process() {
    let cluster = Cluster::builder().simulated_nodes(2).start().await.expect("starts");
    let client = cluster.kube_client();
    let operator = tokio::spawn(operate(client.clone()));
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let map = serde_json::from_value(
        json!({"metadata": {"name": "hello", "labels": {"greeting": ""}}, "data": {"greeters": "2"}}),
    );
    maps.create(&PostParams::default(), &map.expect("a map")).await.expect("created");

    let told = |ready: &'static str| {
        move |map: Option<&domain::ConfigMap>| {
            map.is_some_and(|map| map.metadata.annotations.get("greeters-ready").is_some_and(|n| n == ready))
        }
    };
    cluster.wait_for(("", "hello"), SOON, told("2")).await.expect("two greet");
    let patch = json!({"data": {"greeters": "5"}});
    maps.patch("hello", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patched");
    cluster.wait_for(("", "hello"), SOON, told("5")).await.expect("five greet");

    // What it made is the map's, and goes with it: the cluster's own garbage collection, not the test's.
    maps.delete("hello", &Default::default()).await.expect("deleted");
    let nothing = |world: &steersman::application::driver::world::World| {
        world.all::<domain::Deployment>().count() + world.all::<domain::Pod>().count() == 0
    };
    cluster.until("nothing is left", SOON, nothing).await.expect("in time");
    operator.abort();
    cluster.stop().await;
}

#[tokio::test]
async fn kube_clients_see_the_errors_of_the_api() {
    let cluster = Cluster::builder().start().await.expect("starts");
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.kube_client());
    let error = maps.get("none").await.expect_err("there is none");
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 404 && status.is_not_found()), "{error}");
    let bad = serde_json::from_value(json!({"metadata": {"name": "B!"}})).expect("a map");
    let error = maps.create(&PostParams::default(), &bad).await.expect_err("no name");
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 422 && status.is_invalid()), "{error}");
}
