//! Deleting objects: preconditions, grace, finalizers, propagation. The collection of dependents is the garbage
//! collector's, the emptying of namespaces the namespace controller's, the ending of processes the node agent's.
//! Source of the rules: `k8s.io/apiserver/pkg/registry/rest/delete.go` and `registry/generic/registry/store.go`.

use super::bind::precondition_uid;
use super::bootstrap::SYSTEM_NAMESPACES;
use super::round::{Plan, Round, unchanged};
use super::update::is_free_to_go;
use crate::client::{ApiError, DeleteOptions, Propagation};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::Op;
use steersman_domain::{Key, Kind, Object, ObjectMeta, Pod, Stored, Str, Time};

/// The finalizer that waits until dependents without an owner are on their own.
const ORPHAN: &str = "orphan";
/// The finalizer that waits until blocking dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";

impl Round<'_> {
    /// Deletes, or begins to.
    pub(super) async fn plan_delete(&mut self, key: &Key, options: &DeleteOptions) -> Result<Plan, ApiError> {
        if !key.kind.info().served {
            return Err(ApiError::BadRequest(format!("{} objects are kept by the server itself", key.kind)));
        }
        let old = self.stored(key).await?;
        check_preconditions(&old, options)?;
        if key.kind == Kind::Namespace && SYSTEM_NAMESPACES.contains(&key.name.as_str()) {
            let message = "this namespace may not be deleted".into();
            return Err(ApiError::Forbidden { key: key.clone(), message });
        }
        let mut new = old.object.clone();
        begin(&mut new, options, self.now);
        if is_free_to_go(&new) {
            return self.plan_removal(old).await;
        }
        if new == old.object {
            return Ok(Plan::Nothing(old));
        }
        Ok(Plan::replace(&old, new, None))
    }

    /// Removes an object, and frees in the same transaction what it held.
    pub(super) async fn plan_removal(&mut self, old: Arc<Stored>) -> Result<Plan, ApiError> {
        let book = match &old.object {
            Object::Pod(pod) => self.release_pod(pod).await?,
            Object::Service(service) => self.release_address(service).await?,
            Object::Node(node) => {
                let index = self.open_node_book(&node.metadata.name).await?;
                if let Some(book) = self.book(index) {
                    // A ledger with pods in it outlives its node, so that the node can come back under its name.
                    if book.node().is_some_and(|(ledger, _)| ledger.allocated.pods == 0) {
                        book.discard();
                    }
                }
                Some(index)
            }
            _ => None,
        };
        let preconditions = vec![unchanged(&old)];
        Ok(Plan::Change { op: Op::Delete(old.key.clone()), preconditions, book })
    }
}

fn check_preconditions(old: &Stored, options: &DeleteOptions) -> Result<(), ApiError> {
    let conflict = |message: String| Err(ApiError::Conflict { key: old.key.clone(), message });
    let found = &old.object.meta().uid;
    if let Some(wanted) = options.uid.as_ref().filter(|w| *w != found) {
        return conflict(precondition_uid(wanted, found));
    }
    if let Some(wanted) = options.resource_version.filter(|w| *w != old.revision) {
        return conflict(format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
            old.revision
        ));
    }
    Ok(())
}

/// Marks an object as being deleted, with the grace and the finalizers that apply.
fn begin(object: &mut Object, options: &DeleteOptions, now: Time) {
    let grace = match &*object {
        Object::Pod(pod) => pod_grace(pod, options.grace_period_seconds),
        _ => 0,
    };
    let finalizers = finalizers(object.meta(), options.propagation);
    if object.meta().finalizers != finalizers {
        object.meta_mut().finalizers = finalizers;
    }
    match (object.meta().deletion_timestamp, object.meta().deletion_grace_period_seconds.unwrap_or(0)) {
        (None, _) => {
            let meta = object.meta_mut();
            meta.deletion_timestamp = Some(later(now, grace).truncated());
            meta.deletion_grace_period_seconds = Some(grace);
            if meta.generation > 0 {
                meta.generation += 1;
            }
        }
        // A second request may only bring the end nearer.
        (Some(at), before) if grace < before => {
            let asked = at.micros() - (before - grace) * 1_000_000;
            let meta = object.meta_mut();
            meta.deletion_timestamp = Some(Time::from_micros(asked.max(now.truncated().micros())));
            meta.deletion_grace_period_seconds = Some(grace);
        }
        (Some(_), _) => {}
    }
    if let Object::Namespace(namespace) = object
        && namespace.status.phase != "Terminating"
    {
        Arc::make_mut(namespace).status.phase = "Terminating".into();
    }
}

fn later(now: Time, secs: i64) -> Time {
    now.after(Duration::from_secs(u64::try_from(secs).unwrap_or(0)))
}

/// How long a pod may take to end, in seconds: nothing when no agent has it, or when it has ended.
fn pod_grace(pod: &Pod, asked: Option<i64>) -> i64 {
    if pod.spec.node_name.is_empty() || pod.is_terminal() {
        return 0;
    }
    match asked {
        None => pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| pod.grace_seconds()),
        // A negative grace means "as short as it can be ended in order".
        Some(secs) if secs < 0 => 1,
        Some(secs) => secs,
    }
}

/// The finalizers after a deletion was asked for with a propagation policy.
fn finalizers(meta: &ObjectMeta, propagation: Option<Propagation>) -> Vec<Str> {
    let Some(policy) = propagation else { return meta.finalizers.clone() };
    let mut list: Vec<Str> = meta.finalizers.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    match policy {
        Propagation::Background => {}
        Propagation::Foreground => list.push(FOREGROUND.into()),
        Propagation::Orphan => list.push(ORPHAN.into()),
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_000);

    fn bound_pod() -> Object {
        let mut pod = Pod::default();
        pod.metadata.name = "a".into();
        pod.spec.node_name = "n".into();
        Object::Pod(Arc::new(pod))
    }

    fn ask(object: &mut Object, grace: Option<i64>, now: Time) -> (i64, Option<i64>) {
        begin(object, &DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() }, now);
        let meta = object.meta();
        (meta.deletion_timestamp.map_or(0, Time::secs), meta.deletion_grace_period_seconds)
    }

    #[test]
    fn a_second_request_only_shortens() {
        let mut pod = bound_pod();
        assert_eq!(ask(&mut pod, None, NOW), (1030, Some(30)));
        assert_eq!(ask(&mut pod, Some(60), NOW), (1030, Some(30)));
        assert_eq!(ask(&mut pod, None, NOW), (1030, Some(30)));
        assert_eq!(ask(&mut pod, Some(10), NOW), (1010, Some(10)));
        assert!(!is_free_to_go(&pod));
        ask(&mut pod, Some(0), NOW);
        assert!(is_free_to_go(&pod));
    }

    #[test]
    fn an_unbound_or_ended_pod_needs_no_grace() {
        let mut unbound = Object::Pod(Arc::new(Pod::default()));
        ask(&mut unbound, None, NOW);
        assert!(is_free_to_go(&unbound));
    }

    #[test]
    fn propagation_is_kept_by_finalizers() {
        let mut object = Object::decode(Kind::Deployment, br#"{"metadata":{"name":"a","finalizers":["x/y"]}}"#)
            .expect("a deployment");
        let with = |p| DeleteOptions { propagation: Some(p), ..DeleteOptions::default() };
        begin(&mut object, &with(Propagation::Foreground), NOW);
        assert_eq!(object.meta().finalizers, ["x/y", FOREGROUND]);
        begin(&mut object, &with(Propagation::Orphan), NOW);
        assert_eq!(object.meta().finalizers, ["x/y", ORPHAN]);
        begin(&mut object, &DeleteOptions::default(), NOW);
        assert_eq!(object.meta().finalizers, ["x/y", ORPHAN]);
        begin(&mut object, &with(Propagation::Background), NOW);
        assert_eq!(object.meta().finalizers, ["x/y"]);
    }
}
