//! The live scheduler: one loop that takes in changes of nodes, pods and what rules for them, decides on everything that waits
//! in one pass, and sends the pass as one group of writes. It never polls: it sleeps until a change comes or a
//! back-off ends.

mod core;
mod queue;
mod records;

pub use self::core::{Pass, SchedulerCore};
pub use self::queue::Queue;
pub use self::records::{Record, Records};

use crate::client::{ApiError, Client, Selection, WriteOptions};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{Change, Clock, Scope, StoreError, WatchStream};
use steersman_domain::{Kind, Revision};

/// How long to wait before listing again after the API could not be reached.
const RETRY: Duration = Duration::from_millis(200);

/// Runs until its future is dropped.
pub async fn run(mut core: SchedulerCore, client: Arc<dyn Client>, clock: Arc<dyn Clock>) {
    loop {
        if let Err(error) = follow(&mut core, &*client, &*clock).await {
            tracing::warn!(%error, "the scheduler lists again");
            clock.sleep(RETRY).await;
        }
    }
}

/// Lists, then follows until an error.
async fn follow(core: &mut SchedulerCore, client: &dyn Client, clock: &dyn Clock) -> Result<(), ApiError> {
    core.reset();
    let mut namespaces = open(core, client, Kind::Namespace).await?;
    let mut classes = open(core, client, Kind::RuntimeClass).await?;
    let mut budgets = open(core, client, Kind::PodDisruptionBudget).await?;
    let mut nodes = open(core, client, Kind::Node).await?;
    let mut pods = open(core, client, Kind::Pod).await?;
    loop {
        let changes = tokio::select! {
            biased;
            changes = namespaces.next() => changes?,
            changes = classes.next() => changes?,
            changes = budgets.next() => changes?,
            changes = nodes.next() => changes?,
            changes = pods.next() => changes?,
            () = wait(core.wait(), clock) => Vec::new(),
        };
        take_in(core, &changes);
        // Whatever else has happened already is part of this pass.
        drain(core, &mut pods).await?;
        let pass = core.pass();
        if pass.decisions.is_empty() {
            continue;
        }
        let options = WriteOptions { field_manager: "scheduler".into(), ..WriteOptions::default() };
        let answers = client.write(pass.writes.clone(), &options).await;
        let mut events = core.settle(&pass, &answers);
        let together = WriteOptions { atomic: true, ..options.clone() };
        for gang in &pass.gangs {
            let answers = client.write(pass.binds(gang), &together).await;
            events.extend(core.settle_binds(&pass, gang, &answers));
        }
        if !events.is_empty() {
            // An event that cannot be recorded is no reason to stop scheduling.
            client.write(events, &options).await;
        }
    }
}

async fn open(core: &mut SchedulerCore, client: &dyn Client, kind: Kind) -> Result<Box<dyn WatchStream>, ApiError> {
    let selection = Selection { scope: Scope::kind(kind), ..Selection::default() };
    let page = client.list(&selection).await?;
    for stored in &page.items {
        core.put(stored);
    }
    let after: Revision = page.revision;
    client.watch(&selection, after).await
}

fn take_in(core: &mut SchedulerCore, changes: &[Change]) {
    for change in changes {
        core.apply(change);
    }
}

async fn drain(core: &mut SchedulerCore, pods: &mut Box<dyn WatchStream>) -> Result<(), StoreError> {
    loop {
        tokio::select! {
            biased;
            changes = pods.next() => take_in(core, &changes?),
            () = std::future::ready(()) => return Ok(()),
        }
    }
}

async fn wait(duration: Option<Duration>, clock: &dyn Clock) {
    match duration {
        None => pending().await,
        Some(Duration::ZERO) => {}
        Some(duration) => clock.sleep(duration).await,
    }
}
