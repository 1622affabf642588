//! Deployments: rollout status, history, undo, pause, resume, restart, and waiting for them.

use std::collections::BTreeSet;

use steersman_tests::kubectl::Kubectl;
use steersman_tests::manifests::Web;

use crate::{SOON, apply, each, has};

const COLOUR: &str = "{.spec.template.spec.containers[0].env[0].value}";

fn rolled_out(kubectl: &Kubectl) {
    has(&kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]), "successfully rolled out");
}

fn pods(kubectl: &Kubectl) -> BTreeSet<String> {
    let names = "jsonpath={.items[?(@.status.phase=='Running')].metadata.name}";
    let found = kubectl.ok(&["get", "pods", "--selector", "app=web", "--output", names]);
    found.split_whitespace().map(str::to_owned).collect()
}

fn replica_sets(kubectl: &Kubectl) -> usize {
    kubectl.ok(&["get", "replicasets", "--selector", "app=web", "--output", "name"]).lines().count()
}

#[test]
fn a_deployment_rolls_out_scales_and_is_available() {
    each("rollout", |k| {
        apply(k, &Web::named("web").deployment());
        rolled_out(k);
        assert_eq!(pods(k).len(), 2);
        k.ok(&["scale", "deployment/web", "--replicas=3"]);
        rolled_out(k);
        k.becomes(SOON, "deployment/web", "{.status.readyReplicas}", "3");
        k.ok(&["wait", "--for=condition=Available", "deployment/web", "--timeout=30s"]);
        k.ok(&["scale", "deployment/web", "--replicas=1"]);
        k.becomes(SOON, "deployment/web", "{.status.replicas}", "1");
        k.fails(&["wait", "--for=condition=Nosuch", "deployment/web", "--timeout=1s"], &["timed out waiting"]);
    });
}

#[test]
fn history_is_kept_and_undone() {
    each("history", |k| {
        apply(k, &Web::named("web").deployment());
        rolled_out(k);
        k.ok(&["set", "env", "deployment/web", "COLOUR=blue"]);
        rolled_out(k);
        let history = k.ok(&["rollout", "history", "deployment/web"]);
        let revisions: Vec<&str> = history
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| word.parse::<u32>().is_ok())
            .collect();
        assert_eq!(revisions, ["1", "2"], "{history}");
        has(&k.ok(&["rollout", "history", "deployment/web", "--revision=2"]), "COLOUR:");
        has(&k.ok(&["rollout", "undo", "deployment/web"]), "deployment.apps/web rolled back");
        rolled_out(k);
        k.becomes(SOON, "deployment/web", COLOUR, "");
        assert_eq!(replica_sets(k), 2, "the first set serves again");
        k.ok(&["rollout", "undo", "deployment/web", "--to-revision=2"]);
        rolled_out(k);
        k.becomes(SOON, "deployment/web", COLOUR, "blue");
        k.fails(&["rollout", "undo", "deployment/web", "--to-revision=77"], &["77"]);
    });
}

#[test]
fn a_paused_deployment_waits() {
    each("pause", |k| {
        apply(k, &Web::named("web").deployment());
        rolled_out(k);
        has(&k.ok(&["rollout", "pause", "deployment/web"]), "deployment.apps/web paused");
        k.fails(&["rollout", "pause", "deployment/web"], &["already paused"]);
        k.ok(&["set", "env", "deployment/web", "COLOUR=blue"]);
        // Once the change has been observed, what is not there will not come.
        let generation = k.ok(&["get", "deployment", "web", "--output", "jsonpath={.metadata.generation}"]);
        k.becomes(SOON, "deployment/web", "{.status.observedGeneration}", &generation);
        assert_eq!(replica_sets(k), 1);
        has(&k.ok(&["rollout", "resume", "deployment/web"]), "deployment.apps/web resumed");
        rolled_out(k);
        assert_eq!(replica_sets(k), 2);
    });
}

#[test]
fn a_restart_replaces_every_pod() {
    each("restart", |k| {
        apply(k, &Web::named("web").deployment());
        rolled_out(k);
        let before = pods(k);
        has(&k.ok(&["rollout", "restart", "deployment/web"]), "deployment.apps/web restarted");
        rolled_out(k);
        steersman_tests::wait::until(
            SOON,
            "every pod is new",
            || pods(k).is_disjoint(&before),
            || format!("{before:?} then {:?}", pods(k)),
        );
    });
}

#[test]
fn a_rollout_that_cannot_go_on_says_so() {
    each("stuck", |k| {
        apply(k, &Web::named("web").deployment());
        rolled_out(k);
        let before = pods(k);
        let broken = Web::named("web").deployment().replace("[steer, example, http]", "[/nonexistent/program]");
        apply(k, &broken.replace("  replicas: 2\n", "  replicas: 2\n  progressDeadlineSeconds: 2\n"));
        k.fails(&["rollout", "status", "deployment/web", "--timeout=60s"], &["exceeded its progress deadline"]);
        assert!(pods(k).is_superset(&before), "what served still serves");
        let reasons = "jsonpath={.items[*].status.containerStatuses[0].state.waiting.reason}";
        let reasons = k.ok(&["get", "pods", "--selector", "app=web", "--output", reasons]);
        assert!(reasons.contains("Error") || reasons.contains("CrashLoopBackOff"), "{reasons:?}");
        k.ok(&["rollout", "undo", "deployment/web"]);
        rolled_out(k);
        assert_eq!(pods(k), before, "going back costs no pod");
    });
}
