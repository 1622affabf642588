//! Functions as pods in virtual time: they are healed, scaled and asked like any workload, and a seed gives one trace.

use std::time::Duration;

use serde_json::{Value, json};
use steersman::functions::{BALANCE, Context, InCluster, Registry};
use steersman::simulation::{SimulatedCluster, Simulation, size};
use steersman_application::driver::world::World;
use steersman_domain::ports::MessageError;
use steersman_domain::{Deployment, Key, Kind, Pod};

/// Functions that answer their name, that fall over when they are told to, that count the cluster's pods, that never end.
fn functions() -> Registry {
    let registry = Registry::new();
    let fragile = async |mut ctx: Context, greeting: String| -> Result<(), String> {
        while let Some(message) = ctx.next().await {
            let (text, reply) = message.open::<String>().map_err(|error| error.to_string())?;
            match text.as_str() {
                "panic" => panic!("as told"),
                "fail" => return Err("as told".into()),
                _ => reply.answer(format!("{greeting} {text} from {}", ctx.pod().name)),
            }
        }
        Ok(())
    };
    registry.register("test/fragile", fragile).expect("free");
    let census = async |mut ctx: Context, (): ()| {
        let client = ctx.client();
        ctx.answer_each(|(): ()| {
            let client = client.clone();
            async move {
                let scope = steersman_domain::ports::Scope::kind(Kind::Pod);
                let selection = steersman_application::client::Selection { scope, ..Default::default() };
                client.list(&selection).await.map(|page| page.items.len())
            }
        })
        .await;
    };
    registry.register("test/census", census).expect("free");
    registry.register("test/stuck", async |_: Context, (): ()| std::future::pending::<()>().await).expect("free");
    registry
}

fn deployment(replicas: i32, function: &str, argument: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"runtimeClassName": "task",
                "containers": [{"name": "main", "image": function, "args": [argument]}]}}},
    })
    .to_string()
}

fn service(balance: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "annotations": {BALANCE: balance}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    })
    .to_string()
}

fn ready(world: &World, count: usize) -> bool {
    world.all::<Pod>().filter(|pod| pod.is_active() && pod.is_ready()).count() == count
}

async fn until(cluster: &SimulatedCluster, what: &str, holds: impl Fn(&World) -> bool) {
    if let Err(timeout) = cluster.until(what, Duration::from_secs(900), holds).await {
        panic!("{timeout}");
    }
}

fn play<T: Send>(seed: u64, test: impl AsyncFnOnce(&SimulatedCluster) -> T + Send) -> (T, Simulation) {
    let builder = Simulation::builder().seed(seed).nodes(3, size(4, 8)).functions(functions());
    let mut simulation = builder.start().expect("the cluster starts");
    let value = simulation.run(test).expect("it ends");
    (value, simulation)
}

async fn ask(cluster: &SimulatedCluster, value: &str) -> Result<String, MessageError> {
    cluster.reach("service/web", "default").expect("a name").within(Duration::from_secs(5)).ask(value.to_owned()).await
}

/// Two replicas answer, one panics, and it is all as before.
async fn story(cluster: &SimulatedCluster) -> Vec<String> {
    cluster.apply(&service("round-robin")).await.expect("applied");
    cluster.apply(&deployment(2, "test/fragile", "\"good day\"")).await.expect("applied");
    until(cluster, "both are ready", |world| ready(world, 2)).await;
    cluster.sleep(Duration::from_secs(1)).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ask(cluster, "Ann").await.expect("answered"));
    }
    assert_eq!(ask(cluster, "panic").await, Err(MessageError::Panicked));
    until(cluster, "it is started again", |world| {
        ready(world, 2)
            && world.all::<Pod>().any(|p| p.status.container_statuses.iter().any(|c| c.restart_count.0 == 1))
    })
    .await;
    let state = |pod: &Pod| pod.status.container_statuses[0].last_state.terminated.clone();
    let ended = cluster.world().all::<Pod>().find_map(|pod| state(pod)).expect("one has ended");
    assert_eq!((ended.exit_code.0, ended.message.as_str()), (101, "panicked: as told"));
    answers.push(ask(cluster, "Bob").await.expect("answered"));
    answers
}

#[test]
fn functions_answer_are_healed_and_leave_the_same_trace() {
    let (answers, first) = play(5, story);
    let (mut names, rest): (Vec<&str>, Vec<&str>) =
        answers.iter().take(4).map(|a| a.rsplit_once(' ').map_or(("", ""), |(text, name)| (name, text))).unzip();
    assert!(rest.iter().all(|text| *text == "good day Ann from"), "{answers:?}");
    names.sort_unstable();
    assert!(names[0] == names[1] && names[2] == names[3] && names[1] != names[2], "by turns: {names:?}");
    let (again, second) = play(5, story);
    assert_eq!((answers, first.trace().hash()), (again, second.trace().hash()));
}

#[test]
fn every_node_that_is_lost_takes_its_functions_and_they_come_back_elsewhere() {
    play(9, async |cluster| {
        cluster.apply(&service("least-loaded")).await.expect("applied");
        cluster.apply(&deployment(3, "test/census", "null")).await.expect("applied");
        until(cluster, "all are ready", |world| ready(world, 3)).await;
        cluster.sleep(Duration::from_secs(1)).await;
        let count = async || {
            let service = cluster.reach("service/web", "default").expect("a name");
            service.within(Duration::from_secs(5)).ask::<usize>(()).await
        };
        assert_eq!(count().await, Ok(3), "a function has the cluster's client");
        cluster.lose_node("node-2").expect("a node");
        until(cluster, "they are elsewhere", |world| {
            let there =
                |pod: &&std::sync::Arc<Pod>| pod.is_active() && pod.is_ready() && pod.spec.node_name != "node-2";
            world.all::<Pod>().filter(there).count() == 3
        })
        .await;
        cluster.sleep(Duration::from_secs(1)).await;
        assert!(count().await.is_ok());
    });
}

#[test]
fn one_that_makes_no_progress_is_killed_and_one_that_cannot_start_says_why() {
    play(1, async |cluster| {
        let mut stuck: Value = serde_json::from_str(&deployment(1, "test/stuck", "null")).expect("JSON");
        stuck["spec"]["template"]["metadata"]["annotations"] = json!({"steersman.io/hang-after": "30"});
        cluster.apply(&stuck.to_string()).await.expect("applied");
        let message = |world: &World| {
            let last = |pod: &Pod| {
                Some(pod.status.container_statuses.first()?.last_state.terminated.as_ref()?.message.to_string())
            };
            world.all::<Pod>().find_map(|pod| last(pod)).unwrap_or_default()
        };
        until(cluster, "it is killed", |world| message(world).contains("no progress for 30 s")).await;
        // A name that nobody has registered, and parameters that cannot be read.
        for (function, argument, words) in [
            ("test/fragil", "\"x\"", "did you mean \"test/fragile\"?"),
            (
                "test/fragile",
                "7",
                "the parameters of test/fragile cannot be read: invalid type: integer `7`, expected a string",
            ),
        ] {
            cluster.apply(&deployment(1, function, argument)).await.expect("applied");
            until(cluster, words, |world| {
                let said = |pod: &Pod| {
                    let statuses = &pod.status.container_statuses;
                    let waiting =
                        statuses.iter().filter_map(|c| c.state.waiting.as_ref()).any(|w| w.message.contains(words));
                    let ended = statuses.iter().flat_map(|c| [&c.state.terminated, &c.last_state.terminated]);
                    waiting || ended.flatten().any(|t| t.message.contains(words))
                };
                world.all::<Pod>().any(|pod| said(pod))
            })
            .await;
        }
        let key = Key::new(Kind::Deployment, "default", "web");
        assert!(cluster.client().get(&key).await.is_ok_and(|s| s.typed::<Deployment>().is_some()));
        assert!(cluster.reach("deployment/web", "default").is_err(), "messages go to pods and services");
    });
}

#[test]
fn who_waits_for_a_service_goes_on_at_once_when_it_takes_messages_or_is_told_why_it_does_not() {
    play(3, async |cluster| {
        let nobody = cluster.reach("service/nobody", "default").expect("a name");
        let (before, within) = (cluster.now(), Duration::from_secs(2));
        assert!(matches!(nobody.ready(within).await, Err(MessageError::NotFound(_))));
        assert_eq!(cluster.now() - before, within, "it was waited for");
        let web = cluster.reach("service/web", "default").expect("a name");
        cluster.apply(&service("round-robin")).await.expect("applied");
        assert!(matches!(web.ready(within).await, Err(MessageError::NoEndpoint(_))));
        cluster.apply(&deployment(2, "test/fragile", "\"good day\"")).await.expect("applied");
        web.ready(Duration::from_secs(60)).await.expect("it comes");
        ask(cluster, "you").await.expect("answered");
    });
}

#[test]
fn every_question_waits_for_as_long_as_it_says_whatever_the_others_do() {
    play(13, async |cluster| {
        cluster.apply(&deployment(1, "test/stuck", "null")).await.expect("applied");
        until(cluster, "it is ready", |world| ready(world, 1)).await;
        let pod = cluster.world().all::<Pod>().next().expect("one pod").metadata.name.to_string();
        let began = cluster.now();
        let late = async |within: Duration| {
            let address = cluster.reach(&format!("pod/{pod}"), "default").expect("a name").within(within);
            let error = address.ask::<Value>(1).await.expect_err("nobody answers");
            assert!(matches!(error, MessageError::Deadline { waited, .. } if waited == within), "{error}");
            let late = (cluster.now() - began).checked_sub(within).expect("not too early");
            assert!(late < Duration::from_millis(1), "{late:?} too late");
        };
        let secs = Duration::from_secs;
        // The shortest are entered when the task for all sleeps longer already, and after it has ended.
        tokio::join!(late(secs(30)), late(secs(10)), late(secs(20)), late(secs(10)), late(Duration::from_millis(1)));
        let began = cluster.now();
        let address = cluster.reach(&format!("pod/{pod}"), "default").expect("a name").within(secs(3));
        assert!(address.ask::<Value>(1).await.is_err());
        let late = (cluster.now() - began).checked_sub(secs(3)).expect("not too early");
        assert!(late < Duration::from_millis(1), "{late:?} too late");
        // One that nobody waits for any more leaves nothing behind.
        tokio::select! {
            biased;
            () = cluster.sleep(secs(1)) => {}
            _ = address.ask::<Value>(1) => panic!("nobody answers"),
        }
        cluster.sleep(secs(60)).await;
    });
}
