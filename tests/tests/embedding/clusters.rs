//! Clusters as guests: several in one process, gone when they are dropped, with nothing left behind.

use crate::{SOON, WEB};
use std::time::Duration;
use steersman::Cluster;
use steersman::domain::{Deployment, Pod};
use steersman::functions::Context;
use tokio::runtime::Handle;

/// Waits until the executor has no more tasks than before.
async fn tasks_at_most(most: usize) {
    let alive = || Handle::current().metrics().num_alive_tasks();
    for _ in 0..1000 {
        if alive() <= most {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} tasks are alive, {most} were before", alive());
}

async fn with_pods(cluster: &Cluster) {
    cluster.apply(WEB).await.expect("applied");
    let ready = |web: Option<&Deployment>| web.is_some_and(|web| web.status.ready_replicas == 3);
    cluster.wait_for(("", "web"), SOON, ready).await.expect("in time");
}

#[tokio::test]
async fn dropping_a_cluster_stops_all_of_it() {
    let before = Handle::current().metrics().num_alive_tasks();
    let dropped = Cluster::builder().simulated_nodes(3).listen("127.0.0.1:0".parse().expect("an address"));
    let dropped = dropped.start().await.expect("starts");
    let address = dropped.address().expect("it listens");
    with_pods(&dropped).await;
    tokio::net::TcpStream::connect(address).await.expect("it listens");
    let handle = dropped.handle().clone();
    drop(dropped);
    tasks_at_most(before).await;
    tokio::net::TcpStream::connect(address).await.expect_err("nobody listens");
    // A handle still answers, and nothing acts any more.
    assert_eq!(handle.list::<Pod>(&Default::default()).await.expect("listed").len(), 3);

    let stopped = Cluster::builder().simulated_nodes(3).start().await.expect("starts");
    with_pods(&stopped).await;
    stopped.stop().await;
    tasks_at_most(before).await;
}

#[tokio::test]
async fn clusters_side_by_side_know_nothing_of_each_other() {
    let start = async |name: &'static str| {
        let cluster = Cluster::builder().start().await.expect("starts");
        let answer = move |mut ctx: Context, (): ()| async move {
            ctx.answer_each(|(): ()| async move { Ok::<String, String>(name.to_owned()) }).await;
        };
        cluster.functions().register("who/am_i", answer).expect("free");
        cluster
    };
    let (one, two) = (start("one").await, start("two").await);
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: who}, spec: {containers: [{name: main, image: who/am_i}]}}";
    for cluster in [&one, &two] {
        cluster.apply(pod).await.expect("applied");
        cluster.wait_for(("", "who"), SOON, |pod: Option<&Pod>| pod.is_some_and(Pod::is_ready)).await.expect("in time");
    }
    for (cluster, name) in [(&one, "one"), (&two, "two")] {
        let answer: String = cluster.reach("who", "default").expect("a name").ask(()).await.expect("answered");
        assert_eq!(answer, name);
    }
    one.delete::<Pod>("", "who").await.expect("deleted");
    one.wait_for::<Pod>(("", "who"), SOON, |pod| pod.is_none()).await.expect("gone");
    assert!(two.get::<Pod>("", "who").await.expect("there").is_ready());
}

#[tokio::test]
async fn a_cluster_in_memory_can_listen() {
    let cluster = Cluster::builder().listen("127.0.0.1:0".parse().expect("an address")).start().await.expect("starts");
    let kubeconfig = cluster.kubeconfig().expect("it listens");
    assert!(kubeconfig.contains(&cluster.url().expect("it listens")), "{kubeconfig}");
    assert_eq!((cluster.kubeconfig_path(), cluster.data_dir()), (None, None));
    let silent = Cluster::builder().start().await.expect("starts");
    assert_eq!((silent.address(), silent.kubeconfig(), silent.url()), (None, None, None));
}

#[tokio::test]
async fn two_clusters_cannot_have_one_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let builder = || Cluster::builder().data_dir(directory.path()).nodes(0);
    let first = builder().start().await.expect("starts");
    let error = builder().start().await.expect_err("in use").to_string();
    assert!(error.contains("in use") && error.contains(&std::process::id().to_string()), "{error}");
    with_nothing_lost(&first).await;
    first.stop().await;
    let again = builder().start().await.expect("free again");
    assert!(again.find::<Deployment>("", "web").await.expect("asked").is_some());
}

async fn with_nothing_lost(cluster: &Cluster) {
    cluster.apply(WEB).await.expect("applied");
    assert!(cluster.find::<Deployment>("", "web").await.expect("asked").is_some());
}
