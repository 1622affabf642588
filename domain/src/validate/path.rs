//! Paths into objects that cost nothing until a rule is broken, and the list of breaches.

use super::{FieldError, FieldErrorKind};
use crate::names::Checked;
use std::fmt::{self, Debug, Write as _};

/// A path into an object, as a chain on the stack.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    pub(super) fn root() -> Self {
        Path { parent: None, part: Part::Root }
    }

    pub(super) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), part: Part::Field(name) }
    }

    pub(super) fn index(&'a self, at: usize) -> Path<'a> {
        Path { parent: Some(self), part: Part::Index(at) }
    }

    pub(super) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), part: Part::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            if let (Part::Field(_), false) = (self.part, matches!(parent.part, Part::Root)) {
                f.write_char('.')?;
            }
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Field(name) => f.write_str(name),
            Part::Index(at) => write!(f, "[{at}]"),
            Part::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// The breaches found so far.
#[derive(Default)]
pub(super) struct Errors(Vec<FieldError>);

impl From<Errors> for Vec<FieldError> {
    fn from(errors: Errors) -> Self {
        errors.0
    }
}

impl Errors {
    pub(super) fn push(&mut self, kind: FieldErrorKind, path: &Path<'_>, detail: impl Into<String>) {
        self.0.push(FieldError::new(kind, path.to_string(), detail));
    }

    pub(super) fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(FieldErrorKind::Required, path, detail);
    }

    pub(super) fn forbidden(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(FieldErrorKind::Forbidden, path, detail);
    }

    pub(super) fn invalid(&mut self, path: &Path<'_>, value: impl Debug, detail: impl Into<String>) {
        self.0.push(FieldError::new(FieldErrorKind::Invalid, path.to_string(), detail).value(value));
    }

    pub(super) fn duplicate(&mut self, path: &Path<'_>, value: impl Debug) {
        self.0.push(FieldError::new(FieldErrorKind::Duplicate, path.to_string(), "").value(value));
    }

    pub(super) fn not_found(&mut self, path: &Path<'_>, value: impl Debug) {
        self.0.push(FieldError::new(FieldErrorKind::NotFound, path.to_string(), "").value(value));
    }

    pub(super) fn too_long(&mut self, path: &Path<'_>, most_bytes: usize) {
        self.push(FieldErrorKind::TooLong, path, format!("may not be more than {most_bytes} bytes"));
    }

    pub(super) fn unsupported(&mut self, path: &Path<'_>, value: impl Debug, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = format!("supported values: {}", list.join(", "));
        self.0.push(FieldError::new(FieldErrorKind::NotSupported, path.to_string(), detail).value(value));
    }

    /// A name rule that the value must keep.
    pub(super) fn named(&mut self, path: &Path<'_>, value: &str, checked: Checked) {
        if let Err(reason) = checked {
            self.invalid(path, value, reason);
        }
    }

    /// A number that may not be negative.
    pub(super) fn not_negative(&mut self, path: &Path<'_>, value: i64) {
        if value < 0 {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// A port number.
    pub(super) fn port(&mut self, path: &Path<'_>, value: i32) {
        if !(1..=65535).contains(&value) {
            self.invalid(path, value, "must be between 1 and 65535, inclusive");
        }
    }

    /// One of some words; empty is not one of them.
    pub(super) fn one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else if !supported.contains(&value) {
            self.unsupported(path, value, supported);
        }
    }

    /// A field that may not change.
    pub(super) fn immutable(&mut self, path: &Path<'_>, value: impl Debug, same: bool) {
        if !same {
            self.invalid(path, value, "field is immutable");
        }
    }
}
