//! Rules about other pods: affinity, anti-affinity, spread.

use super::{context, node, pod};
use crate::scheduling::{Nodes, schedule};
use serde_json::{Value, json};
use std::sync::Arc;
use steersman_domain::ports::Placement;
use steersman_domain::{Namespace, Node, Pod};

/// Six nodes in three zones; `zone` and `host` are their labels.
fn cluster() -> Nodes {
    let mut nodes = Nodes::default();
    for at in 0..6 {
        let mut machine = Node::clone(&node(&format!("n{at}"), 4000));
        machine.metadata.labels = [("zone", format!("z{}", at / 2)), ("host", format!("n{at}"))]
            .into_iter()
            .map(|(k, v)| (k, v.into()))
            .collect();
        nodes.put_node(Arc::new(machine));
    }
    nodes
}

fn with(name: &str, app: &str, spec: Value) -> Arc<Pod> {
    let mut pod = pod(name, 100);
    let mut value = serde_json::to_value(&pod).expect("a pod");
    for (key, part) in spec.as_object().into_iter().flatten() {
        value["spec"][key] = part.clone();
    }
    pod = serde_json::from_value(value).expect("a pod");
    pod.metadata.namespace = "ns".into();
    pod.metadata.labels = [("app", app.into())].into_iter().collect();
    Arc::new(pod)
}

fn term(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

fn affinity(kind: &str, term: Value) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

/// Where each pod goes, or why nowhere.
fn place(nodes: &mut Nodes, pods: &[Arc<Pod>]) -> Vec<String> {
    let text = |placement: Placement| match placement {
        Placement::Node(node) => node.to_string(),
        Placement::Unschedulable(why) => why,
        Placement::Preempt(preemption) => preemption.why,
    };
    schedule(nodes, pods, &context()).into_iter().map(|d| text(d.placement)).collect()
}

fn zone(node: &str) -> char {
    char::from(b'0' + (node.as_bytes()[1] - b'0') / 2)
}

#[test]
fn anti_affinity_keeps_apart_in_both_directions() {
    let mut nodes = cluster();
    let lonely: Vec<_> =
        (0..4).map(|n| with(&format!("a{n}"), "a", affinity("podAntiAffinity", term("a", "zone")))).collect();
    let places = place(&mut nodes, &lonely);
    let zones: std::collections::BTreeSet<char> = places[..3].iter().map(|n| zone(n)).collect();
    assert_eq!(zones.len(), 3, "{places:?}");
    let why = "0/6 nodes are available: 6 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(places[3], why);
    // A pod without rules of its own is kept away by theirs.
    let plain = place(&mut nodes, &[with("plain", "a", json!({}))]);
    assert_eq!(plain[0], "0/6 nodes are available: 6 node(s) didn't satisfy existing pods anti-affinity rules.");
    assert_eq!(place(&mut nodes, &[with("other", "b", json!({}))])[0].len(), 2);
    // One that goes makes room for one that comes.
    assert!(nodes.remove_pod(&steersman_domain::Resource::key(&*lonely[0])));
    assert_eq!(zone(&place(&mut nodes, &[with("plain", "a", json!({}))])[0]), zone(&places[0]));
}

#[test]
fn affinity_keeps_together_and_the_first_of_a_group_may_start_it() {
    let mut nodes = cluster();
    let group: Vec<_> =
        (0..3).map(|n| with(&format!("g{n}"), "g", affinity("podAffinity", term("g", "zone")))).collect();
    let places = place(&mut nodes, &group);
    assert!(places.iter().all(|n| zone(n) == zone(&places[0])), "{places:?}");
    let stranger = place(&mut nodes, &[with("s", "s", affinity("podAffinity", term("nobody", "zone")))]);
    assert_eq!(stranger[0], "0/6 nodes are available: 6 node(s) didn't match pod affinity rules.");
}

#[test]
fn namespaces_bound_rules_unless_they_are_named() {
    let mut nodes = cluster();
    let mut elsewhere = Pod::clone(&with("e", "e", json!({})));
    elsewhere.metadata.namespace = "other".into();
    place(&mut nodes, &[Arc::new(elsewhere)]);
    let near = |term: Value| with("x", "x", affinity("podAffinity", term));
    assert!(place(&mut nodes, &[near(term("e", "zone"))])[0].contains("didn't match pod affinity rules"));
    let mut named = term("e", "zone");
    named["namespaces"] = json!(["other"]);
    assert_eq!(place(&mut nodes, &[near(named)])[0].len(), 2);
    let mut selected = term("e", "host");
    selected["namespaceSelector"] = json!({"matchLabels": {"team": "x"}});
    let pod = with("y", "y", affinity("podAffinity", selected));
    assert!(place(&mut nodes, std::slice::from_ref(&pod))[0].contains("didn't match pod affinity rules"));
    let mut namespace = Namespace::default();
    namespace.metadata.name = "other".into();
    namespace.metadata.labels.insert("team", "x".into());
    assert!(nodes.put_namespace(&namespace), "what was refused may fit now");
    assert_eq!(place(&mut nodes, &[pod])[0].len(), 2);
}

#[test]
fn hard_spread_bounds_the_skew() {
    let mut nodes = cluster();
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "s"}}}]});
    let pods: Vec<_> = (0..9).map(|n| with(&format!("s{n}"), "s", spread.clone())).collect();
    let places = place(&mut nodes, &pods);
    for upto in 1..=9 {
        let count = |z: char| places[..upto].iter().filter(|n| zone(n) == z).count();
        let counts = ['0', '1', '2'].map(count);
        assert!(counts.iter().max().expect("three") - counts.iter().min().expect("three") <= 1, "{places:?}");
    }
    let mut few = spread;
    few["topologySpreadConstraints"][0]["minDomains"] = json!(4);
    few["topologySpreadConstraints"][0]["labelSelector"] = json!({"matchLabels": {"app": "t"}});
    let pods: Vec<_> = (0..4).map(|n| with(&format!("t{n}"), "t", few.clone())).collect();
    let places = place(&mut nodes, &pods);
    assert_eq!(places[3], "0/6 nodes are available: 6 node(s) didn't match pod topology spread constraints.");
    let mut nowhere = few;
    nowhere["topologySpreadConstraints"][0]["topologyKey"] = json!("rack");
    let why = &place(&mut nodes, &[with("u", "u", nowhere)])[0];
    assert!(
        why.contains("6 node(s) didn't match pod topology spread constraints (missing required label rack)"),
        "{why}"
    );
}

#[test]
fn soft_rules_prefer_and_never_refuse() {
    let mut nodes = cluster();
    let soft = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "s"}}}]});
    let pods: Vec<_> = (0..3).map(|n| with(&format!("s{n}"), "s", soft.clone())).collect();
    let zones: std::collections::BTreeSet<char> = place(&mut nodes, &pods).iter().map(|n| zone(n)).collect();
    assert_eq!(zones.len(), 3);
    let mut nodes = cluster();
    let first = place(&mut nodes, &[with("db", "db", json!({}))]);
    let preferred = |kind: &str| {
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term("db", "host")}]}}})
    };
    assert_eq!(place(&mut nodes, &[with("near", "x", preferred("podAffinity"))]), first);
    assert_ne!(place(&mut nodes, &[with("far", "x", preferred("podAntiAffinity"))]), first);
}

#[test]
fn rules_that_contradict_each_other_are_told() {
    let mut nodes = cluster();
    let both = json!({"affinity": {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("c", "zone")]},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term("c", "zone")]}}});
    place(&mut nodes, &[with("c0", "c", json!({}))]);
    let why = &place(&mut nodes, &[with("c1", "c", both)])[0];
    assert!(
        why.contains("its podAffinity requires and its podAntiAffinity forbids the same pods in the same zone"),
        "{why}"
    );
    let nodes_too = json!({"nodeSelector": {"zone": "z1"}, "affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "zone", "operator": "NotIn", "values": ["z1"]}]}]}}}});
    let why = &place(&mut nodes, &[with("d", "d", nodes_too)])[0];
    assert!(why.contains("nodeSelector asks for zone=z1, and the required node affinity excludes it"), "{why}");
}
