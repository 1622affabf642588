//! A run is a function of its seed: the same seed, the same trace; other seeds, other interleavings, and no rule is broken in
//! any of them.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use serde_json::json;
use steersman::simulation::{SimulatedLife, Simulation, TraceHash, size};
use steersman_application::client::Propagation;
use steersman_domain::ports::ContainerSpec;
use steersman_domain::{Kind, Pod};

use crate::history::History;
use crate::world::{Setup, World, check, node_name, slow_to_open};
use crate::{Web, set_version};

/// So many seeds are tried.
const SEEDS: u64 = 100;

/// Names one seed to try alone.
const SEED: &str = "STEERSMAN_SEED";

/// Plays something on every seed; the one that fails is named with the command that repeats it.
fn each_seed(test: &str, mut play: impl FnMut(u64)) {
    let one: Option<u64> = std::env::var(SEED).ok().map(|seed| seed.parse().expect("STEERSMAN_SEED is a number"));
    for seed in (0..SEEDS).filter(|seed| one.is_none_or(|one| one == *seed)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            eprintln!(
                "seed {seed} fails; to repeat it: {SEED}={seed} cargo test -p steersman-tests --test scenarios {test}"
            );
            resume_unwind(panic);
        }
    }
}

/// Version `bad` crashes; all others live.
fn bad_crashes(spec: &ContainerSpec) -> SimulatedLife {
    let exit = (spec.image == "bad").then_some((Duration::from_millis(700), 1));
    SimulatedLife { exit, ..slow_to_open(spec) }
}

/// Everything at once: a rollout while a node is lost, pods crash, an agent is slow and the scheduler dies.
async fn turmoil(world: &mut World) {
    let (lost, slow) = (node_name(0), node_name(1));
    world.create(Web::service()).await;
    world.create(Web { replicas: 4, ..Web::default() }.deployment()).await;
    world.until("web serves", |s| s.rolled_out("web", "v1", 4)).await;
    world.cluster.slow_agent(&slow, Duration::from_millis(700)).expect("a known node");
    world.edit(Kind::Deployment, "web", |d| set_version(d, "bad")).await;
    world.until("the bad version is tried", |s| s.pods("web").iter().any(|p| crate::history::image(p) == "bad")).await;
    world.cluster.lose_node(&lost).expect("a known node");
    world.edit(Kind::Deployment, "web", |d| d["spec"]["replicas"] = json!(6)).await;
    world.cluster.kill_scheduler();
    world.pass(Duration::from_secs(7)).await;
    world.cluster.start_scheduler();
    world.pass(Duration::from_secs(50)).await;
    world.edit(Kind::Deployment, "web", |d| set_version(d, "v2")).await;
    let crashing = world.state().await;
    if let Some(pod) = crashing.active("web").iter().find(|p| p.is_ready()) {
        let crashed = world.cluster.crash_pod("default", &pod.metadata.name, 3).await;
        crashed.unwrap_or_else(|_| eprintln!("{} was on the lost node", pod.metadata.name));
    }
    world.cluster.start_controllers();
    world.pass(Duration::from_secs(400)).await;
    world.cluster.return_node(&lost).expect("a known node");
    world.cluster.slow_agent(&slow, Duration::ZERO).expect("a known node");
    world.within(Duration::from_secs(900), "v2 serves everywhere", |s| s.rolled_out("web", "v2", 6)).await;
    world.delete(Kind::Deployment, "web", Propagation::Foreground).await;
    world.until("nothing is left", |s| s.all::<Pod>().count() == 0).await;
}

fn play(seed: u64) -> History {
    let setup = Setup { seed, life: bad_crashes, jitter: Duration::from_millis(20), ..Setup::default() };
    check(setup, turmoil, |_| {})
}

#[test]
fn a_seed_gives_the_same_trace_twice_and_no_seed_breaks_a_rule() {
    let began = Instant::now();
    let mut hashes: BTreeSet<TraceHash> = BTreeSet::new();
    let mut played = 0_u32;
    let (mut revisions, mut lived) = (0, Duration::ZERO);
    each_seed("a_seed_gives", |seed| {
        let (first, second) = (play(seed).trace, play(seed).trace);
        if first.hash() != second.hash() {
            let (first, second) = (first.to_string(), second.to_string());
            let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
            panic!("seed {seed} gives two traces; they part at {differs:?}");
        }
        hashes.insert(first.hash());
        played += 1;
        revisions += first.entries().len();
        lived += first.entries().last().map_or(Duration::ZERO, |entry| entry.at);
    });
    let took = began.elapsed() / (2 * played);
    eprintln!(
        "{played} seeds, {} traces, {} revisions each, {:?} of the cluster in {took:?}",
        hashes.len(),
        revisions / played as usize,
        lived / played
    );
    assert_eq!(hashes.len(), played as usize, "every seed is another run");
}

#[test]
fn the_seed_alone_chooses_the_interleaving() {
    // Nothing here waits for chance but the order of what is ready at the same time.
    let shape = |seed: u64| -> Vec<String> {
        let mut simulation = Simulation::builder().seed(seed).nodes(3, size(8, 16)).start().expect("it starts");
        let web = Web { replicas: 6, ..Web::default() }.deployment().to_string();
        simulation
            .run(async |cluster| {
                cluster.apply(&web).await.expect("applied");
                cluster.sleep(Duration::from_secs(30)).await;
            })
            .expect("it ends");
        simulation.trace().lines(steersman::simulation::Names::Counted)
    };
    let shapes: BTreeSet<Vec<String>> = (0..20).map(shape).collect();
    assert!(shapes.len() > 5, "only {} orders of events in 20 seeds", shapes.len());
}

#[test]
fn an_hour_passes_as_fast_as_its_work_is_done() {
    let setup = Setup { life: bad_crashes, ..Setup::default() };
    let mut simulation = setup.builder().start().expect("it starts");
    let began = Instant::now();
    let ran = simulation.run(async |cluster| {
        let pod = Web { version: "bad", ..Web::default() }.pod("crash").to_string();
        cluster.apply(&pod).await.expect("applied");
        for minute in 0..60 {
            let version = if minute % 2 == 0 { "v1" } else { "v2" };
            let web = Web { replicas: 10, version, ..Web::default() }.deployment().to_string();
            cluster.apply(&web).await.expect("applied");
            cluster.sleep(Duration::from_secs(60)).await;
        }
    });
    ran.expect("it ends");
    let (took, trace) = (began.elapsed(), simulation.trace());
    eprintln!(
        "an hour of 60 rollouts and a crash loop: {} revisions, {} steps in {took:?}",
        trace.entries().len(),
        simulation.steps()
    );
    History::of(trace).each(|step| assert!(step.state.all::<Pod>().count() < 40));
    assert!(simulation.cluster().now() >= Duration::from_secs(3600));
}

#[tokio::test]
async fn it_runs_inside_another_executor() {
    let hash = |seed: u64| play(seed).trace.hash();
    let here = hash(5);
    let elsewhere = tokio::task::spawn_blocking(move || hash(5)).await.expect("it ends");
    assert_eq!(here, elsewhere);
}

#[test]
#[should_panic(expected = "the operator fell over")]
fn a_panic_beside_the_cluster_ends_the_run() {
    let mut simulation = Setup::default().builder().start().expect("it starts");
    let ran = simulation.run(async |cluster| {
        cluster.spawn("operator", async { panic!("the operator fell over") }).detach();
        cluster.sleep(Duration::from_secs(1)).await;
    });
    ran.expect("it does not get here");
}

#[test]
fn what_never_comes_is_not_waited_for_for_ever() {
    let mut simulation = Setup::default().builder().limit(Duration::from_secs(3600)).start().expect("it starts");
    let stalled = simulation.run(async |_| std::future::pending::<()>().await).expect_err("it never ends");
    assert!(stalled.to_string().contains("something that never comes"), "{stalled}");
    let missing =
        simulation.run_until("a pod is there", Duration::from_secs(60), |world| world.all::<Pod>().count() > 0);
    let told = missing.expect_err("there is none").to_string();
    assert!(told.starts_with("not within 60s: a pod is there\nnode n000 ready"), "{told}");
}
