//! The pods that a StatefulSet makes.

use crate::reconcile::claims::controller_reference;
use crate::reconcile::revisions::Revision;
use steersman_domain::{POD_INDEX, Pod, REVISION_HASH, STATEFUL_SET_POD_NAME, StatefulSet, Str};

/// The pod of an ordinal.
pub(super) fn of_ordinal(set: &StatefulSet, revision: &Revision, ordinal: i32) -> Pod {
    let name = Str::from(format!("{}-{ordinal}", set.metadata.name));
    let template = &revision.template;
    let mut pod = Pod::default();
    pod.metadata.name = name.clone();
    pod.metadata.generate_name = format!("{}-", set.metadata.name).into();
    pod.metadata.namespace = set.metadata.namespace.clone();
    pod.metadata.labels = template.metadata.labels.clone();
    pod.metadata.labels.insert(REVISION_HASH, revision.name.clone());
    pod.metadata.labels.insert(STATEFUL_SET_POD_NAME, name.clone());
    pod.metadata.labels.insert(POD_INDEX, ordinal.to_string().into());
    pod.metadata.annotations = template.metadata.annotations.clone();
    pod.metadata.finalizers = template.metadata.finalizers.clone();
    pod.metadata.owner_references = vec![controller_reference(set)];
    pod.spec = template.spec.clone();
    pod.spec.hostname = name;
    pod.spec.subdomain = set.spec.service_name.clone();
    pod
}
