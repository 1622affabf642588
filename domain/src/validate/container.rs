//! Containers: names, ports, environment, resources, mounts, probes, hooks.

use super::path::{Errors, Path};
use crate::{
    Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, ExecAction, HttpGetAction, IntOrString,
    LifecycleHandler, Map, Probe, ProbeKind, Quantity, ResourceRequirements, VolumeMount, names,
};
use std::collections::BTreeSet;

/// What the containers of a pod share.
pub(super) struct Frame<'a> {
    /// Names of the pod's volumes.
    pub(super) volumes: BTreeSet<&'a str>,
    /// Names of containers seen so far, of both lists.
    pub(super) names: BTreeSet<&'a str>,
    /// Seconds that the pod may take to end.
    pub(super) grace: i64,
}

/// One container.
pub(super) fn check<'a>(c: &'a Container, init: bool, frame: &mut Frame<'a>, path: &Path<'_>, errors: &mut Errors) {
    if c.name.is_empty() {
        errors.required(&path.field("name"), "");
    } else {
        errors.named(&path.field("name"), &c.name, names::label(&c.name));
        if !frame.names.insert(&c.name) {
            errors.duplicate(&path.field("name"), c.name.as_str());
        }
    }
    if c.image.trim() != c.image {
        errors.invalid(&path.field("image"), c.image.as_str(), "must not have leading or trailing whitespace");
    }
    ports(&c.ports, &path.field("ports"), errors);
    for (at, var) in c.env.iter().enumerate() {
        env(var, &path.field("env").index(at), errors);
    }
    for (at, source) in c.env_from.iter().enumerate() {
        env_from(source, &path.field("envFrom").index(at), errors);
    }
    resources(&c.resources, &path.field("resources"), errors);
    mounts(&c.volume_mounts, frame, &path.field("volumeMounts"), errors);
    match (init, c.restart_policy.as_deref()) {
        (_, None) | (true, Some("Always")) => {}
        (true, Some(other)) => errors.unsupported(&path.field("restartPolicy"), other, &["Always"]),
        (false, Some(_)) => {
            errors.forbidden(&path.field("restartPolicy"), "may not be set for non-init containers");
        }
    }
    if let Some(lifecycle) = &c.lifecycle {
        let path = path.field("lifecycle");
        if init && c.restart_policy.is_none() {
            errors.forbidden(&path, "may not be set for init containers without restartPolicy=Always");
        }
        for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(hook) = hook {
                handler(hook, frame.grace, &path.field(field), errors);
            }
        }
    }
    probes(c, init && c.restart_policy.is_none(), path, errors);
    if let Some(context) = &c.security_context {
        let path = path.field("securityContext");
        for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
            user_id(id, &path.field(field), errors);
        }
    }
}

/// A user or group id.
pub(super) fn user_id(id: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(path, id, "must be between 0 and 2147483647, inclusive");
    }
}

fn ports(ports: &[ContainerPort], path: &Path<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        if !port.name.is_empty() {
            errors.named(&path.field("name"), &port.name, names::port_name(&port.name));
            if !seen.insert(&port.name) {
                errors.duplicate(&path.field("name"), port.name.as_str());
            }
        }
        if port.container_port == 0 {
            errors.required(&path.field("containerPort"), "");
        } else {
            errors.port(&path.field("containerPort"), port.container_port);
        }
        if port.host_port != 0 {
            errors.port(&path.field("hostPort"), port.host_port);
        }
        if !port.host_ip.is_empty() && port.host_ip.parse::<std::net::IpAddr>().is_err() {
            errors.invalid(&path.field("hostIP"), port.host_ip.as_str(), "must be a valid IP address");
        }
    }
}

fn env(var: &EnvVar, path: &Path<'_>, errors: &mut Errors) {
    if var.name.is_empty() {
        errors.required(&path.field("name"), "");
    } else {
        errors.named(&path.field("name"), &var.name, names::env_name(&var.name));
    }
    let Some(source) = &var.value_from else { return };
    let path = path.field("valueFrom");
    if !var.value.is_empty() {
        errors.invalid(&path, "", "may not be specified when `value` is not empty");
    }
    env_source(source, &path, errors);
}

/// The fields of a pod that become environment variables.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn env_source(source: &EnvVarSource, path: &Path<'_>, errors: &mut Errors) {
    let set = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
    ];
    match set.iter().filter(|s| **s).count() + source.extra.iter().count() {
        1 => {}
        0 => {
            let words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.invalid(path, "", words);
        }
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
    if let Some(field) = &source.field_ref {
        let (path, text) = (path.field("fieldRef"), field.field_path.as_str());
        let by_key = ["metadata.labels['", "metadata.annotations['"];
        let known = FIELDS.contains(&text) || text.ends_with("']") && by_key.iter().any(|p| text.starts_with(p));
        if text.is_empty() {
            errors.required(&path.field("fieldPath"), "");
        } else if !known {
            errors.unsupported(&path.field("fieldPath"), text, FIELDS);
        }
    }
    if let Some(resource) = source.resource_field_ref.as_ref().filter(|r| r.resource.is_empty()) {
        let _ = resource;
        errors.required(&path.field("resourceFieldRef").field("resource"), "");
    }
    for (field, key) in [("configMapKeyRef", &source.config_map_key_ref), ("secretKeyRef", &source.secret_key_ref)] {
        let Some(key) = key else { continue };
        let path = path.field(field);
        if key.name.is_empty() {
            errors.required(&path.field("name"), "");
        }
        if key.key.is_empty() {
            errors.required(&path.field("key"), "");
        } else {
            errors.named(&path.field("key"), &key.key, names::config_key(&key.key));
        }
    }
}

fn env_from(source: &EnvFromSource, path: &Path<'_>, errors: &mut Errors) {
    if !source.prefix.is_empty() {
        errors.named(&path.field("prefix"), &source.prefix, names::env_name(&source.prefix));
    }
    let refs = [("configMapRef", &source.config_map_ref), ("secretRef", &source.secret_ref)];
    match refs.iter().filter(|(_, r)| r.is_some()).count() {
        1 => {}
        0 => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
    for (field, reference) in refs {
        if reference.as_ref().is_some_and(|r| r.name.is_empty()) {
            errors.required(&path.field(field).field("name"), "");
        }
    }
}

/// Requests and limits: never negative, whole for what cannot be divided, requests within limits.
fn resources(r: &ResourceRequirements, path: &Path<'_>, errors: &mut Errors) {
    let (requests, limits) = (path.field("requests"), path.field("limits"));
    amounts(&r.requests, &requests, errors);
    amounts(&r.limits, &limits, errors);
    for (name, request) in r.requests.iter() {
        let Some(limit) = r.limits.get(name) else { continue };
        if request.milli() > limit.milli() {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.invalid(&requests.key(name), request.as_str(), detail);
        } else if extended(name) && request.milli() != limit.milli() {
            errors.invalid(&requests.key(name), request.as_str(), format!("must be equal to {name} limit of {limit}"));
        }
    }
}

/// A list of resources by name.
pub(super) fn amounts(list: &Map<Quantity>, path: &Path<'_>, errors: &mut Errors) {
    for (name, quantity) in list.iter() {
        let path = path.key(name);
        errors.named(&path, name, names::qualified_name(name));
        if quantity.is_negative() {
            errors.invalid(&path, quantity.as_str(), "must be greater than or equal to 0");
        } else if (extended(name) || name == "pods") && quantity.milli() % 1000 != 0 {
            errors.invalid(&path, quantity.as_str(), "must be an integer");
        }
    }
}

/// A resource that is counted in whole units and cannot be overcommitted.
fn extended(name: &str) -> bool {
    name.contains('/') && !name.starts_with("kubernetes.io/")
}

fn mounts(mounts: &[VolumeMount], frame: &Frame<'_>, path: &Path<'_>, errors: &mut Errors) {
    let mut paths = BTreeSet::new();
    for (at, mount) in mounts.iter().enumerate() {
        let path = path.index(at);
        if mount.name.is_empty() {
            errors.required(&path.field("name"), "");
        } else if !frame.volumes.contains(mount.name.as_str()) {
            errors.not_found(&path.field("name"), mount.name.as_str());
        }
        if mount.mount_path.is_empty() {
            errors.required(&path.field("mountPath"), "");
        } else if !paths.insert(mount.mount_path.as_str()) {
            errors.invalid(&path.field("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        relative(&mount.sub_path, &path.field("subPath"), errors);
    }
}

/// A path that stays below where it starts.
pub(super) fn relative(text: &str, path: &Path<'_>, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}

fn probes(c: &Container, init: bool, path: &Path<'_>, errors: &mut Errors) {
    let fields = [
        ("livenessProbe", &c.liveness_probe, ProbeKind::Liveness),
        ("readinessProbe", &c.readiness_probe, ProbeKind::Readiness),
        ("startupProbe", &c.startup_probe, ProbeKind::Startup),
    ];
    for (field, probe, kind) in fields {
        let Some(probe) = probe else { continue };
        let path = path.field(field);
        if init {
            errors.forbidden(&path, "may not be set for init containers without restartPolicy=Always");
        } else {
            self::probe(probe, kind, &path, errors);
        }
    }
}

fn probe(probe: &Probe, kind: ProbeKind, path: &Path<'_>, errors: &mut Errors) {
    let set = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    one_handler(set.iter().filter(|s| **s).count() + probe.extra.iter().count(), path, errors);
    actions((&probe.exec, &probe.http_get), path, errors);
    if let Some(tcp) = &probe.tcp_socket {
        port_or_name(&tcp.port, &path.field("tcpSocket").field("port"), errors);
    }
    if let Some(grpc) = &probe.grpc {
        errors.port(&path.field("grpc").field("port"), grpc.port);
    }
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if value < 0 {
            errors.invalid(&path.field(field), value, "must be greater than or equal to 0");
        }
    }
    if kind != ProbeKind::Readiness && probe.success_threshold > 1 {
        errors.invalid(&path.field("successThreshold"), probe.success_threshold, "must be 1");
    }
    let path = path.field("terminationGracePeriodSeconds");
    match probe.termination_grace_period_seconds {
        Some(seconds) if kind == ProbeKind::Readiness => {
            errors.invalid(&path, seconds, "must not be set for readinessProbes");
        }
        Some(seconds) if seconds <= 0 => errors.invalid(&path, seconds, "must be greater than 0"),
        Some(_) | None => {}
    }
}

fn one_handler(count: usize, path: &Path<'_>, errors: &mut Errors) {
    match count {
        1 => {}
        0 => errors.required(path, "must specify a handler type"),
        _ => errors.forbidden(path, "may not specify more than 1 handler type"),
    }
}

/// What hooks and probes have in common.
fn actions((exec, http_get): (&Option<ExecAction>, &Option<HttpGetAction>), path: &Path<'_>, errors: &mut Errors) {
    if exec.as_ref().is_some_and(|e| e.command.is_empty()) {
        errors.required(&path.field("exec").field("command"), "");
    }
    let Some(get) = http_get else { return };
    let path = path.field("httpGet");
    port_or_name(&get.port, &path.field("port"), errors);
    if !get.scheme.is_empty() {
        errors.one_of(&path.field("scheme"), &get.scheme, &["HTTP", "HTTPS"]);
    }
    for (at, header) in get.http_headers.iter().enumerate() {
        let list = path.field("httpHeaders");
        let path = list.index(at);
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(&b);
        if header.name.is_empty() || !header.name.bytes().all(token) {
            let detail = "must consist of letters, digits and '-', as in 'X-Header-Name'";
            errors.invalid(&path.field("name"), header.name.as_str(), detail);
        }
        if header.value.bytes().any(|b| b.is_ascii_control()) {
            errors.invalid(&path.field("value"), header.value.as_str(), "must be one line");
        }
    }
}

fn handler(handler: &LifecycleHandler, grace: i64, path: &Path<'_>, errors: &mut Errors) {
    let set = [handler.exec.is_some(), handler.http_get.is_some(), handler.sleep.is_some()];
    one_handler(set.iter().filter(|s| **s).count() + handler.extra.iter().count(), path, errors);
    actions((&handler.exec, &handler.http_get), path, errors);
    if let Some(sleep) = &handler.sleep
        && !(0..=grace).contains(&sleep.seconds)
    {
        let detail = format!("must be non-negative and not more than terminationGracePeriodSeconds ({grace})");
        errors.invalid(&path.field("sleep").field("seconds"), sleep.seconds, detail);
    }
}

/// A port by number or by name.
pub(super) fn port_or_name(port: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => errors.port(path, *number),
        IntOrString::Text(name) => errors.named(path, name, names::port_name(name)),
    }
}
