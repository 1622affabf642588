//! Evictions and the budgets that hold them back.

use http::StatusCode;
use serde_json::{Value, json};
use steersman_application::client::{ApiError, DeleteOptions, Part};
use steersman_domain::{Condition, Key, Kind, Pod, PodDisruptionBudget, PodPhase, Time};

use crate::world::{World, pod};

/// A running pod with a label.
async fn running(world: &World, name: &str, ready: bool) -> Key {
    let mut value = pod(name, 1);
    value["metadata"]["labels"] = json!({"app": "a"});
    let key = world.create(Kind::Pod, value).await.key.clone();
    let bind =
        steersman_application::client::Write::Bind { pod: key.clone(), uid: Default::default(), node: "n1".into() };
    world.write(vec![bind]).await.pop().expect("an answer").expect("bound");
    let told = world.update::<Pod>(&key, Part::Status, |pod| {
        pod.status.phase = PodPhase::Running;
        pod.status.conditions.push(Condition::new("Ready", ready, "", "", Time::from_secs(1)));
    });
    told.await.expect("told");
    key
}

/// A budget whose controller has counted so many.
async fn budget(world: &World, name: &str, more: Value, (current, desired, allowed): (i32, i32, i32)) -> Key {
    let mut value = json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"minAvailable": desired, "selector": {"matchLabels": {"app": "a"}}}});
    for (field, field_value) in more.as_object().expect("fields") {
        value["spec"][field] = field_value.clone();
    }
    let key = world.create(Kind::PodDisruptionBudget, value).await.key.clone();
    let counted = world.update::<PodDisruptionBudget>(&key, Part::Status, |budget| {
        budget.status.observed_generation = budget.metadata.generation;
        budget.status.current_healthy.0 = current;
        budget.status.desired_healthy.0 = desired;
        budget.status.disruptions_allowed.0 = allowed;
    });
    counted.await.expect("counted");
    key
}

fn options() -> DeleteOptions {
    DeleteOptions::default()
}

#[tokio::test]
async fn an_eviction_spends_the_budget_in_the_same_moment() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let (a, b) = (running(&world, "a", true).await, running(&world, "b", true).await);
    let budget = budget(&world, "two", json!({}), (2, 1, 1)).await;
    let plain = options();
    let (first, second) = tokio::join!(world.api.evict(&a, &plain), world.api.evict(&b, &plain));
    let refused = [first, second].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(refused.len(), 1, "one allowance lets one go: {refused:?}");
    let cause = "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget two needs 1 \
                 healthy pods and has 2 currently";
    assert_eq!(refused[0], ApiError::TooManyRequests { message: cause.into(), retry_after_secs: 10 });
    let status = world.typed::<PodDisruptionBudget>(&budget).await.expect("there").status.clone();
    assert_eq!((status.disruptions_allowed.0, status.disrupted_pods.iter().count()), (0, 1));
}

#[tokio::test]
async fn dry_runs_and_refused_deletions_cost_nothing() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let a = running(&world, "a", true).await;
    let budget = budget(&world, "one", json!({}), (1, 0, 1)).await;
    world.api.evict(&a, &DeleteOptions { dry_run: true, ..options() }).await.expect("it would go");
    let other = world.api.evict(&a, &DeleteOptions { uid: Some("other".into()), ..options() }).await;
    assert!(matches!(&other, Err(ApiError::Conflict { .. })), "{other:?}");
    let status = world.typed::<PodDisruptionBudget>(&budget).await.expect("there").status.clone();
    assert_eq!((status.disruptions_allowed.0, status.disrupted_pods.iter().count()), (1, 0));
    assert!(!world.typed::<Pod>(&a).await.expect("there").metadata.is_deleting());
}

#[tokio::test]
async fn pods_that_do_not_serve_are_let_go_as_the_policy_says() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    let sick = running(&world, "sick", false).await;
    let key = budget(&world, "strict", json!({}), (1, 2, 0)).await;
    assert!(matches!(world.api.evict(&sick, &options()).await, Err(ApiError::TooManyRequests { .. })));
    let lenient = world.update::<PodDisruptionBudget>(&key, Part::Main, |budget| {
        budget.spec.unhealthy_pod_eviction_policy = "AlwaysAllow".into();
    });
    lenient.await.expect("changed");
    world.api.evict(&sick, &options()).await.expect("nobody misses it");
}

#[tokio::test]
async fn over_http_it_is_429_with_the_time_to_wait() {
    let world = World::new().await;
    world.node("n1", 1000).await;
    running(&world, "a", true).await;
    budget(&world, "one", json!({}), (1, 1, 0)).await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a", "namespace": "default"}});
    let answer = world.ask("POST", "/api/v1/namespaces/default/pods/a/eviction", eviction.clone()).await;
    assert_eq!(answer.code, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json()["details"]["retryAfterSeconds"], 10);
    budget(&world, "another", json!({}), (1, 0, 1)).await;
    let answer = world.ask("POST", "/api/v1/namespaces/default/pods/a/eviction", eviction.clone()).await;
    let told = answer.json()["message"].to_string();
    assert!(told.contains("more than one PodDisruptionBudget"), "{told}");
}
