//! Strategic merge patch: a merge patch that knows, from the field table, which lists merge by which key.
//!
//! Follows the documented behaviour of Kubernetes' `strategicpatch`: the directives `$patch`
//! (`merge`, `replace`, `delete`), `$retainKeys`, `$deleteFromPrimitiveList/FIELD` and
//! `$setElementOrder/FIELD`. Directives are obeyed in parts that the object does not have yet as well.

use super::PatchError;
use super::list::{merge_by_key, merge_union, order_by};
use crate::check::Path;
use crate::schema::{Base, Field, Gvk, ListMerge, Shape, TypeId, schema};
use serde_json::{Map, Value};

pub(super) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";
/// Merging lists compares their elements pairwise, so their length is bounded; real lists have tens.
const MOST_ELEMENTS: usize = 5_000;

/// Applies a strategic merge patch and gives the patched object.
///
/// # Errors
/// [`PatchError::Unsupported`] for a kind that is not in the field table (Kubernetes refuses custom resources in
/// the same way); [`PatchError::Malformed`] names the place of an unknown directive or of a list element without
/// its merge key.
pub fn strategic_merge(gvk: Gvk<'_>, original: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(id) = schema().of_kind(gvk) else {
        return Err(PatchError::Unsupported(format!(
            "{} has no merge keys for a strategic merge patch, use a JSON merge patch (kubectl patch --type=merge)",
            gvk.kind
        )));
    };
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("a strategic merge patch is an object".to_owned()));
    };
    let original = original.as_object().cloned().unwrap_or_default();
    merge_map(original, patch, Known::Type(id), &mut Path::default()).map(Value::Object)
}

/// What is known about the object at hand: nothing is known inside free-form fields.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    Type(TypeId),
    /// A map whose values are all like this.
    MapOf(Base),
    Nothing,
}

impl Known {
    fn field(self, name: &str) -> Option<&'static Field> {
        match self {
            Self::Type(id) => schema().get(id).field(name),
            Self::MapOf(_) | Self::Nothing => None,
        }
    }

    /// What is known about the object in a field.
    fn inside(self, name: &str) -> Self {
        let of = |base: Base| if let Base::Object(id) = base { Self::Type(id) } else { Self::Nothing };
        match (self, self.field(name)) {
            (_, Some(field)) if field.shape == Shape::Map => Self::MapOf(field.base),
            (_, Some(field)) => of(field.base),
            (Self::MapOf(base), None) => of(base),
            (_, None) => Self::Nothing,
        }
    }
}

/// Merges a patch into an object.
pub(super) fn merge_map(
    mut original: Map<String, Value>,
    patch: &Map<String, Value>,
    known: Known,
    path: &mut Path,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => original.clear(),
        Some("delete") => return Ok(Map::new()),
        Some(_) => {
            let directive = &patch[DIRECTIVE];
            return Err(malformed(path, format_args!("$patch is merge, replace or delete, not {directive}")));
        }
    }
    retain_keys(&mut original, patch, path)?;
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        path.with_field(name, |path| merge_field(&mut original, name, value, known, path))?;
    }
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix(DELETE_FROM) {
            path.with_field(name, |path| delete_from(&mut original, field, value, path))?;
        } else if let Some(field) = name.strip_prefix(ELEMENT_ORDER) {
            let key = match known.field(field).map(|f| f.merge) {
                Some(ListMerge::By(key)) => Some(key),
                _ => None,
            };
            path.with_field(name, |path| set_order(&mut original, (field, key), value, path))?;
        } else if name.starts_with('$') && name != DIRECTIVE && name != RETAIN_KEYS {
            return Err(malformed(path, format_args!("the directive {name} is unknown")));
        }
    }
    Ok(original)
}

pub(super) fn malformed(path: &Path, what: std::fmt::Arguments<'_>) -> PatchError {
    let path = path.to_string();
    PatchError::Malformed(if path.is_empty() { what.to_string() } else { format!("{path}: {what}") })
}

/// `$retainKeys` removes what it does not name; what the patch sets must be named.
fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>, path: &Path) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else {
        return Err(malformed(path, format_args!("{RETAIN_KEYS} is a list of field names")));
    };
    let retained = |name: &str| keys.iter().any(|k| k == name);
    if let Some(extra) = patch.iter().find(|(n, v)| !n.starts_with('$') && !v.is_null() && !retained(n)) {
        return Err(malformed(path, format_args!("{RETAIN_KEYS} does not name {:?}, which the patch sets", extra.0)));
    }
    original.retain(|name, _| retained(name));
    Ok(())
}

fn merge_field(
    original: &mut Map<String, Value>,
    name: &str,
    patch: &Value,
    known: Known,
    path: &mut Path,
) -> Result<(), PatchError> {
    match patch {
        Value::Null => {
            original.remove(name);
        }
        Value::Object(patch) => {
            let old = match original.remove(name) {
                Some(Value::Object(old)) => old,
                _ => Map::new(),
            };
            let deleted = patch.get(DIRECTIVE).is_some_and(|d| d == "delete");
            let merged = merge_map(old, patch, known.inside(name), path)?;
            // A deleted part is gone, as opposed to one that became empty.
            if !deleted {
                original.insert(name.to_owned(), Value::Object(merged));
            }
        }
        Value::Array(patch) => {
            let merge = known.field(name).map_or(ListMerge::Replace, |f| f.merge);
            let old = match (merge, original.remove(name)) {
                (ListMerge::By(_) | ListMerge::Union, Some(Value::Array(old))) => old,
                _ => Vec::new(),
            };
            if merge != ListMerge::Replace {
                bounded(old.len() + patch.len(), path)?;
            }
            let list = match merge {
                ListMerge::By(key) => merge_by_key(old, patch, key, known.inside(name), path)?,
                ListMerge::Union => merge_union(old, patch),
                ListMerge::Replace => without_directives(patch),
            };
            original.insert(name.to_owned(), Value::Array(list));
        }
        plain => {
            original.insert(name.to_owned(), plain.clone());
        }
    }
    Ok(())
}

fn bounded(elements: usize, path: &Path) -> Result<(), PatchError> {
    if elements > MOST_ELEMENTS {
        return Err(PatchError::TooLarge(format!("{path}: {elements} elements to merge, at most {MOST_ELEMENTS}")));
    }
    Ok(())
}

/// A list that takes the place of another, free of elements that only say `$patch: replace`.
fn without_directives(patch: &[Value]) -> Vec<Value> {
    patch.iter().filter(|v| v.get(DIRECTIVE).is_none()).cloned().collect()
}

fn delete_from(original: &mut Map<String, Value>, field: &str, gone: &Value, path: &Path) -> Result<(), PatchError> {
    let Value::Array(gone) = gone else {
        return Err(malformed(path, format_args!("expected the list of values to delete")));
    };
    if let Some(Value::Array(list)) = original.get_mut(field) {
        bounded(list.len() + gone.len(), path)?;
        list.retain(|value| !gone.contains(value));
    }
    Ok(())
}

/// Puts the list of a field into the order that the patch gives, by merge key or by value.
fn set_order(
    original: &mut Map<String, Value>,
    (field, key): (&str, Option<&str>),
    order: &Value,
    path: &Path,
) -> Result<(), PatchError> {
    let Value::Array(order) = order else {
        return Err(malformed(path, format_args!("expected the list of elements in their order")));
    };
    if let Some(Value::Array(list)) = original.get_mut(field) {
        bounded(list.len() + order.len(), path)?;
        let old = std::mem::take(list);
        *list = order_by(old, order, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
