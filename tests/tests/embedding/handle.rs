//! Objects in and out, watching and waiting: the same words for a live cluster and a simulated one.

use crate::{SOON, WEB};
use std::time::Duration;
use steersman::application::client::ApiError;
use steersman::domain::{ConfigMap, Deployment, Namespace, Node, ObjectMeta, Pod};
use steersman::simulation::StartError;
use steersman::{ApplyError, Cluster, Handle, Query, WaitError, WatchEvent};

fn config(name: &str, label: &str) -> ConfigMap {
    let mut metadata = ObjectMeta { name: name.into(), ..ObjectMeta::default() };
    metadata.labels.insert("tier", label.into());
    ConfigMap { metadata, ..ConfigMap::default() }
}

async fn live() -> Cluster {
    Cluster::builder().simulated_nodes(2).start().await.expect("starts")
}

/// A conversation that must go alike wherever it takes place.
async fn converse(cluster: &Handle) {
    let made = cluster.create(config("a", "web")).await.expect("created");
    assert_eq!((made.metadata.namespace.as_str(), made.metadata.uid.0.is_empty()), ("default", false));
    let again = cluster.create(config("a", "web")).await.expect_err("it is there");
    assert!(matches!(again, ApiError::AlreadyExists(_)), "{again}");
    cluster.create(config("b", "db")).await.expect("created");

    let named = |list: Vec<std::sync::Arc<ConfigMap>>| list.iter().map(|c| c.metadata.name.clone()).collect::<Vec<_>>();
    let query = Query::namespace("").label("tier in (web,api)");
    assert_eq!(named(cluster.list(&query).await.expect("listed")), ["a"], "no name means the default namespace");
    let query = Query::namespace("elsewhere");
    assert_eq!(named(cluster.list(&query).await.expect("listed")), Vec::<String>::new());
    let query = Query::namespace("default").label("tier in (web,db)").label("tier!=db");
    assert_eq!(named(cluster.list(&query).await.expect("listed")), ["a"]);
    let query = Query::all().field("metadata.name=b");
    assert_eq!(named(cluster.list(&query).await.expect("listed")), ["b"]);
    let torn = cluster.list::<ConfigMap>(&Query::all().label("tier in web")).await.expect_err("torn");
    assert!(torn.to_string().contains("label selector \"tier in web\" cannot be read"), "{torn}");

    let edited = cluster.edit::<ConfigMap>("default", "a", |map| {
        map.metadata.labels.insert("tier", "api".into());
    });
    let edited = edited.await.expect("edited");
    let same = cluster.edit::<ConfigMap>("default", "a", |_| {}).await.expect("nothing to do");
    assert_eq!(same.metadata.resource_version, edited.metadata.resource_version, "nothing is written in vain");
    let now = cluster.get::<ConfigMap>("default", "a").await.expect("there");
    assert_eq!(now.metadata.labels.get("tier").expect("labelled"), "api");

    cluster.delete::<ConfigMap>("", "a").await.expect("deleted");
    assert!(cluster.find::<ConfigMap>("", "a").await.expect("asked").is_none());
    let gone = cluster.get::<ConfigMap>("", "a").await.expect_err("gone");
    assert_eq!(gone.to_string(), "configmaps \"a\" not found");
    assert!(cluster.delete::<ConfigMap>("", "a").await.is_err());
    assert_eq!(cluster.get::<Namespace>("", "default").await.expect("there").metadata.namespace, "");
}

/// A rollout, watched and waited for.
async fn roll_out(cluster: &Handle) {
    let applied = cluster.apply(WEB).await.expect("applied");
    assert_eq!(applied[0].object.kind().to_string(), "Deployment");
    let ready = |web: Option<&Deployment>| web.is_some_and(|web| web.status.ready_replicas == 3);
    let web = cluster.wait_for(("default", "web"), SOON, ready).await.expect("in time").expect("there");
    assert_eq!(web.status.available_replicas, 3);
    let world = cluster.until("two nodes", SOON, |world| world.all::<Node>().count() >= 2).await.expect("in time");
    assert_eq!(world.all::<Pod>().filter(|pod| pod.is_ready()).count(), 3);

    let mut pods = cluster.watch::<Pod>(&Query::namespace("default").label("app=web")).expect("watched");
    for _ in 0..3 {
        let event = pods.next().await.expect("told");
        assert!(matches!(&event, WatchEvent::Applied(pod) if pod.is_ready()), "{event:?}");
    }
    cluster.delete::<Deployment>("", "web").await.expect("deleted");
    let mut left = 3;
    while left > 0 {
        left -= usize::from(matches!(pods.next().await.expect("told"), WatchEvent::Deleted(_)));
    }
    cluster.wait_for::<Deployment>(("", "web"), SOON, |web| web.is_none()).await.expect("gone");
}

#[tokio::test]
async fn a_live_cluster_converses() {
    let cluster = live().await;
    converse(&cluster).await;
    roll_out(&cluster).await;
    cluster.stop().await;
}

#[test]
fn a_simulated_cluster_converses() {
    let mut simulation = Cluster::builder().simulated_nodes(2).simulated_time(7).start().expect("starts");
    simulation
        .run(async |cluster| {
            converse(cluster).await;
            roll_out(cluster).await;
        })
        .expect("ends");
    assert_eq!(simulation.cluster().nodes().len(), 2);
}

#[tokio::test]
async fn waiting_in_vain_says_what_is_the_matter() {
    let cluster = Cluster::builder().start().await.expect("starts");
    cluster.apply(&WEB.replace("{containers", "{runtimeClassName: process, containers")).await.expect("applied");
    let told = |world: &steersman::application::driver::world::World| {
        world.all::<Pod>().filter(|pod| pod.status.conditions.iter().any(|c| c.reason == "Unschedulable")).count() == 3
    };
    cluster.until("the pods are told", SOON, told).await.expect("in time");
    let brief = Duration::from_millis(1);
    let error = cluster.until("pods serve", brief, |_| false).await.expect_err("in vain");
    let text = error.to_string();
    assert!(matches!(error, WaitError::Timeout(_)));
    assert!(text.starts_with("not within 1ms: pods serve\n") && text.contains("process"), "{text}");
    let error = cluster.wait_for::<Pod>(("", "none"), brief, |pod| pod.is_some()).await.expect_err("in vain");
    assert!(error.to_string().contains("the condition on pod none"), "{error}");
}

#[tokio::test]
async fn bad_manifests_are_refused_with_words() {
    let cluster = Cluster::builder().start().await.expect("starts");
    let cases = [
        ("a: [", "not YAML"),
        ("{apiVersion: v1, kind: Pot, metadata: {name: a}}", "no kind \"v1\" \"Pot\""),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {kontainers: []}}", "spec.kontainers"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: []}}", "spec.containers: Required"),
    ];
    for (manifest, words) in cases {
        let error: ApplyError = cluster.apply(manifest).await.expect_err("refused");
        assert!(error.to_string().contains(words), "{manifest}: {error}");
    }
    let broken = Pod { metadata: ObjectMeta { name: "B!".into(), ..ObjectMeta::default() }, ..Pod::default() };
    let error = cluster.create(broken).await.expect_err("refused").to_string();
    assert!(error.contains("metadata.name") && error.contains("spec.containers"), "{error}");
}

#[test]
fn what_needs_the_machine_is_not_simulated() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = Cluster::builder().data_dir(directory.path()).simulated_time(1).start().expect_err("refused");
    assert!(matches!(error, StartError::NeedsMachine(_)));
    assert!(error.to_string().starts_with("a data directory cannot be had in virtual time"), "{error}");
    let listening = Cluster::builder().listen("127.0.0.1:0".parse().expect("an address"));
    assert!(listening.simulated_time(1).start().expect_err("refused").to_string().contains("an address to listen on"));
}
