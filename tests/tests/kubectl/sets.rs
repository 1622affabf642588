//! DaemonSets, StatefulSets and disruption budgets.

use steersman_tests::kubectl::Kubectl;

use crate::{SOON, apply, each, has};

pub(crate) fn set(kind: &str, name: &str, colour: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{more}  selector: {{matchLabels: {{app: {name}}}}}\n  \
         template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      runtimeClassName: process\n      \
         terminationGracePeriodSeconds: 1\n      containers:\n      - name: main\n        command: [sleep, '1000']\n        \
         env: [{{name: COLOUR, value: {colour}}}]\n"
    )
}

fn rolled_out(k: &Kubectl, what: &str) {
    k.ok(&["rollout", "status", what, "--timeout=60s"]);
}

fn colours(k: &Kubectl, app: &str) -> String {
    let path = "jsonpath={.items[*].spec.containers[0].env[0].value}";
    k.ok(&["get", "pods", "--selector", &format!("app={app}"), "--output", path])
}

#[test]
fn a_daemon_set_is_rolled_out_and_undone() {
    each("daemons", |k| {
        apply(k, &set("DaemonSet", "agent", "red", ""));
        rolled_out(k, "daemonset/agent");
        assert_eq!(colours(k, "agent"), "red", "one node, one pod");
        has(&k.ok(&["get", "daemonsets"]), "NODE SELECTOR");
        k.ok(&["set", "env", "daemonset/agent", "COLOUR=blue"]);
        rolled_out(k, "daemonset/agent");
        k.becomes(SOON, "pods", "{.items[*].spec.containers[0].env[0].value}", "blue");
        has(&k.ok(&["rollout", "history", "daemonset/agent"]), "2");
        has(&k.ok(&["rollout", "history", "daemonset/agent", "--revision=1"]), "red");
        has(&k.ok(&["rollout", "undo", "daemonset/agent"]), "rolled back");
        rolled_out(k, "daemonset/agent");
        k.becomes(SOON, "pods", "{.items[*].spec.containers[0].env[0].value}", "red");
        k.ok(&["rollout", "restart", "daemonset/agent"]);
        rolled_out(k, "daemonset/agent");
        k.ok(&["delete", "daemonset/agent", "--timeout=30s"]);
        k.becomes(SOON, "pods", "{.items[*].metadata.name}", "");
        k.becomes(SOON, "controllerrevisions", "{.items[*].metadata.name}", "");
    });
}

#[test]
fn a_stateful_set_scales_in_order_and_is_undone() {
    each("stateful", |k| {
        apply(k, &set("StatefulSet", "db", "red", "  replicas: 2\n  serviceName: db\n"));
        rolled_out(k, "statefulset/db");
        k.becomes(SOON, "pods", "{.items[*].metadata.name}", "db-0 db-1");
        has(&k.ok(&["get", "statefulset/db"]), "2/2");
        k.ok(&["scale", "statefulset/db", "--replicas=3"]);
        rolled_out(k, "statefulset/db");
        k.ok(&["set", "env", "statefulset/db", "COLOUR=blue"]);
        rolled_out(k, "statefulset/db");
        assert_eq!(colours(k, "db"), "blue blue blue");
        k.ok(&["rollout", "undo", "statefulset/db"]);
        rolled_out(k, "statefulset/db");
        k.becomes(SOON, "pods", "{.items[*].spec.containers[0].env[0].value}", "red red red");
        k.ok(&["scale", "statefulset/db", "--replicas=1"]);
        k.becomes(SOON, "pods", "{.items[*].metadata.name}", "db-0");
        let claims = set("StatefulSet", "kept", "red", "  volumeClaimTemplates: [{metadata: {name: data}}]\n");
        k.fails_with(&["apply", "--filename", "-"], &claims, &["volumeClaimTemplates", "no persistent volumes yet"]);
    });
}

#[test]
fn a_budget_shows_what_it_allows_and_holds_evictions_back() {
    each("budgets", |k| {
        if k.minor() < 21 {
            // It knows budgets only by a version that is no more.
            return;
        }
        apply(k, &set("StatefulSet", "db", "red", "  replicas: 2\n  podManagementPolicy: Parallel\n"));
        k.ok(&["create", "poddisruptionbudget", "db", "--selector=app=db", "--min-available=2"]);
        k.becomes(SOON, "pdb/db", "{.status.currentHealthy} {.status.disruptionsAllowed}", "2 0");
        has(&k.ok(&["get", "pdb"]), "ALLOWED DISRUPTIONS");
        let eviction = format!(
            r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"db-0","namespace":"{}"}}}}"#,
            k.namespace()
        );
        let path = format!("/api/v1/namespaces/{}/pods/db-0/eviction", k.namespace());
        let evict = ["create", "--raw", path.as_str(), "--filename", "-"];
        k.fails_with(&evict, &eviction, &["Cannot evict pod as it would violate the pod's disruption budget"]);
        k.ok(&["patch", "pdb/db", "--type=merge", "--patch", r#"{"spec":{"minAvailable":1}}"#]);
        k.becomes(SOON, "pdb/db", "{.status.disruptionsAllowed}", "1");
        k.ok_with(&evict, &eviction);
        k.becomes(SOON, "pdb/db", "{.status.currentHealthy} {.status.disruptionsAllowed}", "2 1");
    });
}
