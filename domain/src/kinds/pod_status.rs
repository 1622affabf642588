//! What is observed of pods and their containers, and the phases of their life.

use crate::entity::{Omit, entity};
use crate::{AlwaysI32, Condition, Str, Time};
use serde::{Deserialize, Serialize};

entity! {
    /// The observed state of a pod.
    pub struct PodStatus {
        observed_generation: i64 = "observedGeneration",
        phase: PodPhase = "phase",
        conditions: Vec<Condition> = "conditions",
        message: Str = "message",
        reason: Str = "reason",
        host_ip: Str = "hostIP",
        host_ips: Vec<PodIp> = "hostIPs",
        pod_ip: Str = "podIP",
        pod_ips: Vec<PodIp> = "podIPs",
        start_time: Option<Time> = "startTime",
        init_container_statuses: Vec<ContainerStatus> = "initContainerStatuses",
        container_statuses: Vec<ContainerStatus> = "containerStatuses",
        qos_class: Str = "qosClass",
        nominated_node_name: Str = "nominatedNodeName",
    }

    /// An address of a pod.
    pub struct PodIp {
        ip: Str = "ip",
    }

    /// The observed state of a container.
    pub struct ContainerStatus {
        name: Str = "name",
        state: ContainerState = "state",
        last_state: ContainerState = "lastState",
        ready: AlwaysBool = "ready",
        restart_count: AlwaysI32 = "restartCount",
        image: AlwaysStr = "image",
        image_id: AlwaysStr = "imageID",
        container_id: Str = "containerID",
        started: Option<bool> = "started",
    }

    /// One of waiting, running, terminated.
    pub struct ContainerState {
        waiting: Option<ContainerStateWaiting> = "waiting",
        running: Option<ContainerStateRunning> = "running",
        terminated: Option<ContainerStateTerminated> = "terminated",
    }

    /// Why a container is not running yet.
    pub struct ContainerStateWaiting {
        reason: Str = "reason",
        message: Str = "message",
    }

    /// Since when a container runs.
    pub struct ContainerStateRunning {
        started_at: Option<Time> = "startedAt",
    }

    /// How a container ended.
    pub struct ContainerStateTerminated {
        exit_code: AlwaysI32 = "exitCode",
        signal: i32 = "signal",
        reason: Str = "reason",
        message: Str = "message",
        started_at: Option<Time> = "startedAt",
        finished_at: Option<Time> = "finishedAt",
        container_id: Str = "containerID",
    }
}

/// A flag that is written even when it is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlwaysBool(pub bool);

impl Omit for AlwaysBool {
    fn omit(&self) -> bool {
        false
    }
}

/// A text that is written even when it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlwaysStr(pub Str);

impl Omit for AlwaysStr {
    fn omit(&self) -> bool {
        false
    }
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PodPhase {
    /// Not all containers have been started yet.
    #[default]
    Pending,
    /// It is bound, and its containers have been started.
    Running,
    /// All containers ended well, and none is started again.
    Succeeded,
    /// All containers ended, one of them not well.
    Failed,
    /// The node is not heard of.
    Unknown,
}

impl Omit for PodPhase {
    fn omit(&self) -> bool {
        false
    }
}

impl PodPhase {
    /// Whether the pod has ended for good.
    pub fn is_terminal(self) -> bool {
        match self {
            PodPhase::Succeeded | PodPhase::Failed => true,
            PodPhase::Pending | PodPhase::Running | PodPhase::Unknown => false,
        }
    }

    /// Moves to `next` when that is legal: a terminal phase is never left, and a pod that ran is never pending again.
    pub fn on(self, next: PodPhase) -> Result<PodPhase, IllegalPhase> {
        let legal = match self {
            PodPhase::Succeeded | PodPhase::Failed => self == next,
            PodPhase::Running => next != PodPhase::Pending,
            PodPhase::Pending | PodPhase::Unknown => true,
        };
        if legal { Ok(next) } else { Err(IllegalPhase { from: self, to: next }) }
    }
}

/// A move between phases that the life of a pod does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pod cannot go from {from:?} to {to:?}")]
pub struct IllegalPhase {
    /// The phase that it had.
    pub from: PodPhase,
    /// The phase that it was to have.
    pub to: PodPhase,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_move_forward() {
        assert_eq!(PodPhase::Pending.on(PodPhase::Running), Ok(PodPhase::Running));
        assert!(PodPhase::Running.on(PodPhase::Pending).is_err());
        assert!(PodPhase::Failed.on(PodPhase::Running).is_err());
        assert_eq!(PodPhase::Unknown.on(PodPhase::Running), Ok(PodPhase::Running));
    }
}
