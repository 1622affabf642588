//! Validation: the rules that an object must keep to be stored, with the path and the cause of every breach.

use std::fmt;

/// What kind of breach it is; the words are those of Kubernetes' status causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    TooLong,
    TooMany,
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
