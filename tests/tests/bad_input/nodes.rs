//! Nodes that may not join, and nodes that are taken away.

use std::time::Duration;

use steersman_tests::agent::{self, Agent};
use steersman_tests::manifests::Web;
use steersman_tests::steer::SteerUp;
use steersman_tests::wait::until;

use crate::{SOON, steer, steer_fails};

/// Time for what takes forty seconds: the silence that a node is granted, and the quarantine before its pods are collected.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn a_node_whose_object_is_deleted_registers_again_and_keeps_its_pods() {
    let up = SteerUp::start();
    let k = up.kubectl();
    k.ok_with(&["apply", "-f", "-"], &Web::named("web").deployment());
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let pods = || {
        let path = "{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
        k.ok(&["get", "pods", "--output", &format!("jsonpath={path}")])
    };
    let before = pods();
    let node = k.ok(&["get", "nodes", "--output", "jsonpath={.items[0].metadata.name}"]);
    let uid = k.ok(&["get", "node", &node, "--output", "jsonpath={.metadata.uid}"]);
    k.ok(&["delete", "node", &node]);
    let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
    k.becomes(SOON, &format!("node/{node}"), ready, "True");
    assert_ne!(k.ok(&["get", "node", &node, "--output", "jsonpath={.metadata.uid}"]), uid, "another object");
    k.ok(&["scale", "deployment/web", "--replicas=3"]);
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let after = pods();
    assert!(before.lines().all(|pod| after.contains(pod)), "before:\n{before}after:\n{after}");
}

/// A join token of a cluster, in its three parts.
fn token(up: &SteerUp) -> [String; 3] {
    let parts: Vec<String> = agent::token(up).split('.').map(str::to_owned).collect();
    parts.try_into().unwrap_or_else(|parts| panic!("no token: {parts:?}"))
}

/// Joins with a token, which must fail in these words, without the secret among them.
#[track_caller]
fn cannot_join(up: &SteerUp, token: &str, words: &[&str]) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let place = data.path().to_str().expect("UTF-8");
    let args = ["agent", "--server", up.url(), "--token", token, "--data-dir", place, "--name", "third"];
    let output = steer_fails(up.kubeconfig(), &args, words);
    let secret = token.rsplit('.').next().unwrap_or_default();
    assert!(!output.stderr.contains(secret), "the secret is told: {output}");
}

#[test]
fn a_token_that_is_wrong_is_refused_in_words() {
    let up = SteerUp::start();
    let [fingerprint, id, secret] = token(&up);
    let other = |text: &str| text.chars().rev().collect::<String>();
    let make_a_new_one = ["join token", "wrong, used or expired", "steer token create"];
    cannot_join(&up, &format!("{fingerprint}.{id}.{}", other(&secret)), &make_a_new_one);
    cannot_join(&up, &format!("{fingerprint}.{}.{secret}", other(&id)), &make_a_new_one);
    cannot_join(&up, &format!("{}.{id}.{secret}", other(&fingerprint)), &["another cluster than the token"]);
    let torn = ["agent", "--server", up.url(), "--token", "torn"];
    steer_fails(up.kubeconfig(), &torn, &["--token", "steer token create"]);
    let nodes = up.kubectl().ok(&["get", "nodes", "--output", "name"]);
    assert_eq!(nodes.lines().count(), 1, "{nodes}");
}

#[test]
fn a_token_is_made_by_the_cluster_of_the_kubeconfig() {
    let up = SteerUp::start();
    let made = steer(up.kubeconfig(), &["token", "create"]);
    assert_eq!((made.status, made.stdout.trim().split('.').count()), (Some(0), 3), "{made}");
    let nowhere = std::path::Path::new("/nowhere/kubeconfig");
    steer_fails(nowhere, &["token", "create"], &["kubeconfig"]);
    let file = up.kubeconfig().to_str().expect("UTF-8");
    let made = steer(nowhere, &["token", "create", "--kubeconfig", file]);
    assert_eq!(made.status, Some(0), "the flag goes before the environment: {made}");
}

#[test]
fn a_token_is_good_for_one_node() {
    let up = SteerUp::start();
    let token = token(&up).join(".");
    let _second = Agent::start(&up, &token, "second");
    let k = up.kubectl();
    k.becomes(SOON, "node/second", "{.status.conditions[?(@.type==\"Ready\")].status}", "True");
    cannot_join(&up, &token, &["join token", "wrong, used or expired", "steer token create"]);
    k.fails(&["get", "node", "third"], &["NotFound"]);
}

#[test]
fn a_node_that_disappears_is_told_and_its_pods_are_replaced_once_it_is_deleted() {
    let up = SteerUp::start();
    let k = up.kubectl();
    let second = Agent::join(&up, "second");
    let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
    k.becomes(SOON, "node/second", ready, "True");
    let web = Web { replicas: 4, grace_s: 1, ..Web::named("web") };
    k.ok_with(&["apply", "-f", "-"], &web.deployment());
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let places = || k.ok(&["get", "pods", "--output", "jsonpath={.items[*].spec.nodeName}"]);
    assert!(places().contains("second"), "{}", places());

    drop(second);
    // Forty seconds of silence are no accident.
    k.becomes(LONG, "node/second", ready, "Unknown");
    let said = k.ok(&["describe", "node", "second"]);
    assert!(said.contains("stopped posting node status") && said.contains("node.kubernetes.io/unreachable"), "{said}");
    let why = steer(up.kubeconfig(), &["why", "node/second"]);
    assert!(why.stdout.contains("stopped posting node status"), "{why}");
    k.ok(&["delete", "node", "second"]);
    until(LONG, "all pods run elsewhere", || !places().contains("second"), places);
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}
