//! Lists: selectors, chunks, revisions, and the forms in which they are answered.

use crate::world::{CONFIG_MAPS, World};
use http::{Method, header};
use serde_json::{Value, json};
use steersman_domain::Revision;
use steersman_domain::ports::Store as _;

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|i| i["metadata"]["name"].as_str().unwrap_or_default()).collect()
}

async fn five() -> World {
    let world = World::new().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y"), ("e", "x")] {
        world.config_map(name, app).await;
    }
    world
}

#[tokio::test]
async fn selectors_choose() {
    let world = five().await;
    let list = world.get(CONFIG_MAPS).await.expect(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["items"][0], world.get(&format!("{CONFIG_MAPS}/a")).await.expect(200));
    for (query, expected) in [
        ("", vec!["a", "b", "c", "d", "e"]),
        ("labelSelector=app%3Dx", vec!["a", "c", "e"]),
        ("labelSelector=app+notin+(x)", vec!["b", "d"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("labelSelector=app%3Dx&fieldSelector=metadata.name!%3Dc", vec!["a", "e"]),
    ] {
        assert_eq!(names(&world.get(&format!("{CONFIG_MAPS}?{query}")).await.expect(200)), expected, "{query}");
        assert_eq!(names(&world.get(&format!("/api/v1/configmaps?{query}")).await.expect(200)), expected, "{query}");
    }
    assert!(names(&world.get("/api/v1/namespaces/kube-system/configmaps").await.expect(200)).is_empty());
    world.get(&format!("{CONFIG_MAPS}?labelSelector=a+in+b")).await.refusal(400, "BadRequest");
    world.get(&format!("{CONFIG_MAPS}?fieldSelector=data.k%3Dv")).await.refusal(400, "BadRequest");
}

#[tokio::test]
async fn chunks_are_of_one_revision() {
    let world = five().await;
    let first = world.get(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    let token = first["metadata"]["continue"].as_str().expect("there is more").to_owned();
    world.delete(&format!("{CONFIG_MAPS}/c")).await.expect(200);
    let second = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().expect("there is more").to_owned();
    let last = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!((names(&last), last["metadata"].get("continue")), (vec!["e"], None));
    world.get(&format!("{CONFIG_MAPS}?continue=nonsense")).await.refusal(400, "BadRequest");
    world.get(&format!("{CONFIG_MAPS}?continue={token}&resourceVersion=3")).await.refusal(400, "BadRequest");
}

#[tokio::test]
async fn a_chunk_whose_revision_is_gone_can_go_on() {
    let world = five().await;
    let first = world.get(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().expect("there is more").to_owned();
    world.delete(&format!("{CONFIG_MAPS}/c")).await.expect(200);
    let newest = world.store.head().await.expect("the store is there").revision;
    world.store.compact(newest).await.expect("the store is there");
    let expired = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    expired.refusal(410, "Expired");
    let status = expired.json();
    let token = status["metadata"]["continue"].as_str().expect("a token that goes on");
    let rest = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&rest), ["d", "e"]);
}

#[tokio::test]
async fn revisions_are_matched() {
    let world = five().await;
    let head = world.get(CONFIG_MAPS).await.expect(200)["metadata"]["resourceVersion"].clone();
    let head: u64 = head.as_str().and_then(|r| r.parse().ok()).expect("a number");
    let past = Revision(head - 2);
    let list = |query: String| {
        let ask = world.ask(Method::GET, &format!("{CONFIG_MAPS}?{query}"));
        ask.send()
    };
    let exact = list(format!("resourceVersion={past}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact), &exact["metadata"]["resourceVersion"]), (vec!["a", "b", "c"], &json!(past.to_string())));
    for query in [format!("resourceVersion={past}"), "resourceVersion=0".into()] {
        assert_eq!(names(&list(query).await.expect(200)).len(), 5);
    }
    let ahead = list(format!("resourceVersion={}", head + 100)).await;
    ahead.refusal(504, "Timeout");
    assert_eq!(ahead.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    for query in ["resourceVersionMatch=Exact", "resourceVersion=0&resourceVersionMatch=Exact"] {
        list(query.into()).await.refusal(422, "Invalid");
    }
    list("resourceVersion=yesterday".into()).await.refusal(400, "BadRequest");
}

#[tokio::test]
async fn tables_and_metadata_are_given_to_who_asks() {
    let world = five().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    for (path, rows) in [(format!("{CONFIG_MAPS}?limit=2"), 2), (format!("{CONFIG_MAPS}/a"), 1)] {
        let table = world.ask(Method::GET, &path).header(header::ACCEPT, table).send().await.expect(200);
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
        let columns: Vec<&Value> = table["columnDefinitions"].as_array().into_iter().flatten().collect();
        assert_eq!(columns.iter().take(3).map(|c| &c["name"]).collect::<Vec<_>>(), ["Name", "Data", "Age"]);
        assert_eq!(table["rows"].as_array().map(Vec::len), Some(rows));
        assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(columns.len()));
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");
        assert!(table["metadata"]["resourceVersion"].is_string(), "{table}");
    }
    let path = format!("{CONFIG_MAPS}?limit=2&includeObject=Object");
    let table = world.ask(Method::GET, &path).header(header::ACCEPT, table).send().await.expect(200);
    assert_eq!(table["rows"][0]["object"]["data"]["k"], "v");
    assert!(table["metadata"]["continue"].is_string(), "{table}");

    let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = world.ask(Method::GET, CONFIG_MAPS).header(header::ACCEPT, metadata).send().await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!((&list["items"][0]["kind"], list["items"][0].get("data")), (&json!("PartialObjectMetadata"), None));
    assert_eq!(names(&list), ["a", "b", "c", "d", "e"]);
    for accept in ["application/vnd.kubernetes.protobuf", "application/json;as=Chart;g=meta.k8s.io;v=v1"] {
        let answer = world.ask(Method::GET, CONFIG_MAPS).header(header::ACCEPT, accept).send().await;
        answer.refusal(406, "NotAcceptable");
    }
}
