//! Services and the endpoints behind them.

use crate::entity::{Omit, entity};
use crate::{Condition, IntOrString, Kind, Map, ObjectMeta, ObjectReference, Str};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP; carried, not acted on.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

impl Omit for Protocol {
    fn omit(&self) -> bool {
        false
    }
}

entity! {
    /// A stable address in front of ready pods.
    pub struct Service[Kind::Service] {
        metadata: ObjectMeta = "metadata",
        spec: ServiceSpec = "spec",
        status: ServiceStatus = "status",
    }

    /// The desired state of a Service.
    pub struct ServiceSpec {
        /// `ClusterIP` (the default) or `NodePort`; others are refused.
        kind: Str = "type",
        selector: Map<Str> = "selector",
        ports: Vec<ServicePort> = "ports",
        /// The virtual address; `None` for a headless service; empty: the server chooses.
        cluster_ip: Str = "clusterIP",
        cluster_ips: Vec<Str> = "clusterIPs",
        /// `None` (the default) or `ClientIP`.
        session_affinity: Str = "sessionAffinity",
        session_affinity_config: Option<SessionAffinityConfig> = "sessionAffinityConfig",
        publish_not_ready_addresses: bool = "publishNotReadyAddresses",
    }

    /// The settings of session affinity.
    pub struct SessionAffinityConfig {
        client_ip: Option<ClientIpConfig> = "clientIP",
    }

    /// How long a client stays with its endpoint.
    pub struct ClientIpConfig {
        /// Absent: 10800.
        timeout_seconds: Option<i32> = "timeoutSeconds",
    }

    /// One port of a service.
    pub struct ServicePort {
        name: Str = "name",
        protocol: Protocol = "protocol",
        /// The application protocol; `http` lets drains close keep-alive connections.
        app_protocol: Option<Str> = "appProtocol",
        port: i32 = "port",
        /// A port number or a port name of the pods; absent: the same as `port`.
        target_port: Option<IntOrString> = "targetPort",
        /// The port of every host on which a service of type NodePort answers; 0: the server chooses, or there is none.
        node_port: i32 = "nodePort",
    }

    /// The observed state of a Service.
    pub struct ServiceStatus {
        conditions: Vec<Condition> = "conditions",
    }

    /// Endpoints of a service, at most 100 per slice.
    pub struct EndpointSlice[Kind::EndpointSlice] {
        metadata: ObjectMeta = "metadata",
        address_type: Str = "addressType",
        endpoints: Vec<Endpoint> = "endpoints",
        ports: Vec<EndpointPort> = "ports",
    }

    /// One endpoint.
    pub struct Endpoint {
        addresses: Vec<Str> = "addresses",
        conditions: EndpointConditions = "conditions",
        target_ref: Option<ObjectReference> = "targetRef",
        node_name: Option<Str> = "nodeName",
    }

    /// Whether an endpoint takes traffic.
    pub struct EndpointConditions {
        /// Ready and not ending.
        ready: Option<bool> = "ready",
        /// Ready, ending or not.
        serving: Option<bool> = "serving",
        terminating: Option<bool> = "terminating",
    }

    /// A port of the endpoints in a slice.
    pub struct EndpointPort {
        name: Option<Str> = "name",
        protocol: Protocol = "protocol",
        port: Option<i32> = "port",
        app_protocol: Option<Str> = "appProtocol",
    }

    /// The older form of endpoints: one object per service.
    pub struct Endpoints[Kind::Endpoints] {
        metadata: ObjectMeta = "metadata",
        subsets: Vec<EndpointSubset> = "subsets",
    }

    /// Addresses that offer the same ports.
    pub struct EndpointSubset {
        addresses: Vec<EndpointAddress> = "addresses",
        not_ready_addresses: Vec<EndpointAddress> = "notReadyAddresses",
        ports: Vec<EndpointPort> = "ports",
    }

    /// One address of a subset.
    pub struct EndpointAddress {
        ip: Str = "ip",
        hostname: Str = "hostname",
        node_name: Option<Str> = "nodeName",
        target_ref: Option<ObjectReference> = "targetRef",
    }
}

impl Service {
    /// Whether it answers on ports of the hosts too.
    pub fn is_node_port(&self) -> bool {
        self.spec.kind == "NodePort"
    }

    /// Whether the service has no virtual address on purpose.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == "None"
    }
}
