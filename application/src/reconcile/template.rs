//! Pods of a template: what every controller makes alike.

use super::claims::controller_reference;
use steersman_domain::{Pod, PodTemplateSpec, Resource, Str};

/// A pod of the template under a name, managed by its owner.
pub(super) fn pod_of<T: Resource>(owner: &T, template: &PodTemplateSpec, name: Str) -> Pod {
    let meta = owner.meta();
    let mut pod = Pod::default();
    pod.metadata.name = name;
    pod.metadata.generate_name = format!("{}-", meta.name).into();
    pod.metadata.namespace = meta.namespace.clone();
    pod.metadata.labels = template.metadata.labels.clone();
    pod.metadata.annotations = template.metadata.annotations.clone();
    pod.metadata.finalizers = template.metadata.finalizers.clone();
    pod.metadata.owner_references = vec![controller_reference(owner)];
    pod.spec = template.spec.clone();
    pod
}
