//! Watches: what they begin with, what they say, and how they end.

use crate::world::{CONFIG_MAPS, World};
use http::{Method, header};
use serde_json::json;
use std::time::Duration;
use steersman_domain::ports::Store as _;

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn revision(world: &World) -> String {
    world.get(CONFIG_MAPS).await.expect(200)["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned()
}

#[tokio::test]
async fn changes_come_in_order() {
    let world = World::new().await;
    world.config_map("before", "x").await;
    let from = revision(&world).await;
    let mut frames = world.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}")).await;
    assert!(frames.poll().is_none());
    let created = world.config_map("a", "x").await;
    world.patch(&format!("{CONFIG_MAPS}/a"), "merge", &json!({"data": {"k": "w"}})).await.expect(200);
    world.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(frames.ready(), json!({"type": "ADDED", "object": created}));
    let modified = frames.ready();
    assert_eq!((&modified["type"], &modified["object"]["data"]["k"]), (&json!("MODIFIED"), &json!("w")));
    let deleted = frames.ready();
    assert_eq!(deleted["type"], "DELETED");
    let number = |v: &serde_json::Value| v["metadata"]["resourceVersion"].as_str().and_then(|r| r.parse::<u64>().ok());
    assert!(number(&deleted["object"]) > number(&modified["object"]), "the removal has a revision of its own");
    assert!(frames.poll().is_none());
}

#[tokio::test]
async fn without_a_revision_it_begins_with_what_is_there() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    for query in ["watch=true", "watch=1&resourceVersion=0"] {
        let mut frames = world.watch(&format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(frames.short(), pair("ADDED", "a"), "{query}");
        assert!(frames.poll().is_none(), "{query}");
    }
}

#[tokio::test]
async fn the_end_of_what_is_there_is_marked() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    world.config_map("b", "x").await;
    let newest = revision(&world).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut frames = world.watch(&format!("{CONFIG_MAPS}?{query}&resourceVersion=1")).await;
    assert_eq!((frames.short(), frames.short()), (pair("ADDED", "a"), pair("ADDED", "b")));
    let mark = frames.ready();
    assert_eq!((&mark["type"], &mark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let meta = &mark["object"]["metadata"];
    assert_eq!(meta["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(meta["resourceVersion"], json!(newest));
    world.config_map("c", "x").await;
    assert_eq!(frames.short(), pair("ADDED", "c"));

    let path = format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true");
    world.get(&path).await.refusal(422, "Invalid");
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let world = World::new().await;
    let mut frames = world.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=app%3Dx")).await;
    world.config_map("a", "y").await;
    let label = |app: &str| json!({"metadata": {"labels": {"app": app}}});
    let path = format!("{CONFIG_MAPS}/a");
    for app in ["x", "y"] {
        world.patch(&path, "merge", &label(app)).await.expect(200);
    }
    assert_eq!((frames.short(), frames.short()), (pair("ADDED", "a"), pair("DELETED", "a")));
    assert!(frames.poll().is_none());

    let mut one = world.watch(&format!("{path}?watch=1")).await;
    assert_eq!(one.short(), pair("ADDED", "a"));
    world.config_map("b", "x").await;
    assert!(one.poll().is_none(), "only the named object is watched");
}

#[tokio::test]
async fn bookmarks_and_the_end_come_with_time() {
    let world = World::new().await;
    let query = "watch=1&allowWatchBookmarks=true&timeoutSeconds=300&fieldSelector=metadata.name%3Dnone";
    let mut frames = world.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert!(frames.poll().is_none());
    world.config_map("a", "x").await;
    assert!(frames.poll().is_none());
    world.clock.advance(Duration::from_secs(61));
    let mark = frames.ready();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], json!(revision(&world).await));
    world.clock.advance(Duration::from_secs(240));
    assert_eq!(frames.poll(), Some(None), "the watch has lasted as long as it may");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_to_list_again() {
    let world = World::new().await;
    let from = revision(&world).await;
    world.config_map("a", "x").await;
    let newest = world.store.head().await.expect("the store is there").revision;
    let mut frames = world.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}")).await;
    world.store.compact(newest).await.expect("the store is there");
    world.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}")).await.refusal(410, "Expired");
    // Who was watching either hears everything or is told so; nobody is left with a gap.
    let frame = frames.ready();
    match frame["type"].as_str() {
        Some("ADDED") => assert_eq!(frame["object"]["metadata"]["name"], "a"),
        Some("ERROR") => {
            assert_eq!((&frame["object"]["code"], &frame["object"]["reason"]), (&json!(410), &json!("Expired")));
            assert_eq!(frames.poll(), Some(None));
        }
        other => panic!("{other:?}"),
    }
    world.get(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=99999")).await.refusal(504, "Timeout");
}

#[tokio::test]
async fn a_table_names_its_columns_once() {
    let world = World::new().await;
    world.config_map("a", "x").await;
    world.config_map("b", "x").await;
    let answer = world
        .ask(Method::GET, &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1"))
        .header(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .open()
        .await;
    world.clock.advance(Duration::from_secs(2));
    let bytes = answer.into_body().collect_all().await.expect("the watch ends in order");
    let frames: Vec<serde_json::Value> = bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).expect("JSON"))
        .collect();
    assert_eq!(frames.len(), 2);
    let columns = |at: usize| frames[at]["object"]["columnDefinitions"].as_array().map_or(0, Vec::len);
    assert!(columns(0) > 0);
    assert_eq!(columns(1), 0, "columns are named in the first frame alone");
    assert_eq!(frames[1]["object"]["rows"][0]["object"]["metadata"]["name"], "b");
}

#[tokio::test]
async fn watches_end_when_the_server_stops() {
    let world = World::new().await;
    let mut frames = world.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert!(frames.poll().is_none());
    world.service.stop();
    assert_eq!(frames.poll(), Some(None));
    assert_eq!(world.anonymous(Method::GET, "/readyz").send().await.code, 503);
}
