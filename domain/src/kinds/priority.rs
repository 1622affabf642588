//! Priorities of pods.

use crate::entity::entity;
use crate::{Kind, ObjectMeta, Str};

entity! {
    /// A name for a priority. Pods of a higher one are scheduled first, and may take the place of pods of a lower one.
    pub struct PriorityClass[Kind::PriorityClass] {
        metadata: ObjectMeta = "metadata",
        /// At most 1,000,000,000 for classes that are not the system's.
        value: i32 = "value",
        /// Whether pods that name no class get this one; one class at most.
        global_default: bool = "globalDefault",
        description: Str = "description",
        /// `PreemptLowerPriority` (the default) or `Never`.
        preemption_policy: Option<Str> = "preemptionPolicy",
    }
}

/// The highest priority of a class that is not the system's.
pub const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;

/// The classes that every cluster has: name, priority.
pub const SYSTEM_PRIORITY_CLASSES: &[(&str, i32)] =
    &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
