//! DaemonSets, StatefulSets, and the revisions of their templates.

use super::workload::IntOrString;
use crate::entity::entity;
use crate::{AlwaysI32, Condition, Kind, LabelSelector, ObjectMeta, Pod, PodTemplateSpec, Shared, Str};

/// The label that tells the pods of one template from those of another.
pub const REVISION_HASH: &str = "controller-revision-hash";
/// The label that holds the name of a pod of a StatefulSet.
pub const STATEFUL_SET_POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label that holds the ordinal of a pod of a StatefulSet.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

entity! {
    /// Keeps a pod on every node that suits.
    pub struct DaemonSet[Kind::DaemonSet] {
        metadata: ObjectMeta = "metadata",
        spec: DaemonSetSpec = "spec",
        status: DaemonSetStatus = "status",
    }

    /// The desired state of a DaemonSet.
    pub struct DaemonSetSpec {
        selector: LabelSelector = "selector",
        template: Shared<PodTemplateSpec> = "template",
        update_strategy: DaemonSetUpdateStrategy = "updateStrategy",
        /// Seconds that a pod must be ready to count as available.
        min_ready_seconds: i32 = "minReadySeconds",
        /// Old revisions to keep; absent: 10.
        revision_history_limit: Option<i32> = "revisionHistoryLimit",
    }

    /// How pods are replaced: `RollingUpdate` (the default) or `OnDelete`.
    pub struct DaemonSetUpdateStrategy {
        kind: Str = "type",
        rolling_update: Option<RollingUpdateDaemonSet> = "rollingUpdate",
    }

    /// The bounds of a rolling update: numbers of nodes or percentages of them; one of the two is 0.
    pub struct RollingUpdateDaemonSet {
        /// Rounded up; absent: 1.
        max_unavailable: Option<IntOrString> = "maxUnavailable",
        /// Rounded up; absent: 0.
        max_surge: Option<IntOrString> = "maxSurge",
    }

    /// The observed state of a DaemonSet.
    pub struct DaemonSetStatus {
        current_number_scheduled: AlwaysI32 = "currentNumberScheduled",
        number_misscheduled: AlwaysI32 = "numberMisscheduled",
        desired_number_scheduled: AlwaysI32 = "desiredNumberScheduled",
        number_ready: AlwaysI32 = "numberReady",
        observed_generation: i64 = "observedGeneration",
        updated_number_scheduled: i32 = "updatedNumberScheduled",
        number_available: i32 = "numberAvailable",
        number_unavailable: i32 = "numberUnavailable",
        collision_count: Option<i32> = "collisionCount",
        conditions: Vec<Condition> = "conditions",
    }

    /// Keeps pods with names of their own, in order.
    pub struct StatefulSet[Kind::StatefulSet] {
        metadata: ObjectMeta = "metadata",
        spec: StatefulSetSpec = "spec",
        status: StatefulSetStatus = "status",
    }

    /// The desired state of a StatefulSet.
    pub struct StatefulSetSpec {
        /// Absent: 1.
        replicas: Option<i32> = "replicas",
        selector: LabelSelector = "selector",
        template: Shared<PodTemplateSpec> = "template",
        service_name: Str = "serviceName",
        /// `OrderedReady` (the default) or `Parallel`.
        pod_management_policy: Str = "podManagementPolicy",
        update_strategy: StatefulSetUpdateStrategy = "updateStrategy",
        revision_history_limit: Option<i32> = "revisionHistoryLimit",
        min_ready_seconds: i32 = "minReadySeconds",
        ordinals: Option<StatefulSetOrdinals> = "ordinals",
    }

    /// Where the ordinals begin.
    pub struct StatefulSetOrdinals {
        start: i32 = "start",
    }

    /// How pods are replaced: `RollingUpdate` (the default) or `OnDelete`.
    pub struct StatefulSetUpdateStrategy {
        kind: Str = "type",
        rolling_update: Option<RollingUpdateStatefulSet> = "rollingUpdate",
    }

    /// The bounds of a rolling update.
    pub struct RollingUpdateStatefulSet {
        /// Pods of lower ordinals keep their template; absent: 0.
        partition: Option<i32> = "partition",
        /// Pods that may be missing at one time, in number or percent, rounded up; absent: 1.
        max_unavailable: Option<IntOrString> = "maxUnavailable",
    }

    /// The observed state of a StatefulSet.
    pub struct StatefulSetStatus {
        observed_generation: i64 = "observedGeneration",
        replicas: AlwaysI32 = "replicas",
        ready_replicas: i32 = "readyReplicas",
        current_replicas: i32 = "currentReplicas",
        updated_replicas: i32 = "updatedReplicas",
        current_revision: Str = "currentRevision",
        update_revision: Str = "updateRevision",
        collision_count: Option<i32> = "collisionCount",
        conditions: Vec<Condition> = "conditions",
        available_replicas: AlwaysI32 = "availableReplicas",
    }

    /// A template as it was once: `data` is carried as it is written.
    pub struct ControllerRevision[Kind::ControllerRevision] {
        metadata: ObjectMeta = "metadata",
        revision: i64 = "revision",
    }
}

impl StatefulSet {
    /// The wanted number of pods.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// The first ordinal.
    pub fn first_ordinal(&self) -> i32 {
        self.spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start)
    }

    /// The ordinal in the name of a pod; `None`: it is no name of this set's.
    pub fn ordinal_of(&self, pod: &Pod) -> Option<i32> {
        let rest = pod.metadata.name.strip_prefix(self.metadata.name.as_str())?.strip_prefix('-')?;
        let ordinal: i32 = rest.parse().ok().filter(|ordinal| *ordinal >= 0)?;
        (ordinal.to_string() == rest).then_some(ordinal)
    }
}
