//! Failures as Kubernetes answers them: a `Status` with a reason, details and causes, under an HTTP code.

use crate::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use steersman_application::client::ApiError;
use steersman_domain::{Key, Kind};

/// An answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// `details` of the status; null: none.
    pub(crate) details: Value,
    /// A token with which a list can be continued although it is no longer consistent.
    pub(crate) continuation: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Failure { code, reason, message: message.into(), details: Value::Null, continuation: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// Its details are there and empty: kubectl reads their name to tell a path that is not served from an object that is
    /// not there, and some of its commands crash without them.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Failure { details: json!({}), ..Failure::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Failure::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Failure::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn not_supported(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn too_slow(limit: std::time::Duration) -> Self {
        let message = format!("the request body did not arrive within {} s", limit.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// An `Invalid` about a parameter of the request rather than a field of an object.
    pub(crate) fn invalid_parameter(what: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut failure =
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", format!("{what} is invalid: {message}"));
        failure.details = json!({"causes": [{"reason": "FieldValueInvalid", "message": message, "field": what}]});
        failure
    }

    /// As a `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.continuation {
            metadata["continue"] = json!(token);
        }
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16()});
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    /// As an answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = json_response(self.code, &self.status());
        if let Some(secs) = self.details["retryAfterSeconds"].as_u64()
            && let Ok(value) = HeaderValue::from_str(&secs.to_string())
        {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        if self.code == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn json_response(code: StatusCode, value: &Value) -> Response<Body> {
    bytes_response(code, "application/json", value.to_string())
}

/// An answer of bytes.
pub(crate) fn bytes_response(
    code: StatusCode,
    media_type: &'static str,
    bytes: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// `Status` of a request that did what it should and has no object to show.
pub(crate) fn success(key: Option<(&Key, &str)>) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some((key, uid)) = key {
        status["details"] = details(key.kind, key.kind.info().plural, &key.name);
        status["details"]["uid"] = json!(uid);
    }
    status
}

/// `kind` in details is the plural where an address failed, the kind where an object did.
fn details(kind: Kind, word: &str, name: &str) -> Value {
    let mut details = json!({"name": name, "kind": word});
    if !kind.info().group.is_empty() {
        details["group"] = json!(kind.info().group);
    }
    details
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        let about = |key: &Key| details(key.kind, key.kind.info().plural, &key.name);
        let with = |code, reason, message: String, details| Failure { details, ..Failure::new(code, reason, message) };
        match error {
            ApiError::NotFound(key) => with(StatusCode::NOT_FOUND, "NotFound", message, about(&key)),
            ApiError::AlreadyExists(key) => with(StatusCode::CONFLICT, "AlreadyExists", message, about(&key)),
            ApiError::Conflict { key, .. } => with(StatusCode::CONFLICT, "Conflict", message, about(&key)),
            ApiError::Forbidden { key, message: why } => {
                let mut failure = with(StatusCode::FORBIDDEN, "Forbidden", message, about(&key));
                if why.contains("being terminated") {
                    failure.details["causes"] = json!([{"reason": "NamespaceTerminating",
                        "message": format!("namespace {} is being terminated", key.namespace), "field": "metadata.namespace"}]);
                }
                failure
            }
            ApiError::Invalid { key, errors } => {
                let mut details = details(key.kind, key.kind.info().kind, &key.name);
                let causes: Vec<Value> = errors
                    .iter()
                    .map(|e| json!({"reason": e.kind.reason(), "message": e.message(), "field": e.path}))
                    .collect();
                details["causes"] = Value::Array(causes);
                with(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message, details)
            }
            ApiError::BadRequest(_) if message.starts_with("Too large resource version") => {
                let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
                let details = json!({"causes": causes, "retryAfterSeconds": 1});
                with(StatusCode::GATEWAY_TIMEOUT, "Timeout", message, details)
            }
            ApiError::BadRequest(_) => Failure::bad_request(message),
            ApiError::Expired(_) => Failure::new(StatusCode::GONE, "Expired", message),
            ApiError::TooManyRequests { retry_after_secs, .. } => {
                let details = json!({"retryAfterSeconds": retry_after_secs});
                with(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message, details)
            }
            ApiError::Unavailable(_) => {
                let details = json!({"retryAfterSeconds": 1});
                with(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message, details)
            }
            ApiError::NotSupported(_) => Failure::not_supported(message),
            ApiError::Unauthorized(_) => Failure { message, ..Failure::unauthorized() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::validate::{FieldError, FieldErrorKind};

    #[test]
    fn a_missing_object_is_named_by_its_resource() {
        let status = Failure::from(ApiError::NotFound(Key::new(Kind::Deployment, "d", "web"))).status();
        assert_eq!(status["message"], "deployments.apps \"web\" not found");
        assert_eq!(status["details"], json!({"name": "web", "group": "apps", "kind": "deployments"}));
        assert_eq!((&status["reason"], &status["code"]), (&json!("NotFound"), &json!(404)));
    }

    #[test]
    fn every_breach_is_a_cause() {
        let error =
            FieldError::new(FieldErrorKind::Invalid, "spec.replicas", "must be greater than or equal to 0").value(-1);
        let status =
            Failure::from(ApiError::Invalid { key: Key::new(Kind::Pod, "d", "a"), errors: vec![error] }).status();
        assert_eq!(
            status["details"]["causes"],
            json!([{"reason": "FieldValueInvalid", "field": "spec.replicas",
                "message": "Invalid value: -1: must be greater than or equal to 0"}])
        );
        assert_eq!(status["code"], 422);
    }
}
