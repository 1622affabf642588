//! RuntimeClasses, PriorityClasses, leases and events.

use super::path::{Errors, Path};
use crate::{Event, HIGHEST_USER_PRIORITY, Lease, PriorityClass, RuntimeClass, SYSTEM_PRIORITY_CLASSES, names};

/// A RuntimeClass names a handler.
pub(super) fn runtime_class(class: &RuntimeClass, errors: &mut Errors) {
    let root = Path::root();
    if class.handler.is_empty() {
        errors.required(&root.field("handler"), "");
    } else {
        errors.named(&root.field("handler"), &class.handler, names::label(&class.handler));
    }
    if let Some(overhead) = &class.overhead {
        let path = root.field("overhead");
        super::container::amounts(&overhead.pod_fixed, &path.field("podFixed"), errors);
    }
}

/// What a pod may say about preemption.
pub(super) const PREEMPTION_POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];

/// A PriorityClass stays below the system's, unless it is one of them.
pub(super) fn priority_class(class: &PriorityClass, errors: &mut Errors) {
    let root = Path::root();
    let name = &class.metadata.name;
    let system = SYSTEM_PRIORITY_CLASSES.iter().find(|(system, _)| name == system);
    match system {
        Some((_, value)) if *value != class.value => {
            errors.invalid(&root.field("value"), class.value, format!("the system class {name} has the value {value}"));
        }
        None if name.starts_with("system-") => {
            let metadata = root.field("metadata");
            let detail = "priority class names with 'system-' prefix are reserved for system use only";
            errors.forbidden(&metadata.field("name"), detail);
        }
        None if class.value > HIGHEST_USER_PRIORITY => {
            let detail = format!(
                "maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}: choose a lower one"
            );
            errors.forbidden(&root.field("value"), detail);
        }
        Some(_) | None => {}
    }
    if let Some(policy) = &class.preemption_policy {
        errors.one_of(&root.field("preemptionPolicy"), policy, PREEMPTION_POLICIES);
    }
}

/// A lease lasts some time.
pub(super) fn lease(lease: &Lease, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("spec");
    if let Some(secs) = lease.spec.lease_duration_seconds.filter(|s| *s <= 0) {
        errors.invalid(&path.field("leaseDurationSeconds"), secs, "must be greater than 0");
    }
    errors.not_negative(&path.field("leaseTransitions"), lease.spec.lease_transitions.unwrap_or(0).into());
}

/// An event lies in the namespace of what it is about; of what has none, in `default` or a system namespace.
pub(super) fn event(event: &Event, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("involvedObject");
    let (about, own) = (&event.involved_object.namespace, &event.metadata.namespace);
    let ok = if about.is_empty() { own == "default" || own == "kube-system" } else { about == own };
    if !ok {
        errors.invalid(&path.field("namespace"), about.as_str(), "does not match event.namespace");
    }
}
