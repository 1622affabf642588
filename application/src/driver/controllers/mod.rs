//! The live driver of the controllers: one loop over one list and one watch of everything. A pass looks at all keys that are
//! ready on one snapshot and sends what they want as one group of writes; a key is not looked at again before the watch has
//! brought what was written for it. It never polls: it sleeps until a change comes or a timer ends.

mod events;
mod host;
mod queue;
mod whys;

pub use host::{ControllerHost, Pass};
pub use queue::Queue;
pub use whys::{Why, Whys};

use crate::client::{ApiError, Client, Selection, WriteOptions};
use crate::reconcile::Moment;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{Clock, WatchStream};

/// How long to wait before listing again after the API could not be reached or the watch fell behind.
const RETRY: Duration = Duration::from_millis(200);
/// How many deliveries of the watch are taken in at most before a pass: enough to gather what a burst has written, few
/// enough that a cluster that never rests does not keep the controllers from acting.
const DELIVERIES_PER_PASS: usize = 64;

/// Runs the controllers until the future is dropped. Outcomes of writes that are under way then are unknown; that is safe,
/// since whoever goes on begins with a list.
pub async fn run(mut host: ControllerHost, client: Arc<dyn Client>, clock: Arc<dyn Clock>) {
    loop {
        if let Err(error) = follow(&mut host, &*client, &*clock).await {
            tracing::warn!(%error, "the controllers list again");
            clock.sleep(RETRY).await;
        }
    }
}

/// Lists, then follows until an error.
async fn follow(host: &mut ControllerHost, client: &dyn Client, clock: &dyn Clock) -> Result<(), ApiError> {
    let selection = Selection::default();
    let page = client.list(&selection).await?;
    host.reset(&page);
    let mut watch = client.watch(&selection, page.revision).await?;
    drop(page);
    loop {
        gather(host, &mut *watch, clock).await?;
        let pass = host.pass(moment(clock));
        if pass.is_empty() {
            continue;
        }
        let options = WriteOptions { field_manager: "controllers".into(), ..WriteOptions::default() };
        let answers = match pass.writes.is_empty() {
            true => Vec::new(),
            false => client.write(pass.writes.clone(), &options).await,
        };
        let events = host.settle(pass, &answers, moment(clock));
        if !events.is_empty() {
            let answers = client.write(events.clone(), &options).await;
            host.recorded(&events, &answers);
        }
    }
}

/// Waits for a change or a timer, then takes in whatever else has happened already.
async fn gather(host: &mut ControllerHost, watch: &mut dyn WatchStream, clock: &dyn Clock) -> Result<(), ApiError> {
    let wait = host.wait(clock.monotonic());
    tokio::select! {
        biased;
        changes = watch.next() => host.take_in(&changes?),
        () = sleep(wait, clock) => {}
    }
    for _ in 0..DELIVERIES_PER_PASS {
        tokio::select! {
            biased;
            changes = watch.next() => host.take_in(&changes?),
            () = std::future::ready(()) => break,
        }
    }
    host.advance(watch.progress());
    Ok(())
}

fn moment(clock: &dyn Clock) -> Moment {
    Moment { time: clock.now(), monotonic: clock.monotonic() }
}

async fn sleep(duration: Option<Duration>, clock: &dyn Clock) {
    match duration {
        None => pending().await,
        Some(Duration::ZERO) => {}
        Some(duration) => clock.sleep(duration).await,
    }
}

#[cfg(test)]
mod tests;
