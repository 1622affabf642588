//! RuntimeClasses, leases and events.

use super::path::{Errors, Path};
use crate::{Event, Lease, RuntimeClass, names};

/// A RuntimeClass names a handler.
pub(super) fn runtime_class(class: &RuntimeClass, errors: &mut Errors) {
    let root = Path::root();
    if class.handler.is_empty() {
        errors.required(&root.field("handler"), "");
    } else {
        errors.named(&root.field("handler"), &class.handler, names::label(&class.handler));
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
