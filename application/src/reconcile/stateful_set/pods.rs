//! The pods that a StatefulSet makes.

use crate::reconcile::revisions::Revision;
use crate::reconcile::template::pod_of;
use steersman_domain::{POD_INDEX, Pod, REVISION_HASH, STATEFUL_SET_POD_NAME, StatefulSet, Str};

/// The pod of an ordinal.
pub(super) fn of_ordinal(set: &StatefulSet, revision: &Revision, ordinal: i32) -> Pod {
    let name = Str::from(format!("{}-{ordinal}", set.metadata.name));
    let mut pod = pod_of(set, &revision.template, name.clone());
    pod.metadata.labels.insert(REVISION_HASH, revision.name.clone());
    pod.metadata.labels.insert(STATEFUL_SET_POD_NAME, name.clone());
    pod.metadata.labels.insert(POD_INDEX, ordinal.to_string().into());
    pod.spec.hostname = name;
    pod.spec.subdomain = set.spec.service_name.clone();
    pod
}
