//! The fields by which field selectors may select, kind by kind, as Kubernetes offers them.

use crate::client::{ApiError, Selection};
use std::borrow::Cow;
use steersman_domain::selector::FieldSelector;
use steersman_domain::{
    Event, Job, Kind, Namespace, Node, Object, Pod, PodPhase, ReplicaSet, RestartPolicy, Secret, Service,
};

const META: &[&str] = &["metadata.name", "metadata.namespace"];

/// The fields that a kind offers, `metadata.name` and `metadata.namespace` first.
pub fn supported_fields(kind: Option<Kind>) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        Some(Kind::Pod) => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Some(Kind::Node) => &["spec.unschedulable"],
        Some(Kind::Namespace) => &["status.phase"],
        Some(Kind::Secret) => &["type"],
        Some(Kind::Service) => &["spec.clusterIP", "spec.type"],
        Some(Kind::ReplicaSet) => &["status.replicas"],
        Some(Kind::Job) => &["status.successful"],
        Some(Kind::Event) => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    };
    META.iter().chain(own).copied().collect()
}

/// Refuses a selection by a field that the kind does not offer.
pub(super) fn check(selection: &Selection) -> Result<(), ApiError> {
    if selection.fields.0.is_empty() {
        return Ok(());
    }
    let kind = selection.scope.kind;
    let supported = supported_fields(kind);
    match selection.fields.0.iter().find(|r| !supported.contains(&r.path.as_str())) {
        None => Ok(()),
        Some(r) => Err(ApiError::BadRequest(format!(
            "field label not supported: {}: {} can be selected by {}",
            r.path,
            kind.map_or("objects of several kinds".into(), |k| k.qualified_plural()),
            supported.join(", ")
        ))),
    }
}

/// Whether an object fulfils a field selector; a field that the kind does not offer fulfils nothing.
pub(super) fn matches(selector: &FieldSelector, object: &Object) -> bool {
    selector.0.iter().all(|r| value(object, &r.path).is_some_and(|v| (v == r.value.as_str()) == r.equal))
}

fn value<'a>(object: &'a Object, path: &str) -> Option<Cow<'a, str>> {
    match path {
        "metadata.name" => return Some(Cow::Borrowed(&object.meta().name)),
        "metadata.namespace" => return Some(Cow::Borrowed(&object.meta().namespace)),
        _ => {}
    }
    match object {
        Object::Pod(pod) => pod_field(pod, path).map(Cow::Borrowed),
        Object::Node(node) => node_field(node, path).map(Cow::Borrowed),
        Object::Namespace(namespace) => namespace_field(namespace, path).map(Cow::Borrowed),
        Object::Secret(secret) => secret_field(secret, path).map(Cow::Borrowed),
        Object::Service(service) => service_field(service, path).map(Cow::Borrowed),
        Object::Event(event) => event_field(event, path).map(Cow::Borrowed),
        Object::Job(job) => job_field(job, path).map(Cow::Owned),
        Object::ReplicaSet(set) => replica_set_field(set, path).map(Cow::Owned),
        _ => None,
    }
}

fn pod_field<'a>(pod: &'a Pod, path: &str) -> Option<&'a str> {
    Some(match path {
        "spec.nodeName" => &pod.spec.node_name,
        "spec.restartPolicy" => match pod.spec.restart_policy {
            RestartPolicy::Always => "Always",
            RestartPolicy::OnFailure => "OnFailure",
            RestartPolicy::Never => "Never",
        },
        "spec.schedulerName" => pod.scheduler_name(),
        "spec.serviceAccountName" => &pod.spec.service_account_name,
        "status.phase" => match pod.status.phase {
            PodPhase::Pending => "Pending",
            PodPhase::Running => "Running",
            PodPhase::Succeeded => "Succeeded",
            PodPhase::Failed => "Failed",
            PodPhase::Unknown => "Unknown",
        },
        "status.podIP" => &pod.status.pod_ip,
        "status.nominatedNodeName" => &pod.status.nominated_node_name,
        _ => return None,
    })
}

fn node_field<'a>(node: &'a Node, path: &str) -> Option<&'a str> {
    (path == "spec.unschedulable").then_some(if node.spec.unschedulable { "true" } else { "false" })
}

fn namespace_field<'a>(namespace: &'a Namespace, path: &str) -> Option<&'a str> {
    (path == "status.phase").then_some(namespace.status.phase.as_str())
}

fn secret_field<'a>(secret: &'a Secret, path: &str) -> Option<&'a str> {
    (path == "type").then_some(secret.kind.as_str())
}

fn service_field<'a>(service: &'a Service, path: &str) -> Option<&'a str> {
    match path {
        "spec.clusterIP" => Some(&service.spec.cluster_ip),
        "spec.type" => Some(&service.spec.kind),
        _ => None,
    }
}

fn replica_set_field(set: &ReplicaSet, path: &str) -> Option<String> {
    (path == "status.replicas").then(|| set.status.replicas.0.to_string())
}

fn job_field(job: &Job, path: &str) -> Option<String> {
    (path == "status.successful").then(|| job.status.succeeded.to_string())
}

fn event_field<'a>(event: &'a Event, path: &str) -> Option<&'a str> {
    let object = &event.involved_object;
    Some(match path {
        "involvedObject.kind" => &object.kind,
        "involvedObject.namespace" => &object.namespace,
        "involvedObject.name" => &object.name,
        "involvedObject.uid" => object.uid.as_str(),
        "involvedObject.apiVersion" => &object.api_version,
        "involvedObject.resourceVersion" => &object.resource_version,
        "involvedObject.fieldPath" => &object.field_path,
        "reason" => &event.reason,
        "reportingComponent" => &event.reporting_component,
        "source" if event.source.component.is_empty() => &event.reporting_component,
        "source" => &event.source.component,
        "type" => &event.kind,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use steersman_domain::ports::Scope;

    #[test]
    fn every_offered_field_has_a_value() {
        for kind in Kind::ALL {
            let object = Object::from_value(*kind, json!({})).expect("an empty object");
            for path in supported_fields(Some(*kind)) {
                assert!(value(&object, path).is_some(), "{kind} {path}");
            }
            assert!(value(&object, "spec.nothing").is_none());
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let fields = FieldSelector::parse("spec.color=red").expect("parses");
        let selection = Selection { scope: Scope::kind(Kind::Node), fields, ..Selection::default() };
        let error = check(&selection).expect_err("nodes have no color").to_string();
        assert_eq!(
            error,
            "field label not supported: spec.color: nodes can be selected by metadata.name, metadata.namespace, \
             spec.unschedulable"
        );
    }
}
