//! The other nodes: where their agents take traffic for pods, and the way there and in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use steersman_domain::Node;
use steersman_http::tunnel::{Call, OpenFailure, TunnelClient, TunnelKeys, TunnelTarget};
use steersman_runtime::proxy::{PodStream, PodUid, Protocol, Proxy, Target, Tunnel, TunnelError};

/// Where other nodes take traffic, and the connections to them.
#[derive(Debug)]
pub(crate) struct Peers {
    client: TunnelClient,
    addresses: RwLock<BTreeMap<String, SocketAddr>>,
}

impl Peers {
    pub(crate) fn new(keys: Arc<TunnelKeys>) -> Self {
        Peers { client: TunnelClient::new(keys), addresses: RwLock::default() }
    }

    /// The node as it is now.
    pub(super) fn put(&self, node: &Node) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        match address(node) {
            Some(address) => addresses.insert(node.metadata.name.to_string(), address),
            None => addresses.remove(node.metadata.name.as_str()),
        };
    }

    /// Only these nodes are left.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_there(name));
        self.client.retain(is_there);
    }
}

/// Where the agent of a node takes traffic for its pods, if it does.
fn address(node: &Node) -> Option<SocketAddr> {
    let port = u16::try_from(node.status.daemon_endpoints.kubelet_endpoint.port).ok().filter(|port| *port > 0)?;
    let internal = node.status.addresses.iter().find(|a| a.kind == "InternalIP")?;
    Some(SocketAddr::new(internal.address.parse::<IpAddr>().ok()?, port))
}

#[async_trait::async_trait]
impl Tunnel for Peers {
    async fn open(&self, node: &str, target: &Target) -> Result<Box<dyn PodStream>, TunnelError> {
        let address = self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(node).copied();
        let unreachable = |why: String| TunnelError::Unreachable { node: node.to_owned(), why };
        let address = address.ok_or_else(|| unreachable("it offers no address for the traffic of pods".into()))?;
        let asked = TunnelTarget {
            pod: target.pod.to_string(),
            address: target.address,
            datagrams: target.protocol == Protocol::Udp,
        };
        match self.client.open(node, address, &asked).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(OpenFailure::Unreachable(why)) => Err(unreachable(why)),
            Err(OpenFailure::Refused(why)) => Err(TunnelError::Refused { node: node.to_owned(), why }),
        }
    }
}

/// Lets a connection of another node in, or says why not.
pub(super) async fn let_in(proxy: Arc<Proxy>, call: Call) {
    let asked = call.target();
    let protocol = if asked.datagrams { Protocol::Udp } else { Protocol::Tcp };
    let target = Target { pod: PodUid::from(asked.pod.as_str()), address: asked.address, protocol };
    match proxy.visit(&target).await {
        Ok(visit) => match call.accept() {
            Ok(stream) => visit.relay(stream).await,
            Err(error) => tracing::debug!(%error, "a visitor left before it was let in"),
        },
        Err(refusal) => call.refuse(&refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_without_a_port_or_an_address_take_no_traffic() {
        let node = |status: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "a"}, "status": status})).expect("a node")
        };
        let addresses = json!([{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "10.0.0.5"}]);
        let whole = json!({"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 7000}}});
        assert_eq!(address(&node(whole)), Some("10.0.0.5:7000".parse().expect("an address")));
        assert_eq!(address(&node(json!({"addresses": addresses}))), None);
        assert_eq!(address(&node(json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": 7000}}}))), None);
    }
}
