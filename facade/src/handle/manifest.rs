//! Manifests as a client applies them: YAML to objects, with the server's checks and defaults, without a server.

use super::{TRIES, options};
use serde_json::Value;
use std::sync::Arc;
use steersman_application::client::{ApiError, Client, Part};
use steersman_domain::{Key, Kind, Object, Stored};
use steersman_kubernetes::{
    Gvk, PatchError, YamlError, apply_defaults, check_fields, flatten_lists, strategic_merge, yaml_documents,
};

/// Why a manifest was not applied. What came before the object that it names is applied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// The text cannot be read.
    #[error("the manifest is not YAML: {0}")]
    Yaml(#[from] YamlError),
    /// A document is no object that the cluster knows.
    #[error("{what}: {message}")]
    Object {
        /// Its kind and name.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// The API refused an object.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Creates every object of a YAML stream, or merges it into the one that is there.
pub(super) async fn apply(client: &dyn Client, yaml: &str) -> Result<Vec<Arc<Stored>>, ApplyError> {
    let mut applied = Vec::new();
    for document in flatten_lists(yaml_documents(yaml)?) {
        applied.push(apply_one(client, document).await?);
    }
    Ok(applied)
}

/// The object with the defaults of its kind, as the API gives them to what comes over the network.
pub(super) fn with_defaults(object: &Object) -> Result<Object, ApiError> {
    let (kind, info) = (object.kind(), object.kind().info());
    let wrong = |error: String| ApiError::BadRequest(format!("{kind} {:?}: {error}", object.meta().name));
    let mut value: Value = serde_json::from_slice(&object.encode()).map_err(|error| wrong(error.to_string()))?;
    apply_defaults(Gvk { group: info.group, version: info.version, kind: info.kind }, &mut value);
    Object::from_value(kind, value).map_err(|error| wrong(error.to_string()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn apply_one(client: &dyn Client, mut document: Value) -> Result<Arc<Stored>, ApplyError> {
    let (version, kind_name) = (text(&document["apiVersion"]).to_owned(), text(&document["kind"]).to_owned());
    let what = format!("{kind_name} {:?}", text(&document["metadata"]["name"]));
    let refused = |message: String| ApplyError::Object { what: what.clone(), message };
    let kind = Kind::find_api(&version, &kind_name).filter(|kind| kind.info().served);
    let kind = kind.ok_or_else(|| refused(format!("the cluster has no kind {version:?} {kind_name:?}")))?;
    let gvk = Gvk::from_api_version(&version, &kind_name);
    let problems: Vec<String> = check_fields(gvk, &document).iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        return Err(refused(problems.join(", ")));
    }
    if kind.info().namespaced && document["metadata"]["namespace"].is_null() {
        document["metadata"]["namespace"] = "default".into();
    }
    let object = |mut value: Value| {
        apply_defaults(gvk, &mut value);
        Object::from_value(kind, value).map_err(|error| refused(error.to_string()))
    };
    let metadata = &document["metadata"];
    let key = Key::new(kind, text(&metadata["namespace"]), text(&metadata["name"]));
    let options = options();
    let mut last = ApiError::NotFound(key.clone());
    for _ in 0..TRIES {
        let answer = match client.get(&key).await {
            Err(ApiError::NotFound(_)) => client.create(object(document.clone())?, &options).await,
            Err(error) => return Err(error.into()),
            Ok(stored) => {
                let now: Value = serde_json::from_slice(&stored.json()).map_err(|e| refused(e.to_string()))?;
                let merged = strategic_merge(gvk, &now, &document);
                let merged = merged.map_err(|error: PatchError| refused(error.to_string()))?;
                client.update(object(merged)?, Part::Main, &options).await
            }
        };
        match answer {
            Err(error @ (ApiError::Conflict { .. } | ApiError::AlreadyExists(_))) => last = error,
            answer => return Ok(answer?),
        }
    }
    Err(last.into())
}
