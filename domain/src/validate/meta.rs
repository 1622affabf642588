//! Metadata, labels and label selectors.

use super::path::{Errors, Path};
use crate::selector::Requirement;
use crate::{Kind, LabelSelector, Map, ObjectMeta, OwnerReference, Str, names};

/// All annotations of an object together, keys and values.
const MOST_ANNOTATION_BYTES: usize = 256 * 1024;

/// The metadata of an object that is to be stored.
pub(super) fn check(kind: Kind, meta: &ObjectMeta, errors: &mut Errors) {
    let root = Path::root();
    let path = root.field("metadata");
    if meta.name.is_empty() {
        errors.required(&path.field("name"), "name or generateName is required");
    } else {
        errors.named(&path.field("name"), &meta.name, name_rule(kind, &meta.name));
    }
    if !meta.namespace.is_empty() {
        errors.named(&path.field("namespace"), &meta.namespace, names::label(&meta.namespace));
    }
    labels(&meta.labels, &path.field("labels"), errors);
    annotations(&meta.annotations, &path.field("annotations"), errors);
    owners(&meta.owner_references, &path.field("ownerReferences"), errors);
    for (at, finalizer) in meta.finalizers.iter().enumerate() {
        errors.named(&path.field("finalizers").index(at), finalizer, names::qualified_name(finalizer));
    }
}

fn name_rule(kind: Kind, name: &str) -> names::Checked {
    match kind {
        Kind::Namespace => names::label(name),
        Kind::Service => names::label_1035(name),
        _ => names::subdomain(name),
    }
}

/// Labels: qualified keys, short values.
pub(super) fn labels(labels: &Map<Str>, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in labels.iter() {
        errors.named(path, key, names::qualified_name(key));
        errors.named(path, value, names::label_value(value));
    }
}

/// Annotations: qualified keys, any values up to a total size.
pub(super) fn annotations(annotations: &Map<Str>, path: &Path<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.iter() {
        // Case does not matter in the prefix of an annotation's key.
        let lower;
        let rule = if key.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = key.to_lowercase();
            names::qualified_name(&lower)
        } else {
            names::qualified_name(key)
        };
        errors.named(path, key, rule);
        size += key.len() + value.len();
    }
    if size > MOST_ANNOTATION_BYTES {
        errors.too_long(path, MOST_ANNOTATION_BYTES);
    }
}

fn owners(owners: &[OwnerReference], path: &Path<'_>, errors: &mut Errors) {
    for (at, owner) in owners.iter().enumerate() {
        let path = path.index(at);
        for (field, value) in
            [("apiVersion", &owner.api_version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid.0)]
        {
            if value.is_empty() {
                errors.invalid(&path.field(field), "", format!("{field} must not be empty"));
            }
        }
    }
    if owners.iter().filter(|o| o.controller == Some(true)).count() > 1 {
        let names: Vec<&str> = owners.iter().map(|o| o.name.as_str()).collect();
        errors.invalid(path, names, "only one reference can have controller set to true");
    }
}

/// A label selector: well-formed keys, operators and values.
pub(super) fn selector(selector: &LabelSelector, path: &Path<'_>, errors: &mut Errors) {
    labels(&selector.match_labels, &path.field("matchLabels"), errors);
    for (at, e) in selector.match_expressions.iter().enumerate() {
        let list = path.field("matchExpressions");
        let path = list.index(at);
        match e.operator.as_str() {
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {
                if let Err(reason) = Requirement::new(&e.key, &e.operator, &e.values) {
                    errors.invalid(&path, e.key.as_str(), reason);
                }
            }
            other => errors.invalid(&path.field("operator"), other, "not a valid selector operator"),
        }
        for value in &e.values {
            errors.named(&path.field("values"), value, names::label_value(value));
        }
    }
}
