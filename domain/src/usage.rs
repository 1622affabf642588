//! What pods use, as the agents of their nodes have measured it: each writes it into the heartbeat of its node, the lease in
//! `kube-node-lease`, under [`USAGE`].

use crate::{Lease, MicroTime, Str, Uid};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The annotation of a node's lease that holds its [`NodeUsage`] as JSON.
pub const USAGE: &str = "steersman.io/usage";

/// What the pods of a node used within a window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeUsage {
    /// When the window ended.
    pub at: MicroTime,
    /// How long it was, in milliseconds.
    pub window_ms: u64,
    /// The pods that ran for the whole of it.
    pub pods: Vec<PodUsage>,
}

/// What a pod used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodUsage {
    /// The namespace of the pod.
    #[serde(rename = "ns")]
    pub namespace: Str,
    /// The name of the pod.
    pub name: Str,
    /// The uid of the pod.
    pub uid: Uid,
    /// Its containers that ran for the whole window.
    #[serde(rename = "c")]
    pub containers: Vec<ContainerUsage>,
}

/// What a container used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUsage {
    /// The name of the container.
    pub name: Str,
    /// Billionths of a core, on average.
    #[serde(rename = "cpu")]
    pub cpu_nano_cores: u64,
    /// Bytes, at the end of the window; absent: not known.
    #[serde(rename = "mem", skip_serializing_if = "Option::is_none", default)]
    pub memory_bytes: Option<u64>,
}

impl NodeUsage {
    /// What a node's lease says.
    pub fn of(lease: &Lease) -> Option<Self> {
        serde_json::from_str(lease.metadata.annotations.get(USAGE)?).ok()
    }

    /// The window.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// Cpu in billionths of a core and memory in bytes of all pods together.
    pub fn sum(&self) -> (u64, u64) {
        self.pods.iter().fold((0, 0), |(cpu, memory), pod| {
            let (more_cpu, more_memory) = pod.sum();
            (cpu + more_cpu, memory + more_memory)
        })
    }
}

impl PodUsage {
    /// Cpu in billionths of a core and memory in bytes of all containers together.
    pub fn sum(&self) -> (u64, u64) {
        let cpu = self.containers.iter().map(|c| c.cpu_nano_cores).sum();
        (cpu, self.containers.iter().filter_map(|c| c.memory_bytes).sum())
    }
}
