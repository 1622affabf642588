//! Nodes.

use crate::entity::entity;
use crate::{Condition, Kind, Map, ObjectMeta, Quantity, Str, Taint, meta};

entity! {
    /// A machine, or a part of one, that runs pods.
    pub struct Node[Kind::Node] {
        metadata: ObjectMeta = "metadata",
        spec: NodeSpec = "spec",
        status: NodeStatus = "status",
    }

    /// The desired state of a node.
    pub struct NodeSpec {
        pod_cidr: Str = "podCIDR",
        /// Cordoned: takes no new pods.
        unschedulable: bool = "unschedulable",
        taints: Vec<Taint> = "taints",
    }

    /// What a node's agent reports.
    pub struct NodeStatus {
        capacity: Map<Quantity> = "capacity",
        /// What pods may have: capacity less what the system keeps.
        allocatable: Map<Quantity> = "allocatable",
        conditions: Vec<Condition> = "conditions",
        addresses: Vec<NodeAddress> = "addresses",
        node_info: NodeSystemInfo = "nodeInfo",
        daemon_endpoints: NodeDaemonEndpoints = "daemonEndpoints",
        /// Images that are there already.
        images: Vec<ContainerImage> = "images",
        /// The runtime handlers that the agent offers.
        runtime_handlers: Vec<NodeRuntimeHandler> = "runtimeHandlers",
    }

    /// An address of a node.
    pub struct NodeAddress {
        kind: Str = "type",
        address: Str = "address",
    }

    /// Where the agent of a node listens.
    pub struct NodeDaemonEndpoints {
        /// For the traffic of other nodes to its pods, by mutual TLS.
        kubelet_endpoint: DaemonEndpoint = "kubeletEndpoint",
    }

    /// A port of a node's address.
    pub struct DaemonEndpoint {
        port: i32 = "Port",
    }

    /// An image on a node, under all its names.
    pub struct ContainerImage {
        names: Vec<Str> = "names",
        size_bytes: i64 = "sizeBytes",
    }

    /// A runtime handler that a node offers.
    pub struct NodeRuntimeHandler {
        name: Str = "name",
    }

    /// What a node runs on.
    pub struct NodeSystemInfo {
        machine_id: Str = "machineID",
        system_uuid: Str = "systemUUID",
        boot_id: Str = "bootID",
        kernel_version: Str = "kernelVersion",
        os_image: Str = "osImage",
        container_runtime_version: Str = "containerRuntimeVersion",
        kubelet_version: Str = "kubeletVersion",
        kube_proxy_version: Str = "kubeProxyVersion",
        operating_system: Str = "operatingSystem",
        architecture: Str = "architecture",
    }
}

impl Node {
    /// Whether the agent says that the node is ready.
    pub fn is_ready(&self) -> bool {
        meta::condition(&self.status.conditions, "Ready").is_some_and(Condition::is_true)
    }

    /// Whether the agent offers a runtime handler.
    pub fn offers_runtime(&self, handler: &str) -> bool {
        self.status.runtime_handlers.iter().any(|h| h.name == handler)
    }
}
