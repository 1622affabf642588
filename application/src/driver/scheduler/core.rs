//! The scheduler's state and its pass, without waiting: changes go in, writes come out, answers go back in.

use super::queue::Queue;
use super::records::Records;
use crate::client::{ApiError, Part, Write};
use crate::scheduling::{Nodes, Scheduler, SchedulingContext};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::{Change, Clock, Decision, Entropy, Placement};
use steersman_domain::{
    Condition, Event, EventSource, Key, MicroTime, Object, ObjectMeta, ObjectReference, Pod, Resource, Stored, Str,
    names,
};

/// Pods per pass: bounds a group in the store and the time until the next change is seen.
const BATCH: usize = 1000;

/// One pass: decisions, and the writes that carry them out (binds first, in the order of the decisions).
#[derive(Debug)]
pub struct Pass {
    pub decisions: Vec<Decision>,
    pub writes: Vec<Write>,
}

/// The scheduler without its loop.
pub struct SchedulerCore {
    scheduler: Arc<dyn Scheduler>,
    context: SchedulingContext,
    nodes: Nodes,
    queue: Queue,
    records: Records,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for SchedulerCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerCore").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl SchedulerCore {
    /// A scheduler that knows nothing yet.
    pub fn new(
        scheduler: Arc<dyn Scheduler>,
        context: SchedulingContext,
        records: Records,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        SchedulerCore { scheduler, context, nodes: Nodes::default(), queue: Queue::default(), records, clock, entropy }
    }

    /// Forgets everything but the records: before a new list.
    pub fn reset(&mut self) {
        self.nodes = Nodes::default();
        self.queue = Queue::default();
        self.context.clear_classes();
    }

    /// Takes in a change of a node, a pod or a runtime class.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { after, .. } => self.put(after),
            Change::Delete { last, .. } => self.removed(last),
        }
    }

    /// Takes in an object as it is now.
    pub fn put(&mut self, stored: &Stored) {
        let wake = match &stored.object {
            Object::Node(node) => self.nodes.put_node(node.clone()),
            Object::Pod(pod) => self.put_pod(pod),
            Object::RuntimeClass(class) => {
                self.context.put_class(class.clone());
                true
            }
            _ => false,
        };
        if wake {
            self.queue.wake();
        }
    }

    fn put_pod(&mut self, pod: &Arc<Pod>) -> bool {
        // The answer to a bind can be newer than what the watch still brings.
        if self.nodes.bound_revision(&pod.key()).is_some_and(|known| known > pod.metadata.resource_version) {
            return false;
        }
        let waits = pod.spec.node_name.is_empty() && pod.is_active() && self.context.profile(pod).is_some();
        if waits {
            self.queue.put(pod);
        } else {
            self.queue.remove(&pod.key());
        }
        self.nodes.put_pod(pod)
    }

    fn removed(&mut self, stored: &Stored) {
        let wake = match &stored.object {
            Object::Node(node) => {
                self.nodes.remove_node(&node.metadata.name);
                false
            }
            Object::Pod(pod) => {
                self.queue.remove(&pod.key());
                self.nodes.remove_pod(&pod.key())
            }
            Object::RuntimeClass(class) => self.context.remove_class(&class.metadata.name),
            _ => false,
        };
        if wake {
            self.queue.wake();
        }
    }

    /// How long until a back-off is over; `None`: nothing backs off; zero: there is work now.
    pub fn wait(&self) -> Option<Duration> {
        if !self.queue.is_idle() {
            return Some(Duration::ZERO);
        }
        self.queue.next_tick().map(|at| at.saturating_sub(self.clock.monotonic()))
    }

    /// Decides on the pods that are ready. The placements are entered at once; `settle` takes back those that fail.
    pub fn pass(&mut self) -> Pass {
        self.queue.tick(self.clock.monotonic());
        let pods = self.queue.take(BATCH);
        let decisions = self.scheduler.schedule(&mut self.nodes, &pods, &self.context);
        let binds = decisions.iter().filter_map(|d| match &d.placement {
            Placement::Node(node) => {
                Some(Write::Bind { pod: d.pod.key(), uid: d.pod.metadata.uid.clone(), node: node.clone() })
            }
            Placement::Unschedulable(_) | Placement::Preempt(_) => None,
        });
        let mut writes: Vec<Write> = binds.collect();
        for decision in &decisions {
            if let Placement::Unschedulable(why) = &decision.placement {
                self.queue.unschedulable(&decision.pod.key());
                writes.extend(self.unschedulable(&decision.pod, why));
            }
            let waits_for = self.queue.waits_for(&decision.pod.key()).filter(|_| !is_placed(decision));
            self.records.decided(decision, waits_for, self.clock.now());
        }
        Pass { decisions, writes }
    }

    /// Takes in the answers to a pass; answers the events to record.
    pub fn settle(&mut self, pass: &Pass, answers: &[Result<Arc<Stored>, ApiError>]) -> Vec<Write> {
        let mut events = Vec::new();
        let placed = pass.decisions.iter().filter_map(|d| match &d.placement {
            Placement::Node(node) => Some((d, node)),
            Placement::Unschedulable(_) | Placement::Preempt(_) => None,
        });
        for ((decision, node), answer) in placed.zip(answers) {
            let key = decision.pod.key();
            match answer {
                Ok(stored) => {
                    self.put(stored);
                    let pod = &decision.pod.metadata;
                    let message = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
                    events.push(self.event(&decision.pod, "Normal", "Scheduled", message));
                }
                Err(ApiError::NotFound(_)) => {
                    self.queue.remove(&key);
                    self.nodes.remove_pod(&key);
                }
                Err(error) => {
                    self.nodes.remove_pod(&key);
                    self.queue.failed(&key, self.clock.monotonic());
                    self.records.failed(&key, format!("binding to {node} failed: {error}"), self.clock.now());
                }
            }
        }
        events
    }

    /// The condition and the event that say why a pod waits; nothing when they say so already.
    fn unschedulable(&self, pod: &Arc<Pod>, why: &str) -> Vec<Write> {
        let mut changed = Pod::clone(pod);
        let condition = Condition::new("PodScheduled", false, "Unschedulable", why, self.clock.now().truncated());
        if !set_condition(&mut changed.status.conditions, condition) {
            return Vec::new();
        }
        let event = self.event(pod, "Warning", "FailedScheduling", why.to_owned());
        vec![Write::Update(Object::Pod(Arc::new(changed)), Part::Status), event]
    }

    fn event(&self, pod: &Pod, kind: &str, reason: &str, message: String) -> Write {
        let now = self.clock.now();
        let suffix = format!(".{:016x}", self.entropy.random());
        let meta = &pod.metadata;
        let event = Event {
            metadata: ObjectMeta {
                name: names::generated(&meta.name, &suffix).into(),
                namespace: meta.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                kind: "Pod".into(),
                api_version: "v1".into(),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.to_string().into(),
                ..ObjectReference::default()
            },
            reason: reason.into(),
            message: message.into(),
            source: EventSource { component: COMPONENT, ..EventSource::default() },
            first_timestamp: Some(now.truncated()),
            last_timestamp: Some(now.truncated()),
            event_time: Some(MicroTime(now)),
            count: 1,
            kind: kind.into(),
            action: "Binding".into(),
            reporting_component: COMPONENT,
            reporting_instance: COMPONENT,
            ..Event::default()
        };
        Write::Create(Object::Event(Arc::new(event)))
    }

    /// The pods whose keys are remembered.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Whether a pod waits here, and for what.
    pub fn waits_for(&self, pod: &Key) -> Option<&'static str> {
        self.queue.waits_for(pod)
    }
}

/// Who reports the events.
const COMPONENT: Str = Str::new_static("default-scheduler");

fn is_placed(decision: &Decision) -> bool {
    matches!(decision.placement, Placement::Node(_))
}
