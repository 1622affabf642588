//! The virtual addresses of services.

use serde_json::{Value, json};
use steersman_application::client::{Client as _, Part, Write};
use steersman_domain::{Kind, Service};

use crate::world::{World, key, object};

fn service(name: &str, spec: Value) -> Value {
    let mut whole = json!({"ports": [{"port": 80}]});
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": whole})
}

async fn address(world: &World, name: &str) -> String {
    let service = world.typed::<Service>(&key(Kind::Service, name)).await.expect("there");
    service.spec.cluster_ip.to_string()
}

#[tokio::test]
async fn addresses_are_unique_checked_and_freed() {
    let world = World::new().await;
    // The range of the world holds 14 addresses.
    let writes = (0..14).map(|n| Write::Create(object(Kind::Service, service(&format!("s{n}"), json!({}))))).collect();
    assert!(world.write(writes).await.iter().all(Result::is_ok));
    let mut all = std::collections::BTreeSet::new();
    for n in 0..14 {
        all.insert(address(&world, &format!("s{n}")).await);
    }
    assert_eq!(all.len(), 14);
    let full = world.try_create(Kind::Service, service("more", json!({}))).await.expect_err("full").to_string();
    assert!(full.contains("the range 127.64.16.0/28 is full"), "{full}");
    let freed = address(&world, "s3").await;
    world.delete(&key(Kind::Service, "s3")).await.expect("goes");
    world.create(Kind::Service, service("again", json!({"clusterIP": freed}))).await;
    assert_eq!(address(&world, "again").await, freed);
}

#[tokio::test]
async fn asked_for_addresses_must_be_in_range_and_free() {
    let world = World::new().await;
    world.create(Kind::Service, service("a", json!({"clusterIP": "127.64.16.5"}))).await;
    for (spec, expected) in [
        (json!({"clusterIP": "127.64.16.5"}), "provided IP is already allocated"),
        (json!({"clusterIP": "10.0.0.1"}), "The range of valid IPs is 127.64.16.0/28"),
        (
            json!({"type": "LoadBalancer"}),
            "spec.type: Unsupported value: \"LoadBalancer\": supported values: \"ClusterIP\", \"NodePort\"",
        ),
        (json!({"clusterIP": "nonsense"}), "must be a valid IPv4 address or 'None'"),
    ] {
        let error = world.try_create(Kind::Service, service("b", spec)).await.expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
    world.create(Kind::Service, service("headless", json!({"clusterIP": "None"}))).await;
    assert_eq!(address(&world, "headless").await, "None");
}

#[tokio::test]
async fn an_update_keeps_the_address() {
    let world = World::new().await;
    let a = world.create(Kind::Service, service("a", json!({}))).await;
    let before = address(&world, "a").await;
    let plain = object(Kind::Service, service("a", json!({"selector": {"app": "x"}})));
    world.api.update(plain, Part::Main, &Default::default()).await.expect("updates");
    assert_eq!(address(&world, "a").await, before);
    let moved = |s: &mut Service| s.spec.cluster_ip = "127.64.16.9".into();
    let error = world.update::<Service>(&a.key, Part::Main, moved).await.expect_err("refused").to_string();
    assert!(error.contains("spec.clusterIP: Invalid value: \"127.64.16.9\": field is immutable"), "{error}");
}
