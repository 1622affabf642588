//! Deleting: waiting, grace, cascades, finalizers, namespaces.

use steersman_tests::kubectl::Kubectl;
use steersman_tests::manifests::{Web, config_map, example_pod};
use steersman_tests::wait::{eventually, until};

use crate::{SOON, apply, cluster, each, has};

/// Names of what a selector finds.
fn names(kubectl: &Kubectl, kind: &str) -> String {
    kubectl.ok(&["get", kind, "--selector", "app=web", "--output", "name"])
}

/// A running Deployment `web`.
fn running(kubectl: &Kubectl) {
    apply(kubectl, &Web::named("web").deployment());
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}

#[test]
fn objects_are_deleted_by_name_file_and_selector() {
    each("delete", |k| {
        for name in ["a", "b", "c"] {
            apply(k, &config_map(name, &[]));
        }
        has(&k.ok(&["delete", "configmap", "a"]), "configmap \"a\" deleted");
        k.fails(&["delete", "configmap", "a"], &["NotFound"]);
        k.ok(&["delete", "configmap", "a", "--ignore-not-found"]);
        has(&k.ok_with(&["delete", "-f", "-"], &config_map("b", &[])), "configmap \"b\" deleted");
        k.ok(&["label", "configmap", "c", "app=web"]);
        has(&k.ok(&["delete", "configmap", "--selector", "app=web", "--dry-run=server"]), "configmap \"c\" deleted");
        assert_eq!(names(k, "configmap"), "configmap/c\n", "a dry run deletes nothing");
        k.ok(&["delete", "configmap", "--selector", "app=web"]);
        assert_eq!(names(k, "configmap"), "");
    });
}

#[test]
fn the_background_takes_what_was_owned() {
    each("background", |k| {
        running(k);
        k.ok(&["delete", "deployment", "web"]);
        let left = || format!("{}{}", names(k, "replicasets"), names(k, "pods"));
        until(SOON, "nothing is left", || left().is_empty(), left);
    });
}

#[test]
fn the_foreground_goes_last() {
    each("foreground", |k| {
        running(k);
        k.ok(&["delete", "deployment", "web", "--cascade=foreground", "--timeout=60s"]);
        assert_eq!(names(k, "replicasets"), "");
        assert_eq!(names(k, "pods"), "");
    });
}

#[test]
fn orphans_stay_and_are_adopted() {
    each("orphan", |k| {
        running(k);
        let (sets, pods) = (names(k, "replicasets"), names(k, "pods"));
        k.ok(&["delete", "deployment", "web", "--cascade=orphan"]);
        let owners = "jsonpath={.items[*].metadata.ownerReferences}";
        assert_eq!(k.ok(&["get", "replicasets", "--selector", "app=web", "--output", owners]), "");
        assert_eq!((names(k, "replicasets"), names(k, "pods")), (sets.clone(), pods.clone()));
        apply(k, &Web::named("web").deployment());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        assert_eq!((names(k, "replicasets"), names(k, "pods")), (sets, pods), "adopted, not made again");
    });
}

#[test]
fn a_finalizer_holds_an_object() {
    each("finalizer", |k| {
        let held = config_map("c", &[]).replace("metadata:\n", "metadata:\n  finalizers: [example.com/hold]\n");
        apply(k, &held);
        k.fails(&["delete", "configmap", "c", "--timeout=1s"], &["timed out waiting"]);
        assert_ne!(k.ok(&["get", "configmap", "c", "--output", "jsonpath={.metadata.deletionTimestamp}"]), "");
        k.ok(&["patch", "configmap", "c", "--type", "merge", "--patch", r#"{"metadata":{"finalizers":null}}"#]);
        eventually(SOON, "it goes once nothing holds it", || {
            let seen = k.run(&["get", "configmap", "c"]);
            if seen.stderr.contains("NotFound") { Ok(()) } else { Err(seen.to_string()) }
        });
    });
}

#[test]
fn grace_is_kept_and_can_be_cut() {
    each("grace", |k| {
        for (name, flags) in [("short", &["--grace-period=1"][..]), ("none", &["--grace-period=0", "--force"])] {
            apply(k, &example_pod(name, &["ignore-sigterm"], "Always"));
            k.ok(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=30s"]);
            // Its own grace period is 30 s: only the flag makes this end in time.
            let start = std::time::Instant::now();
            k.ok(&[&["delete", "pod", name, "--timeout=20s"], flags].concat());
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "{name} took {:?}", start.elapsed());
        }
    });
}

#[test]
fn a_namespace_takes_everything_with_it() {
    for kubectl in cluster().kubectls() {
        let k = kubectl.in_new_namespace("doomed");
        running(&k);
        apply(&k, &config_map("c", &[]));
        kubectl.ok(&["delete", "namespace", k.namespace(), "--timeout=60s"]);
        kubectl.fails(&["get", "namespace", k.namespace()], &["NotFound"]);
        k.fails_with(&["create", "-f", "-"], &config_map("late", &[]), &["not found"]);
        eventually(SOON, "no pod of it is left", || {
            let pods = kubectl.ok(&["get", "pods", "--all-namespaces", "--output", "wide"]);
            if pods.contains(k.namespace()) { Err(pods) } else { Ok(()) }
        });
    }
}
