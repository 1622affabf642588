//! Scale and explain.

use crate::body::Body;
use crate::error::Failure;
use crate::patch::apply;
use crate::route::Address;
use crate::service::Call;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use steersman_application::client::{ApiError, Client as _, Part};
use steersman_application::usecase::explain::Explanation;
use steersman_domain::validate::{FieldError, FieldErrorKind};
use steersman_domain::{LabelSelector, Object, Stored};
use steersman_kubernetes::Gvk;

const SCALE: Gvk<'static> = Gvk::new("autoscaling", "v1", "Scale");

/// As often as a change of scale without a revision is tried anew.
const MOST_ATTEMPTS: usize = 5;

impl Call<'_> {
    /// Reads or changes the number of replicas.
    pub(crate) async fn scale(mut self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let options = self.write_options()?;
        let stored = self.api().get(&key).await?;
        enum Wish {
            Whole(Value),
            Patch(steersman_kubernetes::PatchType, Value),
        }
        let wish = match *self.method {
            Method::GET | Method::HEAD => return Ok(self.json(StatusCode::OK, &scale_of(&stored))),
            Method::PUT => Wish::Whole(self.body_value(SCALE, body).await?),
            Method::PATCH => {
                let (form, patch, _) = self.patch_body(body).await?;
                Wish::Patch(form, patch)
            }
            _ => return Err(Failure::method_not_allowed()),
        };
        for attempt in 1.. {
            let stored = self.api().get(&key).await?;
            let (wanted, pinned) = match &wish {
                Wish::Whole(value) => {
                    let pinned = value["metadata"]["resourceVersion"].as_str().is_some_and(|v| !v.is_empty());
                    (value.clone(), pinned)
                }
                Wish::Patch(form, patch) => {
                    let pinned = patch["metadata"].get("resourceVersion").is_some();
                    (apply(*form, SCALE, &scale_of(&stored), patch)?, pinned)
                }
            };
            let object = rescaled(&stored, &wanted)?;
            match self.api().update(object, Part::Main, &options).await {
                Err(ApiError::Conflict { .. }) if !pinned && attempt < MOST_ATTEMPTS => {}
                answer => return Ok(self.json(StatusCode::OK, &scale_of(&*answer?))),
            }
        }
        Err(Failure::no_such_path())
    }

    /// Why a pod is where it is, or waits; why any other object was left or changed as it is.
    pub(crate) async fn explain(self, address: &Address) -> Result<Response<Body>, Failure> {
        let key = address.key().ok_or_else(Failure::no_such_path)?;
        let explanation = self.api().explain(&key).await?.unwrap_or_else(|| Explanation {
            phase: "Unknown".into(),
            summary: "nothing has been decided about it since the server started".into(),
            ..Explanation::default()
        });
        let value = serde_json::to_value(explanation)
            .map_err(|e| Failure::from(ApiError::Unavailable(format!("the explanation cannot be written: {e}"))))?;
        Ok(self.json(StatusCode::OK, &value))
    }
}

/// What of an object its scale shows: wanted, observed, selector.
fn figures(object: &Object) -> Option<(i32, i32, &LabelSelector)> {
    match object {
        Object::Deployment(d) => Some((d.replicas(), d.status.replicas, &d.spec.selector)),
        Object::ReplicaSet(r) => Some((r.replicas(), r.status.replicas.0, &r.spec.selector)),
        Object::StatefulSet(s) => Some((s.replicas(), s.status.replicas.0, &s.spec.selector)),
        _ => None,
    }
}

fn scale_of(stored: &Stored) -> Value {
    let meta = stored.object.meta();
    let Some((wanted, observed, selector)) = figures(&stored.object) else { return Value::Null };
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid, "resourceVersion": stored.revision,
            "creationTimestamp": meta.creation_timestamp},
        "spec": {"replicas": wanted}, "status": {"replicas": observed, "selector": written(selector)}})
}

/// A selector in its query form.
fn written(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> = selector.match_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for e in &selector.match_expressions {
        let values = e.values.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(",");
        parts.push(match e.operator.as_str() {
            "In" => format!("{} in ({values})", e.key),
            "NotIn" => format!("{} notin ({values})", e.key),
            "DoesNotExist" => format!("!{}", e.key),
            _ => e.key.to_string(),
        });
    }
    parts.join(",")
}

fn rescaled(stored: &Stored, scale: &Value) -> Result<Object, Failure> {
    let invalid = |value: &Value, detail: &str| {
        let error = FieldError::new(FieldErrorKind::Invalid, "spec.replicas", detail).value(value);
        Failure::from(ApiError::Invalid { key: stored.key.clone(), errors: vec![error] })
    };
    let wanted = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        value => match value.as_i64().and_then(|n| i32::try_from(n).ok()) {
            Some(n) if n >= 0 => n,
            _ => return Err(invalid(value, "must be greater than or equal to 0")),
        },
    };
    let mut object = stored.object.clone();
    match &mut object {
        Object::Deployment(d) => Arc::make_mut(d).spec.replicas = Some(wanted),
        Object::ReplicaSet(r) => Arc::make_mut(r).spec.replicas = Some(wanted),
        Object::StatefulSet(s) => Arc::make_mut(s).spec.replicas = Some(wanted),
        _ => return Err(Failure::no_such_path()),
    }
    let revision = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !revision.is_empty() {
        let revision =
            revision.parse().map_err(|_| Failure::bad_request("metadata.resourceVersion is not a revision"))?;
        object.meta_mut().resource_version = steersman_domain::Revision(revision);
    }
    if let Some(uid) = scale["metadata"]["uid"].as_str().filter(|u| !u.is_empty()) {
        object.meta_mut().uid = uid.into();
    }
    Ok(object)
}
