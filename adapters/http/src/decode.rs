//! From request bodies to objects: JSON, YAML and protobuf; field validation; defaults; warnings about fields that have no
//! effect here.

use crate::autoscaling;
use crate::body::Body;
use crate::error::Failure;
use crate::events;
use crate::route::{Address, Words};
use crate::service::Call;
use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use steersman_application::client::Client as _;
use steersman_domain::Object;
use steersman_kubernetes::check::ProblemKind;
use steersman_kubernetes::{
    FieldProblem, Gvk, apply_defaults, carried_fields, check_fields, duplicate_fields, protobuf, yaml_documents,
};

/// At most so many warnings go with an answer: headers have a limit.
const MOST_WARNINGS: usize = 20;

/// What becomes of unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validation {
    Strict,
    Warn,
    Ignore,
}

/// The media type of a body, parameters aside; JSON when none is named.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" => "application/json",
        other => other,
    }
}

/// A body as JSON, with the paths of keys that stand in it twice.
pub(crate) fn parse(media_type: &str, bytes: &Bytes) -> Result<(Value, Vec<String>), Failure> {
    match media_type {
        _ if protobuf::is_protobuf(bytes) => {
            protobuf::decode(bytes).map(|v| (v, Vec::new())).map_err(|e| Failure::bad_request(e.to_string()))
        }
        "application/json" => {
            let value = serde_json::from_slice(bytes)
                .map_err(|e| Failure::bad_request(format!("the request body is not valid JSON: {e}")))?;
            Ok((value, duplicate_fields(bytes).unwrap_or_default()))
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let text = std::str::from_utf8(bytes)
                .map_err(|e| Failure::bad_request(format!("the request body is not UTF-8: {e}")))?;
            let mut documents = yaml_documents(text)
                .map_err(|e| Failure::bad_request(format!("the request body is not valid YAML: {e}")))?;
            match (documents.pop(), documents.is_empty()) {
                (Some(value), true) => Ok((value, Vec::new())),
                (None, _) => Err(Failure::bad_request("the request body is empty")),
                (Some(_), false) => Err(Failure::bad_request(
                    "the request body holds several YAML documents: send one object per request",
                )),
            }
        }
        protobuf::MEDIA_TYPE => Err(Failure::bad_request("the request body is not Kubernetes protobuf")),
        other => Err(Failure::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, {}; got {other}",
            protobuf::MEDIA_TYPE
        ))),
    }
}

impl Call<'_> {
    fn validation(&self) -> Result<Validation, Failure> {
        match self.query.get("fieldValidation") {
            "Strict" => Ok(Validation::Strict),
            "" | "Warn" => Ok(Validation::Warn),
            "Ignore" => Ok(Validation::Ignore),
            other => {
                let message =
                    format!("Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\"");
                Err(Failure::invalid_parameter("fieldValidation", message))
            }
        }
    }

    /// The object in a request body, of the kind that the path names.
    pub(crate) async fn body_value(&mut self, gvk: Gvk<'static>, body: Body) -> Result<Value, Failure> {
        let bytes = body.read().await?;
        if bytes.is_empty() {
            return Err(Failure::bad_request("the request has no body: send the object"));
        }
        let (mut value, duplicates) = parse(media_type(self.headers), &bytes)?;
        name_kind(&mut value, gvk)?;
        self.judge(gvk, &value, duplicates)?;
        Ok(value)
    }

    /// Warns of fields without effect that the client newly says: what is stored already, be it that the server filled it
    /// in, is not held against who sends it back. `stored` is asked for only when there is something to warn of.
    pub(crate) async fn warn_of_carried(&mut self, address: &Address, sent: &Value) {
        let carried = carried_fields(address.gvk(), sent);
        if carried.is_empty() {
            return;
        }
        let known = match address.key() {
            // Whether the object is there is for the write to say.
            Some(key) => match self.api().get(&key).await {
                Ok(stored) => carried_fields(address.gvk(), &self.renderer(address).value(&stored)),
                Err(_) => Vec::new(),
            },
            None => Vec::new(),
        };
        self.warn_of(carried.into_iter().filter(|path| !known.contains(path)));
    }

    /// Warns of fields without effect.
    pub(crate) fn warn_of(&mut self, paths: impl Iterator<Item = String>) {
        let words = paths.take(MOST_WARNINGS).map(|path| format!("{path} is stored but not acted on by Steersman"));
        self.warnings.extend(words);
    }

    /// Refuses or warns of what does not belong into an object of the kind.
    fn judge(&mut self, gvk: Gvk<'static>, value: &Value, duplicates: Vec<String>) -> Result<(), Failure> {
        self.judge_problems(gvk, check_fields(gvk, value), duplicates)
    }

    /// Refuses or warns of problems that were found.
    pub(crate) fn judge_problems(
        &mut self,
        gvk: Gvk<'static>,
        problems: Vec<FieldProblem>,
        duplicates: Vec<String>,
    ) -> Result<(), Failure> {
        let mut complaints: Vec<String> =
            duplicates.into_iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        for problem in problems {
            match problem.kind {
                ProblemKind::WrongType => {
                    return Err(Failure::bad_request(format!(
                        "{} in version \"{}\" cannot be handled as a {}: {}",
                        gvk.kind, gvk.version, gvk.kind, problem.message
                    )));
                }
                ProblemKind::Unknown => complaints.push(problem.message),
            }
        }
        match self.validation()? {
            _ if complaints.is_empty() => Ok(()),
            Validation::Strict => {
                let mut failure = Failure::bad_request(format!(
                    "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                    gvk.kind,
                    gvk.version,
                    gvk.kind,
                    complaints.join(", ")
                ));
                let cause = |message: &String| json!({"reason": "FieldValueInvalid", "message": message});
                failure.details = json!({"causes": complaints.iter().map(cause).collect::<Vec<_>>()});
                Err(failure)
            }
            Validation::Warn => {
                self.warnings.extend(complaints.into_iter().take(MOST_WARNINGS));
                Ok(())
            }
            Validation::Ignore => Ok(()),
        }
    }

    /// An object with its defaults, at the name and namespace of the address.
    pub(crate) fn object(&self, address: &Address, mut value: Value) -> Result<Object, Failure> {
        match address.words() {
            Words::Stored => apply_defaults(address.gvk(), &mut value),
            Words::NewEvents => {
                apply_defaults(address.gvk(), &mut value);
                value = events::to_core(value);
            }
            Words::Autoscaling1 => {
                value = autoscaling::to_v2(value);
                apply_defaults(Gvk { version: "v2", ..address.gvk() }, &mut value);
            }
        }
        let mut object = Object::from_value(address.kind, value).map_err(|e| {
            let gvk = address.gvk();
            Failure::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: {e}",
                gvk.kind, gvk.version, gvk.kind
            ))
        })?;
        let meta = object.meta_mut();
        let namespace = address.namespace.clone().unwrap_or_default();
        if meta.namespace.is_empty() {
            meta.namespace = namespace;
        } else if address.wire.namespaced && meta.namespace != namespace {
            return Err(Failure::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request: {:?} is not {namespace:?}",
                meta.namespace
            )));
        } else if !address.wire.namespaced {
            meta.namespace = Default::default();
        }
        if let Some(name) = &address.name {
            if meta.name.is_empty() {
                meta.name = name.clone();
            } else if meta.name != *name {
                return Err(Failure::bad_request(format!(
                    "the name of the object ({}) does not match the name on the URL ({name})",
                    meta.name
                )));
            }
        }
        Ok(object)
    }
}

/// Completes `apiVersion` and `kind`, or refuses an object of another kind than the path names.
fn name_kind(value: &mut Value, gvk: Gvk<'static>) -> Result<(), Failure> {
    let Value::Object(map) = value else {
        return Err(Failure::bad_request("the request body is not an object: send one with apiVersion and kind"));
    };
    for (field, wanted) in [("apiVersion", gvk.api_version()), ("kind", gvk.kind.to_owned())] {
        match map.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" => {
                map.insert(field.into(), wanted.into());
            }
            given if given == wanted => {}
            given => {
                let what = if field == "kind" { "kind" } else { "API version" };
                return Err(Failure::bad_request(format!(
                    "the {what} in the data ({given}) does not match the expected {what} ({wanted})"
                )));
            }
        }
    }
    Ok(())
}
