//! The controllers without their loop: changes go in, writes come out, answers go back in. Every step is a function of what
//! went in, so that the simulator can take the same steps in the order of its seed.

use super::events::{EventBook, refusal};
use super::queue::Queue;
use super::whys::Whys;
use crate::client::{ApiError, Write};
use crate::driver::world::World;
use crate::reconcile::{Moment, Note, Reconciler};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::{Change, ListPage};
use steersman_domain::{Key, Revision, Stored};

/// Keys per pass: bounds the time until the next change is seen.
const KEYS_PER_PASS: usize = 500;
/// Writes after which a pass takes no further key: bounds the group in the store. One key adds at most some hundreds.
const WRITES_PER_PASS: usize = 2000;
/// Keys taken from one controller at a time, so that a long queue does not fill a whole pass.
const KEYS_PER_TURN: usize = 50;

struct Controller {
    reconciler: Box<dyn Reconciler>,
    queue: Queue,
}

/// One key that was looked at.
struct Look {
    controller: usize,
    key: Key,
    writes: Range<usize>,
    notes: Vec<Note>,
    notes_of_writes: Vec<(usize, Note)>,
    requeue_after: Option<Duration>,
}

/// One pass: the writes that carry out what was decided on one snapshot.
pub struct Pass {
    /// To be sent in this order as one group.
    pub writes: Vec<Write>,
    looks: Vec<Look>,
    /// The snapshot that the pass was decided on, and when.
    world: World,
    now: Moment,
}

impl Pass {
    /// Whether no key was looked at.
    pub fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// How many keys were looked at.
    pub fn len(&self) -> usize {
        self.looks.len()
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("keys", &self.looks.len()).field("writes", &self.writes).finish()
    }
}

/// All controllers of a cluster over one world.
pub struct ControllerHost {
    world: World,
    controllers: Vec<Controller>,
    events: EventBook,
    whys: Whys,
    /// The controller whose turn is first in the next pass.
    first: usize,
}

impl std::fmt::Debug for ControllerHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.controllers.iter().map(|c| c.reconciler.name()).collect();
        f.debug_struct("ControllerHost").field("controllers", &names).finish_non_exhaustive()
    }
}

impl ControllerHost {
    /// Controllers that know nothing yet. `whys` is shared with whoever explains.
    pub fn new(reconcilers: Vec<Box<dyn Reconciler>>, whys: Whys) -> Self {
        let controllers =
            reconcilers.into_iter().map(|reconciler| Controller { reconciler, queue: Queue::default() }).collect();
        ControllerHost { world: World::default(), controllers, events: EventBook::default(), whys, first: 0 }
    }

    /// The world as the controllers see it.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Begins anew from a list of everything: every key is looked at.
    pub fn reset(&mut self, page: &ListPage) {
        self.world = World::default();
        for stored in &page.items {
            self.world.put(stored);
        }
        self.world.advance(page.revision);
        for controller in &mut self.controllers {
            controller.queue = Queue::default();
            for key in controller.reconciler.all(&self.world) {
                controller.queue.add(key);
            }
        }
    }

    /// Takes in changes, in order.
    pub fn take_in(&mut self, changes: &[Change]) {
        for change in changes {
            self.world.apply(change);
            for controller in &mut self.controllers {
                for key in controller.reconciler.triggers(change, &self.world) {
                    controller.queue.add(key);
                }
            }
        }
    }

    /// Everything up to this revision has been taken in.
    pub fn advance(&mut self, revision: Revision) {
        self.world.advance(revision);
    }

    /// How long until there is something to do; `None`: not until something changes.
    pub fn wait(&self, monotonic: Duration) -> Option<Duration> {
        let seen = self.world.revision();
        self.controllers.iter().filter_map(|c| c.queue.wait(seen, monotonic)).min()
    }

    /// Looks at keys that are ready, all on one snapshot. Each pass must be settled before the next.
    pub fn pass(&mut self, now: Moment) -> Pass {
        let mut pass = Pass { writes: Vec::new(), looks: Vec::new(), world: self.world.clone(), now };
        let count = self.controllers.len();
        let (mut at, mut idle) = (self.first, 0);
        while idle < count && pass.looks.len() < KEYS_PER_PASS && pass.writes.len() < WRITES_PER_PASS {
            let limit = KEYS_PER_TURN.min(KEYS_PER_PASS - pass.looks.len());
            idle = if self.turn(at % count, limit, &mut pass) == 0 { idle + 1 } else { 0 };
            at += 1;
        }
        self.first = at.checked_rem(count).unwrap_or(0);
        pass
    }

    /// One controller looks at up to `limit` keys; answers how many it took.
    fn turn(&mut self, index: usize, limit: usize, pass: &mut Pass) -> usize {
        let controller = &mut self.controllers[index];
        let keys = controller.queue.take(limit, pass.world.revision(), pass.now.monotonic);
        let taken = keys.len();
        for key in keys {
            if pass.writes.len() >= WRITES_PER_PASS {
                controller.queue.add(key);
                continue;
            }
            let outcome = controller.reconciler.reconcile(&pass.world, &key, pass.now);
            self.whys.note(&key, controller.reconciler.name(), outcome.why, pass.now.time);
            let start = pass.writes.len();
            pass.writes.extend(outcome.writes);
            pass.looks.push(Look {
                controller: index,
                key,
                writes: start..pass.writes.len(),
                notes: outcome.notes,
                notes_of_writes: outcome.notes_of_writes,
                requeue_after: outcome.requeue_after,
            });
        }
        taken
    }

    /// Takes in the answers to a pass, one for each write in order, and answers the events to write (their own answers go
    /// to `recorded`).
    pub fn settle(&mut self, pass: Pass, answers: &[Result<Arc<Stored>, ApiError>], now: Moment) -> Vec<Write> {
        let mut events = Vec::new();
        for look in pass.looks {
            let lost = || vec![Err(ApiError::Unavailable("the server gave no answer".into())); look.writes.len()];
            let answers = answers.get(look.writes.clone()).map_or_else(lost, <[_]>::to_vec);
            let writes = pass.writes.get(look.writes.clone()).unwrap_or_default();
            events.extend(self.settle_one(look, writes, &answers, (pass.world.revision(), now)));
        }
        events
    }

    fn settle_one(
        &mut self,
        look: Look,
        writes: &[Write],
        answers: &[Result<Arc<Stored>, ApiError>],
        (seen, now): (Revision, Moment),
    ) -> Vec<Write> {
        let Controller { reconciler, queue } = &mut self.controllers[look.controller];
        let name = reconciler.name();
        let newest = answers.iter().flatten().map(|s| s.revision).max().unwrap_or_default();
        let refused = writes.iter().zip(answers).find_map(|(w, a)| Some(w).zip(a.as_ref().err().filter(|e| tells(e))));
        reconciler.answered(&look.key, refused.map(|(_, error)| error));
        let failed = answers.iter().any(Result::is_err);
        let mut notes: Vec<Note> = if failed { Vec::new() } else { look.notes };
        let succeeded = |at: usize| answers.get(at).is_some_and(Result::is_ok);
        notes.extend(look.notes_of_writes.into_iter().filter(|(at, _)| succeeded(*at)).map(|(_, note)| note));
        if let Some(after) = look.requeue_after {
            queue.add_at(&look.key, now.monotonic + after);
        }
        match (refused, failed, writes.is_empty()) {
            (Some((write, error)), ..) => {
                queue.failed(&look.key, newest, now.monotonic);
                tracing::warn!(controller = name, key = %look.key, %error, "a write was refused");
                if let Some(object) = self.world.object(&look.key) {
                    notes.push(refusal(&look.key, object.meta().uid.clone(), write, error));
                }
            }
            (None, true, _) => queue.stale(&look.key, newest.max(Revision(seen.0 + 1)), now.monotonic),
            (None, false, false) => queue.written(&look.key, newest, now.monotonic),
            (None, false, true) => queue.settled(&look.key),
        }
        if self.world.object(&look.key).is_none() {
            queue.forget(&look.key);
        }
        notes.into_iter().map(|note| self.events.record(name, note, now.time)).collect()
    }

    /// Takes in the answers to the events that `settle` gave.
    pub fn recorded(&mut self, events: &[Write], answers: &[Result<Arc<Stored>, ApiError>]) {
        self.events.settle(events, answers);
    }
}

/// Whether a refusal says more than that the snapshot was stale.
fn tells(error: &ApiError) -> bool {
    match error {
        ApiError::Conflict { .. } | ApiError::AlreadyExists(_) | ApiError::NotFound(_) => false,
        ApiError::Invalid { .. }
        | ApiError::BadRequest(_)
        | ApiError::Forbidden { .. }
        | ApiError::Expired(_)
        | ApiError::TooManyRequests { .. }
        | ApiError::Unavailable(_)
        | ApiError::NotSupported(_)
        | ApiError::Unauthorized(_) => true,
    }
}
