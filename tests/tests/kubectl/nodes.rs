//! Nodes: cordon, taint, drain. On clusters of their own, because a drained node would surprise the other tests.

use steersman_tests::kubectl::Kubectl;
use steersman_tests::manifests::Web;
use steersman_tests::steer::{Options, SteerUp};

use crate::sets::set;
use crate::{SOON, apply, has};

/// Runs a test with every kubectl on one cluster with two nodes.
fn with_two_nodes(test: impl Fn(&Kubectl, &str)) {
    let up = SteerUp::start_with(Options::with(&["--default-runtime", "process", "--nodes", "2"]));
    for kubectl in up.kubectls() {
        let k = kubectl.in_new_namespace("nodes");
        let nodes = k.ok(&["get", "nodes", "--output", "jsonpath={.items[*].metadata.name}"]);
        let nodes: Vec<&str> = nodes.split_whitespace().collect();
        assert_eq!(nodes.len(), 2, "{nodes:?}");
        k.ok(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=30s"]);
        test(&k, nodes[0]);
        kubectl.ok(&["delete", "namespace", k.namespace(), "--timeout=60s"]);
    }
}

/// The nodes that the pods of `web` are on, one word per pod.
fn places(kubectl: &Kubectl) -> Vec<String> {
    let pods = ["get", "pods", "--selector", "app=web", "--output", "jsonpath={.items[*].spec.nodeName}"];
    kubectl.ok(&pods).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_cordoned_node_takes_no_new_pods() {
    with_two_nodes(|k, node| {
        has(&k.ok(&["cordon", node]), "cordoned");
        has(&k.ok(&["get", "node", node]), "SchedulingDisabled");
        has(&k.ok(&["cordon", node]), "already cordoned");
        apply(k, &Web { replicas: 4, ..Web::named("web") }.deployment());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        assert!(!places(k).contains(&node.to_owned()), "{:?}", places(k));
        has(&k.ok(&["uncordon", node]), "uncordoned");
        assert!(!k.ok(&["get", "node", node]).contains("SchedulingDisabled"));
    });
}

#[test]
fn a_taint_keeps_pods_away_until_it_goes() {
    with_two_nodes(|k, node| {
        has(&k.ok(&["taint", "node", node, "gpu=yes:NoSchedule"]), "tainted");
        k.fails(&["taint", "node", node, "gpu=yes:NoSchedule"], &["already has"]);
        apply(k, &Web { replicas: 4, ..Web::named("web") }.deployment());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        assert!(!places(k).contains(&node.to_owned()), "{:?}", places(k));
        has(&k.ok(&["taint", "node", node, "gpu:NoSchedule-"]), "untainted");
    });
}

#[test]
fn a_drain_moves_every_pod() {
    with_two_nodes(|k, node| {
        apply(k, &Web { replicas: 4, ..Web::named("web") }.deployment());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        assert!(places(k).contains(&node.to_owned()), "least allocated spreads: {:?}", places(k));
        apply(k, &set("DaemonSet", "agent", "red", ""));
        k.ok(&["rollout", "status", "daemonset/agent", "--timeout=60s"]);
        apply(
            k,
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec:\n  maxUnavailable: 1\n  \
             selector: {matchLabels: {app: web}}\n",
        );
        k.becomes(SOON, "poddisruptionbudgets/web", "{.status.disruptionsAllowed}", "1");
        k.ok(&["drain", node, "--ignore-daemonsets", "--force", "--timeout=60s"]);
        assert!(!places(k).contains(&node.to_owned()), "{:?}", places(k));
        k.becomes(SOON, "deployment/web", "{.status.readyReplicas}", "4");
        k.becomes(SOON, "daemonset/agent", "{.status.numberReady}", "2");
        k.ok(&["uncordon", node]);
    });
}
