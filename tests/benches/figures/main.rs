//! The figures of `docs/benchmarks.md`, taken from the outside: a release build of `steer`, started on an empty data
//! directory, spoken to over HTTPS as any client does. Server and clients share the machine's cores.
//!
//! `cargo bench -p steersman-tests --bench figures [-- start|idle|api|schedule|heal|services|watches]`; all without a word.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod api;
mod client;
mod cluster;
mod services;
mod watches;

use std::process::Command;
use steersman_tests::steer::{Options, SteerUp};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if std::env::var_os("STEERSMAN_BIN").is_none() {
        let status = Command::new(env!("CARGO")).args(["build", "--release", "-p", "steersman"]).status();
        assert!(status.is_ok_and(|s| s.success()), "the release build of steer fails");
    }
    for (name, run) in PARTS {
        if is_wanted(name) {
            run();
        }
    }
}

/// Each part prints its own lines.
const PARTS: [(&str, fn()); 7] = [
    ("start", cluster::start),
    ("idle", cluster::idle),
    ("api", api::throughput),
    ("schedule", cluster::schedule),
    ("heal", cluster::heal),
    ("services", services::beside_direct),
    ("watches", watches::unread),
];

/// A fresh cluster of the release build.
fn steer(args: &[&str]) -> SteerUp {
    if std::env::var_os("STEERSMAN_BIN").is_none() {
        let binary = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/steer");
        return SteerUp::start_binary(binary.as_ref(), Options::with(args));
    }
    SteerUp::start_with(Options::with(args))
}

/// The middle value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
