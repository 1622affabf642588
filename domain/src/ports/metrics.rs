//! The source of metrics: what containers have used so far, as whoever runs them measures it.

use crate::{Str, Uid};

/// What a container has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerReading {
    /// The name of the container.
    pub name: Str,
    /// Which start of it; readings of different starts have nothing in common.
    pub attempt: u32,
    /// Processor time since it started, in nanoseconds. For functions: the time for which they held a thread.
    pub cpu_nanos: u64,
    /// Memory that could not be had back at once, in bytes; `None`: it cannot be told apart from the host's.
    pub memory_bytes: Option<u64>,
}

/// What the containers of a pod have used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReading {
    /// The uid of the pod.
    pub pod: Uid,
    /// Its containers that run.
    pub containers: Vec<ContainerReading>,
}

/// Measures pods.
#[async_trait::async_trait]
pub trait MetricsSource: Send + Sync + 'static {
    /// What every pod that runs has used so far. Pods that cannot be measured are left out.
    async fn usage(&self) -> Vec<PodReading>;
}
