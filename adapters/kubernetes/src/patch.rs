//! Patches: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and Kubernetes' strategic merge patch.
//! All work on JSON values and leave the original alone. Server-side apply is not among them.

mod list;
mod strategic;

pub use strategic::strategic_merge;

use serde_json::Value;

/// Why a patch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself cannot be read, whatever it is applied to (400).
    #[error("the patch cannot be read: {0}")]
    Malformed(String),
    /// The patch does not fit the object (422).
    #[error("the patch does not apply: {0}")]
    Inapplicable(String),
    /// The patch would make more work than is allowed (413).
    #[error("the patch is too large: {0}")]
    TooLarge(String),
    /// The patch has a form that is not supported for this kind (415).
    #[error("the patch is not supported: {0}")]
    Unsupported(String),
}

/// The forms of a patch, by media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`
    Json,
    /// `application/merge-patch+json`
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
}

impl PatchType {
    /// The form that a `Content-Type` names, parameters aside.
    ///
    /// # Errors
    /// [`PatchError::Unsupported`] names the forms that are supported.
    pub fn from_media_type(media_type: &str) -> Result<Self, PatchError> {
        match media_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Err(PatchError::Unsupported(
                "server-side apply is not available, use `kubectl apply` without --server-side".to_owned(),
            )),
            other => Err(PatchError::Unsupported(format!(
                "the media type {other:?} is unknown, use application/json-patch+json, \
                 application/merge-patch+json or application/strategic-merge-patch+json"
            ))),
        }
    }
}

/// As many operations as Kubernetes allows in one JSON patch.
const MOST_OPERATIONS: usize = 10_000;
/// As many bytes as `copy` operations may add, the size of the largest body: each could double the object.
const MOST_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Applies a JSON Patch (RFC 6902) and gives the patched object.
///
/// # Errors
/// [`PatchError::Malformed`] for a patch that is not a list of operations, [`PatchError::Inapplicable`] when an
/// operation fails (a `test` that does not hold included), [`PatchError::TooLarge`] beyond 10,000 operations or
/// 3 MiB copied.
pub fn json_patch(original: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(list) = patch else {
        return Err(PatchError::Malformed("a JSON patch is a list of operations".to_owned()));
    };
    if list.len() > MOST_OPERATIONS {
        return Err(PatchError::TooLarge(format!("{} operations, at most {MOST_OPERATIONS}", list.len())));
    }
    let mut result = original.clone();
    let mut copied = 0;
    for (at, operation) in list.iter().enumerate() {
        let operation: json_patch::PatchOperation = serde_json::from_value(operation.clone())
            .map_err(|e| PatchError::Malformed(format!("operation {at}: {e}")))?;
        if let json_patch::PatchOperation::Copy(copy) = &operation {
            copied += result.pointer(copy.from.as_str()).map_or(0, |v| v.to_string().len());
            if copied > MOST_COPIED_BYTES {
                return Err(PatchError::TooLarge(format!("its copies exceed {MOST_COPIED_BYTES} bytes")));
            }
        }
        json_patch::patch(&mut result, std::slice::from_ref(&operation))
            .map_err(|e| PatchError::Inapplicable(format!("operation {at} ({}): {}", name(&operation), e.kind)))?;
    }
    Ok(result)
}

/// An operation in words, such as `replace /spec/replicas`.
fn name(operation: &json_patch::PatchOperation) -> String {
    let verb = match operation {
        json_patch::PatchOperation::Add(_) => "add",
        json_patch::PatchOperation::Remove(_) => "remove",
        json_patch::PatchOperation::Replace(_) => "replace",
        json_patch::PatchOperation::Move(_) => "move",
        json_patch::PatchOperation::Copy(_) => "copy",
        json_patch::PatchOperation::Test(_) => "test",
    };
    format!("{verb} {}", operation.path())
}

/// Applies a JSON Merge Patch (RFC 7386) and gives the patched object.
///
/// # Errors
/// [`PatchError::Malformed`] when the patch is not an object: it would take the place of everything.
pub fn merge_patch(original: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("a merge patch of an object is an object".to_owned()));
    }
    let mut result = original.clone();
    json_patch::merge(&mut result, patch);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_patch_applies_in_order() {
        let original = json!({"spec": {"replicas": 1, "list": [1, 2]}});
        let patch = json!([
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "replace", "path": "/spec/replicas", "value": 3},
            {"op": "add", "path": "/spec/list/-", "value": 3},
            {"op": "remove", "path": "/spec/list/0"},
        ]);
        assert_eq!(json_patch(&original, &patch), Ok(json!({"spec": {"replicas": 3, "list": [2, 3]}})));
    }

    #[test]
    fn json_patch_says_what_failed() {
        let original = json!({"a": 1});
        let failed = json_patch(&original, &json!([{"op": "test", "path": "/a", "value": 2}]));
        let message = failed.expect_err("the test does not hold").to_string();
        assert!(message.contains("operation 0 (test /a)"), "{message}");
        let missing = json_patch(&original, &json!([{"op": "remove", "path": "/b"}]));
        assert!(matches!(missing, Err(PatchError::Inapplicable(_))));
        assert!(matches!(json_patch(&original, &json!([{"op": "jump", "path": "/b"}])), Err(PatchError::Malformed(_))));
        assert!(matches!(json_patch(&original, &json!({"a": 2})), Err(PatchError::Malformed(_))));
    }

    #[test]
    fn a_patch_cannot_multiply_the_object() {
        let original = json!({"a": "x".repeat(1000)});
        let copy = |n: usize| json!({"op": "copy", "from": "", "path": if n.is_multiple_of(2) { "/a" } else { "/b" }});
        let operations: Vec<Value> = (0..40).map(copy).collect();
        assert!(matches!(json_patch(&original, &Value::Array(operations)), Err(PatchError::TooLarge(_))));
        let many = Value::Array(vec![json!({"op": "test", "path": "/a", "value": 1}); 10_001]);
        assert!(matches!(json_patch(&original, &many), Err(PatchError::TooLarge(_))));
    }

    #[test]
    fn merge_patch_removes_by_null_and_replaces_lists() {
        let original = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        let patched = merge_patch(&original, &json!({"a": {"b": null, "d": 3}, "l": [9]}));
        assert_eq!(patched, Ok(json!({"a": {"c": 2, "d": 3}, "l": [9]})));
        assert!(merge_patch(&original, &json!([1])).is_err());
    }

    #[test]
    fn media_types_name_the_form() {
        let json = PatchType::from_media_type("application/json-patch+json; charset=utf-8");
        assert_eq!(json, Ok(PatchType::Json));
        let apply = PatchType::from_media_type("application/apply-patch+yaml").expect_err("not supported");
        assert!(apply.to_string().contains("server-side apply"));
        assert!(PatchType::from_media_type("text/plain").is_err());
    }
}
