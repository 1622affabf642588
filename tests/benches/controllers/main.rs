//! Passes of controllers over many objects, one thread, without a store.
//!
//! `cargo bench -p steersman-tests --bench controllers`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use steersman_application::driver::world::World;
use steersman_application::reconcile::horizontal::Autoscalers;
use steersman_application::reconcile::{Moment, Reconciler as _};
use steersman_domain::usage::{ContainerUsage, NodeUsage, PodUsage, USAGE};
use steersman_domain::{Key, Kind, Lease, MicroTime, Object, Revision, Stored, Time};

/// Autoscalers, each with a Deployment of so many pods, on so many nodes.
const AUTOSCALERS: usize = 1000;
const PODS: usize = 10;
const NODES: usize = 100;
const PASSES: usize = 21;
const NOW: i64 = 1_700_000_000;

fn put(world: &mut World, kind: Kind, mut value: Value) {
    value["apiVersion"] = json!(kind.info().api_version);
    value["kind"] = json!(kind.info().kind);
    let object = Object::from_value(kind, value).expect("an object");
    let meta = object.meta();
    let key = Key { kind, namespace: meta.namespace.clone(), name: meta.name.clone() };
    world.put(&Stored::new(key, Revision(1), object));
}

fn owner(kind: &str, name: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true}])
}

fn world(usage_at: i64) -> World {
    let mut world = World::default();
    let mut usages: Vec<NodeUsage> = (0..NODES)
        .map(|_| NodeUsage { at: MicroTime(Time::from_secs(usage_at)), window_ms: 10_000, pods: Vec::new() })
        .collect();
    for n in 0..AUTOSCALERS {
        let (app, set) = (format!("app-{n:04}"), format!("set-{n:04}"));
        let template = json!({"metadata": {"labels": {"app": app}}});
        let spec = json!({"replicas": PODS, "selector": {"matchLabels": {"app": app}}, "template": template});
        put(
            &mut world,
            Kind::Deployment,
            json!({"metadata": {"name": app, "namespace": "d", "uid": app}, "spec": spec}),
        );
        let of_app = owner("Deployment", &app);
        let meta = json!({"name": set, "namespace": "d", "uid": set, "ownerReferences": of_app});
        put(&mut world, Kind::ReplicaSet, json!({"metadata": meta, "spec": spec}));
        for p in 0..PODS {
            let (name, node) = (format!("{set}-{p}"), (n * PODS + p) % NODES);
            let meta =
                json!({"name": name, "namespace": "d", "uid": name, "ownerReferences": owner("ReplicaSet", &set)});
            let container = json!({"name": "main", "image": "i", "resources": {"requests": {"cpu": "100m"}}});
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2023-01-01T00:00:00Z"});
            let status = json!({"phase": "Running", "startTime": "2023-01-01T00:00:00Z", "conditions": [ready]});
            let spec = json!({"nodeName": format!("node-{node}"), "containers": [container]});
            put(&mut world, Kind::Pod, json!({"metadata": meta, "spec": spec, "status": status}));
            let container =
                ContainerUsage { name: "main".into(), cpu_nano_cores: 50_000_000, memory_bytes: Some(1 << 20) };
            let name = name.as_str();
            let pod =
                PodUsage { namespace: "d".into(), name: name.into(), uid: name.into(), containers: vec![container] };
            usages[node].pods.push(pod);
        }
        let target = json!({"type": "Utilization", "averageUtilization": 50});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        let to = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": app});
        let spec = json!({"scaleTargetRef": to, "minReplicas": 1, "maxReplicas": 100, "metrics": [metric]});
        put(
            &mut world,
            Kind::HorizontalPodAutoscaler,
            json!({"metadata": {"name": app, "namespace": "d", "uid": format!("h{n}")}, "spec": spec}),
        );
    }
    for (n, usage) in usages.iter().enumerate() {
        let mut lease = Lease::default();
        lease.metadata.name = format!("node-{n}").into();
        lease.metadata.namespace = "kube-node-lease".into();
        lease.metadata.uid = format!("l{n}").as_str().into();
        lease.metadata.annotations.insert(USAGE, serde_json::to_string(usage).expect("JSON").into());
        let key = Key::new(Kind::Lease, "kube-node-lease", &lease.metadata.name);
        world.put(&Stored::new(key, Revision(1), Object::Lease(Arc::new(lease))));
    }
    world
}

fn main() {
    let (first, second) = (world(NOW), world(NOW + 10));
    let mut controller = Autoscalers::default();
    let mut times = Vec::new();
    let mut seen = 0;
    for pass in 0..PASSES {
        // Every node has a new heartbeat at every pass.
        let world = if pass % 2 == 0 { &first } else { &second };
        let monotonic = Duration::from_secs(15 * (pass as u64 + 1));
        let now = Moment { time: Time::from_secs(NOW).after(monotonic), monotonic };
        let start = Instant::now();
        for key in controller.all(world) {
            let outcome = controller.reconcile(world, &key, now);
            seen += usize::from(outcome.why.iter().any(|why| why.contains("replicas stay")));
        }
        times.push(start.elapsed());
    }
    assert_eq!(seen, AUTOSCALERS * PASSES, "each is at its target");
    times.sort_unstable();
    let (middle, most) = (times[PASSES / 2].as_secs_f64() * 1e3, times[PASSES - 1].as_secs_f64() * 1e3);
    println!(
        "a pass over {AUTOSCALERS} autoscalers of {} pods on {NODES} nodes: {middle:.1} ms in the median, {most:.1} ms at most",
        AUTOSCALERS * PODS
    );
}
