//! What a reconciler answers.

use crate::client::Write;
use std::time::Duration;
use steersman_domain::{Key, Uid};

/// An Event to record on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The object the event is about.
    pub about: Key,
    /// The uid of the object.
    pub uid: Uid,
    /// `Warning` instead of `Normal`.
    pub is_warning: bool,
    /// One word in CamelCase: `ScalingReplicaSet`.
    pub reason: &'static str,
    /// What there is to know.
    pub message: String,
}

/// The outcome of reconciling one object. The default is: nothing to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Writes in order, each safe on stale input (preconditions: revision, uid, absence). They are sent as one group.
    pub writes: Vec<Write>,
    /// Reconcile again after this time even if nothing changes (a deadline, a minimum time of readiness).
    pub requeue_after: Option<Duration>,
    /// Events to record once the writes have succeeded.
    pub notes: Vec<Note>,
    /// Events to record when one write (by its index) has succeeded, whatever becomes of the others.
    pub notes_of_writes: Vec<(usize, Note)>,
    /// In words: what was decided and why. Shown by `steer why`.
    pub why: Vec<String>,
}

impl Outcome {
    /// Whether there is nothing to write: the object is as wanted.
    pub fn is_settled(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds a write, and an event to record when it has succeeded.
    pub fn write_noting(&mut self, write: Write, note: Note) {
        self.notes_of_writes.push((self.writes.len(), note));
        self.writes.push(write);
    }

    /// Asks for another look after at most this time.
    pub fn look_again(&mut self, after: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(after, |old| old.min(after)));
    }
}
