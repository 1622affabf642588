//! What pods ask for. Pods made from one template ask for the same: they share one [`Demand`], found by the identity of the
//! parts that they share, so that what is worked out for one holds for all.

use super::lookup::{Lookup, Mixer};
use super::order::Room;
use super::terms::Terms;
use super::{SchedulingContext, Weight};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use steersman_domain::ledger::{self, Resources};
use steersman_domain::selector::Selector;
use steersman_domain::{Map, Pod, Shared, Str, Toleration};

/// How many demands are kept; beyond it all are forgotten and found again.
const MOST_DEMANDS: usize = 8192;

/// What a pod takes on its node, worked out once for all pods that are alike.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// What it requests.
    pub request: Resources,
    /// What it counts for in scores.
    pub weight: Weight,
    /// Host ports as the ledger writes them.
    pub host_ports: Vec<Str>,
    /// Its priority.
    pub priority: i32,
}

impl Load {
    /// What a pod takes.
    pub fn of(pod: &Pod) -> Self {
        let request = pod.requests();
        Load {
            weight: Weight::of(pod, &request),
            request,
            host_ports: ledger::host_port_keys(pod),
            priority: pod.priority(),
        }
    }
}

/// What a pod asks of nodes, worked out once for all nodes and all pods that are alike.
#[derive(Clone, Debug)]
pub struct Demand {
    /// One of the pods that are alike; their names and labels may differ.
    pub pod: Arc<Pod>,
    /// What it takes up on a node.
    pub load: Arc<Load>,
    /// The runtime handler.
    pub handler: Str,
    /// The pod's node selector and that of its runtime class.
    pub selector: Selector,
    /// The pod's tolerations and those of its runtime class.
    pub tolerations: Vec<Shared<Toleration>>,
    /// What it says about other pods.
    pub terms: Terms,
    /// The nodes that its affinity names; `None`: it names none.
    pub pinned: Option<Vec<Str>>,
    pub(super) need: Room,
    /// Whether it asks for more than the order of nodes knows of.
    pub(super) beyond: bool,
    /// Where its class was last found: a hint, which is checked.
    pub(super) class: Arc<AtomicUsize>,
}

impl Demand {
    /// Works out the demand of a pod.
    pub fn new(pod: &Arc<Pod>, context: &SchedulingContext) -> Self {
        let class = context.class(pod).and_then(|c| c.scheduling.as_ref());
        let mut selector = Selector::from_map(&pod.spec.node_selector);
        selector.0.extend(class.into_iter().flat_map(|s| Selector::from_map(&s.node_selector).0));
        let extra = class.into_iter().flat_map(|s| s.tolerations.iter().cloned().map(Shared::new));
        let load = Arc::new(Load::of(pod));
        Demand {
            need: need(&load.request),
            beyond: load.request.storage_bytes > 0 || !load.request.extended.is_empty(),
            load,
            handler: context.handler(pod).into(),
            selector,
            tolerations: pod.spec.tolerations.iter().cloned().chain(extra).collect(),
            terms: Terms::of(pod),
            pinned: pinned(pod),
            class: Arc::default(),
            pod: pod.clone(),
        }
    }

    /// The request.
    pub fn request(&self) -> &Resources {
        &self.load.request
    }
}

/// A need of nothing always fits.
fn need(request: &Resources) -> Room {
    let some = |amount: i64| if amount > 0 { amount } else { i64::MIN };
    let pods = i32::try_from(request.pods).unwrap_or(i32::MAX);
    Room { cpu: some(request.cpu_milli), memory: some(request.memory_bytes), pods }
}

/// The nodes that required node affinity names, if every term of it does: pods of a DaemonSet do.
fn pinned(pod: &Pod) -> Option<Vec<Str>> {
    let required = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    let mut names = Vec::new();
    for term in &required.node_selector_terms {
        let field = term.match_fields.iter().find(|r| r.key == "metadata.name" && r.operator == "In")?;
        names.extend(field.values.iter().cloned());
    }
    names.sort();
    names.dedup();
    (!names.is_empty()).then_some(names)
}

/// The parts of a pod that decide about its demand, by identity where pods share them.
fn fingerprint(pod: &Pod) -> u64 {
    let mut mixer = Mixer::default();
    let spec = &pod.spec;
    let mut at = |address: usize| mixer.write_usize(address);
    spec.containers.iter().chain(&spec.init_containers).for_each(|c| at(address(c)));
    spec.affinity.iter().for_each(|a| at(address(a)));
    spec.topology_spread_constraints.iter().for_each(|c| at(address(c)));
    spec.tolerations.iter().for_each(|t| at(address(t)));
    hash_map(&spec.node_selector, &mut mixer);
    mixer.write(spec.runtime_class_name.as_bytes());
    mixer.write(pod.metadata.namespace.as_bytes());
    mixer.write_u64(u64::from(pod.priority().unsigned_abs()));
    mixer.finish()
}

fn address<T>(part: &Shared<T>) -> usize {
    Shared::as_ptr(part) as usize
}

fn hash_map(map: &Map<Str>, mixer: &mut Mixer) {
    for (key, value) in map.iter() {
        key.hash(mixer);
        value.hash(mixer);
    }
}

/// Whether two pods ask for the same. Parts that are equal but not shared count as different: that costs time, never truth.
fn alike(a: &Pod, b: &Pod) -> bool {
    fn same<T>(a: &[Shared<T>], b: &[Shared<T>]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Shared::ptr_eq(a, b))
    }
    let (x, y) = (&a.spec, &b.spec);
    same(&x.containers, &y.containers)
        && same(&x.init_containers, &y.init_containers)
        && same(x.affinity.as_slice(), y.affinity.as_slice())
        && same(&x.topology_spread_constraints, &y.topology_spread_constraints)
        && same(&x.tolerations, &y.tolerations)
        && x.node_selector == y.node_selector
        && x.runtime_class_name == y.runtime_class_name
        && x.scheduler_name == y.scheduler_name
        && x.overhead == y.overhead
        && a.metadata.namespace == b.metadata.namespace
        && a.priority() == b.priority()
        && a.preempts() == b.preempts()
}

/// Demands by what pods have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    known: Lookup<u64, Vec<Arc<Demand>>>,
    count: usize,
}

impl Demands {
    /// The demand of a pod, shared with those that are alike.
    pub(super) fn of(&mut self, pod: &Arc<Pod>, context: &SchedulingContext) -> Arc<Demand> {
        let print = fingerprint(pod);
        // Labels of one template can differ from pod to pod (an index, say); where terms read them, the demand does too.
        let fits = |demand: &&Arc<Demand>| {
            alike(&demand.pod, pod) && (demand.terms.is_empty() || demand.pod.metadata.labels == pod.metadata.labels)
        };
        if let Some(found) = self.known.get(&print).and_then(|list| list.iter().find(fits)) {
            return found.clone();
        }
        if self.count >= MOST_DEMANDS {
            self.forget();
        }
        let demand = Arc::new(Demand::new(pod, context));
        self.count += 1;
        match self.known.get_mut(&print) {
            Some(list) => list.push(demand.clone()),
            None => {
                self.known.insert(print, vec![demand.clone()]);
            }
        }
        demand
    }

    /// Forgets all: what they were worked out from has changed.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.count = 0;
    }
}
