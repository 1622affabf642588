//! The patch that brings an object to what a manifest says: changes against what is there, and deletions of what the
//! last manifest had and this one has not. What neither manifest ever named is left alone. The algorithm is kubectl's
//! client-side apply; lists are merged by the keys that the field table names.

use serde_json::{Map, Value, json};
use steersman_kubernetes::schema::{Base, ListMerge, Shape, TypeId, schema};

/// The patch: a strategic merge patch where the type is known, else a JSON merge patch. Empty: nothing to do.
pub(crate) fn patch(original: &Value, modified: &Value, current: &Value, of: Option<TypeId>) -> Map<String, Value> {
    let empty = Map::new();
    let map = |value: &'_ Value| value.as_object().cloned().unwrap_or_default();
    let original = original.as_object().unwrap_or(&empty);
    differences(original, &map(modified), &map(current), of)
}

/// How a field is merged.
#[derive(Debug, Clone, Copy)]
struct Rule {
    of: Option<TypeId>,
    list: ListMerge,
    retain: bool,
}

fn rule(of: Option<TypeId>, field: &str) -> Rule {
    let unknown = Rule { of: None, list: ListMerge::Replace, retain: false };
    let Some(field) = of.and_then(|of| schema().get(of).field(field)) else { return unknown };
    let inner = match (field.base, field.shape) {
        (Base::Object(inner), Shape::One | Shape::List(_)) => Some(inner),
        _ => None,
    };
    Rule { of: inner, list: field.merge, retain: field.retain_keys }
}

fn differences(
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    current: &Map<String, Value>,
    of: Option<TypeId>,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for (name, wanted) in modified {
        let rule = rule(of, name);
        match (current.get(name), wanted) {
            (None | Some(Value::Null), Value::Null) => {}
            (None | Some(Value::Null), wanted) => {
                patch.insert(name.clone(), wanted.clone());
            }
            (Some(Value::Object(have)), Value::Object(wanted)) => {
                let before = original.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
                let mut inner = differences(&before, wanted, have, rule.of);
                if !inner.is_empty() {
                    if rule.retain {
                        inner.insert("$retainKeys".to_owned(), wanted.keys().cloned().collect());
                    }
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (Some(Value::Array(have)), Value::Array(wanted)) => {
                let before = original.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                lists(name, rule, [before, wanted, have], &mut patch);
            }
            (Some(have), wanted) => {
                if have != wanted {
                    patch.insert(name.clone(), wanted.clone());
                }
            }
        }
    }
    for name in original.keys() {
        if !modified.contains_key(name) && current.contains_key(name) {
            patch.insert(name.clone(), Value::Null);
        }
    }
    patch
}

fn lists(name: &str, rule: Rule, [original, modified, current]: [&[Value]; 3], patch: &mut Map<String, Value>) {
    match rule.list {
        ListMerge::By(key) if keyed(modified, key) && keyed(current, key) => {
            by_key((name, key, rule), [original, modified, current], patch);
        }
        ListMerge::Union => united(name, [original, modified, current], patch),
        ListMerge::By(_) | ListMerge::Replace => {
            if modified != current {
                patch.insert(name.to_owned(), modified.into());
            }
        }
    }
}

/// Whether every element is an object with the key.
fn keyed(list: &[Value], key: &str) -> bool {
    list.iter().all(|item| item.get(key).is_some_and(|value| !value.is_null()))
}

fn by_key((name, key, rule): (&str, &str, Rule), lists: [&[Value]; 3], patch: &mut Map<String, Value>) {
    let [original, modified, current] = lists;
    let find = |list: &'_ [Value], item: &Value| list.iter().find(|other| other[key] == item[key]).cloned();
    let mut changes = Vec::new();
    for wanted in modified {
        let Some(have) = find(current, wanted) else {
            changes.push(wanted.clone());
            continue;
        };
        let fields = |value: Option<Value>| value.and_then(|value| value.as_object().cloned()).unwrap_or_default();
        let wanted_fields = fields(Some(wanted.clone()));
        let mut inner = differences(&fields(find(original, wanted)), &wanted_fields, &fields(Some(have)), rule.of);
        if !inner.is_empty() {
            if rule.retain {
                inner.insert("$retainKeys".to_owned(), wanted_fields.keys().cloned().collect());
            }
            inner.insert(key.to_owned(), wanted[key].clone());
            changes.push(Value::Object(inner));
        }
    }
    for before in original {
        if find(modified, before).is_none() && find(current, before).is_some() {
            changes.push(json!({"$patch": "delete", key: before[key]}));
        }
    }
    let order = |list: &[Value]| list.iter().map(|item| item[key].clone()).collect::<Vec<_>>();
    let wanted = order(modified);
    let have: Vec<_> = order(current).into_iter().filter(|key| wanted.contains(key)).collect();
    if !changes.is_empty() || wanted != have {
        let order = modified.iter().map(|item| json!({key: item[key]})).collect();
        patch.insert(format!("$setElementOrder/{name}"), order);
    }
    if !changes.is_empty() {
        patch.insert(name.to_owned(), changes.into());
    }
}

fn united(name: &str, [original, modified, current]: [&[Value]; 3], patch: &mut Map<String, Value>) {
    let added: Vec<_> = modified.iter().filter(|value| !current.contains(value)).cloned().collect();
    let gone = |value: &&Value| !modified.contains(value) && current.contains(value);
    let gone: Vec<_> = original.iter().filter(gone).cloned().collect();
    if added.is_empty() && gone.is_empty() {
        return;
    }
    patch.insert(format!("$setElementOrder/{name}"), modified.into());
    if !added.is_empty() {
        patch.insert(name.to_owned(), added.into());
    }
    if !gone.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{name}"), gone.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_kubernetes::{Gvk, merge_patch, strategic_merge};

    const DEPLOYMENT: Gvk<'static> = Gvk::new("apps", "v1", "Deployment");

    /// Patches `current` as the server would.
    fn apply(original: &Value, modified: &Value, current: &Value) -> (Value, Value) {
        let patch = Value::Object(patch(original, modified, current, schema().of_kind(DEPLOYMENT)));
        let after = strategic_merge(DEPLOYMENT, current, &patch).expect("a good patch");
        (patch, after)
    }

    fn web(containers: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn nothing_changed_is_no_patch() {
        let manifest = web(json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}]));
        let mut current = manifest.clone();
        current["spec"]["replicas"] = json!(1);
        current["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = json!("/dev/log");
        assert_eq!(apply(&manifest, &manifest, &current).0, json!({}));
    }

    #[test]
    fn what_is_no_longer_named_goes_and_what_never_was_stays() {
        let before = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"replicas": 3}});
        let after = json!({"metadata": {"labels": {"a": "2"}}, "spec": {}});
        let current = json!({"metadata": {"labels": {"a": "1", "b": "1", "theirs": "1"}}, "spec": {"replicas": 9, "paused": true}});
        let (patch, result) = apply(&before, &after, &current);
        assert_eq!(patch, json!({"metadata": {"labels": {"a": "2", "b": null}}, "spec": {"replicas": null}}));
        assert_eq!(result, json!({"metadata": {"labels": {"a": "2", "theirs": "1"}}, "spec": {"paused": true}}));
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        let before = web(json!([{"name": "a", "image": "1"}, {"name": "b"}]));
        let after = web(json!([{"name": "c"}, {"name": "a", "image": "2"}]));
        let current = web(json!([{"name": "a", "image": "1", "set": 1}, {"name": "b"}, {"name": "injected"}]));
        let (patch, result) = apply(&before, &after, &current);
        let spec = &patch["spec"]["template"]["spec"];
        assert_eq!(
            spec["containers"],
            json!([{"name": "c"}, {"name": "a", "image": "2"}, {"$patch": "delete", "name": "b"}])
        );
        assert_eq!(spec["$setElementOrder/containers"], json!([{"name": "c"}, {"name": "a"}]));
        let containers = result["spec"]["template"]["spec"]["containers"].as_array().expect("a list");
        let names: Vec<_> = containers.iter().map(|c| c["name"].as_str().expect("a name")).collect();
        let at = |name: &str| names.iter().position(|n| *n == name);
        assert!(at("b").is_none() && at("injected").is_some() && at("c") < at("a"), "{names:?}");
        let a = containers.iter().find(|c| c["name"] == "a").expect("a stays");
        assert_eq!(a, &json!({"name": "a", "image": "2", "set": 1}));
    }

    #[test]
    fn another_strategy_takes_away_the_defaults_of_the_old_one() {
        let before = json!({"spec": {}});
        let after = json!({"spec": {"strategy": {"type": "Recreate"}}});
        let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}});
        let (_, result) = apply(&before, &after, &current);
        assert_eq!(result["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn plain_lists_are_united_or_replaced() {
        let list = |finalizers: Value, args: Value| {
            let mut object = web(json!([{"name": "a", "args": args}]));
            object["metadata"] = json!({"finalizers": finalizers});
            object
        };
        let before = list(json!(["x/a", "x/b"]), json!(["1", "2"]));
        let after = list(json!(["x/b", "x/c"]), json!(["2"]));
        let current = list(json!(["x/a", "x/b", "x/theirs"]), json!(["1", "2"]));
        let (_, result) = apply(&before, &after, &current);
        let mut left: Vec<_> =
            result["metadata"]["finalizers"].as_array().expect("a list").iter().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["\"x/b\"", "\"x/c\"", "\"x/theirs\""]);
        assert_eq!(result["spec"]["template"]["spec"]["containers"][0]["args"], json!(["2"]));
    }

    #[test]
    fn an_unknown_kind_is_patched_as_plain_json() {
        let before = json!({"spec": {"list": [{"name": "a"}], "old": 1}});
        let after = json!({"spec": {"list": [{"name": "b"}]}});
        let patch = Value::Object(patch(&before, &after, &before, None));
        assert_eq!(merge_patch(&before, &patch).expect("good"), after);
    }
}
