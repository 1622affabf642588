//! Budgets for disruptions.

use super::workload::IntOrString;
use crate::entity::entity;
use crate::selector::Selector;
use crate::{AlwaysI32, Condition, Kind, LabelSelector, Map, ObjectMeta, Pod, Str, Time};

entity! {
    /// How many pods of a kind may be missing because somebody wills it.
    pub struct PodDisruptionBudget[Kind::PodDisruptionBudget] {
        metadata: ObjectMeta = "metadata",
        spec: PodDisruptionBudgetSpec = "spec",
        status: PodDisruptionBudgetStatus = "status",
    }

    /// The budget; one of the two bounds.
    pub struct PodDisruptionBudgetSpec {
        /// Pods that must be healthy, in number or percent, rounded up.
        min_available: Option<IntOrString> = "minAvailable",
        /// Absent: no pod; empty: every pod of the namespace.
        selector: Option<LabelSelector> = "selector",
        /// Pods that may be missing, in number or percent, rounded up.
        max_unavailable: Option<IntOrString> = "maxUnavailable",
        /// `IfHealthyBudget` (the default) or `AlwaysAllow`: when pods that are not healthy may be evicted.
        unhealthy_pod_eviction_policy: Str = "unhealthyPodEvictionPolicy",
    }

    /// What is left of it.
    pub struct PodDisruptionBudgetStatus {
        observed_generation: i64 = "observedGeneration",
        /// Pods whose eviction is on its way, and since when.
        disrupted_pods: Map<Time> = "disruptedPods",
        disruptions_allowed: AlwaysI32 = "disruptionsAllowed",
        current_healthy: AlwaysI32 = "currentHealthy",
        desired_healthy: AlwaysI32 = "desiredHealthy",
        expected_pods: AlwaysI32 = "expectedPods",
        conditions: Vec<Condition> = "conditions",
    }
}

impl PodDisruptionBudget {
    /// Whether the budget covers a pod of its namespace.
    pub fn covers(&self, pod: &Pod) -> bool {
        let selector = self.spec.selector.as_ref();
        selector.is_some_and(|s| Selector::from_labels(s).is_ok_and(|s| s.matches(&pod.metadata.labels)))
    }

    /// Whether pods that are not healthy may be evicted whatever the budget.
    pub fn always_allows_unhealthy(&self) -> bool {
        self.spec.unhealthy_pod_eviction_policy == Str::new_static("AlwaysAllow")
    }
}
