//! A Service and its slices as the proxy's plain data.

use super::OwnNodes;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use steersman_domain::{EndpointSlice, Protocol, Service, ServicePort, Uid};
use steersman_runtime::proxy::{
    AppProtocol, Endpoint, EndpointState, PodUid, PortSpec, Protocol as Transport, ServiceKey, ServiceSpec,
    SessionAffinity,
};

/// How long a client stays with its endpoint where the service does not say, in seconds: Kubernetes' default.
const AFFINITY_TIMEOUT: u32 = 10_800;

/// What the proxy shall do for a service; `None` for one without a virtual address.
pub(super) fn service_spec<'a>(
    key: &ServiceKey,
    service: &Service,
    slices: impl Iterator<Item = &'a Arc<EndpointSlice>>,
    own: &OwnNodes,
) -> Option<ServiceSpec> {
    let virtual_ip: Ipv4Addr = service.spec.cluster_ip.parse().ok()?;
    let slices: Vec<&Arc<EndpointSlice>> = slices.collect();
    let ports = service.spec.ports.iter().filter_map(|port| port_spec(port, &slices, own)).collect();
    let session_affinity = match service.spec.session_affinity.as_str() {
        "ClientIP" => SessionAffinity::ClientIp { timeout_s: affinity_timeout(service) },
        _ => SessionAffinity::None,
    };
    Some(ServiceSpec { key: key.clone(), virtual_ip, ports, session_affinity })
}

fn affinity_timeout(service: &Service) -> u32 {
    let config = service.spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    config.and_then(|c| c.timeout_seconds).and_then(|s| u32::try_from(s).ok()).unwrap_or(AFFINITY_TIMEOUT)
}

/// One port with the endpoints that carry its name in the slices. SCTP is refused at validation.
fn port_spec(port: &ServicePort, slices: &[&Arc<EndpointSlice>], own: &OwnNodes) -> Option<PortSpec> {
    let protocol = match port.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => return None,
    };
    let mut endpoints = Vec::new();
    for slice in slices {
        let named = |p: &&steersman_domain::EndpointPort| {
            p.name.as_deref().unwrap_or_default() == port.name && p.protocol == port.protocol
        };
        let Some(target) = slice.ports.iter().find(named).and_then(|p| p.port) else { continue };
        let Ok(target) = u16::try_from(target) else { continue };
        endpoints.extend(slice.endpoints.iter().filter_map(|e| endpoint(e, target, own)));
    }
    let http = matches!(port.app_protocol.as_deref(), Some("http" | "HTTP" | "kubernetes.io/ws"));
    Some(PortSpec {
        name: port.name.as_str().into(),
        protocol,
        port: u16::try_from(port.port).ok()?,
        node_port: u16::try_from(port.node_port).ok().filter(|port| *port > 0),
        app_protocol: http.then_some(AppProtocol::Http),
        endpoints,
    })
}

/// Ready endpoints take connections, ending ones finish theirs; others are left out.
fn endpoint(endpoint: &steersman_domain::Endpoint, port: u16, own: &OwnNodes) -> Option<Endpoint> {
    let ip: Ipv4Addr = endpoint.addresses.first()?.parse().ok()?;
    let state = match (endpoint.conditions.ready.unwrap_or(true), endpoint.conditions.terminating) {
        (true, _) => EndpointState::Ready,
        (false, Some(true)) => EndpointState::Draining,
        (false, _) => return None,
    };
    let uid = endpoint.target_ref.as_ref().map_or_else(|| Uid::from(endpoint.addresses[0].as_str()), |r| r.uid.clone());
    // An address that names no node is taken for one of this host, as anybody may write slices by hand.
    let node = endpoint.node_name.as_deref().filter(|node| !own.contains(node)).map(Arc::from);
    Some(Endpoint { pod: PodUid::from(uid.as_str()), address: SocketAddrV4::new(ip, port), node, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode<T: for<'de> serde::Deserialize<'de>>(value: serde_json::Value) -> T {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn ready_endpoints_of_the_named_port_are_taken() {
        let service: Service = decode(json!({"spec": {"clusterIP": "127.64.0.5", "sessionAffinity": "ClientIP",
            "ports": [{"name": "web", "port": 80, "appProtocol": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}]}}));
        let slice: EndpointSlice = decode(
            json!({"ports": [{"name": "web", "port": 8080, "protocol": "TCP"}], "endpoints": [
            {"addresses": ["127.72.0.2"], "conditions": {"ready": true}, "targetRef": {"uid": "a"}, "nodeName": "here"},
            {"addresses": ["127.72.0.3"], "conditions": {"ready": false, "terminating": true}, "targetRef": {"uid": "b"},
             "nodeName": "there"},
            {"addresses": ["127.72.0.4"], "conditions": {"ready": false}, "targetRef": {"uid": "c"}}]}),
        );
        let key = ServiceKey::new("default", "web");
        let spec = service_spec(&key, &service, [&Arc::new(slice)].into_iter(), &OwnNodes(vec!["here".into()]))
            .expect("has an address");
        assert_eq!(spec.session_affinity, SessionAffinity::ClientIp { timeout_s: AFFINITY_TIMEOUT });
        let states: Vec<_> =
            spec.ports[0].endpoints.iter().map(|e| (e.address.to_string(), e.state, e.node.as_deref())).collect();
        let expected = [
            ("127.72.0.2:8080".to_owned(), EndpointState::Ready, None),
            ("127.72.0.3:8080".to_owned(), EndpointState::Draining, Some("there")),
        ];
        assert_eq!(states, expected);
        assert!(spec.ports[1].endpoints.is_empty() && spec.ports[0].app_protocol == Some(AppProtocol::Http));
    }

    #[test]
    fn a_headless_service_is_not_proxied() {
        let service: Service = decode(json!({"spec": {"clusterIP": "None"}}));
        assert_eq!(service_spec(&ServiceKey::new("a", "b"), &service, std::iter::empty(), &OwnNodes(Vec::new())), None);
    }
}
