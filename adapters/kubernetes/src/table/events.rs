//! The tables of events, in the core group and in `events.k8s.io`, whose fields have other names.

use super::{Column, NAME, Printer, column, name, number, text, wide};
use crate::duration::{since, unix_seconds};
use serde_json::Value;

const COLUMNS: &[Column] = &[
    column("Last Seen", "How long ago it was last seen."),
    column("Type", "Normal or Warning."),
    column("Reason", "What happened, in a word."),
    column("Object", "What it is about."),
    wide("Subobject", "Which part of the object."),
    wide("Source", "Who reports it."),
    column("Message", "What happened."),
    wide("First Seen", "How long ago it was first seen."),
    Column { kind: "integer", ..wide("Count", "How often it was seen.") },
    Column { priority: 1, ..NAME },
];

pub(super) const CORE: Printer = Printer {
    columns: COLUMNS,
    cells: |event, now| {
        let names = Names {
            object: "involvedObject",
            message: "message",
            source: "source",
            first: "firstTimestamp",
            last: "lastTimestamp",
            count: "count",
            controller: "reportingComponent",
        };
        cells(event, now, &names)
    },
};

pub(super) const EVENTS: Printer = Printer {
    columns: COLUMNS,
    cells: |event, now| {
        let names = Names {
            object: "regarding",
            message: "note",
            source: "deprecatedSource",
            first: "deprecatedFirstTimestamp",
            last: "deprecatedLastTimestamp",
            count: "deprecatedCount",
            controller: "reportingController",
        };
        cells(event, now, &names)
    },
};

/// What the fields are called in a group.
struct Names {
    object: &'static str,
    message: &'static str,
    source: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    controller: &'static str,
}

fn cells(event: &Value, now: i64, names: &Names) -> Vec<Value> {
    let known = |time: &Value| unix_seconds(time).is_some();
    let first = if known(&event[names.first]) { &event[names.first] } else { &event["eventTime"] };
    let mut last = if known(&event[names.last]) { &event[names.last] } else { first };
    // An event that was seen once has no count in the newer form.
    let mut count = number(event, names.count).max(1);
    if event["series"].is_object() {
        last = &event["series"]["lastObservedTime"];
        count = number(&event["series"], "count");
    }
    let object = &event[names.object];
    let kind = text(object, "kind").to_lowercase();
    let target = match text(object, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        since(last, now).into(),
        text(event, "type").into(),
        text(event, "reason").into(),
        target.into(),
        text(object, "fieldPath").into(),
        source(event, names).into(),
        text(event, names.message).trim().into(),
        since(first, now).into(),
        count.into(),
        name(event),
    ]
}

fn source(event: &Value, names: &Names) -> String {
    let old = &event[names.source];
    let (component, host) = match text(old, "component") {
        "" => (text(event, names.controller), text(event, "reportingInstance")),
        component => (component, text(old, "host")),
    };
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}
