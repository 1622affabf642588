//! Where pods may go: node affinity, taints and tolerations, with their matching rules.

use crate::entity::entity;
use crate::selector::Requirement;
use crate::{LabelSelectorRequirement, Map, PodAffinity, PodAntiAffinity, Shared, Str, Time};

entity! {
    /// Rules about where a pod may or should run.
    pub struct Affinity {
        node_affinity: Option<Shared<NodeAffinity>> = "nodeAffinity",
        pod_affinity: Option<Shared<PodAffinity>> = "podAffinity",
        pod_anti_affinity: Option<Shared<PodAntiAffinity>> = "podAntiAffinity",
    }

    /// Rules about nodes.
    pub struct NodeAffinity {
        required: Option<NodeSelector> = "requiredDuringSchedulingIgnoredDuringExecution",
        preferred: Vec<PreferredSchedulingTerm> = "preferredDuringSchedulingIgnoredDuringExecution",
    }

    /// Terms of which one must match.
    pub struct NodeSelector {
        node_selector_terms: Vec<NodeSelectorTerm> = "nodeSelectorTerms",
    }

    /// Requirements which must all match. An empty term matches nothing.
    pub struct NodeSelectorTerm {
        match_expressions: Vec<LabelSelectorRequirement> = "matchExpressions",
        match_fields: Vec<LabelSelectorRequirement> = "matchFields",
    }

    /// A term with a weight of 1 to 100.
    pub struct PreferredSchedulingTerm {
        weight: i32 = "weight",
        preference: NodeSelectorTerm = "preference",
    }

    /// A mark on a node that repels pods which do not tolerate it.
    pub struct Taint {
        key: Str = "key",
        value: Str = "value",
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
        effect: Str = "effect",
        time_added: Option<Time> = "timeAdded",
    }

    /// What a pod tolerates.
    pub struct Toleration {
        key: Str = "key",
        /// `Equal` (the default), `Exists`.
        operator: Str = "operator",
        value: Str = "value",
        /// Empty: every effect.
        effect: Str = "effect",
        /// How long a `NoExecute` taint is tolerated, in seconds; absent: for ever.
        toleration_seconds: Option<i64> = "tolerationSeconds",
    }
}

impl Toleration {
    /// Whether the taint is tolerated.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match self.operator.as_str() {
            "Exists" => true,
            _ => !self.key.is_empty() && self.value == taint.value,
        };
        effect && key && value
    }
}

/// The first taint that repels (`NoSchedule`, `NoExecute`) and is not tolerated.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Shared<Toleration>]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute")
        .find(|taint| !tolerations.iter().any(|t| t.tolerates(taint)))
}

impl NodeSelectorTerm {
    /// Whether a node of this name and these labels fulfils the term. Requirements that do not parse match nothing.
    pub fn matches(&self, node: &str, labels: &Map<Str>) -> bool {
        if self.match_expressions.is_empty() && self.match_fields.is_empty() {
            return false;
        }
        let holds = |r: &LabelSelectorRequirement, labels: &Map<Str>| {
            Requirement::new(&r.key, &r.operator, &r.values).is_ok_and(|r| r.matches(labels))
        };
        self.match_expressions.iter().all(|r| holds(r, labels))
            && self.match_fields.iter().all(|r| {
                let fields: Map<Str> = [("metadata.name", Str::from(node))].into_iter().collect();
                holds(r, &fields)
            })
    }
}

impl NodeSelector {
    /// Whether one of the terms matches.
    pub fn matches(&self, node: &str, labels: &Map<Str>) -> bool {
        self.node_selector_terms.iter().any(|t| t.matches(node, labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_match_taints() {
        let taint = Taint { key: "gpu".into(), value: "yes".into(), effect: "NoSchedule".into(), ..Taint::default() };
        let with = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: key.into(),
            operator: operator.into(),
            value: value.into(),
            effect: effect.into(),
            ..Toleration::default()
        };
        assert!(with("gpu", "Equal", "yes", "NoSchedule").tolerates(&taint));
        assert!(with("gpu", "", "yes", "").tolerates(&taint));
        assert!(with("", "Exists", "", "").tolerates(&taint));
        assert!(!with("gpu", "Equal", "no", "").tolerates(&taint));
        assert!(!with("gpu", "Exists", "", "NoExecute").tolerates(&taint));
        assert!(untolerated(&[taint], &[]).is_some());
    }
}
