//! CronJobs: days pass in milliseconds, and every time has its Job, once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use steersman_application::client::Propagation;
use steersman_application::driver::agent::SimulatedLife;
use steersman_domain::ports::{Change, ContainerSpec};
use steersman_domain::{CronJob, Event, Job, Kind, Object, Time};

use crate::history::{History, State};
use crate::world::{Setup, World, check};

/// The image says how many seconds it takes, and with which code it ends: `90`, `5-failed`.
fn takes(spec: &ContainerSpec) -> SimulatedLife {
    let (secs, code) = match spec.image.strip_suffix("-failed") {
        Some(secs) => (secs, 1),
        None => (spec.image.as_str(), 0),
    };
    let secs = secs.parse().expect("seconds");
    SimulatedLife { exit: Some((Duration::from_secs(secs), code)), ..SimulatedLife::default() }
}

fn setup() -> Setup {
    Setup { life: takes, ..Setup::default() }
}

fn cron(schedule: &str, image: &str, spec: Value) -> Value {
    let mut cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": schedule, "jobTemplate": {"metadata": {"labels": {"app": "tick"}}, "spec": {"backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}}}},
    });
    for (field, value) in spec.as_object().expect("fields") {
        cron["spec"][field] = value.clone();
    }
    cron
}

/// When Jobs were made, in seconds since the clock began; each name once.
fn made(history: &History) -> Vec<Time> {
    let mut names = BTreeSet::new();
    let mut times = Vec::new();
    history.each(|step| {
        if let Change::Put { before: None, after } = step.change
            && let Object::Job(job) = &after.object
        {
            assert!(names.insert(job.metadata.name.clone()), "{} was made twice", job.metadata.name);
            times.extend(job.metadata.creation_timestamp);
        }
    });
    times
}

fn jobs(state: &State) -> usize {
    state.all::<Job>().count()
}

async fn stops(world: &World) {
    world.delete(Kind::CronJob, "tick", Propagation::Foreground).await;
    world.within(Duration::from_secs(300), "all is gone", |s| s.get::<CronJob>("tick").is_none() && jobs(s) == 0).await;
}

#[test]
fn every_time_of_two_days_has_its_job_and_few_are_kept() {
    let history = check(
        setup(),
        async |world| {
            world.create(cron("17 */2 * * *", "60", json!({"successfulJobsHistoryLimit": 2}))).await;
            world.pass(Duration::from_secs(48 * 3600)).await;
            let state = world.state().await;
            assert_eq!(jobs(&state), 2, "the others have been cleared away");
            let status = &state.get::<CronJob>("tick").expect("there").status;
            let last = status.last_schedule_time.expect("it ran");
            assert_eq!(status.last_successful_time.expect("it succeeded").since(last).as_secs() / 60, 1);
            assert!(status.active.is_empty());
            stops(world).await;
        },
        |_| {},
    );
    let times = made(&history);
    assert_eq!(times.len(), 24);
    assert!(times.iter().all(|time| time.secs() % 7200 == 17 * 60), "{times:?}");
}

#[test]
fn a_time_zone_has_its_own_mornings() {
    let history = check(
        setup(),
        async |world| {
            world.create(cron("0 9 * * *", "60", json!({"timeZone": "Asia/Kathmandu"}))).await;
            world.pass(Duration::from_secs(30 * 3600)).await;
            stops(world).await;
        },
        |_| {},
    );
    // Nepal is five hours and three quarters ahead.
    assert!(made(&history).iter().all(|time| time.secs() % 86_400 == 3 * 3600 + 15 * 60), "{:?}", made(&history));
}

#[test]
fn what_happens_while_the_one_before_still_runs_is_a_matter_of_policy() {
    for (policy, wanted) in [("Allow", 3), ("Forbid", 1), ("Replace", 1)] {
        let history = check(
            setup(),
            async |world| {
                world.create(cron("* * * * *", "150", json!({"concurrencyPolicy": policy}))).await;
                let ran = |s: &State| s.get::<CronJob>("tick").is_some_and(|c| c.status.last_schedule_time.is_some());
                world.within(Duration::from_secs(120), "the first runs", ran).await;
                world.pass(Duration::from_secs(600)).await;
                let state = world.state().await;
                let told = |reason: &str| state.all::<Event>().any(|e| e.reason == reason);
                assert_eq!(told("JobAlreadyActive"), policy == "Forbid");
                world.edit(Kind::CronJob, "tick", |c| c["spec"]["suspend"] = true.into()).await;
                world
                    .within(Duration::from_secs(300), "none runs", |s| {
                        s.all::<Job>().all(|job| job.finished().is_some())
                    })
                    .await;
                stops(world).await;
            },
            |_| {},
        );
        let mut most = 0;
        history.each(|step| {
            let running = step.state.all::<Job>().filter(|job| job.finished().is_none() && !job.metadata.is_deleting());
            most = most.max(running.count());
        });
        assert_eq!(most, wanted, "{policy}");
        assert!(made(&history).len() >= if policy == "Forbid" { 4 } else { 10 }, "{policy}: {:?}", made(&history));
    }
}

#[test]
fn times_that_were_missed_are_made_up_for_once_or_not_at_all() {
    for (deadline, wanted) in [(Value::Null, 1), (json!(30), 0)] {
        let history = check(
            setup(),
            async |world| {
                // In the middle between two times.
                world
                    .create(cron("0 * * * *", "5", json!({"startingDeadlineSeconds": deadline, "suspend": true})))
                    .await;
                let half =
                    1800 - world.api.now().secs() % 1800 + if world.api.now().secs() % 3600 < 1800 { 0 } else { 1800 };
                world.pass(Duration::from_secs(5 * 3600 + u64::try_from(half).expect("some seconds"))).await;
                world.edit(Kind::CronJob, "tick", |c| c["spec"]["suspend"] = false.into()).await;
                world.pass(Duration::from_secs(300)).await;
                stops(world).await;
            },
            |_| {},
        );
        assert_eq!(made(&history).len(), wanted);
    }
}

#[test]
fn failed_jobs_are_kept_apart_and_told_of() {
    check(
        setup(),
        async |world| {
            world.create(cron("* * * * *", "5-failed", json!({"failedJobsHistoryLimit": 2}))).await;
            world.pass(Duration::from_secs(600)).await;
            let state = world.state().await;
            let failed = state.all::<Job>().filter(|job| job.finished().is_some_and(|c| c.kind == "Failed")).count();
            assert_eq!(failed, 2);
            assert!(state.all::<Event>().any(|e| e.message.ends_with("condition: Failed")), "it is told");
            assert_eq!(state.get::<CronJob>("tick").expect("there").status.last_successful_time, None);
            stops(world).await;
        },
        |_| {},
    );
}

#[test]
fn controllers_that_die_after_every_write_make_each_job_once() {
    let history = check(
        setup(),
        async |world| {
            world.create(cron("* * * * *", "20", json!({}))).await;
            let begun = world.api.now();
            let enough = |s: &State| {
                let cron = s.get::<CronJob>("tick").expect("there");
                cron.status.last_schedule_time.is_some_and(|last| last.since(begun).as_secs() >= 300)
            };
            world.with_mortals(1, "five minutes have passed", enough).await;
            stops(world).await;
        },
        |_| {},
    );
    let times = made(&history);
    assert!((5..=6).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|two| (1..=60).contains(&two[1].since(two[0]).as_secs())), "{times:?}");
}
