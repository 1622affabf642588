//! Events about pods, as Kubernetes' node agent words them. Equal events of a pod become one object with a count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use steersman_domain::{Event, EventSource, Kind, Object, ObjectMeta, ObjectReference, Pod, Str, Time, Uid};

/// How many different events are remembered for counting; the oldest is forgotten and would begin a new object.
const REMEMBERED: usize = 1024;

/// Something worth telling about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The container it is about; empty: the pod.
    pub(super) container: Str,
}

impl Told {
    pub(super) fn normal(reason: &'static str, container: &str, message: impl Into<String>) -> Self {
        Told { warning: false, reason, message: message.into(), container: container.into() }
    }

    pub(super) fn warning(reason: &'static str, container: &str, message: impl Into<String>) -> Self {
        Told { warning: true, reason, message: message.into(), container: container.into() }
    }
}

type EventId = (Uid, &'static str, String, Str);

/// Counts equal events.
#[derive(Debug, Default)]
pub(super) struct EventBook {
    known: BTreeMap<EventId, Arc<Event>>,
    order: VecDeque<EventId>,
}

/// An event to write: a new object, or a higher count of one that should exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum EventWrite {
    New(Arc<Event>),
    Again(Arc<Event>),
}

impl EventWrite {
    pub(super) fn object(&self) -> Object {
        match self {
            EventWrite::New(event) | EventWrite::Again(event) => Object::Event(Arc::clone(event)),
        }
    }
}

impl EventBook {
    /// Notes one event; `random` completes the name of a new object.
    pub(super) fn tell(&mut self, node: &str, pod: &Pod, told: Told, (now, random): (Time, u64)) -> EventWrite {
        let id: EventId = (pod.metadata.uid.clone(), told.reason, told.message.clone(), told.container.clone());
        if let Some(known) = self.known.get_mut(&id) {
            let event = Arc::make_mut(known);
            event.count = event.count.saturating_add(1);
            event.last_timestamp = Some(now);
            return EventWrite::Again(Arc::clone(known));
        }
        let event = Arc::new(new_event(node, pod, told, (now, random)));
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(id.clone());
        self.known.insert(id, Arc::clone(&event));
        EventWrite::New(event)
    }
}

fn new_event(node: &str, pod: &Pod, told: Told, (now, random): (Time, u64)) -> Event {
    let init = pod.spec.init_containers.iter().any(|c| c.name == told.container);
    let list = if init { "initContainers" } else { "containers" };
    let field_path =
        if told.container.is_empty() { Str::default() } else { format!("spec.{list}{{{}}}", told.container).into() };
    Event {
        metadata: ObjectMeta {
            name: format!("{}.{random:016x}", pod.metadata.name).into(),
            namespace: pod.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            kind: Kind::Pod.info().kind.into(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            api_version: Kind::Pod.info().api_version.into(),
            resource_version: pod.metadata.resource_version.to_string().into(),
            field_path,
            ..ObjectReference::default()
        },
        reason: told.reason.into(),
        message: told.message.into(),
        source: EventSource { component: COMPONENT.into(), host: node.into(), ..EventSource::default() },
        first_timestamp: Some(now),
        last_timestamp: Some(now),
        count: 1,
        kind: if told.warning { "Warning" } else { "Normal" }.into(),
        reporting_component: COMPONENT.into(),
        reporting_instance: node.into(),
        ..Event::default()
    }
}

/// Who tells: the name that tools know the node agent by.
const COMPONENT: &str = "kubelet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_are_counted() {
        let mut book = EventBook::default();
        let mut pod = Pod::default();
        pod.metadata.name = "p".into();
        let told = || Told::warning("BackOff", "c", "back-off");
        let at = Time::from_secs;
        let EventWrite::New(first) = book.tell("n", &pod, told(), (at(1), 7)) else { panic!("new") };
        assert_eq!((first.metadata.name.as_str(), first.count), ("p.0000000000000007", 1));
        assert_eq!(first.involved_object.field_path, "spec.containers{c}");
        let EventWrite::Again(second) = book.tell("n", &pod, told(), (at(5), 8)) else { panic!("again") };
        assert_eq!((second.metadata.name.as_str(), second.count), ("p.0000000000000007", 2));
        assert_eq!((second.first_timestamp, second.last_timestamp), (Some(at(1)), Some(at(5))));
        for n in 0..REMEMBERED {
            book.tell("n", &pod, Told::normal("X", "", n.to_string()), (at(6), 9));
        }
        assert_eq!(book.known.len(), REMEMBERED);
        assert!(matches!(book.tell("n", &pod, told(), (at(7), 10)), EventWrite::New(_)));
    }
}
