//! `steer simulate`: what would happen if these manifests and jobs came to a cluster of these nodes, and some of them failed.
//! The production engine answers, in virtual time.

mod csv;
mod faults;
mod jobs;
mod nodes;
mod play;
mod report;
mod svg;
mod table;
mod tally;
#[cfg(test)]
mod tests;

use crate::{files, out, up};
use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use faults::Fault;
use play::Script;
use report::Report;
use std::path::PathBuf;
use std::time::Duration;
use steersman::domain::spans;

/// The arguments of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// What is applied at the beginning: a manifest, a folder of them, or `-`; can be given several times
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required_unless_present = "trace")]
    files: Vec<PathBuf>,
    /// Process the folders in folders too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The nodes: YAML (`nodes: [{name: a, count: 3, cpu: 4, memory: 16Gi}]`, or Nodes as `kubectl get nodes -o yaml` prints them) or a table (.csv)
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
    /// Jobs that come one after the other: a table with a head (name, creation_time, duration, cpu_milli, memory_mib, …)
    #[arg(long, value_name = "FILE.csv")]
    trace: Option<PathBuf>,
    /// A node loses its power at this time, for good or (`+SPAN`) for a while; can be given several times
    #[arg(long, value_name = "NODE@TIME[+SPAN]")]
    fail: Vec<Fault>,
    /// Stop after so long; else when nothing more is to come
    #[arg(long = "for", value_name = "SPAN", value_parser = spans::read)]
    span: Option<Duration>,
    /// What chance is drawn from: the same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How often nodes give signs of life; one that misses four is lost. Longer makes simulations of many nodes over days faster
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = heartbeat)]
    heartbeat: Duration,
    /// How to print the report
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Draw the timeline into this file
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    let every = spans::read(text)?;
    let fits = every >= Duration::from_secs(1) && every <= Duration::from_secs(24 * 3600);
    if fits { Ok(every) } else { Err("it must be from 1s to 24h".into()) }
}

/// Runs `simulate`.
///
/// # Errors
/// When something that was given cannot be read, or the cluster refuses it.
pub(crate) fn run(simulate: Simulate) -> anyhow::Result<()> {
    let manifests =
        if simulate.files.is_empty() { Vec::new() } else { files::read(&simulate.files, simulate.recursive)? };
    up::check::documents(&manifests)?;
    let script = Script {
        nodes: nodes::read(&simulate.nodes)?,
        manifests,
        jobs: simulate.trace.as_deref().map(jobs::read).transpose()?.unwrap_or_default(),
        faults: simulate.fail,
        seed: simulate.seed,
        heartbeat: simulate.heartbeat,
        span: simulate.span,
    };
    ensure!(script.span != Some(Duration::ZERO), "--for 0s: nothing can happen in no time");
    let played = play::play(&script)?;
    let report = Report::of(&script, &played);
    if let Some(path) = &simulate.svg {
        let picture = svg::picture(&report, &played);
        std::fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    }
    out::print(&match simulate.output {
        Format::Table => table::text(&report, out::coloured()),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    })
}
