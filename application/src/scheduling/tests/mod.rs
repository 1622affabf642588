//! Decisions of the whole: filters, scores and their words.

mod alike;
mod gangs;
mod neighbours;
mod preemption;

use super::*;
use std::sync::Arc;
use steersman_domain::ports::Placement;
use steersman_domain::*;

pub(super) fn node(name: &str, cpu: i64) -> Arc<Node> {
    let mut node = Node::default();
    node.metadata.name = name.into();
    node.metadata.labels.insert("zone", if name.ends_with('1') { "a".into() } else { "b".into() });
    node.status.allocatable = [
        ("cpu", Quantity::from_milli(cpu)),
        ("memory", Quantity::from_bytes(1 << 30)),
        ("pods", Quantity::from_units(10)),
    ]
    .into_iter()
    .collect();
    node.status.runtime_handlers = vec![NodeRuntimeHandler { name: "process".into(), ..Default::default() }];
    Arc::new(node)
}

pub(super) fn pod(name: &str, cpu: i64) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = name.into();
    let mut container = Container::default();
    container.resources.requests = [("cpu", Quantity::from_milli(cpu))].into_iter().collect();
    pod.spec.containers = vec![Arc::new(container)];
    pod
}

pub(super) fn context() -> SchedulingContext {
    SchedulingContext::new(default_profiles(), "process")
}

/// Schedules pods of these cpu requests onto nodes of these sizes and answers the nodes' names.
fn place(nodes: &[i64], pods: Vec<Pod>) -> Vec<String> {
    let mut all = Nodes::default();
    for (n, cpu) in nodes.iter().enumerate() {
        all.put_node(node(&format!("n{}", n + 1), *cpu));
    }
    let pods: Vec<Arc<Pod>> = pods.into_iter().map(Arc::new).collect();
    let decisions = schedule(&mut all, &pods, &context());
    decisions
        .into_iter()
        .map(|d| match d.placement {
            Placement::Node(node) => node.to_string(),
            Placement::Unschedulable(why) => why,
            Placement::Preempt(preemption) => format!("preempts on {}", preemption.node),
        })
        .collect()
}

#[test]
fn least_allocated_spreads_and_bin_packing_fills() {
    let spread = place(&[1000, 1000], (0..4).map(|n| pod(&format!("p{n}"), 200)).collect());
    assert_eq!(spread, ["n1", "n2", "n1", "n2"]);
    let packed = (0..4).map(|n| {
        let mut pod = pod(&format!("p{n}"), 400);
        pod.spec.scheduler_name = "bin-packing".into();
        pod
    });
    assert_eq!(place(&[1000, 1000], packed.collect()), ["n1", "n1", "n2", "n2"]);
}

#[test]
fn pods_without_requests_weigh_something_too() {
    let idle = |n: i32| {
        let mut pod = pod(&format!("p{n}"), 0);
        pod.spec.containers = vec![Arc::new(Container::default())];
        pod
    };
    assert_eq!(place(&[2000, 2000], (0..4).map(idle).collect()), ["n1", "n2", "n1", "n2"]);
    // Where each is less than a percent, the count decides.
    assert_eq!(place(&[640_000, 640_000], (0..4).map(idle).collect()), ["n1", "n2", "n1", "n2"]);
    let packed = (0..3).map(idle).map(|mut pod| {
        pod.spec.scheduler_name = "bin-packing".into();
        pod
    });
    assert_eq!(place(&[640_000, 640_000], packed.collect()), ["n1", "n1", "n1"]);
}

#[test]
fn reasons_are_counted() {
    let mut picky = pod("p", 100);
    picky.spec.node_selector.insert("zone", "c".into());
    let why = place(&[1000, 1000], vec![picky, pod("big", 1500)]);
    assert_eq!(why[0], "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.");
    assert!(why[1].starts_with("0/2 nodes are available: 2 Insufficient cpu. "), "{}", why[1]);
}

#[test]
fn a_runtime_that_nobody_offers_says_how_to_mend_it() {
    let mut container = pod("p", 100);
    container.spec.runtime_class_name = "container".into();
    let why = place(&[1000], vec![container]);
    assert!(why[0].contains("No node offers the runtime \"container\": set spec.runtimeClassName"), "{}", why[0]);
}

#[test]
fn host_ports_taints_and_cordons_repel() {
    let mut with_port = pod("p", 1);
    let mut container = Container::clone(&with_port.spec.containers[0]);
    container.ports = vec![ContainerPort { host_port: 8080, container_port: 8080, ..Default::default() }];
    with_port.spec.containers = vec![Arc::new(container)];
    let mut again = with_port.clone();
    again.metadata.name = "q".into();
    let places = place(&[1000], vec![with_port, again]);
    assert_eq!(places[0], "n1");
    assert!(places[1].contains("didn't have free ports"), "{}", places[1]);

    let mut nodes = Nodes::default();
    let mut tainted = Node::clone(&node("n1", 1000));
    tainted.spec.taints =
        vec![Taint { key: "gpu".into(), value: "yes".into(), effect: "NoSchedule".into(), ..Default::default() }];
    nodes.put_node(Arc::new(tainted));
    let mut cordoned = Node::clone(&node("n2", 1000));
    cordoned.spec.unschedulable = true;
    nodes.put_node(Arc::new(cordoned));
    let decision = &schedule(&mut nodes, &[Arc::new(pod("p", 1))], &context())[0];
    let expected = "0/2 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable.";
    assert_eq!(decision.placement, Placement::Unschedulable(expected.into()));
}

#[test]
fn room_is_given_free_when_a_pod_ends() {
    let mut nodes = Nodes::default();
    nodes.put_node(node("n1", 1000));
    let mut first = pod("a", 800);
    let decision = schedule(&mut nodes, &[Arc::new(first.clone())], &context()).remove(0);
    assert_eq!(decision.placement, Placement::Node("n1".into()));
    first.spec.node_name = "n1".into();
    first.status.phase = PodPhase::Succeeded;
    assert!(nodes.put_pod(&Arc::new(first)));
    assert_eq!(nodes.get("n1").map(|i| i.taken.allocated.cpu_milli), Some(0));
}
