//! What a pod weighs where only scores look: its requests, and for a container that requests nothing what a small program
//! uses. Otherwise pods without requests would weigh nothing and all go to one node. The amounts are those of Kubernetes'
//! kube-scheduler (`util/pod_resources.go`).

use steersman_domain::ledger::Resources;
use steersman_domain::{Container, Pod};

const CPU_MILLI: i64 = 100;
const MEMORY_BYTES: i64 = 200 << 20;

/// Cpu and memory as scores count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
}

impl Weight {
    /// What a pod of these requests weighs.
    pub fn of(pod: &Pod, requests: &Resources) -> Self {
        let without = |resource: &str| {
            let count = pod.spec.containers.iter().filter(|c| !has_request(c, resource)).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        Weight {
            cpu_milli: requests.cpu_milli.saturating_add(without("cpu").saturating_mul(CPU_MILLI)),
            memory_bytes: requests.memory_bytes.saturating_add(without("memory").saturating_mul(MEMORY_BYTES)),
        }
    }

    pub(super) fn add(&mut self, other: Weight) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }

    pub(super) fn subtract(&mut self, other: Weight) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
    }
}

/// A limit stands in for a request that is not there.
fn has_request(container: &Container, resource: &str) -> bool {
    let resources = &container.resources;
    resources.requests.get(resource).is_some() || resources.limits.get(resource).is_some()
}
