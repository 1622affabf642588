//! ReplicaSets and Deployments.

use crate::entity::{Omit, entity};
use crate::{Condition, Kind, LabelSelector, ObjectMeta, PodSpec, Shared, Str};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

entity! {
    /// The pods that a controller creates.
    pub struct PodTemplateSpec {
        metadata: ObjectMeta = "metadata",
        spec: PodSpec = "spec",
    }

    /// Keeps a number of equal pods running.
    pub struct ReplicaSet[Kind::ReplicaSet] {
        metadata: ObjectMeta = "metadata",
        spec: ReplicaSetSpec = "spec",
        status: ReplicaSetStatus = "status",
    }

    /// The desired state of a ReplicaSet.
    pub struct ReplicaSetSpec {
        /// Absent: 1.
        replicas: Option<i32> = "replicas",
        /// Seconds that a pod must be ready to count as available.
        min_ready_seconds: i32 = "minReadySeconds",
        selector: LabelSelector = "selector",
        template: Shared<PodTemplateSpec> = "template",
    }

    /// The observed state of a ReplicaSet.
    pub struct ReplicaSetStatus {
        replicas: AlwaysI32 = "replicas",
        fully_labeled_replicas: i32 = "fullyLabeledReplicas",
        ready_replicas: i32 = "readyReplicas",
        available_replicas: i32 = "availableReplicas",
        observed_generation: i64 = "observedGeneration",
        conditions: Vec<Condition> = "conditions",
    }

    /// Rolls pods from one template to the next through ReplicaSets.
    pub struct Deployment[Kind::Deployment] {
        metadata: ObjectMeta = "metadata",
        spec: DeploymentSpec = "spec",
        status: DeploymentStatus = "status",
    }

    /// The desired state of a Deployment.
    pub struct DeploymentSpec {
        /// Absent: 1.
        replicas: Option<i32> = "replicas",
        selector: LabelSelector = "selector",
        template: Shared<PodTemplateSpec> = "template",
        strategy: DeploymentStrategy = "strategy",
        min_ready_seconds: i32 = "minReadySeconds",
        /// Old ReplicaSets to keep; absent: 10.
        revision_history_limit: Option<i32> = "revisionHistoryLimit",
        paused: bool = "paused",
        /// Seconds without progress after which a rollout counts as failed; absent: 600.
        progress_deadline_seconds: Option<i32> = "progressDeadlineSeconds",
    }

    /// How pods are replaced: `RollingUpdate` (the default) or `Recreate`.
    pub struct DeploymentStrategy {
        kind: Str = "type",
        rolling_update: Option<RollingUpdateDeployment> = "rollingUpdate",
    }

    /// The bounds of a rolling update: numbers of pods or percentages of the replicas. Absent: 25 %.
    pub struct RollingUpdateDeployment {
        /// Rounded down.
        max_unavailable: Option<IntOrString> = "maxUnavailable",
        /// Rounded up.
        max_surge: Option<IntOrString> = "maxSurge",
    }

    /// The observed state of a Deployment.
    pub struct DeploymentStatus {
        observed_generation: i64 = "observedGeneration",
        replicas: i32 = "replicas",
        updated_replicas: i32 = "updatedReplicas",
        ready_replicas: i32 = "readyReplicas",
        available_replicas: i32 = "availableReplicas",
        unavailable_replicas: i32 = "unavailableReplicas",
        conditions: Vec<Condition> = "conditions",
        collision_count: Option<i32> = "collisionCount",
    }
}

impl ReplicaSet {
    /// The wanted number of pods.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
}

impl Deployment {
    /// The wanted number of pods.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
}

/// A count that is written even when it is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AlwaysI32(pub i32);

impl Omit for AlwaysI32 {
    fn omit(&self) -> bool {
        false
    }
}

/// An integer, or a text such as `25%` or a port name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A percentage, or the name of a port.
    Text(Str),
}

impl Default for IntOrString {
    fn default() -> Self {
        IntOrString::Int(0)
    }
}

impl Omit for IntOrString {
    fn omit(&self) -> bool {
        false
    }
}

impl IntOrString {
    /// The number itself, or the percentage of `total`, rounded up or down. `None` when a text is no percentage.
    pub fn scaled(&self, total: i32, round_up: bool) -> Option<i32> {
        match self {
            IntOrString::Int(n) => Some(*n),
            IntOrString::Text(text) => {
                let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
                let product = percent.checked_mul(i64::from(total))?;
                let up = i64::from(round_up && product.rem_euclid(100) != 0);
                i32::try_from(product.div_euclid(100) + up).ok()
            }
        }
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntOrString::Int(n) => n.fmt(f),
            IntOrString::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            IntOrString::Int(n) => serializer.serialize_i32(*n),
            IntOrString::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = IntOrString;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a text")
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<IntOrString, E> {
                i32::try_from(v).map(IntOrString::Int).map_err(|_| E::custom(format!("{v} is out of range")))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<IntOrString, E> {
                i32::try_from(v).map(IntOrString::Int).map_err(|_| E::custom(format!("{v} is out of range")))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<IntOrString, E> {
                Ok(IntOrString::Text(v.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let quarter = IntOrString::Text("25%".into());
        assert_eq!((quarter.scaled(10, true), quarter.scaled(10, false)), (Some(3), Some(2)));
        assert_eq!(IntOrString::Int(4).scaled(10, true), Some(4));
        assert_eq!(IntOrString::Text("x".into()).scaled(10, true), None);
    }
}
