//! Events are one object with two vocabularies: `v1`, in which they are stored, and `events.k8s.io/v1`.

use serde_json::{Map, Value};
use steersman_domain::selector::FieldSelector;

/// Field names, stored word first.
const WORDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// A stored event in the words of `events.k8s.io/v1`.
pub(crate) fn to_new(event: Value) -> Value {
    rename(event, "events.k8s.io/v1", WORDS.iter().copied())
}

/// An event of `events.k8s.io/v1` as it is stored.
pub(crate) fn to_core(event: Value) -> Value {
    rename(event, "v1", WORDS.iter().map(|(core, new)| (*new, *core)))
}

fn rename<'a>(event: Value, api_version: &str, words: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let Value::Object(mut map) = event else { return event };
    let mut renamed = Map::new();
    for (from, to) in words {
        if let Some(value) = map.remove(from) {
            renamed.insert(to.to_owned(), value);
        }
    }
    map.extend(renamed);
    map.insert("apiVersion".into(), api_version.into());
    Value::Object(map)
}

/// A field selector in the words of `events.k8s.io/v1`, as it is applied to what is stored.
pub(crate) fn selector(mut fields: FieldSelector) -> FieldSelector {
    for requirement in &mut fields.0 {
        for (core, new) in WORDS {
            let rest = requirement.path.strip_prefix(new).filter(|r| r.is_empty() || r.starts_with('.'));
            if let Some(rest) = rest {
                requirement.path = format!("{core}{rest}").into();
                break;
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_keeps_its_meaning_in_both_vocabularies() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "reason": "Started", "message": "it runs", "count": 2,
            "involvedObject": {"name": "a"}, "source": {"component": "c"}});
        let new = to_new(core.clone());
        assert_eq!(
            new,
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "reason": "Started", "note": "it runs",
                "deprecatedCount": 2, "regarding": {"name": "a"}, "deprecatedSource": {"component": "c"}})
        );
        assert_eq!(to_core(new), core);
        let fields = selector(FieldSelector::parse("regarding.name=a,type=Normal").expect("parses"));
        assert_eq!(fields, FieldSelector::parse("involvedObject.name=a,type=Normal").expect("parses"));
    }
}
