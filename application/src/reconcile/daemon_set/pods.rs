//! The pods that a DaemonSet makes.

use crate::driver::world::World;
use crate::reconcile::fnv64;
use crate::reconcile::revisions::Revision;
use crate::reconcile::template::pod_of;
use std::sync::Arc;
use steersman_domain::{
    Affinity, DaemonSet, LabelSelectorRequirement, NodeAffinity, NodeSelector, NodeSelectorTerm, Pod, REVISION_HASH,
    Shared, Str, Toleration, names,
};

/// What pods of every DaemonSet tolerate: troubles of the node are no reason to leave it.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// The field by which a rule names a node.
const NAME: &str = "metadata.name";

/// The tolerations of the template, and those of every DaemonSet.
pub(super) fn tolerations(set: &DaemonSet) -> Vec<Shared<Toleration>> {
    let mut all = set.spec.template.spec.tolerations.clone();
    for (key, effect) in TOLERATED {
        let toleration = Toleration {
            key: Str::new_static(key),
            operator: Str::new_static("Exists"),
            effect: Str::new_static(effect),
            ..Toleration::default()
        };
        if all.iter().all(|known| **known != toleration) {
            all.push(Arc::new(toleration));
        }
    }
    all
}

/// The node that the rule of an unbound pod names.
pub(super) fn named_node(pod: &Pod) -> Option<Str> {
    let required = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| &term.match_fields);
    fields.filter(|field| field.key == NAME && field.operator == "In").find_map(|field| field.values.first().cloned())
}

/// The pod for a node, whose pods have had so many names. It has the same name until it is seen, so that a creation that is
/// repeated meets the pod.
pub(super) fn for_node(set: &DaemonSet, revision: &Revision, (node, used): (&Str, u64), world: &World) -> Pod {
    let prefix = format!("{}-", set.metadata.name);
    let name = (used..)
        .map(|attempt| {
            let random = fnv64(&[set.metadata.uid.as_str(), node, &attempt.to_string()]);
            Str::from(names::generated(&prefix, &names::suffix(random)))
        })
        .find(|name| world.get::<Pod>(&set.metadata.namespace, name).is_none());
    let mut pod = pod_of(set, &revision.template, name.unwrap_or_default());
    pod.metadata.labels.insert(REVISION_HASH, revision.hash.clone());
    pod.spec.tolerations = tolerations(set);
    pod.spec.affinity = Some(Arc::new(only(pod.spec.affinity.as_deref(), node)));
    pod
}

/// The affinity of the template, but for one node only.
fn only(affinity: Option<&Affinity>, node: &Str) -> Affinity {
    let field = LabelSelectorRequirement {
        key: Str::new_static(NAME),
        operator: Str::new_static("In"),
        values: vec![node.clone()],
        ..LabelSelectorRequirement::default()
    };
    let term = NodeSelectorTerm { match_fields: vec![field], ..NodeSelectorTerm::default() };
    let mut affinity = affinity.cloned().unwrap_or_default();
    let mut rules = affinity.node_affinity.as_deref().cloned().unwrap_or_else(NodeAffinity::default);
    rules.required = Some(NodeSelector { node_selector_terms: vec![term], ..NodeSelector::default() });
    affinity.node_affinity = Some(Arc::new(rules));
    affinity
}
