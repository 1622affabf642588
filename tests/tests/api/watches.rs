//! Lists and watches, in the process and over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use steersman_application::client::{Client as _, Part, Selection, Write};
use steersman_domain::ports::{Change, Scope, Store as _};
use steersman_domain::selector::Selector;
use steersman_domain::{ConfigMap, Key, Kind, Revision};

use crate::world::{World, config, key, object};

const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn a_selection_is_entered_and_left() {
    let world = World::new().await;
    let start = world.api.head().await.expect("a head").revision;
    let labels = Selector::parse("on=yes").expect("parses");
    let selection = Selection { scope: Scope::kind(Kind::ConfigMap), labels, ..Selection::default() };
    let mut watch = world.api.watch(&selection, start).await.expect("watches");
    let a = world.create(Kind::ConfigMap, config("a")).await.key.clone();
    for on in ["yes", "yes ", "no"] {
        let set = |c: &mut ConfigMap| {
            c.metadata.labels.insert("on", on.trim().into());
            c.data.insert("x", on.into());
        };
        world.update::<ConfigMap>(&a, Part::Main, set).await.expect("updates");
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(watch.next().await.expect("goes on"));
    }
    let words: Vec<&str> = seen
        .iter()
        .map(|c| match c {
            Change::Put { before: None, .. } => "enters",
            Change::Put { before: Some(_), .. } => "changes",
            Change::Delete { .. } => "leaves",
        })
        .collect();
    assert_eq!(words, ["enters", "changes", "leaves"]);
    assert_eq!(seen[2].revision(), world.api.get(&a).await.expect("there").revision);
}

#[tokio::test]
async fn frames_follow_the_changes() {
    let world = World::new().await;
    world.create(Kind::ConfigMap, config("a")).await;
    let mut frames = world.watch("/api/v1/namespaces/default/configmaps?watch=1", JSON).await;
    assert_eq!(frames.line().await, "ADDED a");
    world.create(Kind::ConfigMap, config("b")).await;
    assert_eq!(frames.line().await, "ADDED b");
    world
        .update::<ConfigMap>(&key(Kind::ConfigMap, "b"), Part::Main, |c| c.data = Default::default())
        .await
        .expect("updates");
    assert_eq!(frames.line().await, "MODIFIED b");
    world.delete(&key(Kind::ConfigMap, "a")).await.expect("goes");
    assert_eq!(frames.line().await, "DELETED a");
    world.service.stop();
    assert_eq!(frames.next().await, None);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let world = World::new().await;
    world.create(Kind::ConfigMap, config("a")).await;
    let path =
        "/api/v1/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut frames = world.watch(path, JSON).await;
    assert_eq!(frames.line().await, "ADDED a");
    let mark = frames.next().await.expect("a bookmark");
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        mark["object"]["metadata"]["resourceVersion"],
        world.api.head().await.expect("a head").revision.to_string()
    );
    let refused = world.ask("GET", "/api/v1/configmaps?watch=1&sendInitialEvents=true", Value::Null).await;
    assert_eq!(refused.code, 422);
}

#[tokio::test]
async fn bookmarks_come_and_the_watch_ends_in_time() {
    let world = World::new().await;
    let mut frames = world.watch("/api/v1/secrets?watch=1&allowWatchBookmarks=true&timeoutSeconds=90", JSON).await;
    let advance = async {
        // Each move of the clock lets the watch run until it waits again.
        for _ in 0..40 {
            tokio::task::yield_now().await;
            world.clock.advance(Duration::from_secs(3));
        }
    };
    world.create(Kind::ConfigMap, config("elsewhere")).await;
    let read = async {
        let mark = frames.next().await.expect("a bookmark");
        (mark["type"].clone(), mark["object"]["metadata"]["resourceVersion"].clone(), frames.next().await)
    };
    let ((kind, revision, end), ()) = tokio::join!(read, advance);
    assert_eq!((kind, end), (json!("BOOKMARK"), None));
    assert_eq!(revision, world.api.head().await.expect("a head").revision.to_string());
}

#[tokio::test]
async fn a_compacted_revision_is_gone() {
    let world = World::new().await;
    for n in 0..5 {
        world.create(Kind::ConfigMap, config(&format!("c{n}"))).await;
    }
    let page = world.ask("GET", "/api/v1/configmaps?limit=2", Value::Null).await.json();
    let token = page["metadata"]["continue"].as_str().expect("more follows").to_owned();
    let head = world.api.head().await.expect("a head").revision;
    world.create(Kind::ConfigMap, config("late")).await;
    world.store.compact(Revision(head.0 + 1)).await.expect("compacts");
    let gone = world.ask("GET", "/api/v1/configmaps?watch=1&resourceVersion=1", Value::Null).await;
    assert_eq!((gone.code.as_u16(), &gone.json()["reason"]), (410, &json!("Expired")));
    let gone = world.ask("GET", &format!("/api/v1/configmaps?limit=2&continue={token}"), Value::Null).await;
    assert_eq!(gone.code, 410);
    let token = gone.json()["metadata"]["continue"].as_str().expect("goes on").to_owned();
    let rest = world.ask("GET", &format!("/api/v1/configmaps?continue={token}"), Value::Null).await.json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn lists_come_in_chunks_and_by_selectors() {
    let world = World::new().await;
    for n in 0..5 {
        let mut value = config(&format!("c{n}"));
        value["metadata"]["labels"] = json!({"odd": if n % 2 == 1 { "yes" } else { "no" }});
        world.create(Kind::ConfigMap, value).await;
    }
    let (mut path, mut names) = ("/api/v1/configmaps?limit=2".to_owned(), Vec::new());
    loop {
        let page = world.ask("GET", &path, Value::Null).await.json();
        let items = page["items"].as_array().expect("items").clone();
        names.extend(items.iter().map(|i| i["metadata"]["name"].as_str().expect("a name").to_owned()));
        match page["metadata"]["continue"].as_str() {
            Some(token) => path = format!("/api/v1/configmaps?limit=2&continue={token}"),
            None => break,
        }
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);
    for (query, expected) in [
        ("labelSelector=odd%3Dyes", 2),
        ("labelSelector=odd%3Dyes&limit=1", 1),
        ("fieldSelector=metadata.name%3Dc3", 1),
        ("fieldSelector=metadata.name!%3Dc3", 4),
    ] {
        let list = world.ask("GET", &format!("/api/v1/configmaps?{query}"), Value::Null).await.json();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(expected), "{query}");
    }
    let bad = world.ask("GET", "/api/v1/configmaps?fieldSelector=spec.x%3Dy", Value::Null).await;
    assert_eq!(bad.code, 400);
}

#[tokio::test]
async fn tables_are_listed_and_watched() {
    let world = World::new().await;
    world.create(Kind::ConfigMap, config("a")).await;
    let table = world.send("GET", "/api/v1/configmaps", &[("accept", TABLE)], Vec::new()).await.json();
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let mut frames = world.watch("/api/v1/configmaps?watch=1", TABLE).await;
    let frame = frames.next().await.expect("a frame");
    assert_eq!((&frame["object"]["kind"], &frame["object"]["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = world.send("GET", "/api/v1/configmaps", &[("accept", partial)], Vec::new()).await.json();
    assert_eq!((&list["kind"], list["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));
}

/// More objects than a watcher holds references to at a time; the last one sorts behind all others.
async fn many(world: &World) -> Vec<Key> {
    let objects = (0..1200).map(|n| Write::Create(object(Kind::ConfigMap, config(&format!("c{n:04}")))));
    let made = world.write(objects.collect()).await;
    made.into_iter().map(|answer| answer.expect("created").key.clone()).collect()
}

const INITIAL: &str = "/api/v1/namespaces/default/configmaps?watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
                       &resourceVersionMatch=NotOlderThan";

#[tokio::test]
async fn a_slow_watcher_reads_the_beginning_as_it_was() {
    let world = World::new().await;
    let keys = many(&world).await;
    let start = world.api.head().await.expect("a head").revision;
    let mut frames = world.watch(INITIAL, JSON).await;
    assert_eq!(frames.line().await, "ADDED c0000");
    // The rest is not read yet, and changes meanwhile.
    world.delete(&keys[1199]).await.expect("goes");
    world
        .update::<ConfigMap>(&keys[1198], Part::Main, |c| _ = c.data.insert("new", "x".into()))
        .await
        .expect("updates");
    world.create(Kind::ConfigMap, config("c9999")).await;
    for n in 1..1200 {
        let frame = frames.next().await.expect("goes on");
        assert_eq!(frame["object"]["metadata"]["name"], format!("c{n:04}"), "{frame}");
        assert!(frame["type"] == "ADDED" && frame["object"]["data"]["new"].is_null(), "{frame}");
    }
    let end = frames.next().await.expect("the end of the beginning");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{end}");
    assert_eq!(end["object"]["metadata"]["resourceVersion"], start.to_string());
    for line in ["DELETED c1199", "MODIFIED c1198", "ADDED c9999"] {
        assert_eq!(frames.line().await, line);
    }
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_for_its_beginning_is_told_so() {
    let world = World::new().await;
    let keys = many(&world).await;
    let mut frames = world.watch(INITIAL, JSON).await;
    assert_eq!(frames.line().await, "ADDED c0000");
    world.delete(&keys[1199]).await.expect("goes");
    let head = world.api.head().await.expect("a head").revision;
    world.store.compact(head).await.expect("compacts");
    let last = loop {
        let frame = frames.next().await.expect("an end with a reason");
        if frame["type"] != "ADDED" {
            break frame;
        }
    };
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(410)), "{last}");
    assert_eq!(last["object"]["reason"], "Expired");
    assert_eq!(frames.next().await, None);
}
