//! Creating objects.

use super::bind::scheduled;
use super::book::Book;
use super::round::{Plan, Round, key_of, namespace_key, unchanged};
use super::{Api, parts};
use crate::client::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use steersman_domain::ledger::{host_port_conflict, host_port_keys};
use steersman_domain::meta::set_condition;
use steersman_domain::ports::{Op, Precondition};
use steersman_domain::validate::{FieldError, FieldErrorKind, validate_create};
use steersman_domain::{
    Condition, Namespace, Object, Pod, PodPhase, PodStatus, Secret, Shared, Str, Toleration, names,
};
use steersman_domain::{JOB_CONTROLLER_UID, JOB_NAME, Job, LabelSelector, Resource as _};

impl Round<'_> {
    /// Creates an object under a name of its own or a generated one.
    pub(super) async fn plan_create(&mut self, mut object: Object) -> Result<Plan, ApiError> {
        let kind = object.kind();
        if !kind.info().served {
            return Err(ApiError::BadRequest(format!("{kind} objects are kept by the server itself")));
        }
        self.stamp(&mut object)?;
        let mut preconditions = vec![Precondition::Absent(key_of(&object))];
        if kind.info().namespaced {
            preconditions.push(self.namespace_guard(&object).await?);
        }
        if self.cautious && self.stored(&key_of(&object)).await.is_ok() {
            return Err(ApiError::AlreadyExists(key_of(&object)));
        }
        admit(self.api, &mut object)?;
        if let Object::Pod(pod) = &mut object {
            self.admit_classes(pod).await?;
        }
        let errors = validate_create(&object);
        if !errors.is_empty() {
            return Err(ApiError::Invalid { key: key_of(&object), errors });
        }
        let book = match &mut object {
            Object::Node(node) => Some(self.open_node_book(&node.metadata.name).await?),
            Object::Service(service) => self.allocate(Arc::make_mut(service)).await?,
            Object::Pod(pod) if !pod.spec.node_name.is_empty() => self.settle(Arc::make_mut(pod)).await?,
            _ => None,
        };
        Ok(Plan::Change { op: Op::Put(key_of(&object), object), preconditions, book })
    }

    /// Name, identity and times.
    fn stamp(&self, object: &mut Object) -> Result<(), ApiError> {
        let kind = object.kind();
        let (api, now) = (self.api, self.now);
        let meta = object.meta_mut();
        if meta.resource_version.0 != 0 {
            return Err(ApiError::BadRequest("resourceVersion should not be set on objects to be created".into()));
        }
        match (kind.info().namespaced, meta.namespace.is_empty()) {
            (true, true) => {
                return Err(ApiError::BadRequest("an empty namespace may not be set during creation".into()));
            }
            (false, false) => {
                return Err(ApiError::BadRequest(format!("{kind} has no namespace: remove metadata.namespace")));
            }
            _ => {}
        }
        if meta.name.is_empty() && !meta.generate_name.is_empty() {
            meta.name = names::generated(&meta.generate_name, &names::suffix(api.entropy.random())).into();
        }
        meta.uid = api.entropy.uid();
        meta.creation_timestamp = Some(now.truncated());
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.generation = if parts::has_generation(kind) { 1 } else { 0 };
        Ok(())
    }

    /// The namespace must be there and stay; the transaction holds only while it does.
    async fn namespace_guard(&mut self, object: &Object) -> Result<Precondition, ApiError> {
        let key = key_of(object);
        let Some(stored) = self.shared(&namespace_key(&key)).await? else {
            return Err(ApiError::NotFound(namespace_key(&key)));
        };
        if stored.typed::<Namespace>().is_some_and(|n| n.is_terminating()) {
            let namespace = &key.namespace;
            let message =
                format!("unable to create new content in namespace {namespace} because it is being terminated");
            return Err(ApiError::Forbidden { key, message });
        }
        Ok(unchanged(&stored))
    }

    /// A pod that comes with its node: it enters the node's ledger, or ends at once as a kubelet would end it.
    async fn settle(&mut self, pod: &mut Pod) -> Result<Option<usize>, ApiError> {
        let node = pod.spec.node_name.clone();
        let Some(index) = self.node_book(&node).await? else {
            reject(pod, "NodeNotFound", format!("Pod was rejected: node \"{node}\" does not exist"));
            return Ok(None);
        };
        let now = self.now.truncated();
        let Some((ledger, allocatable)) = self.book(index).and_then(Book::node) else { return Ok(None) };
        if let Some(s) = ledger.allocated.shortages(allocatable, &pod.requests()).first() {
            let message = format!(
                "Pod was rejected: Node didn't have enough resource: {}, requested: {}, free: {}",
                s.resource, s.requested, s.free
            );
            reject(pod, &format!("OutOf{}", s.resource), message);
            return Ok(None);
        }
        if let Some(port) = host_port_keys(pod).iter().find(|p| host_port_conflict(&ledger.host_ports, p)) {
            let message = format!("Pod was rejected: host port {port} is taken on node \"{node}\"");
            reject(pod, "NodePorts", message);
            return Ok(None);
        }
        ledger.enter(pod);
        set_condition(&mut pod.status.conditions, scheduled(now));
        Ok(Some(index))
    }
}

fn reject(pod: &mut Pod, reason: &str, message: String) {
    pod.status.phase = PodPhase::Failed;
    pod.status.reason = reason.into();
    pod.status.message = message.into();
}

/// What the server fills in on creation, kind by kind.
fn admit(api: &Api, object: &mut Object) -> Result<(), ApiError> {
    parts::clear_status(object);
    match object {
        Object::Pod(pod) => admit_pod(api, Arc::make_mut(pod)),
        Object::Namespace(namespace) => {
            let namespace = Arc::make_mut(namespace);
            namespace.spec.finalizers = vec!["kubernetes".into()];
            namespace.status.phase = "Active".into();
            let name = namespace.metadata.name.clone();
            namespace.metadata.labels.insert("kubernetes.io/metadata.name", name);
        }
        Object::Job(job) if job.spec.manual_selector != Some(true) => select_own_pods(Arc::make_mut(job))?,
        Object::Secret(secret) => {
            let secret = Arc::make_mut(secret);
            if secret.kind.is_empty() {
                secret.kind = "Opaque".into();
            }
            absorb_string_data(secret);
        }
        _ => {}
    }
    Ok(())
}

/// A Job selects its pods by its own uid, unless the user says otherwise.
fn select_own_pods(job: &mut Job) -> Result<(), ApiError> {
    let (uid, name) = (Str::from(job.metadata.uid.as_str()), job.metadata.name.clone());
    if job.spec.selector.is_some() {
        let detail = "`selector` not auto-generated: leave it out, or set manualSelector: true and label the template";
        let error = FieldError::new(FieldErrorKind::Invalid, "spec.selector", detail);
        return Err(ApiError::Invalid { key: job.key(), errors: vec![error] });
    }
    let labels = &mut Arc::make_mut(&mut job.spec.template).metadata.labels;
    for (key, value) in [(JOB_CONTROLLER_UID, &uid), ("controller-uid", &uid), (JOB_NAME, &name), ("job-name", &name)] {
        labels.insert(key, value.clone());
    }
    let match_labels = [(JOB_CONTROLLER_UID, uid)].into_iter().collect();
    job.spec.selector = Some(LabelSelector { match_labels, ..LabelSelector::default() });
    Ok(())
}

/// Moves `stringData` into `data`, where it wins.
pub(super) fn absorb_string_data(secret: &mut Secret) {
    for (key, text) in std::mem::take(&mut secret.string_data) {
        secret.data.insert(key, Str::from(STANDARD.encode(text.as_bytes())));
    }
}

fn admit_pod(api: &Api, pod: &mut Pod) {
    pod.status = PodStatus { phase: PodPhase::Pending, qos_class: pod.qos_class().into(), ..PodStatus::default() };
    if !pod.spec.scheduling_gates.is_empty() {
        let why = "Scheduling is blocked due to non-empty scheduling gates";
        let gated = Condition::new("PodScheduled", false, "SchedulingGated", why, api.now().truncated());
        set_condition(&mut pod.status.conditions, gated);
    }
    if pod.spec.runtime_class_name.is_empty() {
        pod.spec.runtime_class_name = api.config.default_runtime.clone();
    }
    if pod.spec.service_account_name.is_empty() {
        pod.spec.service_account_name = "default".into();
    }
    for wanted in &api.tolerations {
        let covered =
            pod.spec.tolerations.iter().any(|t| {
                (t.key == wanted.key || t.key.is_empty()) && (t.effect == wanted.effect || t.effect.is_empty())
            });
        if !covered {
            pod.spec.tolerations.push(Shared::clone(wanted));
        }
    }
}

/// A node that is not heard of keeps its pods for five minutes, as in Kubernetes.
pub(super) fn default_tolerations() -> [Shared<Toleration>; 2] {
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(|key| {
        Shared::new(Toleration {
            key: key.into(),
            operator: "Exists".into(),
            effect: "NoExecute".into(),
            toleration_seconds: Some(300),
            ..Toleration::default()
        })
    })
}

/// An `Invalid` of one breach.
pub(super) fn invalid(object: &Object, error: FieldError) -> ApiError {
    ApiError::Invalid { key: key_of(object), errors: vec![error] }
}

/// A field that may not change.
pub(super) fn immutable(path: &str) -> FieldError {
    FieldError::new(FieldErrorKind::Invalid, path, "field is immutable")
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::Kind;

    #[test]
    fn string_data_wins_over_data() {
        let mut secret = Secret::default();
        secret.data.insert("a", "b2xk".into());
        secret.string_data.insert("a", "new".into());
        absorb_string_data(&mut secret);
        assert_eq!(secret.data.get("a").map(Str::as_str), Some("bmV3"));
        assert!(secret.string_data.is_empty());
    }

    #[test]
    fn the_kinds_with_a_generation_start_at_one() {
        assert!(parts::has_generation(Kind::Deployment) && !parts::has_generation(Kind::ConfigMap));
    }
}
