//! What a client asks before it does anything: versions, resources, schemas, health, credentials.

use crate::{cluster, each, has};

#[test]
fn version_is_parsable() {
    each("version", |k| {
        let version = k.json(&["version"]);
        let server = &version["serverVersion"];
        assert_eq!(server["major"], "1", "{version}");
        let minor = server["minor"].as_str().unwrap_or_default().trim_end_matches('+');
        assert!(minor.parse::<u32>().is_ok_and(|minor| minor >= 20), "{version}");
        assert!(server["gitVersion"].as_str().is_some_and(|version| version.starts_with("v1.")), "{version}");
    });
}

#[test]
fn api_versions_name_every_served_group() {
    each("api-versions", |k| {
        let versions = k.ok(&["api-versions"]);
        for version in [
            "v1",
            "apps/v1",
            "coordination.k8s.io/v1",
            "discovery.k8s.io/v1",
            "events.k8s.io/v1",
            "node.k8s.io/v1",
            "policy/v1",
            "policy/v1beta1",
        ] {
            assert!(versions.lines().any(|line| line == version), "no {version} in:\n{versions}");
        }
    });
}

#[test]
fn api_resources_have_short_names_and_scopes() {
    each("api-resources", |k| {
        let table = k.ok(&["api-resources", "--no-headers"]);
        for (name, short, scope, kind) in [
            ("configmaps", "cm", "true", "ConfigMap"),
            ("deployments", "deploy", "true", "Deployment"),
            ("endpoints", "ep", "true", "Endpoints"),
            ("events", "ev", "true", "Event"),
            ("namespaces", "ns", "false", "Namespace"),
            ("nodes", "no", "false", "Node"),
            ("pods", "po", "true", "Pod"),
            ("replicasets", "rs", "true", "ReplicaSet"),
            ("serviceaccounts", "sa", "true", "ServiceAccount"),
            ("services", "svc", "true", "Service"),
        ] {
            let found = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|words| {
                words.first() == Some(&name)
                    && words.get(1) == Some(&short)
                    && words.contains(&scope)
                    && words.last() == Some(&kind)
            });
            assert!(found, "no {name} {short} {scope} {kind} in:\n{table}");
        }
        for name in ["secrets", "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io", "deployments.apps"] {
            has(&k.ok(&["api-resources", "--output", "name"]), name);
        }
        let outside = k.ok(&["api-resources", "--namespaced=false", "--output", "name"]);
        assert!(
            outside.lines().any(|name| name == "nodes") && !outside.lines().any(|name| name == "pods"),
            "{outside}"
        );
        has(
            &k.ok(&["api-resources", "--api-group=apps", "--verbs=list,watch", "--output", "name"]),
            "replicasets.apps",
        );
    });
}

#[test]
fn cluster_info_names_the_address() {
    each("cluster-info", |k| has(&k.ok(&["cluster-info"]), cluster().url()));
}

#[test]
fn explain_knows_fields_and_their_types() {
    each("explain", |k| {
        let replicas = k.ok(&["explain", "deployment.spec.replicas"]);
        has(&replicas, "replicas");
        has(&replicas, "<integer>");
        has(&k.ok(&["explain", "pod.spec.containers", "--recursive"]), "imagePullPolicy");
        has(&k.ok(&["explain", "configmap"]), "binaryData");
        k.fails(&["explain", "deployment.spec.nosuchfield"], &["nosuchfield"]);
    });
}

#[test]
fn health_answers() {
    each("health", |k| {
        for path in ["/healthz", "/livez", "/readyz"] {
            assert_eq!(k.ok(&["get", "--raw", path]).trim_end(), "ok", "{path}");
        }
    });
}

#[test]
fn a_stranger_is_not_served() {
    each("stranger", |k| {
        let server = format!("--server={}", cluster().url());
        let stranger = ["--kubeconfig=/dev/null", &server, "--insecure-skip-tls-verify", "--token=wrong"];
        let mut words = stranger.to_vec();
        words.extend(["get", "--raw", "/api/v1/nodes"]);
        k.fails(&words, &["Unauthorized"]);
        let mut words = stranger.to_vec();
        words.extend(["get", "pods"]);
        k.fails(&words, &["You must be logged in to the server"]);
    });
}
