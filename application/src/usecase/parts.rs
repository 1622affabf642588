//! The parts of objects: which kinds have a status, what an update of one part keeps of the others, and when the desired
//! state has changed.

use crate::client::{ApiError, Part};
use std::sync::Arc;
use steersman_domain::{Kind, Object};

/// Whether objects of the kind count the changes of their desired state.
pub(super) fn has_generation(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::DaemonSet
            | Kind::StatefulSet
            | Kind::CronJob
            | Kind::Job
            | Kind::PodDisruptionBudget
            | Kind::HorizontalPodAutoscaler
            | Kind::EndpointSlice
    )
}

macro_rules! with_status {
    ($($kind:ident),*) => {
        /// Whether the kind has a status that is written apart.
        pub(super) fn has_status(kind: Kind) -> bool {
            matches!(kind, $(Kind::$kind)|*)
        }

        fn copy_status(to: &mut Object, from: &Object) {
            match (to, from) {
                $((Object::$kind(to), Object::$kind(from)) if to.status != from.status => {
                    Arc::make_mut(to).status = from.status.clone();
                })*
                _ => {}
            }
        }

        /// Forgets the status that a client wrote into an object to be created. A node's status is its agent's
        /// registration and stays.
        pub(super) fn clear_status(object: &mut Object) {
            if object.kind() == Kind::Node {
                return;
            }
            match object {
                $(Object::$kind(o) if o.status != Default::default() => {
                    Arc::make_mut(o).status = Default::default();
                })*
                _ => {}
            }
        }
    };
}
with_status!(
    Namespace,
    Node,
    Service,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
    Deployment,
    ReplicaSet,
    DaemonSet,
    StatefulSet,
    CronJob,
    Job,
    Pod
);

/// Completes an update of one part with the other parts as they are stored.
pub(super) fn complete(new: &mut Object, old: &Object, part: Part) -> Result<(), ApiError> {
    match part {
        Part::Main => {
            copy_status(new, old);
            if let (Object::Namespace(new), Object::Namespace(old)) = (new, old)
                && new.spec.finalizers != old.spec.finalizers
            {
                Arc::make_mut(new).spec.finalizers = old.spec.finalizers.clone();
            }
            Ok(())
        }
        Part::Status if has_status(old.kind()) => {
            let mut whole = old.clone();
            copy_status(&mut whole, new);
            let (labels, annotations) = (&new.meta().labels, &new.meta().annotations);
            if *labels != old.meta().labels || *annotations != old.meta().annotations {
                let meta = whole.meta_mut();
                meta.labels = labels.clone();
                meta.annotations = annotations.clone();
            }
            *new = whole;
            Ok(())
        }
        Part::Finalize if old.kind() == Kind::Namespace => {
            let mut whole = old.clone();
            if let (Object::Namespace(whole), Object::Namespace(new)) = (&mut whole, &*new) {
                Arc::make_mut(whole).spec.finalizers = new.spec.finalizers.clone();
            }
            *new = whole;
            Ok(())
        }
        Part::Status => Err(ApiError::BadRequest(format!("{} has no status", old.kind()))),
        Part::Finalize => Err(ApiError::BadRequest(format!("{} has no finalize subresource", old.kind()))),
    }
}

/// Whether the desired state differs, so that the generation moves on.
pub(super) fn desired_changed(new: &Object, old: &Object) -> bool {
    match (new, old) {
        (Object::Pod(n), Object::Pod(o)) => n.spec != o.spec,
        // A deployment's annotations are copied to its replica sets, so they count.
        (Object::Deployment(n), Object::Deployment(o)) => {
            n.spec != o.spec || n.metadata.annotations != o.metadata.annotations
        }
        (Object::ReplicaSet(n), Object::ReplicaSet(o)) => n.spec != o.spec,
        (Object::DaemonSet(n), Object::DaemonSet(o)) => n.spec != o.spec,
        (Object::StatefulSet(n), Object::StatefulSet(o)) => n.spec != o.spec,
        (Object::PodDisruptionBudget(n), Object::PodDisruptionBudget(o)) => n.spec != o.spec,
        (Object::HorizontalPodAutoscaler(n), Object::HorizontalPodAutoscaler(o)) => n.spec != o.spec,
        (Object::CronJob(n), Object::CronJob(o)) => n.spec != o.spec,
        (Object::Job(n), Object::Job(o)) => n.spec != o.spec,
        (Object::EndpointSlice(n), Object::EndpointSlice(o)) => {
            n.endpoints != o.endpoints || n.ports != o.ports || n.metadata.labels != o.metadata.labels
        }
        _ => false,
    }
}
