//! The proxy's input: services as plain data, and the rules such data must keep.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// Names a service: namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name within the namespace.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The unique id of a pod. A pod keeps it through container restarts; a replacement pod has another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(pub Arc<str>);

impl From<&str> for PodUid {
    fn from(uid: &str) -> Self {
        Self(uid.into())
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Connections, balanced one by one.
    Tcp,
    /// Datagrams; each client address sticks to one endpoint while it is active.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What the bytes of a port are, when the service says so (`appProtocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.x in clear text. The client speaks first; answers of draining endpoints get `Connection: close`, and a
    /// service without endpoints answers 503.
    Http,
}

/// Whether an endpoint takes new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Takes new connections.
    Ready,
    /// Finishes those it has, takes no new ones.
    Draining,
}

/// One pod behind a service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod.
    pub pod: PodUid,
    /// Where the pod listens for this service port, on its own node.
    pub address: SocketAddrV4,
    /// The node to ask for the connection; `None`: the pod is reached from here.
    pub node: Option<Arc<str>>,
    /// Whether it takes new connections.
    pub state: EndpointState,
}

/// One port of a service and the endpoints behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// The port's name; empty when the service has one unnamed port.
    pub name: Arc<str>,
    /// The transport.
    pub protocol: Protocol,
    /// The port on the virtual IP, 1 to 65535.
    pub port: u16,
    /// The port of every address of this host on which it answers too.
    pub node_port: Option<u16>,
    /// What the bytes are, when declared.
    pub app_protocol: Option<AppProtocol>,
    /// The pods behind the port. Order has no meaning; repeated entries count once.
    pub endpoints: Vec<Endpoint>,
}

/// Whether connections of one client go to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionAffinity {
    /// Every connection is balanced on its own.
    None,
    /// Connections from one client IP go to one endpoint while the last is younger than the timeout.
    ClientIp {
        /// The timeout in seconds.
        timeout_s: u32,
    },
}

/// One service as the proxy needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Names the service.
    pub key: ServiceKey,
    /// The loopback address the service answers on.
    pub virtual_ip: Ipv4Addr,
    /// The ports; no two with the same protocol and number.
    pub ports: Vec<PortSpec>,
    /// Whether clients stick to endpoints.
    pub session_affinity: SessionAffinity,
}

/// Why a service was not applied; what was applied before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The virtual IP is not in 127.0.0.0/8.
    #[error("service {service}: virtual IP {address} is not a loopback address; take one from 127.0.0.0/8")]
    NotLoopback {
        /// The service.
        service: ServiceKey,
        /// The refused address.
        address: Ipv4Addr,
    },
    /// A port number is 0.
    #[error("service {service}: port 0 of port {name:?} cannot be listened on or dialled; use 1 to 65535")]
    PortZero {
        /// The service.
        service: ServiceKey,
        /// The port's name.
        name: Arc<str>,
    },
    /// Two ports share protocol and number.
    #[error("service {service}: {protocol} port {port} is declared twice; give each port its own number")]
    DuplicatePort {
        /// The service.
        service: ServiceKey,
        /// The protocol of both.
        protocol: Protocol,
        /// The number of both.
        port: u16,
    },
    /// The proxy was shut down.
    #[error("service {service}: the proxy has been shut down; start another one")]
    ShutDown {
        /// The service.
        service: ServiceKey,
    },
}

impl ServiceSpec {
    /// Checks the rules stated on the fields.
    ///
    /// # Errors
    /// The first rule broken, naming the service and the value.
    pub fn validate(&self) -> Result<(), ApplyError> {
        if !self.virtual_ip.is_loopback() {
            return Err(ApplyError::NotLoopback { service: self.key.clone(), address: self.virtual_ip });
        }
        let mut seen = BTreeSet::new();
        for port in &self.ports {
            if port.port == 0 || port.endpoints.iter().any(|endpoint| endpoint.address.port() == 0) {
                return Err(ApplyError::PortZero { service: self.key.clone(), name: port.name.clone() });
            }
            if !seen.insert((port.protocol, port.port)) {
                let (service, protocol) = (self.key.clone(), port.protocol);
                return Err(ApplyError::DuplicatePort { service, protocol, port: port.port });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(ip: [u8; 4], ports: &[u16]) -> ServiceSpec {
        let port = |port: &u16| PortSpec {
            name: "web".into(),
            protocol: Protocol::Tcp,
            port: *port,
            node_port: None,
            app_protocol: None,
            endpoints: Vec::new(),
        };
        ServiceSpec {
            key: ServiceKey::new("default", "shop"),
            virtual_ip: ip.into(),
            ports: ports.iter().map(port).collect(),
            session_affinity: SessionAffinity::None,
        }
    }

    #[test]
    fn rules_are_checked_and_named() {
        assert_eq!(spec([127, 64, 0, 1], &[80, 81]).validate(), Ok(()));
        assert!(matches!(spec([10, 0, 0, 1], &[80]).validate(), Err(ApplyError::NotLoopback { .. })));
        assert!(matches!(spec([127, 64, 0, 1], &[0]).validate(), Err(ApplyError::PortZero { .. })));
        let twice = spec([127, 64, 0, 1], &[80, 80]).validate().unwrap_err();
        assert_eq!(
            twice.to_string(),
            "service default/shop: TCP port 80 is declared twice; give each port its own number"
        );
    }
}
