//! The variables by which containers find services: `<SVC>_SERVICE_HOST`, `<SVC>_SERVICE_PORT` and the older form of
//! Docker links. Source: Kubernetes "Service: discovering services".

use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::Service;

/// A name as a part of a variable's name.
pub(super) fn variable_part(name: &str) -> String {
    name.chars().map(|c| if c == '-' || c == '.' { '_' } else { c.to_ascii_uppercase() }).collect()
}

/// The variables of all services that have a virtual address.
pub(super) fn service_env(services: &[Arc<Service>]) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for service in services {
        let ip = &service.spec.cluster_ip;
        if ip.is_empty() || service.is_headless() {
            continue;
        }
        let prefix = variable_part(&service.metadata.name);
        for (at, port) in service.spec.ports.iter().enumerate() {
            let protocol = port.protocol.to_string();
            let lower = protocol.to_ascii_lowercase();
            let number = port.port;
            if at == 0 {
                env.insert(format!("{prefix}_SERVICE_HOST"), ip.to_string());
                env.insert(format!("{prefix}_SERVICE_PORT"), number.to_string());
                env.insert(format!("{prefix}_PORT"), format!("{lower}://{ip}:{number}"));
            }
            if !port.name.is_empty() {
                env.insert(format!("{prefix}_SERVICE_PORT_{}", variable_part(&port.name)), number.to_string());
            }
            let link = format!("{prefix}_PORT_{number}_{protocol}");
            env.insert(link.clone(), format!("{lower}://{ip}:{number}"));
            env.insert(format!("{link}_PROTO"), lower);
            env.insert(format!("{link}_PORT"), number.to_string());
            env.insert(format!("{link}_ADDR"), ip.to_string());
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::{Protocol, ServicePort};

    fn service(name: &str, ip: &str, ports: &[(&str, Protocol, i32)]) -> Arc<Service> {
        let mut service = Service::default();
        service.metadata.name = name.into();
        service.spec.cluster_ip = ip.into();
        service.spec.ports = ports
            .iter()
            .map(|&(name, protocol, port)| ServicePort { name: name.into(), protocol, port, ..Default::default() })
            .collect();
        Arc::new(service)
    }

    #[test]
    fn names_hosts_and_ports() {
        let env = service_env(&[
            service("foo-bar", "1.2.3.4", &[("http-x", Protocol::Tcp, 80), ("", Protocol::Udp, 53)]),
            service("headless", "None", &[("", Protocol::Tcp, 80)]),
        ]);
        let lines: Vec<String> = env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            lines,
            [
                "FOO_BAR_PORT=tcp://1.2.3.4:80",
                "FOO_BAR_PORT_53_UDP=udp://1.2.3.4:53",
                "FOO_BAR_PORT_53_UDP_ADDR=1.2.3.4",
                "FOO_BAR_PORT_53_UDP_PORT=53",
                "FOO_BAR_PORT_53_UDP_PROTO=udp",
                "FOO_BAR_PORT_80_TCP=tcp://1.2.3.4:80",
                "FOO_BAR_PORT_80_TCP_ADDR=1.2.3.4",
                "FOO_BAR_PORT_80_TCP_PORT=80",
                "FOO_BAR_PORT_80_TCP_PROTO=tcp",
                "FOO_BAR_SERVICE_HOST=1.2.3.4",
                "FOO_BAR_SERVICE_PORT=80",
                "FOO_BAR_SERVICE_PORT_HTTP_X=80",
            ]
        );
    }
}
