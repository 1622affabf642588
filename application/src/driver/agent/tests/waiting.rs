//! Pods that wait for configuration, volumes, runtimes; and the logs that they do not have yet.

use super::fixture::{World, settle, waiting_reason};
use crate::client::{ApiError, Part, Write};
use crate::driver::agent::SimulatedLife;
use crate::usecase::logs::LogSource;
use std::sync::Arc;
use steersman_domain::ports::{LogQuery, VolumeContent};
use steersman_domain::{ConfigMap, Key, Kind, Object, RuntimeClass, Str};

fn config_map(entries: &[(&str, &str)]) -> Object {
    let mut map = ConfigMap::default();
    map.metadata.name = "conf".into();
    map.metadata.namespace = "default".into();
    map.data = entries.iter().map(|&(k, v)| (k, Str::from(v))).collect();
    Object::ConfigMap(Arc::new(map))
}

fn message(pod: &steersman_domain::Pod) -> String {
    let first = pod.status.container_statuses.first().and_then(|s| s.state.waiting.as_ref());
    first.map(|w| w.message.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_missing_config_map_is_waited_for() {
    let world = World::new(|_| SimulatedLife::default());
    world.create_pod(
        "p",
        r#"{"containers":[{"name":"a","env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"conf","key":"x"}}}]}]}"#,
    );
    let pod = world.until("p", |p| waiting_reason(p, "a") == "CreateContainerConfigError").await;
    assert_eq!(message(&pod), "configmap \"conf\" not found");
    world.create(config_map(&[("y", "1")]));
    world.until("p", |p| message(p) == "couldn't find key x in ConfigMap default/conf").await;
    world.api.act(Write::Update(config_map(&[("x", "1")]), Part::Main));
    world.until("p", |p| p.is_ready()).await;
    let starts = world.runtime.starts.lock().unwrap();
    assert!(starts[0].env.contains(&("X".into(), "1".into())));
}

#[tokio::test]
async fn volumes_wait_for_their_source_and_follow_it() {
    let world = World::new(|_| SimulatedLife::default());
    world.create_pod(
        "p",
        r#"{"volumes":[{"name":"v","configMap":{"name":"conf"}}],"containers":[{"name":"a","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}"#,
    );
    let wanted = "MountVolume.SetUp failed for volume \"v\" : configmap \"conf\" not found";
    let pod = world.until("p", |p| message(p) == wanted).await;
    assert_eq!(waiting_reason(&pod, "a"), "ContainerCreating");
    world.create(config_map(&[("k", "1")]));
    world.until("p", |p| p.is_ready()).await;
    let held = |text: &str| {
        let files = vec![("k".into(), text.as_bytes().to_vec(), 0o644)];
        world.runtime.inner.volume(&world.uid("p"), "v") == Some(VolumeContent::Files { files, secret: false })
    };
    assert!(held("1"));
    world.api.act(Write::Update(config_map(&[("k", "2")]), Part::Main));
    settle().await;
    assert!(held("2"));
}

#[tokio::test]
async fn runtimes_are_found_by_class_by_name_and_by_default() {
    let world = World::new(|_| SimulatedLife::default());
    let mut class = RuntimeClass::default();
    class.metadata.name = "fast".into();
    class.handler = "process".into();
    world.create(Object::RuntimeClass(Arc::new(class)));
    world.create_pod("by-class", r#"{"runtimeClassName":"fast","containers":[{"name":"a"}]}"#);
    world.create_pod("by-name", r#"{"runtimeClassName":"process","containers":[{"name":"a"}]}"#);
    world.create_pod("unknown", r#"{"runtimeClassName":"container","containers":[{"name":"a"}]}"#);
    world.until("by-class", |p| p.is_ready()).await;
    world.until("by-name", |p| p.is_ready()).await;
    let expected = "node n1 has no runtime handler \"container\": set spec.runtimeClassName to one of process";
    world.until("unknown", |p| message(p) == expected).await;
    assert!(world.api.events().iter().any(|e| e.reason == "FailedCreatePodSandBox"));
}

#[tokio::test]
async fn logs_are_read_or_refused_with_the_reason() {
    let world = World::new(|_| SimulatedLife::default());
    world.create_pod("p", r#"{"containers":[{"name":"a"}]}"#);
    world.create_pod("w", r#"{"containers":[{"name":"a","envFrom":[{"secretRef":{"name":"none"}}]}]}"#);
    world.until("p", |p| p.is_ready()).await;
    world.until("w", |p| waiting_reason(p, "a") == "CreateContainerConfigError").await;
    let logs = world.agent.logs();
    let ask = |name: &str, attempt| {
        let query = LogQuery { pod: world.uid(name), container: "a".into(), attempt, ..LogQuery::default() };
        let (logs, key) = (logs.clone(), Key::new(Kind::Pod, "default", name));
        async move { logs.logs("n1", &key, query).await }
    };
    let mut stream = ask("p", None).await.expect("a log");
    let line = stream.next().await.expect("readable").expect("a line");
    assert_eq!(&line[..], b"simulated a attempt 0\n");
    let refused = |answer: Result<_, ApiError>| answer.err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(
        refused(ask("w", None).await),
        "container \"a\" in pod \"w\" is waiting to start: CreateContainerConfigError"
    );
    assert_eq!(refused(ask("p", Some(9)).await), "previous terminated container \"a\" in pod \"p\" not found");
    assert_eq!(refused(ask("nobody", None).await), "pods \"nobody\" not found");
}
