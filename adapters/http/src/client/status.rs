//! From `Status` answers back to errors.

use http::StatusCode;
use serde_json::Value;
use steersman_application::client::ApiError;
use steersman_domain::Key;
use steersman_domain::validate::{FieldError, FieldErrorKind};

const KINDS: &[FieldErrorKind] = &[
    FieldErrorKind::Required,
    FieldErrorKind::Invalid,
    FieldErrorKind::NotSupported,
    FieldErrorKind::Duplicate,
    FieldErrorKind::Forbidden,
    FieldErrorKind::TooLong,
    FieldErrorKind::TooMany,
    FieldErrorKind::NotFound,
];

/// The error that an answer with this code and body tells; `key` is what the request was about.
pub(crate) fn error(code: StatusCode, body: &[u8], key: &Key) -> ApiError {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match status["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("the server answered {code}"),
    };
    // Errors that name their object put the name before the message when they are shown.
    let own = |phrase: &str| message.split_once(phrase).map_or(message.clone(), |(_, rest)| rest.to_owned());
    match (status["reason"].as_str().unwrap_or_default(), code.as_u16()) {
        ("NotFound", _) if about(&status, key) => ApiError::NotFound(key.clone()),
        ("AlreadyExists", _) => ApiError::AlreadyExists(key.clone()),
        ("Conflict", _) => ApiError::Conflict { key: key.clone(), message: own("\": ") },
        ("Forbidden", _) => ApiError::Forbidden { key: key.clone(), message: own("is forbidden: ") },
        ("Invalid", _) if !causes(&status).is_empty() => {
            ApiError::Invalid { key: key.clone(), errors: causes(&status) }
        }
        ("Unauthorized", _) | (_, 401) => ApiError::Unauthorized(message),
        ("Expired" | "Gone", _) | (_, 410) => ApiError::Expired(message),
        ("TooManyRequests", _) | (_, 429) => {
            let secs = status["details"]["retryAfterSeconds"].as_u64().and_then(|s| u32::try_from(s).ok());
            ApiError::TooManyRequests { message, retry_after_secs: secs.unwrap_or(1) }
        }
        (_, 501) => ApiError::NotSupported(message),
        (_, 400..=499) => ApiError::BadRequest(message),
        _ => ApiError::Unavailable(message),
    }
}

/// Whether a "not found" is about the object of the request (and not about its namespace, say).
fn about(status: &Value, key: &Key) -> bool {
    status["details"]["name"].as_str() == Some(key.name.as_str())
        && status["details"]["kind"].as_str() == Some(key.kind.info().plural)
}

fn causes(status: &Value) -> Vec<FieldError> {
    let causes = status["details"]["causes"].as_array().map_or(&[][..], Vec::as_slice);
    causes
        .iter()
        .map(|cause| {
            let reason = cause["reason"].as_str().unwrap_or_default();
            let kind = KINDS.iter().copied().find(|k| k.reason() == reason).unwrap_or(FieldErrorKind::Invalid);
            let message = cause["message"].as_str().unwrap_or_default();
            let detail = message.strip_prefix(kind.phrase()).unwrap_or(message).trim_start_matches(": ");
            FieldError::new(kind, cause["field"].as_str().unwrap_or_default(), detail)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use steersman_domain::Kind;

    #[test]
    fn errors_survive_the_way() {
        let key = Key::new(Kind::Deployment, "d", "web");
        let breach = FieldError::new(FieldErrorKind::Required, "spec.selector", "say which");
        for sent in [
            ApiError::NotFound(key.clone()),
            ApiError::AlreadyExists(key.clone()),
            ApiError::Conflict { key: key.clone(), message: "it has changed".into() },
            ApiError::Forbidden { key: key.clone(), message: "no".into() },
            ApiError::Invalid { key: key.clone(), errors: vec![breach] },
            ApiError::BadRequest("what?".into()),
            ApiError::Expired("too old".into()),
            ApiError::TooManyRequests { message: "later".into(), retry_after_secs: 3 },
            ApiError::Unavailable("away".into()),
            ApiError::NotSupported("not here".into()),
            ApiError::Unauthorized("who?".into()),
        ] {
            let failure = Failure::from(sent.clone());
            assert_eq!(error(failure.code, failure.status().to_string().as_bytes(), &key), sent);
        }
        assert_eq!(
            error(StatusCode::BAD_GATEWAY, b"<html>", &key),
            ApiError::Unavailable("the server answered 502 Bad Gateway".into())
        );
    }
}
