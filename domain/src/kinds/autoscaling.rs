//! Autoscalers of workloads.

use crate::entity::entity;
use crate::{AlwaysI32, Condition, Kind, ObjectMeta, Quantity, Str, Time};

entity! {
    /// Keeps the replicas of a workload at a number that its metrics ask for.
    pub struct HorizontalPodAutoscaler[Kind::HorizontalPodAutoscaler] {
        metadata: ObjectMeta = "metadata",
        spec: HorizontalPodAutoscalerSpec = "spec",
        status: HorizontalPodAutoscalerStatus = "status",
    }

    /// What is scaled, between which bounds, and by what.
    pub struct HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossReference = "scaleTargetRef",
        /// Absent: 1.
        min_replicas: Option<i32> = "minReplicas",
        max_replicas: i32 = "maxReplicas",
        /// The one that asks for the most replicas counts.
        metrics: Vec<MetricSpec> = "metrics",
        behavior: Option<ScalingBehavior> = "behavior",
    }

    /// One metric and its target.
    pub struct MetricSpec {
        /// `Resource`, `ContainerResource`, `Pods`, `Object` or `External`.
        kind: Str = "type",
        resource: Option<ResourceMetricSource> = "resource",
        container_resource: Option<ContainerResourceMetricSource> = "containerResource",
    }

    /// What all containers of a pod use of a resource.
    pub struct ResourceMetricSource {
        name: Str = "name",
        target: MetricTarget = "target",
    }

    /// What one container of a pod uses of a resource.
    pub struct ContainerResourceMetricSource {
        name: Str = "name",
        container: Str = "container",
        target: MetricTarget = "target",
    }

    /// What a metric should be.
    pub struct MetricTarget {
        /// `Utilization`, `AverageValue` or `Value`.
        kind: Str = "type",
        value: Option<Quantity> = "value",
        average_value: Option<Quantity> = "averageValue",
        /// Percent of what pods request.
        average_utilization: Option<i32> = "averageUtilization",
    }

    /// How fast it is scaled.
    pub struct ScalingBehavior {
        scale_up: Option<ScalingRules> = "scaleUp",
        scale_down: Option<ScalingRules> = "scaleDown",
    }

    /// How fast it is scaled in one direction.
    pub struct ScalingRules {
        /// For how many seconds a recommendation holds against those that would scale further.
        stabilization_window_seconds: Option<i32> = "stabilizationWindowSeconds",
        /// Which policy counts: `Max` (the default), `Min`, or `Disabled`.
        select_policy: Str = "selectPolicy",
        policies: Vec<ScalingPolicy> = "policies",
        /// By which part of the target a metric may miss it; absent: 0.1.
        tolerance: Option<Quantity> = "tolerance",
    }

    /// How much may change within how long.
    pub struct ScalingPolicy {
        /// `Pods` or `Percent`.
        kind: Str = "type",
        value: i32 = "value",
        period_seconds: i32 = "periodSeconds",
    }

    /// What the autoscaler did last.
    pub struct HorizontalPodAutoscalerStatus {
        observed_generation: Option<i64> = "observedGeneration",
        last_scale_time: Option<Time> = "lastScaleTime",
        current_replicas: i32 = "currentReplicas",
        desired_replicas: AlwaysI32 = "desiredReplicas",
        current_metrics: Vec<MetricStatus> = "currentMetrics",
        conditions: Vec<Condition> = "conditions",
    }

    /// What a metric is.
    pub struct MetricStatus {
        kind: Str = "type",
        resource: Option<ResourceMetricStatus> = "resource",
        container_resource: Option<ContainerResourceMetricStatus> = "containerResource",
    }

    /// What pods use of a resource.
    pub struct ResourceMetricStatus {
        name: Str = "name",
        current: MetricValueStatus = "current",
    }

    /// What a container of each pod uses of a resource.
    pub struct ContainerResourceMetricStatus {
        name: Str = "name",
        container: Str = "container",
        current: MetricValueStatus = "current",
    }

    /// The value of a metric.
    pub struct MetricValueStatus {
        value: Option<Quantity> = "value",
        average_value: Option<Quantity> = "averageValue",
        average_utilization: Option<i32> = "averageUtilization",
    }
}

entity! {
    /// A reference to an object of the same namespace, by kind and name.
    pub struct CrossReference {
        kind: Str = "kind",
        name: Str = "name",
        api_version: Str = "apiVersion",
    }
}

impl HorizontalPodAutoscaler {
    /// The fewest replicas.
    pub fn min_replicas(&self) -> i32 {
        self.spec.min_replicas.unwrap_or(1)
    }
}
