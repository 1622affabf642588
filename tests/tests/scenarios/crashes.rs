//! Containers that crash again and again.

use std::time::Duration;

use serde_json::json;
use steersman_application::driver::agent::SimulatedLife;
use steersman_domain::ports::ContainerSpec;
use steersman_domain::{Pod, Time};

use crate::Web;
use crate::world::{Setup, check, slow_to_open};

/// Ends two seconds after its start.
fn two_seconds(spec: &ContainerSpec) -> SimulatedLife {
    SimulatedLife { exit: Some((Duration::from_secs(2), 1)), ..slow_to_open(spec) }
}

/// Ends well after two seconds.
fn done(spec: &ContainerSpec) -> SimulatedLife {
    SimulatedLife { exit: Some((Duration::from_secs(2), 0)), ..slow_to_open(spec) }
}

#[test]
fn the_wait_between_crashes_grows_to_five_minutes() {
    check(
        Setup { nodes: 1, life: two_seconds, ..Setup::default() },
        async |world| {
            world.create(Web::default().pod("crash")).await;
            world
                .within(Duration::from_secs(3600), "nine restarts", |s| {
                    let pod = s.get::<Pod>("crash").expect("there");
                    pod.status.container_statuses.first().is_some_and(|c| c.restart_count.0 >= 9)
                })
                .await;
        },
        |history| {
            let mut starts: Vec<Time> = Vec::new();
            let mut told = false;
            history.each(|step| {
                let pod = step.state.get::<Pod>("crash");
                let Some(container) = pod.and_then(|p| p.status.container_statuses.first()) else { return };
                let running = container.state.running.as_ref().and_then(|r| r.started_at);
                if running.is_some() && running.as_ref() != starts.last() {
                    starts.extend(running);
                }
                let waiting = container.state.waiting.as_ref();
                told |= waiting.is_some_and(|w| w.reason == "CrashLoopBackOff" && w.message.contains("main"));
            });
            assert!(told, "what it waits for is told");
            let waits: Vec<u64> = starts.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
            // Each attempt takes a second to start and two to end; the rest is the wait: none, then 10 s doubling to 300 s.
            let wanted: Vec<u64> = [0, 10, 20, 40, 80, 160, 300, 300].iter().map(|wait| wait + 3).collect();
            assert!(waits.starts_with(&wanted), "{waits:?}");
        },
    );
}

#[test]
fn a_pod_that_is_done_stays_done() {
    check(
        Setup { nodes: 1, life: done, ..Setup::default() },
        async |world| {
            for (name, policy) in [("never", "Never"), ("on-failure", "OnFailure")] {
                let mut pod = Web::default().pod(name);
                pod["spec"]["restartPolicy"] = json!(policy);
                world.create(pod).await;
            }
            let over = |s: &crate::history::State| {
                s.pods("web").iter().all(|p| p.status.phase == steersman_domain::PodPhase::Succeeded)
            };
            world.until("both are done", over).await;
            world.pass(Duration::from_secs(600)).await;
            let state = world.state().await;
            assert!(over(&state), "{state}");
            for pod in state.pods("web") {
                assert_eq!(pod.status.container_statuses[0].restart_count.0, 0, "{state}");
            }
        },
        |_| {},
    );
}
