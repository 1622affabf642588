//! Jobs: enough successes, not too many failures, and every pod counted once whatever happens.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use steersman_application::client::Propagation;
use steersman_application::driver::agent::SimulatedLife;
use steersman_domain::meta::condition;
use steersman_domain::ports::{Change, ContainerSpec};
use steersman_domain::{Condition, Event, Job, Kind, Object, Pod, PodPhase, Time};

use crate::history::{History, State};
use crate::world::{Setup, World, check};

/// Ends as its image says, after four seconds: `exit-1`, or `exit-1-of-2` where only the index 2 fails.
fn as_told(spec: &ContainerSpec) -> SimulatedLife {
    let told = spec.image.strip_prefix("exit-").unwrap_or("");
    let (code, index) = told.split_once("-of-").unwrap_or((told, ""));
    let mine = spec.env.iter().find(|(name, _)| *name == "JOB_COMPLETION_INDEX").map_or("", |(_, value)| value);
    let code = if index.is_empty() || index == mine { code.parse().ok() } else { Some(0) };
    SimulatedLife { exit: code.map(|code| (Duration::from_secs(4), code)), ..SimulatedLife::default() }
}

fn setup() -> Setup {
    Setup { life: as_told, ..Setup::default() }
}

fn job(image: &str, spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"},
        "spec": {"template": {"metadata": {"labels": {"app": "work"}}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": image}]}}},
    });
    for (field, value) in spec.as_object().expect("fields") {
        job["spec"][field] = value.clone();
    }
    job
}

fn finished(state: &State) -> bool {
    state.get::<Job>("work").is_some_and(|job| job.finished().is_some())
}

async fn ends(world: &World) -> State {
    world.within(Duration::from_secs(7200), "the job ends", finished).await
}

fn told<'a>(job: &'a Job, kind: &str) -> (&'a str, &'a str) {
    let found: Option<&Condition> = condition(&job.status.conditions, kind).filter(|c| c.is_true());
    found.map_or(("", ""), |c| (&c.reason, &c.message))
}

/// The most pods that ran at one time.
fn most_active(history: &History) -> usize {
    let mut most = 0;
    history.each(|step| most = most.max(step.state.active("work").len()));
    most
}

/// The successes and failures of the status never exceed those of the pods that there were, nor go back.
fn counts_are_true(history: &History) {
    let (mut succeeded, mut failed) = (BTreeSet::new(), BTreeSet::new());
    let mut last = (0, 0);
    history.each(|step| {
        if let Change::Put { after, .. } = step.change {
            match &after.object {
                Object::Pod(pod) if pod.status.phase == PodPhase::Succeeded => {
                    succeeded.insert(pod.metadata.uid.clone());
                }
                Object::Pod(pod) if pod.status.phase == PodPhase::Failed || pod.metadata.is_deleting() => {
                    failed.insert(pod.metadata.uid.clone());
                }
                Object::Job(job) => {
                    let now = (job.status.succeeded, job.status.failed);
                    assert!(now.0 >= last.0 && now.1 >= last.1, "from {last:?} back to {now:?}");
                    assert!(now.0 as usize <= succeeded.len() && now.1 as usize <= failed.len(), "{now:?}");
                    last = now;
                }
                _ => {}
            }
        }
    });
    let held = |state: &State| state.all::<Pod>().filter(|p| !p.metadata.finalizers.is_empty()).count();
    let mut at_the_end = 0;
    history.each(|step| at_the_end = held(step.state));
    assert_eq!(at_the_end, 0, "pods are still held");
}

#[test]
fn a_job_runs_as_many_at_a_time_as_it_may_until_enough_have_succeeded() {
    let history = check(
        setup(),
        async |world| {
            world.create(job("exit-0", json!({"completions": 5, "parallelism": 2}))).await;
            let state = ends(world).await;
            let job = state.get::<Job>("work").expect("there");
            assert_eq!((job.status.succeeded, job.status.failed, job.status.active), (5, 0, 0));
            let reached = "Reached expected number of succeeded pods";
            assert_eq!(told(job, "Complete"), ("CompletionsReached", reached));
            assert!(job.status.completion_time > job.status.start_time, "{:?}", job.status);
            assert_eq!(state.pods("work").len(), 5, "ended pods stay");
            world.until("it is told", |s| s.all::<Event>().any(|e| e.message == "Job completed")).await;
        },
        counts_are_true,
    );
    assert_eq!(most_active(&history), 2);
}

#[test]
fn a_work_queue_is_done_with_the_first_success() {
    check(
        setup(),
        async |world| {
            world.create(job("exit-0", json!({"parallelism": 3}))).await;
            let state = ends(world).await;
            assert_eq!(state.get::<Job>("work").expect("there").status.succeeded, 3);
        },
        counts_are_true,
    );
}

#[test]
fn failures_are_repeated_ever_more_slowly_until_the_limit() {
    check(
        setup(),
        async |world| {
            world.create(job("exit-1", json!({"backoffLimit": 3}))).await;
            let state = ends(world).await;
            let job = state.get::<Job>("work").expect("there");
            let limit = "Job has reached the specified backoff limit";
            assert_eq!(told(job, "Failed"), ("BackoffLimitExceeded", limit));
            assert_eq!((job.status.failed, job.status.succeeded), (4, 0));
            let mut made: Vec<Time> = state.pods("work").iter().filter_map(|p| p.metadata.creation_timestamp).collect();
            made.sort();
            let waits: Vec<u64> = made.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
            // A second to start, four to run; then the wait of 10 s, doubled each time.
            assert!(waits.iter().zip([15, 25, 45]).all(|(is, wanted)| is.abs_diff(wanted) <= 1), "{waits:?}");
        },
        counts_are_true,
    );
}

#[test]
fn restarts_in_place_count_as_failures() {
    check(
        setup(),
        async |world| {
            let mut job = job("exit-1", json!({"backoffLimit": 2}));
            job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure".into();
            world.create(job).await;
            let state = ends(world).await;
            assert_eq!(told(state.get::<Job>("work").expect("there"), "Failed").0, "BackoffLimitExceeded");
            world.until("no pod runs", |s| s.active("work").is_empty()).await;
        },
        |_| {},
    );
}

#[test]
fn indexes_succeed_and_fail_for_themselves() {
    check(
        setup(),
        async |world| {
            let spec =
                json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
            world.create(job("exit-3-of-2", spec)).await;
            let state = ends(world).await;
            let job = state.get::<Job>("work").expect("there");
            assert_eq!(
                (job.status.completed_indexes.as_str(), job.status.failed_indexes.as_deref()),
                ("0,1,3", Some("2"))
            );
            assert_eq!(told(job, "Failed"), ("FailedIndexes", "Job has failed indexes"));
            assert_eq!((job.status.succeeded, job.status.failed), (3, 2));
            for pod in state.pods("work") {
                let index = pod.completion_index().expect("an index");
                assert_eq!(pod.spec.hostname, format!("work-{index}"));
                assert!(pod.metadata.name.starts_with(&format!("work-{index}-")), "{}", pod.metadata.name);
            }
        },
        counts_are_true,
    );
}

#[test]
fn enough_indexes_can_be_enough() {
    check(
        setup(),
        async |world| {
            let rules = json!({"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]});
            let spec = json!({"completions": 9, "parallelism": 1, "completionMode": "Indexed", "successPolicy": rules});
            world.create(job("exit-0", spec)).await;
            let state = ends(world).await;
            let job = state.get::<Job>("work").expect("there");
            assert_eq!(told(job, "Complete"), ("SuccessPolicy", "Matched rules at index 0"));
            assert_eq!(job.status.completed_indexes, "0");
        },
        counts_are_true,
    );
}

#[test]
fn a_suspended_job_runs_nothing_and_starts_anew() {
    check(
        setup(),
        async |world| {
            world.create(job("forever", json!({"suspend": true, "completions": 2, "parallelism": 2}))).await;
            let suspended = |s: &State| s.get::<Job>("work").is_some_and(|j| told(j, "Suspended").0 == "JobSuspended");
            world.until("it is suspended", suspended).await;
            assert_eq!(world.state().await.pods("work").len(), 0);
            world.edit(Kind::Job, "work", |job| job["spec"]["suspend"] = false.into()).await;
            world.until("two run", |s| s.available("work") == 2).await;
            world.edit(Kind::Job, "work", |job| job["spec"]["suspend"] = true.into()).await;
            let state = world.until("none runs", |s| suspended(s) && s.pods("work").is_empty()).await;
            let job = state.get::<Job>("work").expect("there");
            assert_eq!((job.status.failed, job.status.start_time), (0, None), "an interruption is no failure");
        },
        counts_are_true,
    );
}

#[test]
fn a_job_that_takes_too_long_fails() {
    check(
        setup(),
        async |world| {
            world.create(job("forever", json!({"activeDeadlineSeconds": 30}))).await;
            let state = ends(world).await;
            let job = state.get::<Job>("work").expect("there");
            assert_eq!(told(job, "Failed"), ("DeadlineExceeded", "Job was active longer than specified deadline"));
            let start = job.status.start_time.expect("it started");
            let target = condition(&job.status.conditions, "FailureTarget").and_then(|c| c.last_transition_time);
            assert_eq!(target.expect("told").since(start).as_secs(), 30);
            assert!(state.active("work").is_empty());
        },
        counts_are_true,
    );
}

#[test]
fn a_policy_says_what_failures_mean() {
    for (rules, reason) in [
        (json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]), "PodFailurePolicy"),
        (json!([{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [42]}}]), "BackoffLimitExceeded"),
    ] {
        check(
            setup(),
            async |world| {
                let spec = json!({"backoffLimit": 1, "podFailurePolicy": {"rules": rules}});
                world.create(job("exit-42", spec)).await;
                let state = ends(world).await;
                let job = state.get::<Job>("work").expect("there");
                assert_eq!(told(job, "Failed").0, reason);
                if reason == "PodFailurePolicy" {
                    let message = told(job, "Failed").1;
                    assert!(message.starts_with("Container main for pod default/work-"), "{message}");
                    assert!(
                        message.ends_with("failed with exit code 42 matching FailJob rule at index 0"),
                        "{message}"
                    );
                }
            },
            counts_are_true,
        );
    }
}

#[test]
fn what_is_ignored_is_tried_again_without_end() {
    check(
        setup(),
        async |world| {
            let rules = json!([{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}}]);
            world.create(job("exit-7", json!({"backoffLimit": 0, "podFailurePolicy": {"rules": rules}}))).await;
            world.until("it is tried five times", |s| s.pods("work").len() >= 5).await;
            let job = world.state().await.get::<Job>("work").expect("there").clone();
            assert_eq!((job.status.failed, told(&job, "Failed").0), (0, ""));
            world.delete(Kind::Job, "work", Propagation::Background).await;
        },
        |_| {},
    );
}

#[test]
fn an_ended_job_goes_after_its_time_and_its_pods_with_it() {
    check(
        setup(),
        async |world| {
            world.create(job("exit-0", json!({"ttlSecondsAfterFinished": 100}))).await;
            let ended = ends(world).await.get::<Job>("work").expect("there").status.completion_time.expect("ended");
            let gone = |s: &State| s.get::<Job>("work").is_none() && s.pods("work").is_empty();
            world.within(Duration::from_secs(200), "all is gone", gone).await;
            let now = world.api.now();
            assert!((100..110).contains(&now.since(ended).as_secs()), "{now:?} {ended:?}");
        },
        |_| {},
    );
}

#[test]
fn a_deleted_job_takes_its_pods_along_however_it_is_deleted() {
    for propagation in [Propagation::Background, Propagation::Foreground] {
        check(
            setup(),
            async |world| {
                world.create(job("forever", json!({"completions": 3, "parallelism": 3}))).await;
                world.until("three run", |s| s.available("work") == 3).await;
                world.delete(Kind::Job, "work", propagation).await;
                world.until("all is gone", |s| s.get::<Job>("work").is_none() && s.pods("work").is_empty()).await;
            },
            |_| {},
        );
    }
}

#[test]
fn pods_that_are_deleted_or_lost_with_their_node_are_made_anew() {
    check(
        setup(),
        async |world| {
            world.create(job("forever", json!({"completions": 3, "parallelism": 3}))).await;
            let state = world.until("three run", |s| s.available("work") == 3).await;
            let pods = state.pods("work");
            world.delete(Kind::Pod, &pods[0].metadata.name, Propagation::Background).await;
            let lost = pods[1].spec.node_name.to_string();
            world.until("it is replaced", |s| s.available("work") == 3 && s.pods("work").len() == 3).await;
            world.cluster.lose_node(&lost).expect("a node");
            let moved =
                |s: &State| s.active("work").iter().filter(|p| p.is_ready() && p.spec.node_name != lost).count() == 3;
            world.within(Duration::from_secs(900), "all run elsewhere", moved).await;
            world.cluster.return_node(&lost).expect("a node");
            world
                .within(Duration::from_secs(900), "the lost ones are counted", |s| {
                    s.get::<Job>("work").is_some_and(|j| j.status.failed >= 2 && j.status.active == 3)
                })
                .await;
            world.delete(Kind::Job, "work", Propagation::Background).await;
        },
        |_| {},
    );
}

#[test]
fn controllers_that_die_after_every_write_count_every_pod_once() {
    for writes in [1, 2, 5] {
        let history = check(
            setup(),
            async |world| {
                world.create(job("exit-0", json!({"completions": 6, "parallelism": 3}))).await;
                world.with_mortals(writes, "it is complete", finished).await;
                let state = world.state().await;
                assert_eq!(state.get::<Job>("work").expect("there").status.succeeded, 6);
                assert_eq!(state.pods("work").len(), 6, "none was made twice");
            },
            counts_are_true,
        );
        assert!(most_active(&history) <= 3);
    }
}

#[test]
fn jobs_select_their_own_pods_and_nobody_elses() {
    check(
        setup(),
        async |world| {
            let stored = world.create(job("exit-0", json!({}))).await;
            let job = stored.typed::<Job>().expect("a job");
            let selector = job.spec.selector.as_ref().expect("made for it");
            let uid = job.metadata.uid.as_str();
            assert_eq!(selector.match_labels.get("batch.kubernetes.io/controller-uid").map(|v| v.as_str()), Some(uid));
            assert_eq!(job.spec.template.metadata.labels.get("job-name").map(|v| v.as_str()), Some("work"));
            ends(world).await;
        },
        counts_are_true,
    );
}
