//! The environment of a container: pure, out of the pod and the objects it refers to. The order of precedence is
//! Kubernetes': what the node adds, then services, then `envFrom`, then `env`.

use super::expand::expand;
use super::service_env::{service_env, variable_part};
use super::sources::Sources;
use super::state::find_container;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use steersman_domain::ledger::Resources;
use steersman_domain::{
    Container, EnvVarSource, ObjectFieldSelector, Pod, Protocol, Quantity, ResourceFieldSelector, Str, names,
};

/// Why a container's configuration cannot be made: the message of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ConfigError(pub(super) String);

/// Where a container's environment comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnvInput<'a> {
    pub(super) pod: &'a Pod,
    pub(super) container: &'a Container,
    pub(super) pod_ip: Ipv4Addr,
    pub(super) host_ips: &'a [Str],
    /// Host and port of the API, as pods reach it.
    pub(super) api_server: Option<(&'a str, u16)>,
    /// What stands in for limits that are not set.
    pub(super) allocatable: &'a Resources,
    pub(super) sources: &'a Sources,
}

/// A finished environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// In order: what the node adds, services and `envFrom` by name, then `env` as written.
    pub(super) variables: Vec<(String, String)>,
    /// For each object whose keys are no names of variables: the kind, its name and the keys left out.
    pub(super) skipped: Vec<String>,
}

impl Environment {
    /// A variable's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Builds the environment of a container.
pub(super) fn environment(input: EnvInput<'_>) -> Result<Environment, ConfigError> {
    let mut set = given(input);
    set.extend(service_env(&input.sources.services));
    let mut skipped = Vec::new();
    env_from(input, &mut set, &mut skipped)?;
    let mut order: Vec<String> = Vec::with_capacity(input.container.env.len());
    for variable in &input.container.env {
        let value = match &variable.value_from {
            Some(source) if variable.value.is_empty() => resolve(input, source)?,
            Some(_) | None => Some(expand(&variable.value, |name| set.get(name).map(String::as_str))),
        };
        if let Some(value) = value {
            order.retain(|name| *name != variable.name);
            order.push(variable.name.to_string());
            set.insert(variable.name.to_string(), value);
        }
    }
    let mut own = Vec::with_capacity(order.len());
    for name in order {
        if let Some(value) = set.remove(&name) {
            own.push((name, value));
        }
    }
    let variables = set.into_iter().chain(own).collect();
    Ok(Environment { variables, skipped })
}

/// What the node adds where the pod says nothing.
fn given(input: EnvInput<'_>) -> BTreeMap<String, String> {
    let meta = &input.pod.metadata;
    let home = if input.container.working_dir.is_empty() { "/" } else { &input.container.working_dir };
    let mut env: BTreeMap<String, String> = [
        ("HOSTNAME", hostname(input.pod).to_string()),
        ("HOME", home.to_owned()),
        ("POD_IP", input.pod_ip.to_string()),
        ("POD_NAME", meta.name.to_string()),
        ("POD_NAMESPACE", meta.namespace.to_string()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    let tcp_first = input.container.ports.iter().find(|p| p.protocol == Protocol::Tcp);
    if let Some(first) = tcp_first.or(input.container.ports.first()) {
        env.insert("PORT".into(), first.container_port.to_string());
    }
    for port in input.container.ports.iter().filter(|p| !p.name.is_empty()) {
        env.insert(format!("PORT_{}", variable_part(&port.name)), port.container_port.to_string());
    }
    if let Some((host, port)) = input.api_server {
        env.insert("KUBERNETES_SERVICE_HOST".into(), host.to_owned());
        env.insert("KUBERNETES_SERVICE_PORT".into(), port.to_string());
        env.insert("KUBERNETES_SERVICE_PORT_HTTPS".into(), port.to_string());
    }
    env
}

/// The host name that a pod's containers see: at most 63 bytes, as the kernel's limit leaves room for.
pub(super) fn hostname(pod: &Pod) -> Str {
    let name = if pod.spec.hostname.is_empty() { &pod.metadata.name } else { &pod.spec.hostname };
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).into()
}

fn env_from(
    input: EnvInput<'_>,
    set: &mut BTreeMap<String, String>,
    skipped: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let namespace = &input.pod.metadata.namespace;
    for from in &input.container.env_from {
        let (what, name, data) = if let Some(reference) = &from.config_map_ref {
            let data = input.sources.config_map(namespace, &reference.name, reference.optional == Some(true))?;
            ("ConfigMap", &reference.name, data.map(super::sources::config_texts))
        } else if let Some(reference) = &from.secret_ref {
            let data = input.sources.secret(namespace, &reference.name, reference.optional == Some(true))?;
            ("Secret", &reference.name, data.map(super::sources::secret_texts).transpose()?)
        } else {
            continue;
        };
        let mut bad = Vec::new();
        for (key, value) in data.into_iter().flatten() {
            let name = format!("{}{key}", from.prefix);
            if names::env_name(&name).is_ok() {
                set.insert(name, value);
            } else {
                bad.push(name);
            }
        }
        if !bad.is_empty() {
            skipped.push(format!(
                "Keys [{}] from the EnvFrom {what} {namespace}/{name} were skipped since they are considered invalid \
                 environment variable names.",
                bad.join(", ")
            ));
        }
    }
    Ok(())
}

/// The value of a reference; `None` when an optional one leads nowhere.
fn resolve(input: EnvInput<'_>, source: &EnvVarSource) -> Result<Option<String>, ConfigError> {
    let namespace = &input.pod.metadata.namespace;
    if let Some(field) = &source.field_ref {
        return field_value(input, field).map(Some);
    }
    if let Some(field) = &source.resource_field_ref {
        return resource_value(input, field).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        let Some(map) = input.sources.config_map(namespace, &key.name, optional)? else { return Ok(None) };
        return match map.data.get(&key.key) {
            Some(value) => Ok(Some(value.to_string())),
            None if optional => Ok(None),
            None => Err(ConfigError(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name))),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        let Some(secret) = input.sources.secret(namespace, &key.name, optional)? else { return Ok(None) };
        return match secret.data.get(&key.key) {
            Some(value) => {
                let bytes = super::sources::decode_base64("Secret", &key.name, &key.key, value)?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            None if optional => Ok(None),
            None => Err(ConfigError(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name))),
        };
    }
    Err(ConfigError("an environment variable refers to nothing that this node knows: use fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef".into()))
}

fn field_value(input: EnvInput<'_>, field: &ObjectFieldSelector) -> Result<String, ConfigError> {
    let (pod, path) = (input.pod, field.field_path.as_str());
    let quoted = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = quoted("metadata.labels") {
        return Ok(pod.metadata.labels.get(key).map_or_else(String::new, ToString::to_string));
    }
    if let Some(key) = quoted("metadata.annotations") {
        return Ok(pod.metadata.annotations.get(key).map_or_else(String::new, ToString::to_string));
    }
    let first_host = || input.host_ips.first().map_or_else(String::new, ToString::to_string);
    Ok(match path {
        "metadata.name" => pod.metadata.name.to_string(),
        "metadata.namespace" => pod.metadata.namespace.to_string(),
        "metadata.uid" => pod.metadata.uid.to_string(),
        "spec.nodeName" => pod.spec.node_name.to_string(),
        "spec.serviceAccountName" => pod.spec.service_account_name.to_string(),
        "status.podIP" | "status.podIPs" => input.pod_ip.to_string(),
        "status.hostIP" => first_host(),
        "status.hostIPs" => input.host_ips.join(","),
        other => return Err(ConfigError(format!("unsupported fieldPath: {other}"))),
    })
}

fn resource_value(input: EnvInput<'_>, field: &ResourceFieldSelector) -> Result<String, ConfigError> {
    let container = if field.container_name.is_empty() {
        input.container
    } else {
        find_container(input.pod, &field.container_name)
            .ok_or_else(|| ConfigError(format!("container {} not found", field.container_name)))?
            .1
    };
    let resource = field.resource.as_str();
    let unknown = || ConfigError(format!("unsupported container resource : {resource}"));
    let (side, name) = resource.split_once('.').ok_or_else(unknown)?;
    let amounts = &container.resources;
    let quantity = match side {
        "limits" => amounts.limits.get(name),
        "requests" => amounts.requests.get(name).or(amounts.limits.get(name)),
        _ => return Err(unknown()),
    };
    let fallback = |r: &Resources| match (side, name) {
        ("requests", _) => 0,
        (_, "cpu") => r.cpu_milli,
        (_, "memory") => r.memory_bytes,
        (_, _) => r.storage_bytes,
    };
    let is_cpu = match name {
        "cpu" => true,
        "memory" | "ephemeral-storage" => false,
        _ => return Err(unknown()),
    };
    let read = |q: &Quantity| if is_cpu { q.milli() } else { q.value() };
    let amount = quantity.map_or_else(|| fallback(input.allocatable), read);
    let divisor = match read(&field.divisor) {
        0 if is_cpu => 1000,
        0 => 1,
        other => other,
    };
    Ok(ceil_div(amount, divisor).to_string())
}

fn ceil_div(amount: i64, divisor: i64) -> i64 {
    let whole = amount.checked_div(divisor).unwrap_or(0);
    if amount.checked_rem(divisor).unwrap_or(0) > 0 { whole + 1 } else { whole }
}
