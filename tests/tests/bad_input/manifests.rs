//! Manifests that are not YAML, not objects, or not what they should be.

use std::path::PathBuf;

use steersman_tests::manifests::Web;

use crate::{cluster, each, kubectl, says, steer, steer_fails};

/// A file with a text, in a folder that goes with the guard.
struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("bad.yaml"), text).expect("written");
        File { dir }
    }

    fn path(&self) -> String {
        self.dir.path().join("bad.yaml").to_str().expect("a path in UTF-8").to_owned()
    }
}

/// Asserts that a file is refused by `steer apply` and by `steer up`, which starts nothing and leaves nothing behind.
#[track_caller]
fn unreadable(text: &str, words: &[&str]) {
    let file = File::new(text);
    let kubeconfig = cluster().kubeconfig();
    steer_fails(kubeconfig, &["apply", "-f", &file.path()], words);
    let data = file.dir.path().join("data");
    let place = data.to_str().expect("a path in UTF-8");
    let up = ["up", "--data-dir", place, "--listen", "127.0.0.1:0", "-f", &file.path()];
    let output = steer_fails(kubeconfig, &up, words);
    assert!(!output.stdout.contains("ready:"), "refused before anything starts: {output}");
    assert!(!data.exists(), "no trace is left: {output}");
}

/// Asserts that a manifest is refused by `steer apply`, and returns nothing of it in the cluster.
#[track_caller]
fn refused(purpose: &str, text: &str, words: &[&str]) {
    let kubectl = kubectl(purpose);
    let file = File::new(text);
    let args = ["apply", "--namespace", kubectl.namespace(), "-f", &file.path()];
    steer_fails(cluster().kubeconfig(), &args, words);
    let left = kubectl.ok(&["get", "configmaps,deployments,pods,services", "--output", "name"]);
    let left: Vec<&str> = left.lines().filter(|name| !name.ends_with("kube-root-ca.crt")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn malformed_yaml_is_refused_with_its_place() {
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n";
    let torn = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: torn\n labels: {}\n";
    unreadable(torn, &["bad.yaml", "malformed", "line 5, column 2"]);
    // The place is that in the file, not in the document: it is what an editor shows.
    unreadable(&format!("{good}---\n{torn}"), &["bad.yaml", "document 2", "line 9, column 2"]);
    unreadable("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, name: b}\n", &["line 3", "duplicate", "name"]);
    unreadable("apiVersion: v1\nkind: ConfigMap: x\n", &["bad.yaml", "line 2"]);
}

#[test]
fn what_no_cluster_would_take_starts_none() {
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n";
    let bad = |text: &str, words: &[&str]| unreadable(&format!("{good}---\n{text}"), words);
    bad(
        "apiVersion: apps/v1\nkind: Deplyment\nmetadata: {name: a}\n",
        &["document 2", "no matches for kind \"Deplyment\""],
    );
    bad("apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n", &["document 2", "apps/v1"]);
    bad("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndate: {}\n", &["document 2", "unknown field \"date\""]);
}

#[test]
fn good_documents_of_a_malformed_file_are_not_applied() {
    let kubectl = kubectl("malformed");
    let file = File::new("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\na: [\n");
    let args = ["apply", "--namespace", kubectl.namespace(), "-f", &file.path()];
    steer_fails(cluster().kubeconfig(), &args, &["document 2", "line "]);
    kubectl.fails(&["get", "configmap", "good"], &["not found"]);
}

#[test]
fn what_is_no_object_is_refused() {
    unreadable("just words\n", &["bad.yaml", "apiVersion", "kind", "metadata"]);
    unreadable("apiVersion: v1\nmetadata: {name: a}\n", &["bad.yaml", "no kind"]);
    unreadable("kind: ConfigMap\nmetadata: {name: a}\n", &["bad.yaml", "no apiVersion"]);
    unreadable("# nothing\n", &["bad.yaml", "no object"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let gone = PathBuf::from("/nonexistent/manifests/shop.yaml");
    let gone = gone.to_str().expect("UTF-8");
    for command in ["apply", "up", "delete"] {
        let output = steer(cluster().kubeconfig(), &[command, "-f", gone]);
        assert_ne!(output.status, Some(0), "{output}");
        says(&output, &[gone, "No such file"]);
    }
}

#[test]
fn deep_and_bombed_yaml_is_refused_at_once() {
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    unreadable(&format!("{head}data: {}{}\n", "[".repeat(100_000), "]".repeat(100_000)), &["line 4", "levels deep"]);
    unreadable(&format!("{head}data: {}a{}\n", "{a: ".repeat(2000), "}".repeat(2000)), &["line 4", "levels deep"]);
    // Each line is nine times the one before: the last would be ten thousand million words.
    let mut bomb = format!("{head}x0: &x0 [l, l, l, l, l, l, l, l, l]\n");
    for at in 1..11 {
        let before = at - 1;
        bomb.push_str(&format!("x{at}: &x{at} [{}]\n", vec![format!("*x{before}"); 9].join(", ")));
    }
    unreadable(&bomb, &["alias", "line "]);
}

#[test]
fn unknown_kinds_are_refused_by_name() {
    let shop = "apiVersion: example.com/v1\nkind: Shop\nmetadata: {name: a}\n";
    refused("kind", shop, &["Shop", "example.com/v1", "does not serve"]);
    // A kind of another version is a slip that the message must show.
    refused("version", &Web::named("a").deployment().replace("apps/v1", "apps/v7"), &["Deployment", "apps/v7"]);
    each("kinds", |k| {
        k.fails_with(&["apply", "-f", "-"], shop, &["Shop", "example.com/v1"]);
    });
}

#[test]
fn unknown_fields_are_refused_by_path() {
    let slip = Web::named("web").deployment().replace("replicas:", "replica:");
    let slips = slip.replace("containerPort:", "containrPort:");
    let path = "spec.template.spec.containers[0].ports[0].containrPort";
    refused("fields", &slips, &["unknown field \"spec.replica\"", "did you mean \"replicas\"", path]);
    each("slips", |k| match k.minor() {
        // The old one checks by the schema that it fetched, on its own.
        20 => drop(k.fails_with(&["apply", "-f", "-"], &slip, &["unknown field \"replica\""])),
        _ => drop(k.fails_with(&["apply", "--validate=strict", "-f", "-"], &slip, &["unknown field \"spec.replica\""])),
    });
}

#[test]
fn unknown_fields_are_taken_with_a_warning_when_asked() {
    let kubectl = kubectl("warned");
    let file = File::new("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatas: {}\n");
    let args = ["apply", "--namespace", kubectl.namespace(), "--validate", "warn", "-f", &file.path()];
    let output = steer(cluster().kubeconfig(), &args);
    assert_eq!(output.status, Some(0), "{output}");
    says(&output, &["unknown field \"datas\""]);
}

#[test]
fn names_that_are_too_long_or_odd_are_refused() {
    let named = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    refused("long", &named(&"a".repeat(254)), &["metadata.name", "253"]);
    refused("odd", &named("Has_Capitals"), &["metadata.name", "Has_Capitals", "lower case"]);
    let service = Web::named(&"a".repeat(64)).service();
    refused("service", &service, &["metadata.name", "63"]);
    let label = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, labels: {{x: {}}}}}\n", "a".repeat(64));
    refused("label", &label, &["metadata.labels", "63"]);
}

#[test]
fn impossible_numbers_are_refused() {
    let web = Web::named("web").deployment();
    let with = |resources: &str| web.replace("command:", &format!("resources: {resources}\n          command:"));
    refused(
        "negative",
        &web.replace("replicas: 2", "replicas: -1"),
        &["spec.replicas", "-1", "greater than or equal to 0"],
    );
    refused("fraction", &web.replace("replicas: 2", "replicas: 1.5"), &["spec.replicas", "1.5"]);
    refused("huge", &web.replace("replicas: 2", "replicas: 3000000000"), &["spec.replicas", "3000000000"]);
    refused("words", &with("{requests: {cpu: lots}}"), &["resources.requests.cpu", "lots", "100m"]);
    refused(
        "below",
        &with("{requests: {cpu: \"-1\"}}"),
        &["resources.requests[cpu]", "-1", "greater than or equal to 0"],
    );
    let upside_down = with("{requests: {memory: 2Gi}, limits: {memory: 1Gi}}");
    refused("limits", &upside_down, &["resources.requests", "2Gi", "memory limit of 1Gi"]);
    refused("port", &web.replace("containerPort: 8080", "containerPort: 70000"), &["containerPort", "70000", "65535"]);
    let standstill = web.replace("maxSurge: 1", "maxSurge: 0");
    refused("rolling", &standstill, &["maxUnavailable", "maxSurge", "0"]);
}

#[test]
fn a_selector_must_match_its_template() {
    let other = Web::named("web").deployment().replace("matchLabels: {app: web}", "matchLabels: {app: shop}");
    refused("selector", &other, &["spec.template.metadata.labels", "selector", "does not match"]);
    let none = Web::named("web").deployment().replace("matchLabels: {app: web}", "matchLabels: {}");
    refused("empty", &none, &["spec.selector"]);
    each("selectors", |k| {
        k.ok_with(&["apply", "-f", "-"], &Web { replicas: 0, ..Web::named("web") }.deployment());
        let moved = Web::named("web").deployment().replace("{app: web}", "{app: shop}");
        k.fails_with(&["apply", "-f", "-"], &moved, &["spec.selector", "immutable"]);
    });
}
