//! `kubectl auth`: what the one who asks may do, and who that is.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use steersman_tests::agent::Agent;
use steersman_tests::kubectl::{Kubectl, binaries};
use steersman_tests::steer::{Options, SteerUp};

use crate::{SOON, apply, each, has};

fn may(k: &Kubectl, args: &[&str]) {
    let all: Vec<&str> = ["auth", "can-i"].iter().chain(args).copied().collect();
    assert_eq!(k.ok(&all).trim(), "yes", "{args:?}");
}

#[test]
fn an_administrator_may_do_everything() {
    each("may", |k| {
        may(k, &["get", "pods"]);
        may(k, &["delete", "deployments.apps/web", "--namespace", "kube-system"]);
        may(k, &["get", "pods", "--subresource", "log"]);
        may(k, &["*", "*", "--all-namespaces"]);
        may(k, &["get", "/version"]);
        let list = k.ok(&["auth", "can-i", "--list"]);
        has(&list, "*.*");
        has(&list, "[*]");
    });
}

#[test]
fn whoami_tells_the_user_and_the_groups() {
    each("whoami", |k| {
        if k.minor() < 28 {
            return;
        }
        let text = k.ok(&["auth", "whoami"]);
        has(&text, "steersman-admin");
        has(&text, "system:masters");
        has(&text, "system:authenticated");
    });
}

/// A kubeconfig of the identity that a node keeps.
fn kubeconfig(agent: &Agent, server: &str, into: &Path) {
    let text = std::fs::read_to_string(agent.data().join("membership.json")).expect("the node has joined");
    let kept: Value = serde_json::from_str(&text).expect("JSON");
    let data = |field: &str| STANDARD.encode(kept[field].as_str().expect("PEM"));
    let cluster = json!({"server": server, "certificate-authority-data": data("authority")});
    let user = json!({"client-certificate-data": data("certificate"), "client-key-data": data("key")});
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    std::fs::write(into, config.to_string()).expect("written");
}

#[test]
fn the_agent_of_a_joined_node_gets_what_its_pods_need_and_no_more() {
    let up = SteerUp::start_with(Options::with(&["--default-runtime", "process", "--nodes", "0"]));
    let agent = Agent::join(&up, "second");
    let k = up.kubectl();
    k.becomes(SOON, "node/second", "{.status.conditions[?(@.type==\"Ready\")].status}", "True");
    for name in ["mine", "other"] {
        k.ok(&["create", "secret", "generic", name, "--from-literal=password=hush"]);
        k.ok(&["create", "configmap", name, "--from-literal=file=text"]);
    }
    // A pod of the node works with a secret in its environment and a configmap as files.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "restartPolicy": "Never",
        "volumes": [{"name": "v", "configMap": {"name": "mine"}}],
        "containers": [{"name": "c", "command": ["sh", "-c", "cat \"$FILES/file\"; echo \" $PASSWORD\""],
            "volumeMounts": [{"name": "v", "mountPath": "/files"}],
            "env": [{"name": "FILES", "value": "/files"},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "password"}}}]}]}});
    apply(&k, &pod.to_string());
    k.becomes(SOON, "pod/p", "{.status.phase}", "Succeeded");
    assert_eq!(k.ok(&["logs", "p"]).trim(), "text hush");
    has(&k.ok(&["get", "events"]), "Started");

    let file = agent.data().join("node-kubeconfig");
    kubeconfig(&agent, up.url(), &file);
    for binary in binaries() {
        let node = Kubectl::new(binary, &file);
        may(&node, &["get", "secret/mine"]);
        may(&node, &["get", "configmap/mine"]);
        may(&node, &["delete", "pod/p"]);
        for not in [["get", "secret/other"], ["list", "secrets"], ["create", "pods"], ["delete", "node/second"]] {
            let output = node.run(&["auth", "can-i", not[0], not[1]]);
            assert_eq!((output.stdout.split_whitespace().next(), output.status), (Some("no"), Some(1)), "{output}");
        }
        node.ok(&["get", "secret", "mine"]);
        node.fails(&["get", "secret", "other"], &["Forbidden", "no pod that is bound to node second refers to it"]);
        node.fails(&["get", "secrets"], &["Forbidden", "one by one"]);
        node.fails(&["get", "pods"], &["Forbidden", "fieldSelector=spec.nodeName=second"]);
        node.ok(&["get", "pods", "--field-selector", "spec.nodeName=second"]);
        node.fails(&["taint", "node", "second", "a=b:NoSchedule"], &["Forbidden", "may not change its taints"]);
        let label = "node-restriction.kubernetes.io/a=b";
        node.fails(&["label", "node", "second", label], &["Forbidden", "may not change these of its labels"]);
        has(&node.ok(&["auth", "can-i", "--list"]), "leases.coordination.k8s.io");
    }
}
