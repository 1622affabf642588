//! Which pods are this node's: takes over what runs, follows the watch, starts a worker for each, and routes what happens
//! in the runtimes to them.

use super::events::Told;
use super::inbox::Inbox;
use super::observe::Observation;
use super::shared::{Shared, View};
use super::state::PodRuntimeState;
use super::worker::{Worker, is_workable};
use crate::client::{ApiError, Selection};
use crate::driver::spawner::SpawnHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{Change, Runtime, RuntimeEvent, RuntimeEvents, SandboxRecord, Scope};
use steersman_domain::selector::{FieldRequirement, FieldSelector};
use steersman_domain::{Kind, Pod, Revision, Uid};

/// After the API or a runtime could not be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Sandboxes that the runtimes hold, by pod.
type Held = BTreeMap<Uid, (&'static str, SandboxRecord)>;

/// Works for ever.
pub(super) async fn run(shared: Arc<Shared>) -> Infallible {
    // Subscribed before the sandboxes are listed, so that no end falls between.
    let mut subscriptions = Vec::with_capacity(shared.runtimes.len());
    for runtime in shared.runtimes.values() {
        subscriptions.push((Arc::clone(runtime), runtime.events().await));
    }
    let held = held(&shared).await;
    let (mut revision, leftovers) = take_over(&shared, held).await;
    let _leftovers = shared.spawner.spawn("agent-leftovers", Box::pin(clear_away(Arc::clone(&shared), leftovers)));
    let _routes: Vec<SpawnHandle> =
        subscriptions.into_iter().map(|(runtime, events)| spawn_route(&shared, runtime, events)).collect();
    loop {
        if let Ok(mut stream) = shared.client.watch(&selection(&shared), revision).await {
            while let Ok(changes) = stream.next().await {
                changes.into_iter().for_each(|change| changed(&shared, change));
            }
        }
        // The watch broke or is too old: list, and find out what was missed.
        shared.clock.sleep(RETRY).await;
        revision = relist(&shared).await;
    }
}

/// Routes what happens in the runtimes until dropped.
pub(super) async fn follow_runtimes(shared: &Arc<Shared>) -> Vec<SpawnHandle> {
    let mut routes = Vec::with_capacity(shared.runtimes.len());
    for runtime in shared.runtimes.values() {
        let events = runtime.events().await;
        routes.push(spawn_route(shared, Arc::clone(runtime), events));
    }
    catch_up(shared).await;
    routes
}

fn spawn_route(shared: &Arc<Shared>, runtime: Arc<dyn Runtime>, events: Box<dyn RuntimeEvents>) -> SpawnHandle {
    shared.spawner.spawn("agent-runtime-events", Box::pin(route(Arc::clone(shared), runtime, events)))
}

/// Hands every event to its pod's worker. A stream that ends is opened anew, and what was missed is read off the runtime.
async fn route(shared: Arc<Shared>, runtime: Arc<dyn Runtime>, mut events: Box<dyn RuntimeEvents>) {
    loop {
        match events.next().await {
            Some(RuntimeEvent::Exited { pod, container }) => {
                if let Some(inbox) = shared.registry.inbox(&pod) {
                    inbox.observed(Observation::Exited { record: container });
                }
            }
            Some(RuntimeEvent::SandboxLost { pod, message }) => {
                if let Some(inbox) = shared.registry.inbox(&pod) {
                    inbox.observed(Observation::SandboxLost { message });
                }
            }
            Some(RuntimeEvent::Warned { pod, container, reason, message }) => {
                if let Some(view) = shared.registry.view(&pod) {
                    shared.tell(&view.pod, Told::warning(reason, &container, message));
                }
            }
            None => {
                shared.clock.sleep(RETRY).await;
                events = runtime.events().await;
                catch_up(&shared).await;
            }
        }
    }
}

/// Tells the workers of ends that they may have missed; repeated ones change nothing.
async fn catch_up(shared: &Shared) {
    for (uid, (_, record)) in held(shared).await {
        let Some(inbox) = shared.registry.inbox(&uid) else { continue };
        for container in record.containers.into_iter().filter(|c| c.exit.is_some()) {
            inbox.observed(Observation::Exited { record: container });
        }
    }
}

/// Every sandbox that exists. A runtime that does not answer is asked until it does: pods must not be started twice.
async fn held(shared: &Shared) -> Held {
    let mut all = Held::new();
    for (handler, runtime) in &shared.runtimes {
        let records = loop {
            match runtime.sandboxes().await {
                Ok(records) => break records,
                Err(error) => {
                    tracing::warn!(handler, %error, "the runtime does not say what it runs");
                    shared.clock.sleep(RETRY).await;
                }
            }
        };
        all.extend(records.into_iter().map(|r| (r.spec.uid.clone(), (*handler, r))));
    }
    all
}

fn selection(shared: &Shared) -> Selection {
    let bound = FieldRequirement { path: "spec.nodeName".into(), value: shared.config.node_name.clone(), equal: true };
    Selection { scope: Scope::kind(Kind::Pod), fields: FieldSelector(vec![bound]), ..Selection::default() }
}

async fn list(shared: &Shared) -> (Vec<Arc<Pod>>, Revision) {
    loop {
        match shared.client.list(&selection(shared)).await {
            Ok(page) => {
                let pods = page.items.iter().filter_map(|s| s.typed::<Pod>().cloned()).collect();
                return (pods, page.revision);
            }
            Err(error) => {
                log_unreachable(shared, &error);
                shared.clock.sleep(RETRY).await;
            }
        }
    }
}

fn log_unreachable(shared: &Shared, error: &ApiError) {
    tracing::warn!(node = %shared.config.node_name, %error, "the node's pods cannot be listed");
}

/// Starts a worker for every pod of the node, with what runs of it; answers the sandboxes that no pod owns.
async fn take_over(shared: &Arc<Shared>, mut held: Held) -> (Revision, Held) {
    let (pods, revision) = list(shared).await;
    for pod in pods {
        let sandbox = held.remove(&pod.metadata.uid);
        let sandbox = sandbox.as_ref().map(|(handler, record)| (*handler, record));
        let state = PodRuntimeState::restore(&pod, sandbox, shared.clock.now());
        work_on(shared, &pod, state);
    }
    (revision, held)
}

/// Removes the sandboxes of pods that no longer exist. What fails is removed by the next agent.
async fn clear_away(shared: Arc<Shared>, leftovers: Held) {
    for (uid, (handler, record)) in leftovers {
        tracing::info!(pod = %record.spec.name, "removing what is left of a pod that no longer exists");
        if let Some(runtime) = shared.runtimes.get(handler)
            && let Err(error) = runtime.remove_sandbox(&uid).await
        {
            tracing::warn!(pod = %record.spec.name, %error, "what is left of a pod was not removed");
        }
    }
}

/// Lists again after a gap in the watch.
async fn relist(shared: &Arc<Shared>) -> Revision {
    let (pods, revision) = list(shared).await;
    let present: BTreeSet<Uid> = pods.iter().map(|p| p.metadata.uid.clone()).collect();
    for (inbox, _) in shared.registry.all() {
        if !present.contains(inbox.uid()) {
            inbox.observed(Observation::Gone);
        }
    }
    shared.registry.retain_ended(&present);
    pods.iter().for_each(|pod| put(shared, pod));
    revision
}

fn changed(shared: &Arc<Shared>, change: Change) {
    match change {
        Change::Put { before, after } => {
            // A pod that was deleted and made again between two looks is another pod.
            let replaced = before.as_ref().and_then(|b| b.typed::<Pod>()).map(|b| b.metadata.uid.clone());
            let Some(pod) = after.typed::<Pod>() else { return };
            if let Some(old) = replaced.filter(|old| *old != pod.metadata.uid) {
                shared.registry.gone(&old);
            }
            put(shared, pod);
        }
        Change::Delete { before, .. } => {
            if let Some(pod) = before.typed::<Pod>() {
                shared.registry.gone(&pod.metadata.uid);
            }
        }
    }
}

fn put(shared: &Arc<Shared>, pod: &Arc<Pod>) {
    let uid = &pod.metadata.uid;
    if let Some(inbox) = shared.registry.inbox(uid) {
        inbox.deliver(pod);
    } else if !shared.registry.has_ended(uid) {
        let mut state = PodRuntimeState::restore(pod, None, shared.clock.now());
        state.rejected = refusal(shared, pod);
        work_on(shared, pod, state);
    }
}

/// Why a new pod is not admitted. The scheduler's ledger keeps the same rule; this holds for pods that passed it by.
fn refusal(shared: &Shared, pod: &Pod) -> Option<(steersman_domain::Str, steersman_domain::Str)> {
    if pod.is_terminal() || pod.metadata.is_deleting() {
        return None;
    }
    if !is_workable(pod) {
        return Some(("InvalidPod".into(), "the pod has no containers".into()));
    }
    let capacity = usize::try_from(shared.config.allocatable().pods).unwrap_or(0);
    let used = shared.registry.active();
    (used >= capacity).then(|| {
        let message =
            format!("Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {capacity}");
        ("OutOfpods".into(), message.into())
    })
}

fn work_on(shared: &Arc<Shared>, pod: &Arc<Pod>, state: PodRuntimeState) {
    let inbox = Arc::new(Inbox::new(pod.metadata.uid.clone()));
    let view = View { pod: Arc::clone(pod), status: pod.status.clone(), handler: state.sandbox.handler() };
    let worker = Worker::new(Arc::clone(shared), Arc::clone(&inbox), Arc::clone(pod), state);
    shared.registry.enter(inbox, view, || shared.spawner.spawn("agent-pod", Box::pin(worker.run())));
}
