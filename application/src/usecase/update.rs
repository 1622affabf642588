//! Updating objects, part by part.

use super::bind::precondition_uid;
use super::create::{absorb_string_data, immutable};
use super::node_port;
use super::parts;
use super::round::{MODIFIED, Plan, Round, at_revision, key_of};
use super::service::keep_address;
use crate::client::{ApiError, Part};
use std::sync::Arc;
use steersman_domain::validate::{FieldError, FieldErrorKind, validate_update};
use steersman_domain::{Object, ObjectMeta, Stored, Time};

impl Round<'_> {
    /// Replaces a part of an object. An update that changes nothing makes no revision; one that takes the last finalizer
    /// off an object which is being deleted removes it.
    pub(super) async fn plan_update(&mut self, mut new: Object, part: Part) -> Result<Plan, ApiError> {
        let key = key_of(&new);
        if !key.kind.info().served {
            return Err(ApiError::BadRequest(format!("{} objects are kept by the server itself", key.kind)));
        }
        let old = self.stored(&key).await?;
        check_preconditions(&old, new.meta())?;
        parts::complete(&mut new, &old.object, part)?;
        at_revision(&mut new, old.revision);
        let mut errors = merge_meta(new.meta_mut(), old.object.meta());
        match (&mut new, &old.object) {
            (Object::Service(new), Object::Service(old)) if part == Part::Main => {
                let new = Arc::make_mut(new);
                errors.extend(keep_address(new, old));
                node_port::keep(new, old);
            }
            (Object::Secret(new), Object::Secret(_)) if !new.string_data.is_empty() => {
                absorb_string_data(Arc::make_mut(new));
            }
            _ => {}
        }
        if new == old.object {
            return Ok(Plan::Nothing(old));
        }
        errors.extend(validate_update(&new, &old.object));
        if !errors.is_empty() {
            return Err(ApiError::Invalid { key, errors });
        }
        if is_free_to_go(&new) {
            return self.plan_removal(old).await;
        }
        if parts::desired_changed(&new, &old.object) {
            new.meta_mut().generation = old.object.meta().generation + 1;
        }
        let book = match (&mut new, &old.object) {
            (Object::Pod(new), Object::Pod(old)) if new.is_terminal() => self.release_pod(old).await?,
            (Object::Service(new), Object::Service(old)) if part == Part::Main => {
                match self.settle_node_ports(Arc::make_mut(new), Some(old)).await? {
                    Ok(book) => book,
                    Err(error) => return Err(ApiError::Invalid { key, errors: vec![error] }),
                }
            }
            _ => None,
        };
        Ok(Plan::replace(&old, new, book))
    }
}

fn check_preconditions(old: &Stored, new: &ObjectMeta) -> Result<(), ApiError> {
    let conflict = |message: String| Err(ApiError::Conflict { key: old.key.clone(), message });
    let found = &old.object.meta().uid;
    if !new.uid.0.is_empty() && new.uid != *found {
        return conflict(precondition_uid(&new.uid, found));
    }
    if new.resource_version.0 != 0 && new.resource_version != old.revision {
        return conflict(MODIFIED.into());
    }
    Ok(())
}

/// The metadata that only the server writes stays; what tries to change it is refused.
fn merge_meta(new: &mut ObjectMeta, old: &ObjectMeta) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut fixed = |path: &str, new: Option<Time>, old: Option<Time>| {
        if new.is_some() && new.map(Time::truncated) != old.map(Time::truncated) {
            errors.push(immutable(path));
        }
    };
    fixed("metadata.creationTimestamp", new.creation_timestamp, old.creation_timestamp);
    fixed("metadata.deletionTimestamp", new.deletion_timestamp, old.deletion_timestamp);
    if new.deletion_grace_period_seconds.is_some()
        && new.deletion_grace_period_seconds != old.deletion_grace_period_seconds
    {
        errors.push(immutable("metadata.deletionGracePeriodSeconds"));
    }
    new.uid = old.uid.clone();
    new.creation_timestamp = old.creation_timestamp;
    new.deletion_timestamp = old.deletion_timestamp;
    new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    new.generation = old.generation;
    if old.is_deleting() {
        let added: Vec<&str> =
            new.finalizers.iter().filter(|f| !old.finalizers.contains(f)).map(|f| f.as_str()).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.push(FieldError::new(FieldErrorKind::Forbidden, "metadata.finalizers", detail));
        }
    }
    errors
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(super) fn is_free_to_go(object: &Object) -> bool {
    let meta = object.meta();
    let held = match object {
        Object::Namespace(namespace) => !namespace.spec.finalizers.is_empty(),
        _ => false,
    };
    meta.is_deleting() && meta.finalizers.is_empty() && meta.deletion_grace_period_seconds.unwrap_or(0) == 0 && !held
}
