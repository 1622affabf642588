//! Services and endpoints.

use super::container::port_or_name;
use super::meta;
use super::path::{Errors, Path};
use crate::{EndpointPort, EndpointSlice, Endpoints, Service, ServicePort, names};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// A Service: of type ClusterIP or NodePort, with ports that do not collide.
pub(super) fn check(service: &Service, errors: &mut Errors) {
    let root = Path::root();
    let (path, spec) = (root.field("spec"), &service.spec);
    if !matches!(spec.kind.as_str(), "" | "ClusterIP" | "NodePort") {
        errors.unsupported(&path.field("type"), spec.kind.as_str(), &["ClusterIP", "NodePort"]);
    }
    if service.is_node_port() && service.is_headless() {
        errors.invalid(&path.field("clusterIP"), "None", "may not be set to 'None' for NodePort services");
    }
    node_ports(service, &path.field("ports"), errors);
    if spec.ports.is_empty() && !service.is_headless() {
        errors.required(&path.field("ports"), "");
    }
    ports(&spec.ports, &path.field("ports"), errors);
    meta::labels(&spec.selector, &path.field("selector"), errors);
    if !matches!(spec.session_affinity.as_str(), "" | "None" | "ClientIP") {
        errors.unsupported(&path.field("sessionAffinity"), spec.session_affinity.as_str(), &["ClientIP", "None"]);
    }
    let timeout =
        spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref()).and_then(|c| c.timeout_seconds);
    if let Some(secs) = timeout {
        let path = path.field("sessionAffinityConfig");
        let path = path.field("clientIP");
        if spec.session_affinity != "ClientIP" {
            errors.forbidden(&path, "must not be set when session affinity is None");
        } else if !(1..=86400).contains(&secs) {
            errors.invalid(&path.field("timeoutSeconds"), secs, "must be greater than 0 and at most 86400");
        }
    }
    addresses(service, &path, errors);
}

/// The ports of hosts that services may have, as in Kubernetes.
pub const NODE_PORTS: RangeInclusive<i32> = 30_000..=32_767;

fn node_ports(service: &Service, path: &Path<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, port) in service.spec.ports.iter().enumerate().filter(|(_, port)| port.node_port != 0) {
        let path = path.index(at);
        let path = path.field("nodePort");
        if !service.is_node_port() {
            errors.forbidden(&path, "may not be used when `type` is 'ClusterIP'");
        } else if !NODE_PORTS.contains(&port.node_port) {
            let (first, last) = (NODE_PORTS.start(), NODE_PORTS.end());
            errors.invalid(&path, port.node_port, format!("must be between {first} and {last}"));
        } else if !seen.insert((port.protocol, port.node_port)) {
            errors.duplicate(&path, port.node_port);
        }
    }
}

fn addresses(service: &Service, path: &Path<'_>, errors: &mut Errors) {
    let spec = &service.spec;
    let list = path.field("clusterIPs");
    let valid = |text: &str| text.is_empty() || text == "None" || text.parse::<Ipv4Addr>().is_ok();
    if !valid(&spec.cluster_ip) {
        errors.invalid(&path.field("clusterIP"), spec.cluster_ip.as_str(), "must be a valid IPv4 address or 'None'");
    }
    if let [_, second, ..] = spec.cluster_ips.as_slice() {
        errors.invalid(&list.index(1), second.as_str(), "only one address is supported: this cluster is IPv4 alone");
    }
    if let Some(first) = spec.cluster_ips.first() {
        if !valid(first) {
            errors.invalid(&list.index(0), first.as_str(), "must be a valid IPv4 address or 'None'");
        } else if !spec.cluster_ip.is_empty() && *first != spec.cluster_ip {
            errors.invalid(&list, first.as_str(), "first value must match `clusterIP`");
        }
    }
}

fn ports(ports: &[ServicePort], path: &Path<'_>, errors: &mut Errors) {
    let (mut seen_names, mut seen_ports) = (BTreeSet::new(), BTreeSet::new());
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        if port.name.is_empty() {
            if ports.len() > 1 {
                errors.required(&path.field("name"), "");
            }
        } else {
            errors.named(&path.field("name"), &port.name, names::label(&port.name));
            if !seen_names.insert(&port.name) {
                errors.duplicate(&path.field("name"), port.name.as_str());
            }
        }
        errors.port(&path.field("port"), port.port);
        if let Some(target) = &port.target_port {
            port_or_name(target, &path.field("targetPort"), errors);
        }
        if !seen_ports.insert((port.protocol, port.port)) {
            errors.duplicate(&path, format!("{}/{}", port.protocol, port.port));
        }
    }
}

/// Endpoints of a service in the older form.
pub(super) fn endpoints(endpoints: &Endpoints, errors: &mut Errors) {
    let root = Path::root();
    for (at, subset) in endpoints.subsets.iter().enumerate() {
        let list = root.field("subsets");
        let path = list.index(at);
        if subset.addresses.is_empty() && subset.not_ready_addresses.is_empty() {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for (field, list) in [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)] {
            for (at, address) in list.iter().enumerate() {
                if address.ip.parse::<IpAddr>().is_err() {
                    let path = path.field(field);
                    let path = path.index(at);
                    errors.invalid(&path.field("ip"), address.ip.as_str(), "must be a valid IP address");
                }
            }
        }
        endpoint_ports(&subset.ports, &path.field("ports"), errors);
    }
}

fn endpoint_ports(ports: &[EndpointPort], path: &Path<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = port.name.as_deref().unwrap_or("");
        if name.is_empty() && ports.len() > 1 {
            errors.required(&path.field("name"), "");
        } else if !name.is_empty() {
            errors.named(&path.field("name"), name, names::label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&path.field("name"), name);
        }
        if let Some(number) = port.port {
            errors.port(&path.field("port"), number);
        }
    }
}

/// A slice of endpoints.
pub(super) fn endpoint_slice(slice: &EndpointSlice, errors: &mut Errors) {
    let root = Path::root();
    errors.one_of(&root.field("addressType"), &slice.address_type, &["IPv4", "IPv6", "FQDN"]);
    let list = root.field("endpoints");
    if slice.endpoints.len() > 1000 {
        errors.push(super::FieldErrorKind::TooMany, &list, "must have at most 1000 items");
    }
    for (at, endpoint) in slice.endpoints.iter().enumerate() {
        let path = list.index(at);
        let path = path.field("addresses");
        if endpoint.addresses.is_empty() {
            errors.required(&path, "must contain at least 1 address");
        }
        for (at, address) in endpoint.addresses.iter().enumerate() {
            let ok = match slice.address_type.as_str() {
                "IPv4" => address.parse::<Ipv4Addr>().is_ok(),
                "IPv6" => address.parse::<Ipv6Addr>().is_ok(),
                _ => names::subdomain(address).is_ok(),
            };
            if !ok {
                let detail = format!("must be an address of type {}", slice.address_type);
                errors.invalid(&path.index(at), address.as_str(), detail);
            }
        }
    }
    endpoint_ports(&slice.ports, &root.field("ports"), errors);
}
