//! Runs a what-if: the production engine in virtual time, with the manifests, jobs and failures that were named.

use super::faults::Fault;
use super::jobs::Job;
use super::nodes::Spec;
use super::tally::Tally;
use crate::files::Document;
use anyhow::{Context as _, bail};
use std::collections::BTreeSet;
use std::time::Duration;
use steersman::application::driver::world::World;
use steersman::domain::Node;
use steersman::simulation::{SimulatedCluster, Simulation};

/// The handlers of all runtimes: what a manifest says of them is no matter here.
const RUNTIMES: [&str; 3] = ["process", "task", "container"];
/// How long nothing must have changed before nothing more is expected: more than the five minutes for which pods tolerate a
/// silent node, and than the longest back-off of a pod.
const QUIET: Duration = Duration::from_secs(660);
/// How long a cluster that never rests is watched after the last that was to happen.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked whether anything is still to come.
const LOOK: Duration = Duration::from_secs(30);
/// No run is longer.
pub(super) const LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is to be played.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) nodes: Vec<Spec>,
    pub(super) manifests: Vec<Document>,
    pub(super) jobs: Vec<Job>,
    pub(super) faults: Vec<Fault>,
    pub(super) seed: u64,
    pub(super) heartbeat: Duration,
    /// How long; `None`: until nothing more is to come.
    pub(super) span: Option<Duration>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) tally: Tally,
    pub(super) world: World,
    /// What was simulated, from the first manifest on.
    pub(super) span: Duration,
    /// When that was by the cluster's clock.
    pub(super) start: Duration,
    /// It would have gone on.
    pub(super) unfinished: bool,
}

/// Something that is to happen.
#[derive(Debug, Clone, Copy)]
enum Event<'a> {
    Return(&'a Fault),
    Fail(&'a Fault),
    Job(&'a Job),
}

impl Script {
    /// What is to happen, in order; at one time nodes come back first, then others fail, then jobs come.
    fn events(&self) -> Vec<(Duration, Event<'_>)> {
        let returns =
            self.faults.iter().filter_map(|f| f.lasts.map(|lasts| (f.at.saturating_add(lasts), Event::Return(f))));
        let mut events: Vec<_> = returns.collect();
        events.extend(self.faults.iter().map(|fault| (fault.at, Event::Fail(fault))));
        events.extend(self.jobs.iter().map(|job| (job.at, Event::Job(job))));
        events.sort_by_key(|(at, _)| *at);
        events
    }

    fn check(&self) -> anyhow::Result<()> {
        let names: BTreeSet<&str> = self.nodes.iter().map(|spec| spec.node.name()).collect();
        if let Some(fault) = self.faults.iter().find(|fault| !names.contains(fault.node.as_str())) {
            let known: Vec<&str> = names.iter().copied().take(5).collect();
            let more = if names.len() > known.len() { ", …" } else { "" };
            bail!("--fail {fault}: there is no such node; there are {}{more}", known.join(", "));
        }
        Ok(())
    }
}

/// Plays it.
///
/// # Errors
/// When the cluster refuses an object, with its place.
pub(super) fn play(script: &Script) -> anyhow::Result<Played> {
    script.check()?;
    let tally = Tally::default();
    let noting = tally.clone();
    let mut builder = Simulation::builder()
        .seed(script.seed)
        .heartbeat(script.heartbeat)
        .stand_in_for(&RUNTIMES)
        .limit(LIMIT)
        .untraced()
        .observe(move |at, change| noting.note(at, change));
    for spec in &script.nodes {
        builder = builder.machine(spec.node.clone());
    }
    let mut simulation = builder.start()?;
    let start = simulation.cluster().now();
    let (end, unfinished) = simulation.run(async |cluster| act(script, cluster, &tally, start).await)??;
    let world = simulation.cluster().world();
    tally.counts().sum(end);
    Ok(Played { tally, world, span: end.saturating_sub(start), start, unfinished })
}

async fn act(
    script: &Script,
    cluster: &SimulatedCluster,
    tally: &Tally,
    start: Duration,
) -> anyhow::Result<(Duration, bool)> {
    for spec in script.nodes.iter().filter(|spec| spec.cordoned) {
        cluster.edit::<Node>("", spec.node.name(), |node| node.spec.unschedulable = true).await?;
    }
    for document in &script.manifests {
        let applied = cluster.apply(&document.object.to_string()).await;
        applied.with_context(|| format!("in {}", document.from))?;
    }
    let last = script.span.map_or(Duration::MAX, |span| start.saturating_add(span));
    for (at, event) in script.events() {
        let at = start.saturating_add(at);
        if at >= last {
            break;
        }
        cluster.sleep(at.saturating_sub(cluster.now())).await;
        match event {
            Event::Job(job) => drop(cluster.apply(&job.object.to_string()).await?),
            Event::Fail(fault) => {
                cluster.lose_node(&fault.node)?;
                tally.lose(cluster.now(), &fault.node);
            }
            Event::Return(fault) => cluster.return_node(&fault.node)?,
        }
    }
    if script.span.is_some() {
        cluster.sleep(last.saturating_sub(cluster.now())).await;
        return Ok((cluster.now(), false));
    }
    let begun = cluster.now();
    let most = begun.saturating_add(LONGEST);
    loop {
        cluster.sleep(LOOK).await;
        let (running, changed) = tally.rest();
        let changed = changed.max(begun);
        if running == 0 && cluster.now().saturating_sub(changed) >= QUIET {
            return Ok((changed, false));
        }
        // What runs for days is no reason to stop: it will end.
        if running == 0 && cluster.now() >= most {
            return Ok((cluster.now(), true));
        }
    }
}
