//! From created to bound, through the whole cluster in one process: API, store, watches, queue, scheduler and binds, with the
//! controllers beside them. The nodes are objects without agents, so that nothing but that and their signs of life is measured.

use super::world;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use steersman::domain::{Kind, MicroTime, Object, Pod, Time};
use steersman::{Cluster, Handle, Query, WatchEvent};
use steersman_application::client::{Part, Write, WriteOptions};

const TOGETHER: usize = 500;

fn object(kind: Kind, value: Value) -> Object {
    Object::from_value(kind, value).expect("an object")
}

/// A node with room for so many pods of all shapes.
fn node(n: usize, pods: usize) -> Value {
    let room = json!({"cpu": (4 * pods).to_string(), "memory": format!("{}Gi", 4 * pods), "pods": pods.to_string()});
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {
            "name": format!("node-{n:05}"), "labels": {"topology.kubernetes.io/zone": format!("zone-{}", n % 10)}},
        "status": {"capacity": room, "allocatable": room, "runtimeHandlers": [{"name": "simulated"}], "conditions": [
            {"type": "Ready", "status": "True", "reason": "Bench", "message": ""}]},
    })
}

/// The sign of life of a node.
fn lease(n: usize, now: Time) -> Object {
    object(
        Kind::Lease,
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": format!("node-{n:05}"), "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": format!("node-{n:05}"), "renewTime": MicroTime(now).to_string()},
        }),
    )
}

/// Gives the signs of life of all nodes, as their agents would: without them they count as lost after a while.
async fn keep_alive(cluster: Handle, nodes: usize) {
    loop {
        let now = cluster.clock().now();
        for first in (0..nodes).step_by(TOGETHER) {
            let some = first..nodes.min(first + TOGETHER);
            let renewals = some.map(|n| Write::Update(lease(n, now), Part::Main)).collect();
            for answer in cluster.client().write(renewals, &WriteOptions::default()).await {
                answer.expect("renewed");
            }
        }
        cluster.clock().sleep(Duration::from_secs(10)).await;
    }
}

async fn write(cluster: &Cluster, writes: Vec<Write>) {
    for answer in cluster.client().write(writes, &WriteOptions::default()).await {
        answer.expect("written");
    }
}

async fn create(cluster: &Cluster, objects: impl Iterator<Item = Object>) {
    let mut objects = objects.peekable();
    while objects.peek().is_some() {
        write(cluster, objects.by_ref().take(TOGETHER).map(Write::Create).collect()).await;
    }
}

/// Kilobytes that the process holds in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

/// Creates and waits until all is bound; prints pods per second and bytes per pod.
pub(crate) fn measure(nodes: usize, pods: usize) {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    executor.expect("an executor").block_on(async {
        let room = 2 * pods / nodes;
        let cluster = Cluster::builder().nodes(0).default_runtime("simulated").start().await.expect("starts");
        create(&cluster, (0..nodes).map(|n| object(Kind::Node, node(n, room)))).await;
        let ready = (0..nodes).map(|n| Write::Update(object(Kind::Node, node(n, room)), Part::Status));
        write(&cluster, ready.collect()).await;
        let now = cluster.clock().now();
        create(&cluster, (0..nodes).map(|n| lease(n, now))).await;
        let alive = tokio::spawn(keep_alive(Handle::clone(&cluster), nodes));
        let mut watch = cluster.watch::<Pod>(&Query::all()).expect("watched");
        let before = resident();
        let begin = Instant::now();
        let bound = tokio::spawn(async move {
            let (mut bound, mut last) = (std::collections::BTreeSet::new(), Duration::ZERO);
            while bound.len() < pods {
                let event = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
                match event.unwrap_or_else(|_| panic!("{} of {pods} are bound, and nothing happens", bound.len())) {
                    Ok(WatchEvent::Applied(pod)) if !pod.spec.node_name.is_empty() => {
                        bound.insert(pod.metadata.name.clone());
                        last = begin.elapsed();
                    }
                    Ok(_) => {}
                    Err(error) => panic!("the watch failed: {error}"),
                }
            }
            last
        });
        let shapes: Vec<Value> = (0..64).map(|n| world::shape(n, "default-scheduler")).collect();
        let named = (0..pods).map(|n| {
            let mut pod = shapes[n % shapes.len()].clone();
            pod["metadata"]["name"] = json!(format!("pod-{n:07}"));
            pod["metadata"]["namespace"] = json!("default");
            object(Kind::Pod, pod)
        });
        create(&cluster, named).await;
        let created = begin.elapsed();
        let took = bound.await.expect("all are bound").as_secs_f64();
        alive.abort();
        let each = (resident().saturating_sub(before)) * 1024 / pods as u64;
        println!(
            "{pods} pods on {nodes} nodes, created to bound: {:.1} s, {:.0} pods/s (created after {:.1} s); {each} bytes each",
            took,
            pods as f64 / took,
            created.as_secs_f64()
        );
    });
}
