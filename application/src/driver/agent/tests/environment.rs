//! The environment by vectors.

use super::fixture::pod;
use crate::driver::agent::env::{ConfigError, EnvInput, Environment, environment};
use crate::driver::agent::sources::Sources;
use std::net::Ipv4Addr;
use std::sync::Arc;
use steersman_domain::ledger::Resources;
use steersman_domain::{ConfigMap, Key, Kind, Object, Revision, Secret, Service, ServicePort, Stored, Str};

fn sources() -> Sources {
    let map = ConfigMap {
        data: [("good", Str::from("g")), ("bad=key", "x".into()), ("OVER", "from".into())].into_iter().collect(),
        ..ConfigMap::default()
    };
    let secret = Secret { data: [("pass", Str::from("c2VjcmV0"))].into_iter().collect(), ..Secret::default() };
    let store = |kind, name: &str, object| {
        let key = Key::new(kind, "default", name);
        (key.clone(), Some(Arc::new(Stored::new(key, Revision(1), object))))
    };
    let mut service = Service::default();
    service.metadata.name = "db".into();
    service.spec.cluster_ip = "10.1.1.1".into();
    service.spec.ports = vec![ServicePort { port: 5432, ..ServicePort::default() }];
    Sources {
        objects: [
            store(Kind::ConfigMap, "map", Object::ConfigMap(Arc::new(map))),
            store(Kind::Secret, "secret", Object::Secret(Arc::new(secret))),
        ]
        .into_iter()
        .collect(),
        services: vec![Arc::new(service)],
    }
}

fn built(container: &str) -> Result<Environment, ConfigError> {
    let mut pod = pod("p-1", &format!(r#"{{"containers":[{container}],"serviceAccountName":"sa"}}"#));
    pod.metadata.labels.insert("app", "web".into());
    let container = pod.spec.containers[0].clone();
    let allocatable = Resources { cpu_milli: 4000, memory_bytes: 1 << 30, ..Resources::default() };
    let host_ips = ["127.0.0.1".into()];
    environment(EnvInput {
        pod: &pod,
        container: &container,
        pod_ip: Ipv4Addr::new(127, 72, 0, 5),
        host_ips: &host_ips,
        api_server: Some(("127.0.0.1", 6443)),
        allocatable: &allocatable,
        sources: &sources(),
    })
}

/// Builds a container with these variables (JSON) and checks the values of some.
fn check(env: &str, expected: &[(&str, Option<&str>)]) {
    let made = built(&format!(r#"{{"name":"a","env":[{env}]}}"#)).expect("builds");
    for (name, value) in expected {
        assert_eq!(made.get(name), *value, "{name} in {env}");
    }
}

#[test]
fn the_node_fills_in_what_is_not_set() {
    let made = built(
        r#"{"name":"a","ports":[{"containerPort":53,"protocol":"UDP"},{"containerPort":8080,"name":"web-ui"}],
            "env":[{"name":"POD_NAME","value":"mine"}]}"#,
    )
    .expect("builds");
    for (name, value) in [
        ("POD_IP", "127.72.0.5"),
        ("POD_NAME", "mine"),
        ("POD_NAMESPACE", "default"),
        ("HOSTNAME", "p-1"),
        ("HOME", "/"),
        ("PORT", "8080"),
        ("PORT_WEB_UI", "8080"),
        ("DB_SERVICE_HOST", "10.1.1.1"),
        ("DB_PORT", "tcp://10.1.1.1:5432"),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "6443"),
    ] {
        assert_eq!(made.get(name), Some(value), "{name}");
    }
    assert_eq!(made.variables.iter().filter(|(n, _)| n == "POD_NAME").count(), 1);
}

#[test]
fn values_expand_from_what_comes_before() {
    check(
        r#"{"name":"A","value":"1"},{"name":"B","value":"$(A)-$(C)-$$(A)"},{"name":"C","value":"$(B)"},
           {"name":"D","value":"$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"}"#,
        &[("B", Some("1-$(C)-$(A)")), ("C", Some("1-$(C)-$(A)")), ("D", Some("10.1.1.1:5432"))],
    );
}

#[test]
fn references_are_resolved() {
    check(
        r#"{"name":"L","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
           {"name":"N","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}},
           {"name":"S","valueFrom":{"fieldRef":{"fieldPath":"spec.serviceAccountName"}}},
           {"name":"I","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
           {"name":"P","valueFrom":{"secretKeyRef":{"name":"secret","key":"pass"}}},
           {"name":"O","valueFrom":{"configMapKeyRef":{"name":"none","key":"k","optional":true}}}"#,
        &[
            ("L", Some("web")),
            ("N", Some("n1")),
            ("S", Some("sa")),
            ("I", Some("127.72.0.5")),
            ("P", Some("secret")),
            ("O", None),
        ],
    );
}

#[test]
fn resources_are_divided_and_rounded_up() {
    let made = built(
        r#"{"name":"a","resources":{"limits":{"memory":"100Mi"},"requests":{"cpu":"1500m"}},"env":[
            {"name":"C","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu"}}},
            {"name":"M","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu","divisor":"1m"}}},
            {"name":"B","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
            {"name":"N","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]}"#,
    )
    .expect("builds");
    assert_eq!(["C", "M", "B", "N"].map(|n| made.get(n)), [Some("2"), Some("1500"), Some("100"), Some("4")]);
}

#[test]
fn whole_objects_come_with_a_prefix_and_bad_names_are_told() {
    let made = built(
        r#"{"name":"a","envFrom":[{"configMapRef":{"name":"map"}},{"prefix":"S_","secretRef":{"name":"secret"}},
            {"configMapRef":{"name":"none","optional":true}}],"env":[{"name":"OVER","value":"own"}]}"#,
    )
    .expect("builds");
    assert_eq!(["good", "S_pass", "OVER"].map(|n| made.get(n)), [Some("g"), Some("secret"), Some("own")]);
    assert_eq!(made.skipped.len(), 1);
    assert!(made.skipped[0].contains("[bad=key]"), "{:?}", made.skipped);
}

#[test]
fn errors_name_what_is_missing() {
    for (env, expected) in [
        (r#"{"name":"X","valueFrom":{"configMapKeyRef":{"name":"none","key":"k"}}}"#, "configmap \"none\" not found"),
        (r#"{"name":"X","valueFrom":{"secretKeyRef":{"name":"none","key":"k"}}}"#, "secret \"none\" not found"),
        (
            r#"{"name":"X","valueFrom":{"secretKeyRef":{"name":"secret","key":"k"}}}"#,
            "couldn't find key k in Secret default/secret",
        ),
        (r#"{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"spec.x"}}}"#, "unsupported fieldPath: spec.x"),
    ] {
        let error = built(&format!(r#"{{"name":"a","env":[{env}]}}"#)).expect_err(env);
        assert_eq!(error.0, expected);
    }
}
