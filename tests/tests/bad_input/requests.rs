//! Requests that come too late, are too large, or are no JSON.

use std::fmt::Write as _;

use crate::{cluster, each, kubectl, says, steer};

#[test]
fn an_update_of_a_stale_object_is_a_conflict() {
    each("stale", |k| {
        k.ok(&["create", "configmap", "a", "--from-literal=x=1"]);
        let read = k.ok(&["get", "configmap", "a", "--output", "json"]);
        k.ok(&["label", "configmap", "a", "changed=yes"]);
        let said = k.fails_with(&["replace", "-f", "-"], &read, &["Conflict", "modified", "latest version"]);
        assert!(said.stderr.contains("configmaps \"a\""), "{said}");
        let now = k.json(&["get", "configmap", "a"]);
        assert_eq!(now["metadata"]["labels"]["changed"], "yes", "what the other wrote stays");
    });
}

#[test]
fn an_object_is_created_once() {
    each("twice", |k| {
        k.ok(&["create", "configmap", "a"]);
        k.fails(&["create", "configmap", "a"], &["configmaps \"a\" already exists"]);
    });
}

/// A ConfigMap with this many bytes of data.
fn config_map(bytes: usize) -> String {
    let data = "x".repeat(bytes);
    format!(
        r#"{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "large"}}, "data": {{"x": "{data}"}}}}"#
    )
}

#[test]
fn oversized_bodies_are_refused_with_the_limit() {
    each("large", |k| {
        let said = k.run_with(&["create", "-f", "-"], &config_map(4 << 20), &[]);
        assert_ne!(said.status, Some(0), "{}", said.stdout);
        assert!(said.stderr.contains("too large") && said.stderr.contains("3145728"), "{}", said.stderr);
        let path = format!("/api/v1/namespaces/{}/configmaps", k.namespace());
        let said = k.run_with(&["create", "--raw", &path, "-f", "-"], &config_map(4 << 20), &[]);
        assert_ne!(said.status, Some(0), "{}", said.stdout);
        assert!(said.stderr.contains("too large"), "{}", said.stderr);
        // Small enough to be read, and still more than the kind may hold.
        let said = k.run_with(&["create", "-f", "-"], &config_map(2 << 20), &[]);
        assert_ne!(said.status, Some(0), "{}", said.stdout);
        assert!(said.stderr.contains("1048576"), "{}", said.stderr);
        k.fails(&["get", "configmap", "large"], &["NotFound"]);
    });
}

#[test]
fn bodies_that_are_no_json_are_refused_with_the_place() {
    let k = kubectl("raw");
    let path = format!("/api/v1/namespaces/{}/configmaps", k.namespace());
    let raw = |body: &str| {
        let said = k.run_with(&["create", "--raw", &path, "-f", "-"], body, &[]);
        assert_ne!(said.status, Some(0), "{said}");
        said
    };
    says(&raw("{\"apiVersion\": \"v1\",\n \"kind\": oops}"), &["line 2 column"]);
    let mut deep =
        String::from("{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}, \"data\": ");
    write!(deep, "{}{}}}", "[".repeat(200_000), "]".repeat(200_000)).expect("a text grows");
    says(&raw(&deep), &["recursion limit"]);
    says(&raw("{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}"), &["ConfigMap", "Pod"]);
    assert_eq!(k.ok(&["get", "--raw", "/readyz"]).trim_end(), "ok", "the server serves on");
}

#[test]
fn nobody_is_told_anything_without_credentials() {
    let kubeconfig = std::fs::read_to_string(cluster().kubeconfig()).expect("text");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("kubeconfig");
    let secret = |line: &&str| line.contains("client-certificate-data") || line.contains("client-key-data");
    let without: Vec<String> = kubeconfig
        .lines()
        .map(|line| if secret(&line) { line.replace(line.trim_start(), "# taken out") } else { line.to_owned() })
        .collect();
    assert!(without.iter().filter(|line| line.contains("# taken out")).count() == 2, "{without:#?}");
    std::fs::write(&path, without.join("\n")).expect("written");
    let output = steer(&path, &["get", "pods"]);
    assert_ne!(output.status, Some(0), "{output}");
    says(&output, &["Unauthorized"]);
}
