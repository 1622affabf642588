//! What a cluster went through, revision by revision, and the rules that hold at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use steersman::simulation::{Entry, Trace};
use steersman_application::driver::world::World;
use steersman_domain::ledger::{Resources, counts};
use steersman_domain::ports::Change;
use steersman_domain::{Deployment, Event, Kind, Node, NodeLedger, Pod, ReplicaSet, Resource, Revision, Stored, Str};

/// All objects at one revision.
#[derive(Clone, Default)]
pub(crate) struct State(World);

impl State {
    pub(crate) fn of(world: World) -> Self {
        State(world)
    }

    /// All objects of a kind.
    pub(crate) fn all<T: Resource>(&self) -> impl Iterator<Item = &T> {
        self.0.all::<T>().map(|object| &**object)
    }

    /// An object in the namespace `default`, or in none.
    pub(crate) fn get<T: Resource>(&self, name: &str) -> Option<&T> {
        let namespace = if T::KIND.info().namespaced { "default" } else { "" };
        self.0.get::<T>(namespace, name).map(|object| &**object)
    }

    /// How many objects of a kind there are in a namespace.
    pub(crate) fn count_in(&self, kind: Kind, namespace: &str) -> usize {
        self.0.objects_in(kind, namespace).count()
    }

    /// The pods with the label `app`, ended and ending ones too.
    pub(crate) fn pods(&self, app: &str) -> Vec<&Pod> {
        let labelled = |p: &&Pod| p.metadata.labels.get("app").is_some_and(|a| a == app);
        self.all::<Pod>().filter(labelled).collect()
    }

    /// The pods that are neither ended nor ending.
    pub(crate) fn active(&self, app: &str) -> Vec<&Pod> {
        self.pods(app).into_iter().filter(|p| p.is_active()).collect()
    }

    /// The pods that serve: active and ready.
    pub(crate) fn available(&self, app: &str) -> usize {
        self.active(app).iter().filter(|p| p.is_ready()).count()
    }

    /// Whether exactly `replicas` pods of this version exist, all ready, and the Deployment says so.
    pub(crate) fn rolled_out(&self, app: &str, version: &str, replicas: i32) -> bool {
        let pods = self.pods(app);
        let right = |p: &&Pod| p.is_active() && p.is_ready() && image(p) == version;
        let told = self.get::<Deployment>(app).is_some_and(|d| {
            let s = &d.status;
            s.observed_generation == d.metadata.generation
                && (s.replicas, s.updated_replicas, s.available_replicas) == (replicas, replicas, replicas)
        });
        told && i32::try_from(pods.len()) == Ok(replicas) && pods.iter().all(right)
    }
}

/// The image of the first container, which the scenarios use as version.
pub(crate) fn image(pod: &Pod) -> &str {
    pod.spec.containers.first().map_or("", |c| c.image.as_str())
}

impl fmt::Display for State {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for n in self.all::<Node>() {
            let taints: Vec<&str> = n.spec.taints.iter().map(|t| t.key.as_str()).collect();
            writeln!(to, "node {} ready={} taints={taints:?}", n.metadata.name, n.is_ready())?;
        }
        for d in self.all::<Deployment>() {
            writeln!(to, "deployment {} wants {} {:?}", d.metadata.name, d.replicas(), d.status)?;
        }
        for r in self.all::<ReplicaSet>() {
            writeln!(to, "replicaset {} wants {} {:?}", r.metadata.name, r.replicas(), r.status)?;
        }
        // Forty tell what is the matter; a thousand would hide it.
        for p in self.all::<Pod>().take(40) {
            let (name, spec, status) = (&p.metadata.name, &p.spec, &p.status);
            let ending = if p.metadata.is_deleting() { " ending" } else { "" };
            writeln!(
                to,
                "pod {name} {} on {:?} {:?} ready={}{ending} {:?}",
                image(p),
                spec.node_name,
                status.phase,
                p.is_ready(),
                status.conditions.iter().filter(|c| !c.is_true()).map(|c| &c.message).collect::<Vec<_>>()
            )?;
        }
        for e in self.all::<Event>().filter(|e| e.kind == "Warning").take(20) {
            writeln!(to, "event {} {}: {}", e.involved_object.name, e.reason, e.message)?;
        }
        Ok(())
    }
}

/// All changes that a store saw, in order.
pub(crate) struct History {
    pub(crate) trace: Trace,
}

/// A revision: the change that made it, when, and everything as it was then.
pub(crate) struct Step<'a> {
    pub(crate) change: &'a Change,
    pub(crate) state: &'a State,
    /// Whether a transaction ended here.
    pub(crate) whole: bool,
}

impl History {
    pub(crate) fn of(trace: Trace) -> History {
        for (at, entry) in trace.entries().iter().enumerate() {
            assert_eq!(entry.change.revision().0, at as u64 + 1, "the trace has a gap");
        }
        History { trace }
    }

    /// Looks at every revision in order.
    pub(crate) fn each(&self, mut look: impl FnMut(Step<'_>)) {
        let mut state = State::default();
        for Entry { change, ends_transaction, .. } in self.trace.entries() {
            state.0.apply(change);
            look(Step { change, state: &state, whole: *ends_transaction });
        }
    }

    /// Holds every revision from the first that satisfies `from` to the bounds of a Deployment: at least `least` pods serve, and
    /// at most `most` are active. Returns how many revisions were looked at.
    pub(crate) fn keeps_bounds(&self, app: &str, from: impl Fn(&State) -> bool, least: usize, most: usize) -> usize {
        let (mut begun, mut looked) = (false, 0);
        self.each(|step| {
            begun |= from(step.state);
            if !begun || !step.whole {
                return;
            }
            looked += 1;
            let (serve, active) = (step.state.available(app), step.state.active(app).len());
            let at = step.change.revision();
            assert!(serve >= least, "revision {at}: {serve} of {least} serve\n{}", step.state);
            assert!(active <= most, "revision {at}: {active} pods, {most} are allowed\n{}", step.state);
        });
        looked
    }
}

/// What a change did to a typed object: before and after.
fn sides<T: Resource>(change: &Change) -> Option<(Option<&T>, Option<&T>)> {
    let typed = |s: &'_ Arc<Stored>| s.typed::<T>().is_some();
    match change {
        Change::Put { before, after } if typed(after) => {
            let before = before.as_ref().and_then(|s| s.typed::<T>());
            Some((before.map(|o| &**o), after.typed::<T>().map(|o| &**o)))
        }
        Change::Delete { before, .. } if typed(before) => Some((before.typed::<T>().map(|o| &**o), None)),
        Change::Put { .. } | Change::Delete { .. } => None,
    }
}

/// The rules of every history: the ledger of a node is the sum of the pods bound to it and never grows beyond what the node
/// has; a pod is bound once and its phase moves only as it may; restarts are never uncounted.
pub(crate) fn keeps_the_rules(history: &History) {
    let mut bound: BTreeMap<Str, Resources> = BTreeMap::new();
    let mut touched: BTreeSet<Str> = BTreeSet::new();
    history.each(|step| {
        let at = step.change.revision();
        if let Some((before, after)) = sides::<Pod>(step.change) {
            if let Some(pod) = before.filter(|p| counts(p)) {
                bound.entry(pod.spec.node_name.clone()).or_default().subtract(&pod.requests());
                touched.insert(pod.spec.node_name.clone());
            }
            if let Some(pod) = after.filter(|p| counts(p)) {
                bound.entry(pod.spec.node_name.clone()).or_default().add(&pod.requests());
                touched.insert(pod.spec.node_name.clone());
            }
            if let (Some(before), Some(after)) = (before, after) {
                a_pod_moves_as_it_may(before, after, at);
            }
        }
        if let Some((before, Some(after))) = sides::<NodeLedger>(step.change) {
            touched.insert(after.metadata.name.clone());
            grows_only_into_room(before, after, &step);
        }
        if step.whole {
            for node in std::mem::take(&mut touched) {
                let sum = bound.get(&node).cloned().unwrap_or_default();
                let ledger = step.state.get::<NodeLedger>(&node).map(|l| l.allocated.clone()).unwrap_or_default();
                assert_eq!(
                    amounts(&ledger),
                    amounts(&sum),
                    "revision {at}: the ledger of {node} is not the sum of its pods"
                );
            }
        }
    });
}

fn amounts(of: &Resources) -> [i64; 4] {
    [of.cpu_milli, of.memory_bytes, of.storage_bytes, of.pods]
}

fn grows_only_into_room(before: Option<&NodeLedger>, after: &NodeLedger, step: &Step<'_>) {
    let Some(node) = step.state.get::<Node>(&after.metadata.name) else { return };
    let old = before.map(|l| amounts(&l.allocated)).unwrap_or_default();
    let room = amounts(&Resources::of_list(&node.status.allocatable));
    for (at, new) in amounts(&after.allocated).into_iter().enumerate() {
        let node = &after.metadata.name;
        assert!(
            new <= old[at] || new <= room[at],
            "revision {}: {node} is oversubscribed: {new} of {}",
            step.change.revision(),
            room[at]
        );
    }
}

fn a_pod_moves_as_it_may(before: &Pod, after: &Pod, at: Revision) {
    let name = &after.metadata.name;
    assert_eq!(before.metadata.uid, after.metadata.uid, "revision {at}: {name} became another pod");
    let (from, to) = (&before.spec.node_name, &after.spec.node_name);
    assert!(from.is_empty() || from == to, "revision {at}: {name} moved from {from} to {to}");
    if before.status.phase != after.status.phase {
        assert!(
            before.status.phase.on(after.status.phase).is_ok(),
            "revision {at}: {name} {:?} to {:?}",
            before.status.phase,
            after.status.phase
        );
    }
    for container in &before.status.container_statuses {
        let now = after.status.container_statuses.iter().find(|c| c.name == container.name);
        assert!(
            now.is_none_or(|now| now.restart_count >= container.restart_count),
            "revision {at}: restarts of {name} were uncounted"
        );
    }
}
