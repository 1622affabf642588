//! Validation: the rules that an object must keep to be stored, with the path and the cause of every breach. The rules and
//! their words are Kubernetes' (`pkg/apis/*/validation`), for the fields that Steersman acts on. What concerns other
//! objects (is the name free, is the address) is not decided here.

mod autoscaling;
mod batch;
mod config;
mod container;
mod meta;
mod misc;
mod node;
mod path;
mod placement;
mod pod;
mod service;
mod sets;
mod workload;

pub use service::NODE_PORTS;

use crate::Object;
use path::{Errors, Path};
use std::fmt;

/// What kind of breach it is; the words are those of Kubernetes' status causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// It must be there and is not.
    Required,
    /// It has a value that it cannot have.
    Invalid,
    /// It has a value that is none of those that are known.
    NotSupported,
    /// It is there twice.
    Duplicate,
    /// It must not be there, or must not change.
    Forbidden,
    /// It is longer than it may be.
    TooLong,
    /// There are more than there may be.
    TooMany,
    /// It names what is not there.
    NotFound,
}

impl FieldErrorKind {
    /// The `reason` of a status cause.
    pub const fn reason(self) -> &'static str {
        match self {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::NotFound => "FieldValueNotFound",
        }
    }

    /// The phrase with which messages begin.
    pub const fn phrase(self) -> &'static str {
        match self {
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Invalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
            FieldErrorKind::NotFound => "Not found",
        }
    }
}

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong with it.
    pub kind: FieldErrorKind,
    /// `spec.template.spec.containers[0].name`.
    pub path: String,
    /// The value as it was given, where it helps.
    pub value: Option<String>,
    /// What is wrong and how to mend it.
    pub detail: String,
}

impl FieldError {
    /// A breach at a path.
    pub fn new(kind: FieldErrorKind, path: impl Into<String>, detail: impl Into<String>) -> Self {
        FieldError { kind, path: path.into(), value: None, detail: detail.into() }
    }

    /// With the value as it was given.
    #[must_use]
    pub fn value(mut self, value: impl fmt::Debug) -> Self {
        self.value = Some(format!("{value:?}"));
        self
    }

    /// The message without the path: `Invalid value: -1: must be …`.
    pub fn message(&self) -> String {
        let value = self.value.as_ref().map(|v| format!(": {v}")).unwrap_or_default();
        let detail = if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) };
        format!("{}{value}{detail}", self.kind.phrase())
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message())
    }
}

/// Every rule that a new object breaks; empty: it may be stored.
pub fn validate_create(object: &Object) -> Vec<FieldError> {
    let mut errors = Errors::default();
    whole(object, &mut errors);
    errors.into()
}

/// Every rule that the replacement of `old` by `new` breaks, rules for new objects included.
pub fn validate_update(new: &Object, old: &Object) -> Vec<FieldError> {
    let mut errors = Errors::default();
    whole(new, &mut errors);
    let root = Path::root();
    match (new, old) {
        (Object::Pod(new), Object::Pod(old)) => pod::update(new, old, &mut errors),
        (Object::Deployment(new), Object::Deployment(old)) => {
            workload::same_selector(&new.spec.selector, &old.spec.selector, &mut errors);
        }
        (Object::ReplicaSet(new), Object::ReplicaSet(old)) => {
            workload::same_selector(&new.spec.selector, &old.spec.selector, &mut errors);
        }
        (Object::DaemonSet(new), Object::DaemonSet(old)) => {
            workload::same_selector(&new.spec.selector, &old.spec.selector, &mut errors);
        }
        (Object::StatefulSet(new), Object::StatefulSet(old)) => sets::update_stateful_set(new, old, &mut errors),
        (Object::ControllerRevision(new), Object::ControllerRevision(old)) => {
            errors.immutable(&root.field("data"), "", new.extra.get("data") == old.extra.get("data"));
        }
        (Object::Job(new), Object::Job(old)) => batch::update_job(new, old, &mut errors),
        (Object::ConfigMap(new), Object::ConfigMap(old)) => config::update_config_map(new, old, &mut errors),
        (Object::Secret(new), Object::Secret(old)) => config::update_secret(new, old, &mut errors),
        (Object::RuntimeClass(new), Object::RuntimeClass(old)) => {
            errors.immutable(&root.field("handler"), new.handler.as_str(), new.handler == old.handler);
        }
        (Object::PriorityClass(new), Object::PriorityClass(old)) => {
            errors.immutable(&root.field("value"), new.value, new.value == old.value);
            let (policy, before) = (&new.preemption_policy, &old.preemption_policy);
            errors.immutable(&root.field("preemptionPolicy"), policy, policy == before);
        }
        (Object::EndpointSlice(new), Object::EndpointSlice(old)) => {
            errors.immutable(
                &root.field("addressType"),
                new.address_type.as_str(),
                new.address_type == old.address_type,
            );
        }
        (Object::Node(new), Object::Node(old)) => node::update(new, old, &mut errors),
        _ => {}
    }
    errors.into()
}

fn whole(object: &Object, errors: &mut Errors) {
    meta::check(object.kind(), object.meta(), errors);
    match object {
        Object::Pod(pod) => pod::check(pod, errors),
        Object::Deployment(deployment) => workload::deployment(deployment, errors),
        Object::ReplicaSet(set) => workload::replica_set(set, errors),
        Object::DaemonSet(set) => sets::daemon_set(set, errors),
        Object::StatefulSet(set) => sets::stateful_set(set, errors),
        Object::ControllerRevision(revision) => sets::controller_revision(revision, errors),
        Object::HorizontalPodAutoscaler(autoscaler) => autoscaling::check(autoscaler, errors),
        Object::PodDisruptionBudget(budget) => sets::disruption_budget(budget, errors),
        Object::CronJob(cron) => batch::cron_job(cron, errors),
        Object::Job(job) => batch::job(job, errors),
        Object::Service(service) => service::check(service, errors),
        Object::Endpoints(endpoints) => service::endpoints(endpoints, errors),
        Object::EndpointSlice(slice) => service::endpoint_slice(slice, errors),
        Object::ConfigMap(map) => config::config_map(map, errors),
        Object::Secret(secret) => config::secret(secret, errors),
        Object::Node(node) => node::check(node, errors),
        Object::RuntimeClass(class) => misc::runtime_class(class, errors),
        Object::PriorityClass(class) => misc::priority_class(class, errors),
        Object::Lease(lease) => misc::lease(lease, errors),
        Object::Event(event) => misc::event(event, errors),
        Object::Namespace(_) | Object::ServiceAccount(_) | Object::NodeLedger(_) | Object::AddressLedger(_) => {}
    }
}

#[cfg(test)]
mod tests;
