//! Writes of all pods of a node go through one task: of each pod only the newest status waits, and everything that waits
//! goes in one request. A status that must arrive (the last one) is repeated until the API has it or the object is gone.

use super::events::{EventBook, EventWrite, Told};
use super::inbox::Inbox;
use super::observe::Observation;
use super::shared::Shared;
use super::status::merge;
use crate::client::{ApiError, DeleteOptions, Part, Write, WriteOptions};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steersman_domain::{Object, Pod, PodStatus, Resource, Stored, Time, Uid};
use tokio::sync::Notify;

/// How many pods go in one request: enough that a node's worth of pods is one, small enough for any server.
const BATCH: usize = 500;

/// How many events may wait; more are dropped, since events tell what happened but nothing depends on them.
const EVENTS: usize = 1000;

/// How long to wait after the API could not be reached; doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A status to write.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The newest version known; its revision is the precondition.
    pub(super) base: Arc<Pod>,
    pub(super) status: PodStatus,
    pub(super) inbox: Arc<Inbox>,
    /// Whether the worker waits for the write, and whether the object is then deleted.
    pub(super) report: Option<bool>,
}

#[derive(Default)]
struct Queue {
    statuses: BTreeMap<Uid, Pending>,
    events: VecDeque<EventWrite>,
    book: EventBook,
    busy: bool,
}

/// The queue of writes.
#[derive(Default)]
pub(super) struct Writer {
    queue: Mutex<Queue>,
    bell: Notify,
    idle: Notify,
}

/// What became of one status.
enum Fate {
    Written,
    /// The object is gone, or another has its name.
    Gone,
    /// To be written again after a while.
    Again(Box<Pending>),
    /// Somebody else wrote; on top of what they wrote it goes again at once.
    Rebased(Box<Pending>),
}

impl Writer {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a status in place of an older one of the same pod.
    pub(super) fn status(&self, pending: Pending) {
        self.lock().statuses.insert(pending.inbox.uid().clone(), pending);
        self.bell.notify_one();
    }

    /// Queues an event.
    pub(super) fn event(&self, node: &str, pod: &Pod, told: Told, when: (Time, u64)) {
        let mut queue = self.lock();
        let write = queue.book.tell(node, pod, told, when);
        if queue.events.len() < EVENTS {
            queue.events.push_back(write);
        }
        drop(queue);
        self.bell.notify_one();
    }

    /// Waits until nothing is left to write.
    pub(super) async fn flushed(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let queue = self.lock();
                if !queue.busy && queue.statuses.is_empty() && queue.events.is_empty() {
                    return;
                }
            }
            idle.await;
        }
    }

    fn take(&self) -> Option<(Vec<Pending>, Vec<EventWrite>)> {
        let mut queue = self.lock();
        let mut statuses = Vec::new();
        while statuses.len() < BATCH
            && let Some((_, pending)) = queue.statuses.pop_first()
        {
            statuses.push(pending);
        }
        let events: Vec<EventWrite> = queue.events.drain(..).collect();
        queue.busy = !statuses.is_empty() || !events.is_empty();
        queue.busy.then_some((statuses, events))
    }

    /// Puts back what did not get through, unless something newer waits.
    fn put_back(&self, pending: Pending) {
        self.lock().statuses.entry(pending.inbox.uid().clone()).or_insert(pending);
    }
}

/// The writing task.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut wait = RETRY.0;
    loop {
        let Some((statuses, events)) = shared.writer.take() else {
            shared.writer.idle.notify_waiters();
            shared.writer.bell.notified().await;
            continue;
        };
        let again = write(&shared, statuses, events).await;
        if again.is_empty() {
            wait = RETRY.0;
            continue;
        }
        again.into_iter().for_each(|pending| shared.writer.put_back(pending));
        shared.clock.sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: "node-agent".into(), ..WriteOptions::default() }
}

/// Writes one batch; answers what must be tried again after a while.
async fn write(shared: &Arc<Shared>, statuses: Vec<Pending>, events: Vec<EventWrite>) -> Vec<Pending> {
    let (changed, same): (Vec<Pending>, Vec<Pending>) = statuses.into_iter().partition(|p| p.status != p.base.status);
    let mut writes: Vec<Write> = changed.iter().map(status_write).collect();
    writes.extend(events.iter().map(|event| match event {
        EventWrite::New(_) => Write::Create(event.object()),
        EventWrite::Again(_) => Write::Update(event.object(), Part::Main),
    }));
    let mut answers = if writes.is_empty() { Vec::new() } else { shared.client.write(writes, &options()).await };
    let event_answers = answers.split_off(changed.len().min(answers.len()));
    renew_events(shared, &events, event_answers).await;

    let (mut again, mut deletes) = (Vec::new(), Vec::new());
    let mut answers = answers.into_iter();
    for mut pending in changed {
        let answer = answers.next().unwrap_or_else(|| Err(ApiError::Unavailable("the server gave no answer".into())));
        match fate(shared, &mut pending, answer).await {
            Fate::Written => deletes.push(pending),
            Fate::Gone => reported(&pending),
            Fate::Again(pending) => again.push(*pending),
            Fate::Rebased(pending) => shared.writer.put_back(*pending),
        }
    }
    deletes.extend(same);
    again.extend(finish(shared, deletes).await);
    again
}

fn status_write(pending: &Pending) -> Write {
    let mut pod = Pod::clone(&pending.base);
    pod.status = pending.status.clone();
    Write::Update(Object::Pod(Arc::new(pod)), Part::Status)
}

fn reported(pending: &Pending) {
    if pending.report.is_some() {
        pending.inbox.observed(Observation::Reported);
    }
}

/// What an answer means for a status.
async fn fate(shared: &Arc<Shared>, pending: &mut Pending, answer: Result<Arc<Stored>, ApiError>) -> Fate {
    match answer {
        Ok(stored) => {
            if let Some(pod) = stored.typed::<Pod>() {
                pending.inbox.deliver(pod);
                pending.base = Arc::clone(pod);
            }
            Fate::Written
        }
        Err(ApiError::NotFound(_)) => Fate::Gone,
        Err(ApiError::Conflict { .. }) => match shared.client.get(&pending.base.key()).await {
            Ok(stored) => match stored.typed::<Pod>().filter(|pod| pod.metadata.uid == pending.base.metadata.uid) {
                Some(pod) => {
                    let mut next = pending.clone();
                    next.base = Arc::clone(pod);
                    next.status = merge(&pod.status, &pending.status);
                    Fate::Rebased(Box::new(next))
                }
                None => Fate::Gone,
            },
            Err(ApiError::NotFound(_)) => Fate::Gone,
            Err(_) => Fate::Again(Box::new(pending.clone())),
        },
        Err(error @ (ApiError::Invalid { .. } | ApiError::BadRequest(_) | ApiError::NotSupported(_))) => {
            // Repeating it would change nothing.
            tracing::warn!(pod = %pending.base.metadata.name, %error, "the API refused a pod's status");
            Fate::Written
        }
        Err(
            ApiError::AlreadyExists(_)
            | ApiError::Forbidden { .. }
            | ApiError::Expired(_)
            | ApiError::TooManyRequests { .. }
            | ApiError::Unavailable(_)
            | ApiError::Unauthorized(_),
        ) => Fate::Again(Box::new(pending.clone())),
    }
}

/// Deletes the objects whose pods have ended, and tells the workers that wait.
async fn finish(shared: &Arc<Shared>, written: Vec<Pending>) -> Vec<Pending> {
    let (deletes, others): (Vec<Pending>, Vec<Pending>) =
        written.into_iter().partition(|pending| pending.report == Some(true));
    others.iter().for_each(reported);
    if deletes.is_empty() {
        return Vec::new();
    }
    let write = |pending: &Pending| {
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: Some(pending.base.metadata.uid.clone()),
            ..DeleteOptions::default()
        };
        Write::Delete(pending.base.key(), options)
    };
    let answers = shared.client.write(deletes.iter().map(write).collect(), &options()).await;
    let mut again = Vec::new();
    let mut answers = answers.into_iter();
    for pending in deletes {
        match answers.next() {
            Some(Ok(_) | Err(ApiError::NotFound(_))) => reported(&pending),
            // Either somebody else wrote at the same time, or another object has the name by now.
            Some(Err(ApiError::Conflict { .. })) if is_gone(shared, &pending).await => reported(&pending),
            Some(Err(error)) => {
                tracing::debug!(pod = %pending.base.metadata.name, %error, "the pod's object is not deleted yet");
                again.push(pending);
            }
            None => again.push(pending),
        }
    }
    again
}

/// Whether the object that a status is about is known to be gone.
async fn is_gone(shared: &Arc<Shared>, pending: &Pending) -> bool {
    match shared.client.get(&pending.base.key()).await {
        Ok(stored) => stored.object.meta().uid != pending.base.metadata.uid,
        Err(error) => matches!(error, ApiError::NotFound(_)),
    }
}

/// Creates the objects of counted events that are gone meanwhile (events are kept for a limited time).
async fn renew_events(shared: &Arc<Shared>, events: &[EventWrite], answers: Vec<Result<Arc<Stored>, ApiError>>) {
    let lost = events.iter().zip(&answers).filter(|(event, answer)| {
        matches!(event, EventWrite::Again(_)) && matches!(answer, Err(ApiError::NotFound(_)))
    });
    let writes: Vec<Write> = lost.map(|(event, _)| Write::Create(event.object())).collect();
    if !writes.is_empty() {
        let renewed = shared.client.write(writes, &options()).await;
        tracing::debug!(events = renewed.len(), "events were written anew");
    }
}
