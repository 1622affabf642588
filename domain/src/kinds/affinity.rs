//! Where pods may go as seen from other pods: affinity, anti-affinity and topology spread, with the parts of their rules that
//! need no cluster.

use crate::entity::entity;
use crate::{LabelSelector, Str};

entity! {
    /// Rules that draw a pod to other pods.
    pub struct PodAffinity {
        required: Vec<PodAffinityTerm> = "requiredDuringSchedulingIgnoredDuringExecution",
        preferred: Vec<WeightedPodAffinityTerm> = "preferredDuringSchedulingIgnoredDuringExecution",
    }

    /// Rules that keep a pod away from other pods.
    pub struct PodAntiAffinity {
        required: Vec<PodAffinityTerm> = "requiredDuringSchedulingIgnoredDuringExecution",
        preferred: Vec<WeightedPodAffinityTerm> = "preferredDuringSchedulingIgnoredDuringExecution",
    }

    /// Pods, and the label of nodes that says which nodes count as one place.
    pub struct PodAffinityTerm {
        /// Absent: no pod.
        label_selector: Option<LabelSelector> = "labelSelector",
        /// Namespaces by name; with no namespace selector and none named: the pod's own.
        namespaces: Vec<Str> = "namespaces",
        topology_key: Str = "topologyKey",
        /// Namespaces by label, beside those named; empty: all.
        namespace_selector: Option<LabelSelector> = "namespaceSelector",
        /// Labels whose values on the incoming pod are added to the selector.
        match_label_keys: Vec<Str> = "matchLabelKeys",
        /// Labels whose values on the incoming pod are excluded.
        mismatch_label_keys: Vec<Str> = "mismatchLabelKeys",
    }

    /// A term with a weight of 1 to 100.
    pub struct WeightedPodAffinityTerm {
        weight: i32 = "weight",
        term: PodAffinityTerm = "podAffinityTerm",
    }

    /// How evenly the pods that a selector matches are spread over the values of a node label.
    pub struct TopologySpreadConstraint {
        /// By how many pods a domain may be above the least filled one, at least 1.
        max_skew: i32 = "maxSkew",
        topology_key: Str = "topologyKey",
        /// `DoNotSchedule` or `ScheduleAnyway`.
        when_unsatisfiable: Str = "whenUnsatisfiable",
        label_selector: Option<LabelSelector> = "labelSelector",
        /// While fewer domains than this are eligible, the least filled one counts as empty.
        min_domains: Option<i32> = "minDomains",
        /// `Honor` (the default): only nodes that the pod's node affinity allows count; `Ignore`: all.
        node_affinity_policy: Option<Str> = "nodeAffinityPolicy",
        /// `Honor`: nodes with untolerated taints do not count; `Ignore` (the default): they do.
        node_taints_policy: Option<Str> = "nodeTaintsPolicy",
        /// Labels whose values on the pod are added to the selector.
        match_label_keys: Vec<Str> = "matchLabelKeys",
    }
}

impl TopologySpreadConstraint {
    /// Whether a node that would break the constraint is refused, or only liked less.
    pub fn is_hard(&self) -> bool {
        self.when_unsatisfiable != "ScheduleAnyway"
    }

    /// Whether nodes that the pod's node affinity refuses are left out of the count.
    pub fn honors_affinity(&self) -> bool {
        self.node_affinity_policy.as_deref() != Some("Ignore")
    }

    /// Whether nodes with taints that the pod does not tolerate are left out of the count.
    pub fn honors_taints(&self) -> bool {
        self.node_taints_policy.as_deref() == Some("Honor")
    }
}
