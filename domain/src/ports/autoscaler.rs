//! The decision port of autoscaling: how many replicas a workload should have. Synchronous and pure over a snapshot.

use crate::{HorizontalPodAutoscaler, MetricStatus, Pod, Time};
use std::sync::Arc;
use std::time::Duration;

/// What a pod was measured to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMetrics {
    /// When the window of the measurement ended.
    pub at: Time,
    /// How long it was.
    pub window: Duration,
    /// Name, cpu in thousandths of a core, memory in bytes where it is known, of each container.
    pub containers: Vec<(crate::Str, i64, Option<i64>)>,
}

/// All that a decision about one workload is made of.
#[derive(Clone, Debug)]
pub struct ScaleQuestion<'a> {
    /// The autoscaler.
    pub autoscaler: &'a HorizontalPodAutoscaler,
    /// The replicas that the workload wants.
    pub spec_replicas: i32,
    /// The replicas that it has.
    pub status_replicas: i32,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// What was measured of each of them, in the same order; `None`: nothing.
    pub metrics: &'a [Option<Arc<PodMetrics>>],
    /// What was recommended and done before.
    pub history: &'a ScaleHistory,
    /// Now.
    pub now: Time,
}

/// What an autoscaler remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScaleHistory {
    /// Recommendations, oldest first.
    pub recommendations: Vec<(Time, i32)>,
    /// Replicas added, oldest first.
    pub ups: Vec<(Time, i32)>,
    /// Replicas taken away, oldest first.
    pub downs: Vec<(Time, i32)>,
}

/// A condition of an autoscaler: its name, whether it holds, reason and message.
pub type ScaleCondition = (&'static str, bool, &'static str, String);

/// How many replicas there should be, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleDecision {
    /// The replicas that are wanted; `None`: it cannot be told, and nothing is to change.
    pub replicas: Option<i32>,
    /// What the metrics alone ask for, to be remembered; `None`: they ask for nothing.
    pub recommendation: Option<i32>,
    /// Why, in the words of an event.
    pub reason: String,
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited`, as far as they are known.
    pub conditions: Vec<ScaleCondition>,
    /// What the metrics are.
    pub current: Vec<MetricStatus>,
    /// What went wrong, as reason and message of an event.
    pub failures: Vec<(&'static str, String)>,
}

/// Decides how many replicas a workload should have. Hosts may bring their own.
pub trait AutoScaler: Send + Sync {
    /// The decision; equal questions have equal answers.
    fn decide(&self, question: &ScaleQuestion<'_>) -> ScaleDecision;
}
