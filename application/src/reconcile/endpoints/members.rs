//! Which pods stand behind a service, and on which ports.

use std::net::Ipv4Addr;
use steersman_domain::meta::condition;
use steersman_domain::{EndpointPort, IntOrString, Kind, ObjectReference, Pod, Protocol, Service, ServicePort, Str};

/// A port as pods of one kind answer on it; ordered, so that pods can be grouped by their ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) name: Str,
    pub(super) protocol: Protocol,
    pub(super) number: i32,
    pub(super) app_protocol: Option<Str>,
}

/// A pod behind a service.
pub(super) struct Member<'a> {
    pub(super) pod: &'a Pod,
    /// In the order of the service; a named port that the pod does not have is left out.
    pub(super) ports: Vec<Port>,
    /// The pod's Ready condition is true.
    pub(super) serving: bool,
    pub(super) terminating: bool,
    /// New connections may go to it.
    pub(super) ready: bool,
    /// The name under which the pod wants to be found beneath the service's.
    pub(super) hostname: Option<Str>,
}

impl<'a> Member<'a> {
    /// The pod as a member; `None` when it has ended or has no IPv4 address.
    pub(super) fn new(service: &Service, pod: &'a Pod) -> Option<Self> {
        if pod.is_terminal() || pod.status.pod_ip.parse::<Ipv4Addr>().is_err() {
            return None;
        }
        let (serving, terminating) = (pod.is_ready(), pod.metadata.is_deleting());
        Some(Member {
            pod,
            ports: service.spec.ports.iter().filter_map(|port| resolve(pod, port)).collect(),
            serving,
            terminating,
            ready: service.spec.publish_not_ready_addresses || (serving && !terminating),
            hostname: hostname(service, pod),
        })
    }

    pub(super) fn target(&self) -> ObjectReference {
        let meta = &self.pod.metadata;
        ObjectReference {
            kind: Kind::Pod.info().kind.into(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        }
    }

    pub(super) fn node_name(&self) -> Option<Str> {
        Some(self.pod.spec.node_name.clone()).filter(|n| !n.is_empty())
    }
}

/// A port as objects hold it. Slices name every port, be it by the empty name; the older form leaves that out.
pub(super) fn endpoint_port(port: &Port, named: bool) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()).filter(|n| named || !n.is_empty()),
        protocol: port.protocol,
        port: Some(port.number),
        app_protocol: port.app_protocol.clone(),
        ..EndpointPort::default()
    }
}

fn resolve(pod: &Pod, port: &ServicePort) -> Option<Port> {
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::Text(name)) if name.is_empty() => port.port,
        Some(IntOrString::Text(name)) => named_port(pod, name, port.protocol)?,
    };
    let (name, app_protocol) = (port.name.clone(), port.app_protocol.clone());
    Some(Port { name, protocol: port.protocol, number, app_protocol })
}

/// The number behind the name of a port; containers first, then sidecars.
fn named_port(pod: &Pod, name: &str, protocol: Protocol) -> Option<i32> {
    let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter());
    ports.find(|p| p.name == name && p.protocol == protocol).map(|p| p.container_port)
}

/// A pod has a name of its own beneath the service that is its `subdomain`.
fn hostname(service: &Service, pod: &Pod) -> Option<Str> {
    let subdomain: String = serde_json::from_str(pod.spec.extra.get("subdomain")?).ok()?;
    let named = !pod.spec.hostname.is_empty() && service.metadata.name == subdomain.as_str();
    named.then(|| pod.spec.hostname.clone())
}

/// Whether two states of a pod give the same endpoints for every service.
pub(super) fn looks_alike(a: &Pod, b: &Pod) -> bool {
    let ready = |p: &Pod| condition(&p.status.conditions, "Ready").map(|c| c.is_true()).unwrap_or(false);
    a.metadata.uid == b.metadata.uid
        && a.metadata.labels == b.metadata.labels
        && a.metadata.is_deleting() == b.metadata.is_deleting()
        && a.is_terminal() == b.is_terminal()
        && a.status.pod_ip == b.status.pod_ip
        && a.spec.node_name == b.spec.node_name
        && ready(a) == ready(b)
}
