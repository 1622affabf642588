//! The room on nodes: no bind, stale or simultaneous, takes more than there is.

use std::sync::Arc;

use serde_json::json;
use steersman_application::client::{ApiError, Client as _, DeleteOptions, Part, Write, WriteOptions};
use steersman_domain::{Key, Kind, NodeLedger, Pod, PodPhase, Uid};

use crate::world::{World, pod};

fn bind(pod: &Key, node: &str) -> Write {
    Write::Bind { pod: pod.clone(), uid: Uid::default(), node: node.into() }
}

async fn taken(world: &World, node: &str) -> (i64, i64) {
    let stored = world.store_get(&Key::cluster(Kind::NodeLedger, node)).await;
    let ledger = stored.and_then(|s| s.typed::<NodeLedger>().cloned()).expect("a ledger");
    (ledger.allocated.cpu_milli, ledger.allocated.pods)
}

impl World {
    async fn store_get(&self, key: &Key) -> Option<Arc<steersman_domain::Stored>> {
        use steersman_domain::ports::Store as _;
        self.store.get(key, None).await.expect("the store answers")
    }
}

#[tokio::test]
async fn binds_of_a_batch_go_but_for_those_that_cannot() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let (a, b, c) = (world.pod("a", 600).await, world.pod("b", 600).await, world.pod("c", 300).await);
    let gone = Key::new(Kind::Pod, "default", "gone");
    let answers = world.write(vec![bind(&a, "n1"), bind(&gone, "n1"), bind(&b, "n1"), bind(&c, "n1")]).await;
    assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(ApiError::NotFound(_))));
    let error = answers[2].as_ref().expect_err("does not fit").to_string();
    assert!(error.contains("insufficient cpu: requested 600, free 400"), "{error}");
    assert_eq!(taken(&world, "n1").await, (900, 2));
    let bound = world.typed::<Pod>(&a).await.expect("there");
    assert_eq!((bound.spec.node_name.as_str(), bound.status.conditions[0].kind.as_str()), ("n1", "PodScheduled"));
    let again = world.write(vec![bind(&a, "n1")]).await.pop().expect("an answer").expect_err("bound").to_string();
    assert!(again.contains("pod a is already assigned to node \"n1\""), "{again}");
}

#[tokio::test]
async fn room_is_given_back_by_the_end_of_a_pod() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let (a, b) = (world.pod("a", 600).await, world.pod("b", 400).await);
    world.write(vec![bind(&a, "n1"), bind(&b, "n1")]).await;
    assert_eq!(taken(&world, "n1").await, (1000, 2));
    world.update::<Pod>(&a, Part::Status, |p| p.status.phase = PodPhase::Failed).await.expect("ends");
    assert_eq!(taken(&world, "n1").await, (400, 1));
    let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    world.api.delete(&a, &at_once).await.expect("goes");
    assert_eq!(taken(&world, "n1").await, (400, 1));
    world.delete(&Key::cluster(Kind::Node, "n1")).await.expect("goes");
    assert_eq!(taken(&world, "n1").await, (400, 1));
    world.api.delete(&b, &at_once).await.expect("goes");
    assert!(world.store_get(&Key::cluster(Kind::NodeLedger, "n1")).await.is_none());
}

#[tokio::test]
async fn a_pod_that_comes_with_its_node_passes_the_same_ledger() {
    let world = World::new().await;
    world.node("n1", 500).await;
    let placed = |name: &str, node: &str| {
        let mut value = pod(name, 400);
        value["spec"]["nodeName"] = json!(node);
        value
    };
    for (name, node, reason) in [("a", "n1", ""), ("b", "n1", "OutOfcpu"), ("c", "n2", "NodeNotFound")] {
        let stored = world.create(Kind::Pod, placed(name, node)).await;
        let p = stored.typed::<Pod>().expect("a pod");
        assert_eq!(p.status.reason, reason, "{name}");
        assert_eq!(p.status.phase == PodPhase::Failed, !reason.is_empty());
    }
    assert_eq!(taken(&world, "n1").await, (400, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_schedulers_never_oversubscribe() {
    let world = Arc::new(World::new().await);
    world.node("n1", 1000).await;
    let mut pods = Vec::new();
    for n in 0..64 {
        pods.push(world.pod(&format!("p{n}"), 50).await);
    }
    let tasks: Vec<_> = pods
        .into_iter()
        .map(|pod| {
            let world = world.clone();
            tokio::spawn(async move { world.write(vec![bind(&pod, "n1")]).await.pop().expect("an answer").is_ok() })
        })
        .collect();
    let mut bound = 0;
    for task in tasks {
        bound += usize::from(task.await.expect("no task panics"));
    }
    assert_eq!(bound, 20);
    assert_eq!(taken(&world, "n1").await, (1000, 20));
}

#[tokio::test]
async fn host_ports_are_room_too() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let with_port = |name: &str| {
        let mut value = pod(name, 1);
        value["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
        value
    };
    let a = world.create(Kind::Pod, with_port("a")).await.key.clone();
    let b = world.create(Kind::Pod, with_port("b")).await.key.clone();
    let answers = world.api.write(vec![bind(&a, "n1"), bind(&b, "n1")], &WriteOptions::default()).await;
    assert!(answers[0].is_ok());
    assert!(answers[1].as_ref().is_err_and(|e| e.to_string().contains("host port TCP/0.0.0.0/8080 is taken")));
}
