//! `metrics.k8s.io/v1beta1`: what pods and nodes use, for `kubectl top` and whoever scales by it. It is read off the
//! heartbeats of the nodes; nothing is stored under these names. A node uses what its pods use.

use crate::access::{Attributes, Decision};
use crate::body::Body;
use crate::error::Failure;
use crate::service::Call;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use steersman_application::client::{ApiError, Client as _, Selection};
use steersman_application::driver::agent::LEASE_NAMESPACE;
use steersman_domain::ports::Scope;
use steersman_domain::selector::{FieldSelector, Selector};
use steersman_domain::usage::{NodeUsage, PodUsage};
use steersman_domain::{Key, Kind, Lease, Stored, Str, Uid};

/// Group and version.
pub(crate) const GROUP: &str = "metrics.k8s.io";
pub(crate) const VERSION: &str = "v1beta1";

/// Plural, kind, and whether it lives in namespaces.
pub(crate) const RESOURCES: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// What a path below the group addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricsPath {
    pub(crate) pods: bool,
    pub(crate) namespace: Option<Str>,
    pub(crate) name: Option<Str>,
}

impl MetricsPath {
    /// Reads the parts below the version.
    pub(crate) fn read(parts: &[&str]) -> Option<Self> {
        let path = |pods, namespace: Option<&&str>, name: Option<&&str>| MetricsPath {
            pods,
            namespace: namespace.map(|n| Str::from(*n)),
            name: name.map(|n| Str::from(*n)),
        };
        match parts {
            ["nodes"] => Some(path(false, None, None)),
            ["nodes", name] => Some(path(false, None, Some(name))),
            ["pods"] => Some(path(true, None, None)),
            ["namespaces", namespace, "pods"] => Some(path(true, Some(namespace), None)),
            ["namespaces", namespace, "pods", name] => Some(path(true, Some(namespace), Some(name))),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        if self.pods { "PodMetrics" } else { "NodeMetrics" }
    }
}

impl Call<'_> {
    /// Answers a read of metrics.
    pub(crate) async fn metrics(&self, path: &MetricsPath) -> Result<Response<Body>, Failure> {
        if !matches!(*self.method, Method::GET | Method::HEAD) || self.query.flag("watch")? {
            return Err(Failure::method_not_allowed());
        }
        let what = Attributes {
            verb: if path.name.is_some() { "get" } else { "list" },
            group: GROUP,
            resource: if path.pods { "pods" } else { "nodes" },
            namespace: path.namespace.as_deref().unwrap_or_default(),
            name: path.name.as_deref().unwrap_or_default(),
            ..Attributes::default()
        };
        if let Decision::Denied(why) = self.service.decide(self.user, &what).await? {
            return Err(self.user.refusal(&what, &why));
        }
        let usages = self.usages().await?;
        let items = if path.pods { self.pods(path, &usages).await? } else { self.nodes(path, &usages).await? };
        let api_version = format!("{GROUP}/{VERSION}");
        if let Some(name) = &path.name {
            let mut item = items.into_iter().next().ok_or_else(|| Failure::from(self.not_measured(path, name)))?;
            item["kind"] = json!(path.kind());
            item["apiVersion"] = json!(api_version);
            return Ok(self.json(StatusCode::OK, &item));
        }
        let list =
            json!({"kind": format!("{}List", path.kind()), "apiVersion": api_version, "metadata": {}, "items": items});
        Ok(self.json(StatusCode::OK, &list))
    }

    fn not_measured(&self, path: &MetricsPath, name: &str) -> ApiError {
        let kind = if path.pods { Kind::Pod } else { Kind::Node };
        ApiError::NotFound(Key::new(kind, path.namespace.as_deref().unwrap_or_default(), name))
    }

    /// What each node has measured last.
    async fn usages(&self) -> Result<BTreeMap<Str, NodeUsage>, Failure> {
        let scope = Scope { kind: Some(Kind::Lease), namespace: Some(LEASE_NAMESPACE.into()), node: None };
        let leases = self.api().list(&Selection { scope, ..Selection::default() }).await?.items;
        let usage = |stored: &std::sync::Arc<Stored>| {
            let lease = stored.typed::<Lease>()?;
            Some((lease.metadata.name.clone(), NodeUsage::of(lease)?))
        };
        Ok(leases.iter().filter_map(usage).collect())
    }

    /// The objects that are asked about.
    async fn objects(&self, path: &MetricsPath) -> Result<Vec<std::sync::Arc<Stored>>, Failure> {
        let kind = if path.pods { Kind::Pod } else { Kind::Node };
        let mut fields = FieldSelector::parse(self.query.get("fieldSelector")).map_err(Failure::bad_request)?;
        if let Some(name) = &path.name {
            let requirement = format!("metadata.name={name}");
            fields.0.extend(FieldSelector::parse(&requirement).map_err(Failure::bad_request)?.0);
        }
        let selection = Selection {
            scope: Scope { kind: Some(kind), namespace: path.namespace.clone(), node: None },
            labels: Selector::parse(self.query.get("labelSelector")).map_err(Failure::bad_request)?,
            fields,
        };
        Ok(self.api().list(&selection).await?.items)
    }

    async fn nodes(&self, path: &MetricsPath, usages: &BTreeMap<Str, NodeUsage>) -> Result<Vec<Value>, Failure> {
        let metrics = |stored: &std::sync::Arc<Stored>| {
            let usage = usages.get(&stored.key.name)?;
            let (cpu, memory) = usage.sum();
            let mut item = head(stored, usage);
            item["usage"] = amounts(cpu, Some(memory));
            Some(item)
        };
        Ok(self.objects(path).await?.iter().filter_map(metrics).collect())
    }

    async fn pods(&self, path: &MetricsPath, usages: &BTreeMap<Str, NodeUsage>) -> Result<Vec<Value>, Failure> {
        let by_uid: BTreeMap<&Uid, (&NodeUsage, &PodUsage)> =
            usages.values().flat_map(|usage| usage.pods.iter().map(move |pod| (&pod.uid, (usage, pod)))).collect();
        let metrics = |stored: &std::sync::Arc<Stored>| {
            let (usage, pod) = by_uid.get(&stored.object.meta().uid)?;
            let mut item = head(stored, usage);
            let container = |c: &steersman_domain::usage::ContainerUsage| json!({"name": c.name, "usage": amounts(c.cpu_nano_cores, c.memory_bytes)});
            item["containers"] = pod.containers.iter().map(container).collect();
            Some(item)
        };
        Ok(self.objects(path).await?.iter().filter_map(metrics).collect())
    }
}

fn head(stored: &Stored, usage: &NodeUsage) -> Value {
    let meta = stored.object.meta();
    let mut metadata = json!({"name": meta.name, "creationTimestamp": usage.at.0});
    if !meta.namespace.is_empty() {
        metadata["namespace"] = json!(meta.namespace);
    }
    if !meta.labels.is_empty() {
        metadata["labels"] = json!(meta.labels);
    }
    let window = format!("{}.{:03}s", usage.window_ms / 1000, usage.window_ms % 1000);
    json!({"metadata": metadata, "timestamp": usage.at.0, "window": window})
}

/// Quantities as metrics-server writes them.
fn amounts(cpu_nano_cores: u64, memory_bytes: Option<u64>) -> Value {
    let mut usage = json!({"cpu": format!("{cpu_nano_cores}n")});
    if let Some(bytes) = memory_bytes {
        usage["memory"] = json!(format!("{}Ki", bytes / 1024));
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let pods = |namespace: Option<&str>, name: Option<&str>| {
            Some(MetricsPath { pods: true, namespace: namespace.map(Str::from), name: name.map(Str::from) })
        };
        assert_eq!(MetricsPath::read(&["pods"]), pods(None, None));
        assert_eq!(MetricsPath::read(&["namespaces", "d", "pods"]), pods(Some("d"), None));
        assert_eq!(MetricsPath::read(&["namespaces", "d", "pods", "a"]), pods(Some("d"), Some("a")));
        assert_eq!(MetricsPath::read(&["pods", "a"]), None);
        assert_eq!(MetricsPath::read(&["nodes", "n"]).map(|path| path.pods), Some(false));
    }

    #[test]
    fn amounts_are_written_as_by_metrics_server() {
        assert_eq!(amounts(1500, Some(4096)), json!({"cpu": "1500n", "memory": "4Ki"}));
        assert_eq!(amounts(0, None), json!({"cpu": "0n"}));
    }
}
