//! How a strategic merge patch treats lists.

use super::PatchError;
use super::strategic::{DIRECTIVE, Known, malformed, merge_map};
use crate::check::Path;
use serde_json::{Map, Value};

/// Merges a list of objects by the value of `key`. Elements that the patch names come in the patch's order;
/// those it does not name keep their places relative to them. An element with `$patch: delete` removes its
/// namesake, one with `$patch: replace` and nothing else replaces the whole list.
pub(super) fn merge_by_key(
    old: Vec<Value>,
    patch: &[Value],
    key: &str,
    known: Known,
    path: &mut Path,
) -> Result<Vec<Value>, PatchError> {
    let replaces = |v: &Value| v.get(DIRECTIVE).is_some_and(|d| d == "replace") && v.get(key).is_none();
    let mut list = if patch.iter().any(replaces) { Vec::new() } else { old.clone() };
    let mut order = Vec::new();
    for (at, element) in patch.iter().enumerate() {
        path.with_index(at, |path| -> Result<(), PatchError> {
            let Value::Object(element) = element else {
                return Err(malformed(path, format_args!("expected an object with the merge key {key:?}")));
            };
            if replaces(&patch[at]) {
                return Ok(());
            }
            let Some(name) = element.get(key).filter(|v| !v.is_null()) else {
                return Err(malformed(path, format_args!("the merge key {key:?} is missing")));
            };
            if element.get(DIRECTIVE).is_some_and(|d| d == "delete") {
                list.retain(|v| v.get(key) != Some(name));
                return Ok(());
            }
            let existing = list.iter_mut().find(|v| v.get(key) == Some(name));
            let base = existing.as_ref().and_then(|v| v.as_object()).cloned().unwrap_or_default();
            let merged = Value::Object(merge_map(base, element, known, path)?);
            match existing {
                Some(place) => *place = merged,
                None => list.push(merged),
            }
            order.push(named(key, name));
            Ok(())
        })?;
    }
    Ok(weave(list, &order, &old, Some(key)))
}

fn named(key: &str, name: &Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), name.clone())]))
}

/// Unites two lists of plain values, each value once.
pub(super) fn merge_union(old: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    let mut list: Vec<Value> = Vec::with_capacity(old.len() + patch.len());
    for value in old.iter().chain(patch) {
        if !list.contains(value) {
            list.push(value.clone());
        }
    }
    weave(list, patch, &old, None)
}

/// Puts a list into the order that `$setElementOrder` gives. Elements that it does not name keep their place
/// before the next named one.
pub(super) fn order_by(list: Vec<Value>, order: &[Value], key: Option<&str>) -> Vec<Value> {
    let before = list.clone();
    weave(list, order, &before, key)
}

/// Merges two sequences: the elements named in `order`, in that order, and the others in the order they had.
/// An other comes first only when the old list had it before the next named one.
fn weave(list: Vec<Value>, order: &[Value], old: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    };
    let rank = |value: &Value| order.iter().position(|o| same(o, value));
    let (mut named, others): (Vec<Value>, Vec<Value>) = list.into_iter().partition(|v| rank(v).is_some());
    named.sort_by_key(|v| rank(v));
    let place = |value: &Value| old.iter().position(|o| same(o, value));
    let mut woven = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for next in named {
        while let Some(other) = others.peek() {
            match (place(other), place(&next)) {
                (Some(left), Some(right)) if left < right => woven.extend(others.next()),
                _ => break,
            }
        }
        woven.push(next);
    }
    woven.extend(others);
    woven
}
