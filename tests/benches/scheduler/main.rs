//! The scheduler's core, one thread, without a store: decisions per second on clusters that are four fifths full, beside a
//! bare ordered index that only finds the best fit. Every figure comes with a checksum of the placements, which must be the
//! same in every run. And, apart from that, the way of pods from created to bound through the whole cluster.
//!
//! `cargo bench -p steersman-tests --bench scheduler [-- room|large|rules|preempt|gangs|bound|many|millions]`; all without a
//! word but `millions`, which needs 20 GB of memory and some minutes.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bound;
mod index;
mod world;

use serde_json::{Value, json};
use world::World;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let parts: [(&str, fn()); 8] = [
        ("room", room),
        ("large", large),
        ("rules", rules),
        ("preempt", preempt),
        ("gangs", gangs),
        ("bound", || bound::measure(5000, 50_000)),
        ("many", || bound::measure(6100, 500_000)),
        ("millions", || bound::measure(6100, 2_000_000)),
    ];
    for (name, run) in parts {
        if wanted.is_empty() && name != "millions" || wanted.iter().any(|w| w == name) {
            run();
        }
    }
}

/// Pods that ask for room, of 64 shapes.
fn shapes(profile: &str) -> Vec<Value> {
    (0..64).map(|n| world::shape(n, profile)).collect()
}

/// Pods of a round.
const BATCH: usize = 1000;

/// Decisions per second.
fn measure(name: &str, nodes: usize, shapes: &[Value], rounds: usize) -> f64 {
    measure_beside(name, nodes, shapes, (rounds, &mut || {}))
}

/// As [`measure`], with something that takes its turn after each round.
fn measure_beside(name: &str, nodes: usize, shapes: &[Value], (rounds, beside): (usize, &mut dyn FnMut())) -> f64 {
    let mut world = World::new(nodes, &world::plain());
    world.fill(80);
    world.templates(shapes);
    let (mut decided, mut times, mut placed) = (0, Vec::new(), 0);
    for _ in 0..rounds {
        let batch = world.batch(BATCH);
        let (there, time) = world.timed(&batch);
        placed += there;
        times.push(time);
        decided += batch.len();
        world.forget_some(batch.len());
        beside();
    }
    let rate = world::rate(BATCH, times);
    println!(
        "{name:<34} {rate:>10.0} decisions/s  {:>6.2} µs each, {placed} of {decided} placed, checksum {:016x}",
        1e6 / rate,
        world.checksum
    );
    rate
}

fn room() {
    for profile in ["default-scheduler", "bin-packing"] {
        let shapes = shapes(profile);
        let mut reference = index::Reference::new(5000, &shapes);
        let beside = &mut || reference.round(BATCH);
        let rate = measure_beside(&format!("5,000 nodes, {profile}"), 5000, &shapes, (300, beside));
        let bare = world::rate(BATCH, reference.times);
        println!(
            "{:<34} {bare:>10.0} decisions/s  the scheduler reaches {:.2} of it",
            "  a bare ordered best fit",
            rate / bare
        );
    }
}

fn large() {
    for profile in ["default-scheduler", "bin-packing"] {
        let shapes = shapes(profile);
        let small = measure(&format!("5,000 nodes, {profile}"), 5000, &shapes, 200);
        let large = measure(&format!("100,000 nodes, {profile}"), 100_000, &shapes, 200);
        println!("{:<34} {:.2} times dearer per decision", "  on 100,000 nodes", small / large);
    }
}

fn rules() {
    let term = json!([{"labelSelector": {"matchLabels": {"app": "a0"}}, "topologyKey": "kubernetes.io/hostname"}]);
    let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    measure("5,000 nodes, anti-affinity", 5000, &[world::with(0, anti)], 4);
    for (key, name) in [("topology.kubernetes.io/zone", "zone"), ("kubernetes.io/hostname", "host")] {
        let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a0"}}}]});
        measure(&format!("5,000 nodes, spread over {name}s"), 5000, &[world::with(0, spread)], 20);
    }
}

/// Important pods that come to a cluster without room; their victims end before the next batch.
fn preempt() {
    let mut world = World::new(5000, &world::plain());
    world.fill_up();
    let high: Vec<Value> = (0..16)
        .map(|size| {
            let mut shape = world::with(size, json!({}));
            shape["spec"]["priority"] = 1000.into();
            shape
        })
        .collect();
    world.templates(&high);
    let (mut decided, mut times, mut preempted, mut victims) = (0, Vec::new(), 0, 0);
    for _ in 0..40 {
        let batch = world.batch(250);
        let (ended, time) = world.preempt(&batch);
        times.push(time);
        decided += batch.len();
        preempted += ended.len();
        for preemption in ended {
            victims += preemption.victims.len();
            world.end(&preemption.victims);
        }
    }
    let rate = world::rate(250, times);
    println!(
        "{:<34} {rate:>10.0} decisions/s, {preempted} of {decided} preempted {victims} pods, checksum {:016x}",
        "5,000 nodes without room, preempting", world.checksum
    );
}

/// Gangs of eight.
fn gangs() {
    let mut world = World::new(5000, &world::plain());
    world.fill(80);
    world.templates(&(0..16).map(|size| world::with(size, json!({}))).collect::<Vec<_>>());
    let (mut decided, mut times, mut placed) = (0, Vec::new(), 0);
    for _ in 0..100 {
        let batch = world.gangs(BATCH / 8, 8);
        let (there, time) = world.timed(&batch);
        placed += there;
        times.push(time);
        decided += batch.len();
        world.forget_some(batch.len());
    }
    let rate = world::rate(BATCH, times);
    println!(
        "{:<34} {rate:>10.0} decisions/s, {placed} of {decided} placed, checksum {:016x}",
        "5,000 nodes, gangs of eight", world.checksum
    );
}
