//! Nodes.

use super::container::amounts;
use super::path::{Errors, Path};
use crate::{Node, names};
use std::collections::BTreeSet;

/// A node: well-formed taints and amounts.
pub(super) fn check(node: &Node, errors: &mut Errors) {
    let root = Path::root();
    let spec = root.field("spec");
    let list = spec.field("taints");
    let mut seen = BTreeSet::new();
    for (at, taint) in node.spec.taints.iter().enumerate() {
        let path = list.index(at);
        errors.named(&path.field("key"), &taint.key, names::qualified_name(&taint.key));
        errors.named(&path.field("value"), &taint.value, names::label_value(&taint.value));
        errors.one_of(&path.field("effect"), &taint.effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        if !seen.insert((&taint.key, &taint.effect)) {
            errors.duplicate(&path, format!("{}:{}", taint.key, taint.effect));
        }
    }
    let status = root.field("status");
    amounts(&node.status.capacity, &status.field("capacity"), errors);
    amounts(&node.status.allocatable, &status.field("allocatable"), errors);
}

/// A node keeps the address range that it was given.
pub(super) fn update(new: &Node, old: &Node, errors: &mut Errors) {
    if !old.spec.pod_cidr.is_empty() && new.spec.pod_cidr != old.spec.pod_cidr {
        let root = Path::root();
        let spec = root.field("spec");
        errors.forbidden(&spec.field("podCIDR"), "node updates may not change podCIDR except from \"\" to valid");
    }
}
