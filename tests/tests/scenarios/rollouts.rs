//! Deployments: coming up, changing size and version, going back, getting stuck, and being led by controllers that die.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use steersman_application::driver::agent::SimulatedLife;
use steersman_domain::meta::condition;
use steersman_domain::ports::ContainerSpec;
use steersman_domain::{Deployment, EndpointSlice, Kind, ReplicaSet};

use crate::history::{State, image};
use crate::world::{Setup, World, check, slow_to_open};
use crate::{Web, set_version};

/// Creates `web` and waits until all of it serves.
async fn up(world: &World, web: &Web) {
    world.create(web.deployment()).await;
    world.until("web is rolled out", |s| s.rolled_out("web", web.version, web.replicas)).await;
}

async fn roll_to(world: &World, version: &str) {
    world.edit(Kind::Deployment, "web", |d| set_version(d, version)).await;
}

/// From when bounds are held: all replicas served once.
fn all_serve(replicas: usize) -> impl Fn(&State) -> bool {
    move |state| state.available("web") == replicas
}

#[test]
fn a_deployment_comes_up_and_serves() {
    check(
        Setup::default(),
        async |world| {
            world.create(Web::service()).await;
            up(world, &Web::default()).await;
            let state = world
                .until("three addresses serve", |s| {
                    let ready = |e: &&steersman_domain::Endpoint| e.conditions.ready == Some(true);
                    s.all::<EndpointSlice>().flat_map(|e| &e.endpoints).filter(ready).count() == 3
                })
                .await;
            let of = |f: fn(&steersman_domain::Pod) -> &str| -> BTreeSet<String> {
                state.active("web").iter().map(|p| f(p).to_owned()).collect()
            };
            assert_eq!(of(|p| &p.spec.node_name).len(), 3, "spread over the nodes\n{state}");
            assert_eq!(of(|p| &p.status.pod_ip).len(), 3, "an address each\n{state}");
            let web = state.get::<Deployment>("web").expect("there");
            for wanted in ["Available", "Progressing"] {
                assert!(condition(&web.status.conditions, wanted).is_some_and(|c| c.is_true()), "{:?}", web.status);
            }
        },
        |history| {
            // It needed three pods, and made no more on the way.
            history.keeps_bounds("web", |_| true, 0, 3);
        },
    );
}

/// Rolls `replicas` pods to another version, and holds every revision to `least` serving and `most` active pods.
fn keeps_bounds(replicas: i32, (surge, unavailable): (Value, Value), (least, most): (usize, usize)) {
    let web = Web { replicas, surge, unavailable, ..Web::default() };
    let all = usize::try_from(replicas).expect("positive");
    check(
        Setup::default(),
        async |world| {
            up(world, &web).await;
            roll_to(world, "v2").await;
            world.within(Duration::from_secs(300), "v2 is rolled out", |s| s.rolled_out("web", "v2", replicas)).await;
        },
        |history| {
            let looked = history.keeps_bounds("web", all_serve(all), least, most);
            // Every pod was made, bound, run and ended at least: less would mean that nothing was held to the bounds.
            assert!(looked > 4 * all, "only {looked} revisions");
        },
    );
}

#[test]
fn a_rolling_update_keeps_its_bounds_at_every_revision() {
    keeps_bounds(3, (json!(1), json!(0)), (3, 4));
    keeps_bounds(3, (json!(0), json!(1)), (2, 3));
    keeps_bounds(4, (json!("25%"), json!("25%")), (3, 5));
    keeps_bounds(10, (json!("25%"), json!("25%")), (8, 13));
    keeps_bounds(5, (json!("100%"), json!(0)), (5, 10));
    keeps_bounds(5, (json!(0), json!("100%")), (0, 5));
    keeps_bounds(1, (json!(1), json!(0)), (1, 2));
}

#[test]
fn recreate_never_runs_two_versions() {
    check(
        Setup::default(),
        async |world| {
            let mut deployment = Web::default().deployment();
            deployment["spec"]["strategy"] = json!({"type": "Recreate"});
            world.create(deployment).await;
            world.until("v1 serves", |s| s.rolled_out("web", "v1", 3)).await;
            roll_to(world, "v2").await;
            world.until("v2 serves", |s| s.rolled_out("web", "v2", 3)).await;
        },
        |history| {
            history.each(|step| {
                let alive = step.state.pods("web").into_iter().filter(|p| !p.is_terminal());
                let versions: BTreeSet<&str> = alive.map(image).collect();
                assert!(versions.len() <= 1, "{versions:?} at {}\n{}", step.change.revision(), step.state);
            });
        },
    );
}

#[test]
fn a_deployment_grows_and_shrinks() {
    check(
        Setup::default(),
        async |world| {
            up(world, &Web { replicas: 2, ..Web::default() }).await;
            for replicas in [6, 1, 0, 3] {
                world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = replicas.into()).await;
                world.until("the new size serves", |s| s.rolled_out("web", "v1", replicas)).await;
            }
        },
        |history| {
            let mut sets = BTreeSet::new();
            history.each(|step| sets.extend(step.state.all::<ReplicaSet>().map(|r| r.metadata.name.to_string())));
            assert_eq!(sets.len(), 1, "a new size is no new revision: {sets:?}");
            let mut made = BTreeSet::new();
            history.each(|step| made.extend(step.state.pods("web").iter().map(|p| p.metadata.uid.to_string())));
            assert_eq!(made.len(), 2 + 4 + 3, "no pod was made in vain");
        },
    );
}

#[test]
fn a_size_and_a_version_change_together() {
    check(
        Setup::default(),
        async |world| {
            up(world, &Web { replicas: 4, ..Web::default() }).await;
            roll_to(world, "v2").await;
            world.until("the update has begun", |s| s.pods("web").iter().any(|p| image(p) == "v2")).await;
            world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = 8.into()).await;
            world.until("it is larger", |s| s.active("web").len() > 5).await;
            roll_to(world, "v3").await;
            world.within(Duration::from_secs(300), "v3 serves", |s| s.rolled_out("web", "v3", 8)).await;
        },
        |history| {
            history.keeps_bounds("web", all_serve(4), 4, 9);
        },
    );
}

#[test]
fn going_back_takes_the_old_replicaset_again() {
    check(
        Setup::default(),
        async |world| {
            up(world, &Web::default()).await;
            let first = world.state().await.all::<ReplicaSet>().next().expect("one").metadata.uid.clone();
            roll_to(world, "v2").await;
            world.until("v2 is on its way", |s| s.pods("web").iter().any(|p| image(p) == "v2" && p.is_ready())).await;
            roll_to(world, "v1").await;
            let state = world.until("v1 is back", |s| s.rolled_out("web", "v1", 3)).await;
            let sets: Vec<&ReplicaSet> = state.all::<ReplicaSet>().collect();
            assert_eq!(sets.len(), 2, "{state}");
            let current = sets.iter().find(|r| r.replicas() == 3).expect("one has all pods");
            assert_eq!(current.metadata.uid, first, "{state}");
            let revision = |r: &ReplicaSet| r.metadata.annotations.get("deployment.kubernetes.io/revision").cloned();
            assert_eq!(revision(current).as_deref(), Some("3"), "going back is a new revision\n{state}");
        },
        |history| {
            history.keeps_bounds("web", all_serve(3), 3, 4);
        },
    );
}

/// The version `bad` ends right after its start.
fn bad_ends(spec: &ContainerSpec) -> SimulatedLife {
    let exit = (spec.image == "bad").then_some((Duration::from_millis(500), 1));
    SimulatedLife { exit, ..slow_to_open(spec) }
}

#[test]
fn a_version_that_crashes_takes_nothing_away_and_is_told() {
    check(
        Setup { life: bad_ends, ..Setup::default() },
        async |world| {
            up(world, &Web::default()).await;
            roll_to(world, "bad").await;
            let state = world
                .within(Duration::from_secs(900), "the rollout counts as failed", |s| {
                    let web = s.get::<Deployment>("web").expect("there");
                    condition(&web.status.conditions, "Progressing")
                        .is_some_and(|c| c.status == "False" && c.reason == "ProgressDeadlineExceeded")
                })
                .await;
            assert!(world.now() >= Duration::from_secs(600), "not before the deadline: {:?}", world.now());
            let bad: Vec<_> = state.active("web").into_iter().filter(|p| image(p) == "bad").collect();
            let waiting = bad[0].status.container_statuses[0].state.waiting.as_ref();
            assert!(waiting.is_some_and(|w| w.reason == "CrashLoopBackOff"), "{state}");
            roll_to(world, "v1").await;
            world.until("v1 is whole", |s| s.rolled_out("web", "v1", 3)).await;
        },
        |history| {
            history.keeps_bounds("web", all_serve(3), 3, 4);
        },
    );
}

#[test]
fn controllers_that_die_after_every_write_finish_the_rollout() {
    for writes in [1, 2, 5] {
        check(
            Setup::default(),
            async |world| {
                up(world, &Web { replicas: 5, ..Web::default() }).await;
                roll_to(world, "v2").await;
                let deaths = world.with_mortals(writes, "v2 is rolled out", |s| s.rolled_out("web", "v2", 5)).await;
                // Five pods to make and five to end, and the counts of two sets to move five times, at least.
                assert!(deaths >= 20 / writes, "the rollout was hardly disturbed: {deaths} died");
            },
            |history| {
                history.keeps_bounds("web", all_serve(5), 5, 6);
                let mut sets = BTreeSet::new();
                history.each(|step| sets.extend(step.state.all::<ReplicaSet>().map(|r| r.metadata.uid.clone())));
                assert_eq!(sets.len(), 2, "one for each version");
            },
        );
    }
}
