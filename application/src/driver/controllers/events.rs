//! Notes of controllers as Events. Equal notes within ten minutes become one object with a count, as Kubernetes' correlator
//! does it. Bounded memory; an event that cannot be written is dropped.

use crate::client::{ApiError, Part, Write};
use crate::reconcile::Note;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{Event, EventSource, Key, Kind, Object, ObjectMeta, ObjectReference, Stored, Str, Time, Uid};

/// How many different notes are remembered for counting.
const REMEMBERED: usize = 4096;
/// Equal notes further apart than this become objects of their own.
const TOGETHER: Duration = Duration::from_secs(600);

/// Whose note it is, on what, and what it says.
type NoteId = (Key, Uid, &'static str, &'static str, String);

/// Counts equal notes.
#[derive(Debug, Default)]
pub(super) struct EventBook {
    known: BTreeMap<NoteId, Arc<Event>>,
    order: VecDeque<NoteId>,
    made: u64,
}

impl EventBook {
    /// The write that records a note of a controller.
    pub(super) fn record(&mut self, controller: &'static str, note: Note, now: Time) -> Write {
        let id = (note.about.clone(), note.uid.clone(), controller, note.reason, note.message.clone());
        if let Some(known) = self.known.get_mut(&id)
            && known.last_timestamp.is_some_and(|last| now.since(last) <= TOGETHER)
        {
            let event = Arc::make_mut(known);
            event.count = event.count.saturating_add(1);
            event.last_timestamp = Some(now.truncated());
            return Write::Update(Object::Event(Arc::clone(known)), Part::Main);
        }
        self.made += 1;
        let event = Arc::new(new_event(controller, note, now, self.made));
        if self.known.insert(id.clone(), Arc::clone(&event)).is_none() {
            if self.order.len() >= REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(id);
        }
        Write::Create(Object::Event(event))
    }

    /// Forgets events that could not be written (an expired one, say), so that the next equal note begins a new object.
    pub(super) fn settle(&mut self, writes: &[Write], answers: &[Result<Arc<Stored>, ApiError>]) {
        for (write, answer) in writes.iter().zip(answers) {
            if let (Write::Create(Object::Event(event)) | Write::Update(Object::Event(event), _), Err(_)) =
                (write, answer)
            {
                let name = &event.metadata.name;
                self.known.retain(|_, known| known.metadata.name != *name);
                let known = &self.known;
                self.order.retain(|id| known.contains_key(id));
            }
        }
    }
}

fn new_event(controller: &'static str, note: Note, now: Time, made: u64) -> Event {
    let about = &note.about;
    let info = about.kind.info();
    // Two processes never share a microsecond and a count on the same object; and if they did, one event would be lost.
    let unique = crate::reconcile::fnv64(&[note.uid.as_str(), &now.micros().to_string(), &made.to_string()]);
    let namespace: Str = if info.namespaced { about.namespace.clone() } else { "default".into() };
    Event {
        metadata: ObjectMeta { name: format!("{}.{unique:016x}", about.name).into(), namespace, ..Default::default() },
        involved_object: ObjectReference {
            kind: info.kind.into(),
            namespace: about.namespace.clone(),
            name: about.name.clone(),
            uid: note.uid,
            api_version: info.api_version.into(),
            ..ObjectReference::default()
        },
        reason: note.reason.into(),
        message: note.message.into(),
        source: EventSource { component: controller.into(), ..EventSource::default() },
        first_timestamp: Some(now.truncated()),
        last_timestamp: Some(now.truncated()),
        count: 1,
        kind: if note.is_warning { "Warning" } else { "Normal" }.into(),
        reporting_component: controller.into(),
        ..Event::default()
    }
}

/// The note that tells of a refused write, as Kubernetes words it.
pub(super) fn refusal(about: &Key, uid: Uid, write: &Write, error: &ApiError) -> Note {
    let (reason, message) = match write {
        Write::Create(object) if object.kind() == Kind::ReplicaSet => {
            ("ReplicaSetCreateError", format!("Failed to create new replica set {:?}: {error}", object.meta().name))
        }
        Write::Create(_) => ("FailedCreate", format!("Error creating: {error}")),
        Write::Delete(..) => ("FailedDelete", format!("Error deleting: {error}")),
        Write::Update(..) | Write::Bind { .. } => ("FailedUpdate", format!("Error updating: {error}")),
    };
    Note { about: about.clone(), uid, is_warning: true, reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        Note {
            about: Key::new(Kind::ReplicaSet, "d", "web"),
            uid: "u".into(),
            is_warning: true,
            reason: "FailedCreate",
            message: message.into(),
        }
    }

    fn event(write: &Write) -> (bool, Arc<Event>) {
        match write {
            Write::Create(Object::Event(event)) => (true, event.clone()),
            Write::Update(Object::Event(event), Part::Main) => (false, event.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_notes_are_counted_for_ten_minutes() {
        let mut book = EventBook::default();
        let mut record = |message, secs| event(&book.record("rs", note(message), Time::from_secs(secs)));
        let (created, first) = record("a", 0);
        assert!(created && first.metadata.name.starts_with("web.") && first.kind == "Warning");
        let (created, second) = record("a", 600);
        assert_eq!((created, second.count, second.last_timestamp), (false, 2, Some(Time::from_secs(600))));
        assert_eq!(second.metadata.name, first.metadata.name);
        assert!(record("b", 601).0);
        let (created, late) = record("a", 1201);
        assert!(created && late.count == 1 && late.metadata.name != first.metadata.name);
    }

    #[test]
    fn memory_is_bounded_and_lost_events_begin_anew() {
        let mut book = EventBook::default();
        let write = book.record("rs", note("a"), Time::from_secs(0));
        let again = book.record("rs", note("a"), Time::from_secs(1));
        assert!(!event(&again).0);
        book.settle(&[write], &[Err(ApiError::Unavailable("gone".into()))]);
        assert!(event(&book.record("rs", note("a"), Time::from_secs(2))).0);
        for n in 0..REMEMBERED + 10 {
            book.record("rs", note(&n.to_string()), Time::from_secs(3));
        }
        assert_eq!((book.known.len(), book.order.len()), (REMEMBERED, REMEMBERED));
    }
}
