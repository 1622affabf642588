//! What it costs to ask a function: from the question of one to the answer of the other, on one executor with two threads,
//! beside a bare mpsc channel with a oneshot for the answer, and beside other actors (`--features versus`). Each is measured
//! in turns with the others, so that a noisy machine is noisy for all. And how soon a cluster runs its first function.
//!
//! `cargo bench -p steersman-tests --features versus --bench functions`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[cfg(feature = "versus")]
mod actors;

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steersman::domain::ports::{ContainerSpec, Identity, Limits, Runtime as _, SandboxSpec};
use steersman::functions::{Address, Context, Registry, Switchboard};
use steersman::{OsEntropy, SystemClock, TokioSpawner};
use tokio::sync::{mpsc, oneshot};

/// Questions of one turn.
const ASKS: u64 = 20_000;
/// Turns; the best of each counts, as what disturbs only ever slows down.
const TURNS: usize = 15;
/// Askers at a time, where there are many.
const MANY: u64 = 64;

type Bare = mpsc::Sender<(u64, oneshot::Sender<u64>)>;

fn bare() -> Bare {
    let (sender, mut mailbox) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(1024);
    tokio::spawn(async move {
        while let Some((value, reply)) = mailbox.recv().await {
            let _gone = reply.send(value + 1);
        }
    });
    sender
}

async fn ask_bare(to: Bare, value: u64) -> u64 {
    let (sender, answer) = oneshot::channel();
    to.send((value, sender)).await.expect("it listens");
    answer.await.expect("it answers")
}

async fn ask_bare_in_time(to: Bare, value: u64) -> u64 {
    tokio::time::timeout(Duration::from_secs(30), ask_bare(to, value)).await.expect("it answers in time")
}

/// A function that answers the next number.
async fn function() -> Address {
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    let spawner = Arc::new(TokioSpawner::new(tokio::runtime::Handle::current()));
    let registry = Registry::new();
    let next = async |mut ctx: Context, (): ()| {
        ctx.answer_each(|value: u64| async move { Ok::<u64, String>(value + 1) }).await;
    };
    registry.register("bench/next", next).expect("free");
    let board = Switchboard::new(clock.clone(), entropy.clone(), spawner.clone());
    let runtime = steersman_runtime::task::TaskRuntime::new(steersman_runtime::task::TaskConfig {
        registry,
        board: board.clone(),
        clock,
        entropy,
        spawner,
        host: Arc::new(()),
        addresses: (Ipv4Addr::LOCALHOST, 1),
        live: true,
    });
    let sandbox = SandboxSpec {
        uid: "p".into(),
        namespace: "d".into(),
        name: "p".into(),
        hostname: "p".into(),
        fs_group: None,
        service_account: "default".into(),
        labels: Default::default(),
        annotations: Default::default(),
        main_container: "main".into(),
    };
    runtime.run_sandbox(&sandbox).await.expect("room");
    let container = ContainerSpec {
        pod: "p".into(),
        name: "main".into(),
        attempt: 0,
        init: false,
        image: "bench/next".into(),
        command: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        identity: Identity::default(),
        limits: Limits::default(),
        mounts: Vec::new(),
    };
    runtime.start_container(&container).await.expect("starts");
    std::mem::forget(runtime);
    board.address(&steersman::domain::ports::Recipient::pod("d", "p"))
}

/// Questions per second of `askers` tasks, each asking one question after the other.
async fn turn<F, Fut>(askers: u64, ask: F) -> f64
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = u64> + Send,
{
    let each = ASKS / askers;
    let start = Instant::now();
    let tasks: Vec<_> = (0..askers)
        .map(|_| {
            let ask = ask.clone();
            tokio::spawn(async move {
                for value in 0..each {
                    assert_eq!(ask(value).await, value + 1);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("all are answered");
    }
    (each * askers) as f64 / start.elapsed().as_secs_f64()
}

type Turn<'a> = Box<dyn Fn(u64) -> std::pin::Pin<Box<dyn Future<Output = f64> + Send>> + 'a>;

async fn run() {
    let (channel, address) = (bare(), function().await);
    let all: Vec<(&str, Turn<'_>)> = vec![
        ("a bare mpsc channel with a oneshot", {
            let channel = channel.clone();
            Box::new(move |askers| {
                let channel = channel.clone();
                Box::pin(turn(askers, move |value| ask_bare(channel.clone(), value)))
            })
        }),
        ("the same, with a deadline of 30 s", {
            let channel = channel.clone();
            Box::new(move |askers| {
                let channel = channel.clone();
                Box::pin(turn(askers, move |value| ask_bare_in_time(channel.clone(), value)))
            })
        }),
        ("a function, with a deadline of 30 s", {
            let address = address.clone();
            Box::new(move |askers| {
                let address = address.clone();
                Box::pin(turn(askers, move |value| ask_function(address.clone(), value)))
            })
        }),
        ("a function, without a deadline", {
            let address = address.clone().within(Duration::MAX);
            Box::new(move |askers| {
                let address = address.clone();
                Box::pin(turn(askers, move |value| ask_function(address.clone(), value)))
            })
        }),
    ];
    #[cfg(feature = "versus")]
    let all = actors::with(all).await;
    for askers in [1, MANY] {
        let mut best = vec![0.0_f64; all.len()];
        for _ in 0..TURNS {
            for (best, (_, turn)) in best.iter_mut().zip(&all) {
                *best = best.max(turn(askers).await);
            }
        }
        println!("{askers} asking at a time:");
        for ((name, _), rate) in all.iter().zip(&best) {
            println!("  {name:<42} {rate:>9.0} answers/s  {:.2} of the bare channel", rate / best[0]);
        }
    }
}

async fn ask_function(address: Address, value: u64) -> u64 {
    address.ask(value).await.expect("answered")
}

/// Milliseconds from the builder to a cluster that has started, and to its first function running as a pod.
async fn start() -> (f64, f64) {
    const POD: &str =
        "{apiVersion: v1, kind: Pod, metadata: {name: first}, spec: {containers: [{name: main, image: bench/idle}]}}";
    let registry = Registry::new();
    registry.register("bench/idle", async |ctx: Context, (): ()| ctx.stopping().await).expect("free");
    let begin = Instant::now();
    let cluster = steersman::Cluster::builder().functions(registry).start().await.expect("starts");
    let started = begin.elapsed();
    cluster.apply(POD).await.expect("applied");
    let runs = |pod: Option<&steersman::domain::Pod>| pod.is_some_and(|pod| pod.is_ready());
    cluster.wait_for(("default", "first"), Duration::from_secs(60), runs).await.expect("runs");
    let running = begin.elapsed();
    cluster.stop().await;
    (started.as_secs_f64() * 1e3, running.as_secs_f64() * 1e3)
}

async fn starts() {
    let mut all = Vec::new();
    for _ in 0..2 * TURNS + 1 {
        all.push(start().await);
    }
    let mut middle = |of: fn(&(f64, f64)) -> f64| {
        all.sort_by(|a, b| of(a).total_cmp(&of(b)));
        (of(&all[TURNS]), of(&all[2 * TURNS]))
    };
    let ((start, late_start), (run, late_run)) = (middle(|t| t.0), middle(|t| t.1));
    println!("from the builder to a started cluster: {start:.1} ms in the median, {late_start:.1} ms at most");
    println!("from the builder to the first function running: {run:.1} ms in the median, {late_run:.1} ms at most");
}

fn main() {
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    executor.expect("an executor").block_on(async {
        starts().await;
        run().await;
    });
}
