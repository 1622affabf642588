//! The scheduler's state and its pass, without waiting: changes go in, writes come out, answers go back in.

use super::queue::Queue;
use super::records::Records;
use crate::client::{ApiError, DeleteOptions, Part, Write};
use crate::scheduling::{Budget, Nodes, Scheduler, SchedulingContext};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::{Change, Clock, Decision, Entropy, Placement};
use steersman_domain::selector::Selector;
use steersman_domain::{
    Condition, Event, EventSource, Key, MicroTime, Object, ObjectMeta, ObjectReference, Pod, PodDisruptionBudget,
    Resource, Stored, Str, names,
};

/// Pods per pass: bounds a group in the store and the time until the next change is seen.
const BATCH: usize = 1000;

/// One pass: decisions, and the writes that carry them out.
#[derive(Debug)]
pub struct Pass {
    /// Each pod with its place, or why it has none.
    pub decisions: Vec<Decision>,
    /// Writes that are independent of each other, binds first.
    pub writes: Vec<Write>,
    /// The decisions, by their place, whose binds lead the writes.
    bound: Vec<usize>,
    /// For each gang that has its places: the decisions that are carried out together.
    pub gangs: Vec<Vec<usize>>,
    /// Pods that are to end: where their deletion stands among the writes, which, and for whom.
    victims: Vec<(usize, Key, Arc<Pod>)>,
}

impl Pass {
    /// The binds of some decisions.
    pub fn binds(&self, decisions: &[usize]) -> Vec<Write> {
        decisions.iter().filter_map(|at| self.decisions.get(*at)).filter_map(bind).collect()
    }
}

fn bind(decision: &Decision) -> Option<Write> {
    let Placement::Node(node) = &decision.placement else { return None };
    let pod = &decision.pod;
    Some(Write::Bind { pod: pod.key(), uid: pod.metadata.uid.clone(), node: node.clone() })
}

/// Which decisions are binds for themselves, and which are those of gangs.
fn sorted(decisions: &[Decision]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let (mut alone, mut gangs) = (Vec::new(), Vec::<Vec<usize>>::new());
    let mut last = None;
    for (at, decision) in decisions.iter().enumerate() {
        if !matches!(decision.placement, Placement::Node(_)) {
            continue;
        }
        match decision.pod.gang() {
            None => alone.push(at),
            Some(gang) => {
                let name = (gang.namespace, gang.name);
                match gangs.last_mut().filter(|_| last == Some(name)) {
                    Some(members) => members.push(at),
                    None => gangs.push(vec![at]),
                }
                last = Some(name);
            }
        }
    }
    (alone, gangs)
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

    /// Takes in a change of a node, a pod, a namespace or a runtime class.
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
            Object::Namespace(namespace) => self.nodes.put_namespace(namespace),
            Object::RuntimeClass(class) => {
                self.context.put_class(class.clone());
                true
            }
            Object::PodDisruptionBudget(budget) => {
                self.put_budget(budget);
                false
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
        if !waits {
            self.queue.remove(&pod.key());
            return self.nodes.put_pod(pod);
        }
        let gates = &pod.spec.scheduling_gates;
        if gates.is_empty() {
            self.queue.put(pod);
            self.nodes.put_nominated(pod, &self.context);
        } else {
            self.queue.remove(&pod.key());
            let names: Vec<&str> = gates.iter().map(|g| g.name.as_str()).collect();
            self.records.gated(
                &pod.key(),
                format!("its scheduling gates are closed: {}", names.join(", ")),
                self.clock.now(),
            );
        }
        false
    }

    fn put_budget(&mut self, budget: &PodDisruptionBudget) {
        match budget.spec.selector.as_ref().map(Selector::from_labels) {
            Some(Ok(selector)) => {
                let namespace = budget.metadata.namespace.clone();
                let allowed = budget.status.disruptions_allowed.0.into();
                self.nodes.put_budget(budget.key(), Budget { namespace, selector, allowed });
            }
            Some(Err(_)) | None => self.nodes.remove_budget(&budget.key()),
        }
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
            Object::Namespace(namespace) => self.nodes.remove_namespace(&namespace.metadata.name),
            Object::RuntimeClass(class) => self.context.remove_class(&class.metadata.name),
            Object::PodDisruptionBudget(budget) => {
                self.nodes.remove_budget(&budget.key());
                false
            }
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
        let (bound, gangs) = sorted(&decisions);
        let mut writes: Vec<Write> = bound.iter().filter_map(|at| bind(&decisions[*at])).collect();
        let mut victims = Vec::new();
        for decision in &decisions {
            match &decision.placement {
                Placement::Node(_) => {}
                Placement::Unschedulable(why) => {
                    self.queue.unschedulable(&decision.pod.key());
                    writes.extend(self.unschedulable(&decision.pod, why, ""));
                }
                Placement::Preempt(preemption) => {
                    self.queue.unschedulable(&decision.pod.key());
                    let why = format!("{} It {}.", preemption.unschedulable, preemption.why);
                    writes.extend(self.unschedulable(&decision.pod, &why, &preemption.node));
                    victims.extend(preemption.victims.iter().map(|victim| (victim.clone(), decision.pod.clone())));
                }
            }
            let waits_for = match &decision.placement {
                Placement::Node(_) => None,
                Placement::Unschedulable(_) => self.queue.waits_for(&decision.pod.key()),
                Placement::Preempt(_) => Some("the pods that it preempts to end"),
            };
            self.records.decided(decision, waits_for, self.clock.now());
        }
        let victims: Vec<(usize, Key, Arc<Pod>)> = victims
            .into_iter()
            .filter_map(|(victim, by)| self.evict(&victim, &by, &mut writes).map(|at| (at, victim, by)))
            .collect();
        Pass { decisions, writes, bound, gangs, victims }
    }

    /// The writes that end a pod so that another has its place: why it ends, then its deletion. Answers where the deletion
    /// stands.
    fn evict(&self, victim: &Key, by: &Pod, writes: &mut Vec<Write>) -> Option<usize> {
        let pod = self.nodes.bound(victim)?;
        let mut told = Pod::clone(pod);
        let message = format!(
            "default-scheduler: preempting to accommodate a higher priority pod ({}/{})",
            by.metadata.namespace, by.metadata.name
        );
        let now = self.clock.now().truncated();
        let condition = Condition::new("DisruptionTarget", true, "PreemptionByScheduler", &message, now);
        if set_condition(&mut told.status.conditions, condition) {
            // What is told may fail where the pod has moved on; that it ends may not.
            told.metadata.resource_version = pod.metadata.resource_version;
            writes.push(Write::Update(Object::Pod(Arc::new(told)), Part::Status));
        }
        let options = DeleteOptions { uid: Some(pod.metadata.uid.clone()), ..DeleteOptions::default() };
        writes.push(Write::Delete(victim.clone(), options));
        let deletion = writes.len() - 1;
        let preempted =
            format!("Preempted by pod {}/{} on node {}", by.metadata.namespace, by.metadata.name, pod.spec.node_name);
        writes.push(self.event(pod, "Normal", "Preempted", preempted));
        Some(deletion)
    }

    /// Takes in the answers to the binds of decisions; answers the events to record.
    pub fn settle_binds(
        &mut self,
        pass: &Pass,
        decisions: &[usize],
        answers: &[Result<Arc<Stored>, ApiError>],
    ) -> Vec<Write> {
        let mut events = Vec::new();
        for (decision, answer) in decisions.iter().filter_map(|at| pass.decisions.get(*at)).zip(answers) {
            let Placement::Node(node) = &decision.placement else { continue };
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

    /// Takes in the answers to the writes of a pass; answers the events to record.
    pub fn settle(&mut self, pass: &Pass, answers: &[Result<Arc<Stored>, ApiError>]) -> Vec<Write> {
        let events = self.settle_binds(pass, &pass.bound, answers);
        for (at, victim, by) in &pass.victims {
            match answers.get(*at) {
                Some(Ok(stored)) => self.put_deleted(stored),
                // It is gone already: the watch says so.
                Some(Err(ApiError::NotFound(_))) | None => {}
                Some(Err(error)) => {
                    self.nodes.set_going(victim, false);
                    self.queue.failed(&by.key(), self.clock.monotonic());
                    self.records.failed(&by.key(), format!("ending {victim} failed: {error}"), self.clock.now());
                }
            }
        }
        events
    }

    /// The answer to a deletion: the pod as it ends, or as it was last.
    fn put_deleted(&mut self, stored: &Stored) {
        // A pod without grace is gone at once; its answer still bears its node, so only one that ends is taken in.
        if stored.object.meta().is_deleting() && stored.object.meta().deletion_grace_period_seconds != Some(0) {
            self.put(stored);
        }
    }

    /// The condition and the event that say why a pod waits, and the node that is kept for it; nothing when they say so
    /// already.
    fn unschedulable(&self, pod: &Arc<Pod>, why: &str, nominated: &str) -> Vec<Write> {
        let mut changed = Pod::clone(pod);
        let condition = Condition::new("PodScheduled", false, "Unschedulable", why, self.clock.now().truncated());
        let told = set_condition(&mut changed.status.conditions, condition);
        if !told && changed.status.nominated_node_name == nominated {
            return Vec::new();
        }
        changed.status.nominated_node_name = nominated.into();
        let event = told.then(|| self.event(pod, "Warning", "FailedScheduling", why.to_owned()));
        [Write::Update(Object::Pod(Arc::new(changed)), Part::Status)].into_iter().chain(event).collect()
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
