//! `steer events`: what happened, the latest last; and the events of one object for `describe` and `why`.

use crate::client::{self, Api, Call, Discovery, Scope, ScopeFlags};
use crate::out;
use clap::Args;
use serde_json::Value;

/// The arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    scope: ScopeFlags,
    /// Only what happened to this object, as TYPE/NAME
    #[arg(long = "for", value_name = "TYPE/NAME")]
    object: Option<String>,
    /// Only events of these types
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = ["Normal", "Warning"], ignore_case = true)]
    types: Vec<String>,
    /// Go on printing what happens
    #[arg(short, long)]
    watch: bool,
    /// No line with the titles
    #[arg(long)]
    no_headers: bool,
}

/// Runs `events`.
///
/// # Errors
/// As the server refuses.
pub(crate) async fn run(events: Events) -> anyhow::Result<()> {
    let api = Api::new(&events.scope.target.client)?;
    let scope = events.scope.scope(&api.namespace);
    let mut fields = String::new();
    if let Some(object) = &events.object {
        let (resource, name) = client::one(std::slice::from_ref(object), &Discovery::load(&api).await?)?;
        fields = format!("involvedObject.kind={},involvedObject.name={name}", resource.kind);
    }
    let path = match scope.namespace() {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/events"),
        None => "/api/v1/events".to_owned(),
    };
    let call = Call::get(path).query("fieldSelector", fields);
    let chunks = api.chunks(&call).await?;
    let revision = chunks[0]["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let mut list: Vec<Value> = chunks.iter().flat_map(client::items).collect();
    let wanted = |event: &Value| {
        events.types.is_empty()
            || events
                .types
                .iter()
                .any(|kind| event["type"].as_str().is_some_and(|have| have.eq_ignore_ascii_case(kind)))
    };
    list.retain(wanted);
    let all = scope == Scope::All;
    if list.is_empty() && !events.watch {
        crate::out::note(format!(
            "No events found{}.",
            scope.namespace().map(|name| format!(" in {name} namespace")).unwrap_or_default()
        ));
        return Ok(());
    }
    let lines = table(&mut list, out::now(), all);
    let text = out::columns(&lines, out::coloured());
    text.lines().skip(usize::from(events.no_headers)).try_for_each(out::say)?;
    if !events.watch {
        return Ok(());
    }
    let widths = out::widths(&lines, &[]);
    let mut watch = api.watch(call, &revision);
    loop {
        let (kind, event) = watch.next().await?;
        if kind != "DELETED" && wanted(&event) {
            let lines = table(&mut [event], out::now(), all);
            let text = out::columns_at_least(&lines, &widths, out::coloured());
            text.lines().skip(1).try_for_each(out::say)?;
        }
    }
}

/// The events of an object, the latest last.
///
/// # Errors
/// As the server refuses.
pub(crate) async fn of(api: &Api, object: &Value) -> anyhow::Result<Vec<Value>> {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    // Events about objects without a namespace are kept in the default one.
    let namespace = Some(text("namespace")).filter(|name| !name.is_empty()).unwrap_or("default");
    let fields = format!("involvedObject.name={},involvedObject.uid={}", text("name"), text("uid"));
    let call = Call::get(format!("/api/v1/namespaces/{namespace}/events")).query("fieldSelector", fields);
    let mut events = api.list(&call).await?;
    events.sort_by_cached_key(last_seen);
    Ok(events)
}

/// When an event was seen last, in a form that sorts by time.
fn last_seen(event: &Value) -> Option<jiff::Timestamp> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().find_map(|time| time.as_str()?.parse().ok())
}

/// `3s`, or `3s (x4 over 2m)`.
fn when(event: &Value, now: i64) -> String {
    let Some(last) = last_seen(event) else { return "<unknown>".to_owned() };
    let age = out::duration(now - last.as_second());
    let count = event["series"]["count"].as_i64().or(event["count"].as_i64()).unwrap_or(1);
    if count > 1 { format!("{age} (x{count} over {})", out::age(&event["firstTimestamp"], now)) } else { age }
}

/// The table, head first; sorts the events, the latest last.
fn table(events: &mut [Value], now: i64, namespaces: bool) -> Vec<Vec<String>> {
    events.sort_by_cached_key(last_seen);
    let mut lines = vec![["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned).to_vec()];
    for event in events {
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().replace('\n', " ");
        let object = &event["involvedObject"];
        let named = format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"]));
        lines.push(vec![
            when(event, now),
            text(&event["type"]),
            text(&event["reason"]),
            named,
            text(&event["message"]),
        ]);
        if namespaces && let Some(line) = lines.last_mut() {
            line.insert(0, text(&event["metadata"]["namespace"]));
        }
    }
    if namespaces {
        lines[0].insert(0, "NAMESPACE".to_owned());
    }
    lines
}

/// The table of one object's events, without the object.
pub(crate) fn short_table(events: &[Value], now: i64) -> Vec<Vec<String>> {
    let mut lines = table(&mut events.to_vec(), now, false);
    for line in &mut lines {
        line.remove(3);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_sorted_by_when_they_were_last_seen() {
        let event = |reason: &str, fields: Value| {
            let mut event = fields;
            event["reason"] = json!(reason);
            event["involvedObject"] = json!({"kind": "Pod", "name": "a"});
            event
        };
        let mut events = [
            event(
                "B",
                json!({"lastTimestamp": "1970-01-01T00:01:00Z", "firstTimestamp": "1970-01-01T00:00:10Z", "count": 3}),
            ),
            event("A", json!({"eventTime": "1970-01-01T00:00:30.5Z", "lastTimestamp": null, "message": "two\nlines"})),
            event("N", json!({})),
        ];
        let lines: Vec<_> = table(&mut events, 70, false).iter().map(|line| line.join("|")).collect();
        assert_eq!(lines[1], "<unknown>||N|pod/a|");
        assert_eq!(lines[2], "40s||A|pod/a|two lines");
        assert_eq!(lines[3], "10s (x3 over 60s)||B|pod/a|");
        assert_eq!(short_table(&events, 70)[0].join("|"), "LAST SEEN|TYPE|REASON|MESSAGE");
    }
}
