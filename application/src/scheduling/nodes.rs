//! Nodes with what is taken on them: the snapshot that scheduling decides on, kept up to date change by change, and beside it
//! everything that makes a decision quick: what pods ask for, which nodes suit which class of pods, who is where.

use super::bound::{Bound, Standing, hash_of, hash_of_key, is};
use super::class::Classes;
use super::demand::{Demands, Load};
use super::failures::Failures;
use super::lookup::Numbers;
use super::node_info::NodeInfo;
use super::ranking::Rankings;
use super::terms::Terms;
use super::topology::Topology;
use super::{Budget, Demand, SchedulingContext};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::ledger::{self, Resources};
use steersman_domain::{Gang, Key, Namespace, Node, Pod, Resource, Revision, Str};

/// All nodes by name, and the pods that take room on them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    pub(super) infos: Vec<NodeInfo>,
    names: BTreeMap<Str, u32>,
    /// Indexes of nodes that are gone.
    gone: Vec<u32>,
    /// What each bound pod was entered as, so that it leaves as it came.
    slots: Numbers,
    bound: Vec<Option<Bound>>,
    vacant: Vec<u32>,
    pub(super) demands: Demands,
    pub(super) classes: Classes,
    pub(super) rankings: Rankings,
    pub(super) topology: Topology,
    pub(super) failures: Failures,
    /// Pods that take room, by priority.
    priorities: BTreeMap<i32, usize>,
    pub(super) budgets: BTreeMap<Key, Budget>,
    /// Pods of each gang that have their place, by namespace and name.
    gangs: BTreeMap<(Str, Str), usize>,
    /// How many places are only kept.
    reserved: usize,
    /// Pods that lost a place that was kept for them, as they were entered.
    pub(super) displaced: Vec<Bound>,
    /// How many node objects there are.
    known: usize,
    /// The version of the context that demands and classes were worked out from.
    context: u64,
    /// Counts changes after which a pod that fitted nowhere might fit.
    pub(super) improved: u64,
    /// Counts all changes.
    pub(super) changed: u64,
}

static NO_TERMS: Terms = Terms {
    required: Vec::new(),
    preferred: Vec::new(),
    anti_required: Vec::new(),
    anti_preferred: Vec::new(),
    spread: Vec::new(),
};

impl Nodes {
    /// Known nodes in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&Node, &NodeInfo)> {
        let infos = self.names.values().map(|at| &self.infos[*at as usize]);
        infos.filter_map(|info| info.node.as_deref().map(|node| (node, info)))
    }

    /// A node by name.
    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.names.get(name).map(|at| &self.infos[*at as usize]).filter(|info| info.node.is_some())
    }

    /// The number of known nodes.
    pub fn len(&self) -> usize {
        self.known
    }

    /// As `len`, in no time.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// The number of pods that take room.
    pub fn pods(&self) -> usize {
        self.slots.len()
    }

    /// The slot of a pod.
    fn slot(&self, key: &Key) -> Option<u32> {
        self.slots.get(hash_of_key(key), |slot| is(&self.bound, slot, &key.namespace, &key.name))
    }

    pub(super) fn bound_on<'a>(&'a self, node: &'a NodeInfo) -> impl Iterator<Item = &'a Bound> + 'a {
        node.pods.iter().filter_map(|slot| self.bound[*slot as usize].as_ref())
    }

    /// The pods that take room on a node, in name order.
    pub fn pods_on(&self, node: &NodeInfo) -> Vec<&Arc<Pod>> {
        let mut pods: Vec<&Arc<Pod>> =
            node.pods.iter().filter_map(|slot| self.bound[*slot as usize].as_ref()).map(|b| &b.pod).collect();
        pods.sort_by(|a, b| (&a.metadata.namespace, &a.metadata.name).cmp(&(&b.metadata.namespace, &b.metadata.name)));
        pods
    }

    fn entry(&mut self, name: &Str) -> u32 {
        if let Some(at) = self.names.get(name) {
            return *at;
        }
        let order = self.order_of(name);
        let index = self.gone.pop().unwrap_or_else(|| u32::try_from(self.infos.len()).unwrap_or(u32::MAX));
        let info = NodeInfo::new(name.clone(), order, index);
        match self.infos.get_mut(index as usize) {
            Some(slot) => *slot = info,
            None => self.infos.push(info),
        }
        self.names.insert(name.clone(), index);
        index
    }

    /// A number between those of the names before and after; where there is no room left, all are numbered anew.
    fn order_of(&mut self, name: &Str) -> u64 {
        const STEP: u64 = 1 << 32;
        let order = |at: Option<(&Str, &u32)>| at.map(|(_, at)| self.infos[*at as usize].order);
        let before = order(self.names.range::<Str, _>(..name).next_back());
        let after = order(self.names.range::<Str, _>(name..).next());
        match (before, after) {
            (None, None) => STEP,
            (Some(before), None) if before < u64::MAX - STEP => before + STEP,
            (before, Some(after)) if after - before.unwrap_or(0) > 1 => before.unwrap_or(0).midpoint(after),
            _ => {
                for (at, n) in self.names.values().zip(1..) {
                    self.infos[*at as usize].order = n * STEP;
                }
                self.rankings.forget();
                self.order_of(name)
            }
        }
    }

    /// A node was added or has changed. Answers whether a pod that fitted nowhere might fit now.
    pub fn put_node(&mut self, node: Arc<Node>) -> bool {
        let at = self.entry(&node.metadata.name);
        let info = &mut self.infos[at as usize];
        let old = info.node.replace(node.clone());
        self.known += usize::from(old.is_none());
        info.allocatable = Resources::of_list(&node.status.allocatable);
        let better = old.is_none_or(|old| {
            old.spec != node.spec
                || old.metadata.labels != node.metadata.labels
                || old.status.allocatable != node.status.allocatable
                || old.status.runtime_handlers != node.status.runtime_handlers
                || old.status.images != node.status.images
        });
        if better {
            self.topology.put_node(at, Some(&node.metadata.labels));
            self.classes.node_changed(at);
            self.rankings.changed(at);
            self.changed += 1;
            self.improved += 1;
        }
        better
    }

    /// A node is gone; the room its pods take stays known until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.names.get(name).copied() else { return };
        self.known -= usize::from(self.infos[at as usize].node.take().is_some());
        self.topology.put_node(at, None);
        self.classes.node_changed(at);
        self.rankings.changed(at);
        self.changed += 1;
        self.tidy(at);
    }

    /// Forgets a node that is gone and has no pods.
    fn tidy(&mut self, at: u32) {
        let info = &self.infos[at as usize];
        if info.is_empty() && self.names.remove(&info.name).is_some() {
            self.classes.node_changed(at);
            self.rankings.changed(at);
            self.gone.push(at);
        }
    }

    /// The labels of a namespace matter to rules about pods of other namespaces. Answers whether a pod that fitted nowhere
    /// might fit now.
    pub fn put_namespace(&mut self, namespace: &Namespace) -> bool {
        self.namespace(&namespace.metadata.name, Some(namespace.metadata.labels.clone()))
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &Str) -> bool {
        self.namespace(name, None)
    }

    fn namespace(&mut self, name: &Str, labels: Option<steersman_domain::Map<Str>>) -> bool {
        let matters = self.topology.put_namespace(name, labels);
        if matters {
            self.topology.forget_queries();
            self.changed += 1;
            self.improved += 1;
        }
        matters
    }

    /// Takes note of the profiles, runtime classes and defaults that demands are worked out from.
    pub(super) fn heed(&mut self, context: &SchedulingContext) {
        if self.context != context.version() {
            self.context = context.version();
            self.demands.forget();
            self.classes.forget();
            self.failures.forget();
            self.improved += 1;
        }
    }

    /// A pod was added or has changed. Answers whether it gave room free.
    pub fn put_pod(&mut self, pod: &Arc<Pod>) -> bool {
        if !ledger::counts(pod) {
            return self.remove_pod(&pod.key());
        }
        // What a pod takes never changes, so most changes move nothing.
        if let Some(slot) = self.slot(&pod.key())
            && let Some(bound) = &mut self.bound[slot as usize]
            && bound.pod.metadata.uid == pod.metadata.uid
            && self.infos[bound.node as usize].name == pod.spec.node_name
            && bound.pod.metadata.labels == pod.metadata.labels
            && bound.pod.metadata.is_deleting() == pod.metadata.is_deleting()
        {
            bound.pod = pod.clone();
            if bound.standing == Standing::Reserved {
                self.set_standing(&pod.key(), Standing::There);
            }
            return false;
        }
        let freed = self.remove_pod(&pod.key());
        let node = pod.spec.node_name.clone();
        let terms = !Terms::of(pod).is_empty();
        let demand = terms.then(|| Arc::new(Demand::new(pod, &SchedulingContext::default())));
        let load = demand.as_ref().map_or_else(|| Arc::new(Load::of(pod)), |d| d.load.clone());
        self.enter(pod.clone(), load, demand, &node);
        freed
    }

    pub(super) fn enter(&mut self, pod: Arc<Pod>, load: Arc<Load>, terms: Option<Arc<Demand>>, node: &Str) {
        let at = self.entry(node);
        self.place(pod, load, terms, at);
    }

    /// Enters a pod on a node that is known by its index.
    pub(super) fn place(&mut self, pod: Arc<Pod>, load: Arc<Load>, terms: Option<Arc<Demand>>, at: u32) {
        let hash = hash_of(&pod);
        let same = |slot| is(&self.bound, slot, &pod.metadata.namespace, &pod.metadata.name);
        if self.slots.get(hash, same).is_some() {
            self.take_pod(&pod.key());
        }
        self.count_gang(&pod, true);
        let slot = self.vacant.pop().unwrap_or_else(|| u32::try_from(self.bound.len()).unwrap_or(u32::MAX));
        let info = &mut self.infos[at as usize];
        info.enter(&load);
        if !self.topology.is_idle() || terms.is_some() {
            self.topology.enter(at, &pod, terms.as_ref().map_or(&NO_TERMS, |d| &d.terms));
        }
        *self.priorities.entry(load.priority).or_default() += 1;
        let place = u32::try_from(info.pods.len()).unwrap_or(u32::MAX);
        let bound = Bound { pod, load, terms, node: at, at: place, standing: Standing::There };
        info.pods.push(slot);
        match self.bound.get_mut(slot as usize) {
            Some(vacant) => *vacant = Some(bound),
            None => self.bound.push(Some(bound)),
        }
        let bound = &self.bound;
        self.slots.insert(hash, slot, |slot| bound[slot as usize].as_ref().map_or(0, |b| hash_of(&b.pod)));
        self.rankings.changed(at);
        self.changed += 1;
    }

    /// A pod is gone. Answers whether it gave room free.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        self.take_pod(key).is_some()
    }

    /// Takes a pod out, as it was entered.
    pub(super) fn take_pod(&mut self, key: &Key) -> Option<Bound> {
        let slot = self.slots.remove(hash_of_key(key), |slot| is(&self.bound, slot, &key.namespace, &key.name))?;
        let bound = self.bound[slot as usize].take()?;
        self.vacant.push(slot);
        if bound.standing == Standing::Reserved {
            self.reserved -= 1;
        } else {
            self.count_gang(&bound.pod, false);
        }
        if let Some(count) = self.priorities.get_mut(&bound.load.priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&bound.load.priority);
            }
        }
        let info = &mut self.infos[bound.node as usize];
        info.leave(&bound.load);
        info.pods.swap_remove(bound.at as usize);
        if let Some(moved) = info.pods.get(bound.at as usize).copied()
            && let Some(moved) = &mut self.bound[moved as usize]
        {
            moved.at = bound.at;
        }
        if !self.topology.is_idle() {
            self.topology.leave(bound.node, &bound.pod, bound.terms.as_ref().map_or(&NO_TERMS, |d| &d.terms));
        }
        self.rankings.changed(bound.node);
        self.changed += 1;
        self.improved += 1;
        self.tidy(bound.node);
        Some(bound)
    }

    /// Enters a pod again as it was taken out.
    pub(super) fn give_back(&mut self, bound: Bound) {
        let (key, standing) = (bound.pod.key(), bound.standing);
        self.place(bound.pod, bound.load, bound.terms, bound.node);
        self.set_standing(&key, standing);
    }

    fn set_standing(&mut self, key: &Key, standing: Standing) {
        if let Some(slot) = self.slot(key)
            && let Some(bound) = &mut self.bound[slot as usize]
        {
            let before = std::mem::replace(&mut bound.standing, standing);
            let counted = [before, standing].map(|standing| standing != Standing::Reserved);
            self.reserved = self.reserved + usize::from(counted[0]) - usize::from(counted[1]);
            if counted[0] != counted[1] {
                let pod = bound.pod.clone();
                self.count_gang(&pod, counted[1]);
            }
        }
    }

    /// Counts a pod that has its place, or no longer, among those of its gang.
    fn count_gang(&mut self, pod: &Pod, comes: bool) {
        let Some(gang) = pod.gang() else { return };
        let key = (gang.namespace.clone(), gang.name.clone());
        let count = self.gangs.entry(key.clone()).or_default();
        *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.gangs.remove(&key);
        }
    }

    /// How many pods of a gang have their place.
    pub(super) fn gang_members(&self, gang: &Gang<'_>) -> usize {
        self.gangs.get(&(gang.namespace.clone(), gang.name.clone())).copied().unwrap_or_default()
    }

    /// Keeps a place for a pod that waits for others to end.
    pub(super) fn reserve(&mut self, pod: Arc<Pod>, load: Arc<Load>, terms: Option<Arc<Demand>>, at: u32) {
        let key = pod.key();
        self.place(pod, load, terms, at);
        self.set_standing(&key, Standing::Reserved);
    }

    /// Whether a place is only kept for the pod.
    pub(super) fn is_reserved(&self, key: &Key) -> bool {
        let bound = self.slot(key).and_then(|slot| self.bound[slot as usize].as_ref());
        bound.is_some_and(|b| b.standing == Standing::Reserved)
    }

    /// Gives up the place that is kept for a pod; answers where it was.
    pub(super) fn unreserve(&mut self, pod: &Pod) -> Option<u32> {
        if self.reserved == 0 {
            return None;
        }
        let key = pod.key();
        if !self.is_reserved(&key) {
            return None;
        }
        let improved = self.improved;
        let node = self.take_pod(&key).map(|bound| bound.node);
        self.improved = improved;
        node
    }

    /// A pod waits for a place that others are to make on a node, says its status. Answers whether that is news.
    pub fn put_nominated(&mut self, pod: &Arc<Pod>, context: &SchedulingContext) -> bool {
        let node = &pod.status.nominated_node_name;
        if self.slot(&pod.key()).is_some() || self.get(node).is_none() {
            return false;
        }
        self.heed(context);
        self.put_kept(pod, node, context);
        true
    }

    /// Keeps a place on a known node for a pod.
    pub(super) fn put_kept(&mut self, pod: &Arc<Pod>, node: &Str, context: &SchedulingContext) {
        let demand = self.demands.of(pod, context);
        let terms = (!demand.terms.is_empty()).then(|| demand.clone());
        let at = self.entry(node);
        self.reserve(pod.clone(), demand.load.clone(), terms, at);
    }

    /// Takes back a placement of the decision that is being made.
    pub(super) fn unplace(&mut self, key: &Key) {
        let improved = self.improved;
        self.take_pod(key);
        self.improved = improved;
    }

    /// A pod is told to make room, or was not after all.
    pub fn set_going(&mut self, key: &Key, going: bool) {
        self.set_standing(key, if going { Standing::Going } else { Standing::There });
    }

    /// Whether a pod of lower priority takes room.
    pub(super) fn has_lower(&self, priority: i32) -> bool {
        self.priorities.keys().next().is_some_and(|lowest| *lowest < priority)
    }

    /// How many pods of a kind may be ended now.
    pub fn put_budget(&mut self, key: Key, budget: Budget) {
        self.budgets.insert(key, budget);
    }

    /// A budget is gone.
    pub fn remove_budget(&mut self, key: &Key) {
        self.budgets.remove(key);
    }

    /// A bound pod as it was entered.
    pub fn bound(&self, key: &Key) -> Option<&Arc<Pod>> {
        let slot = self.slot(key)?;
        self.bound[slot as usize].as_ref().map(|b| &b.pod)
    }

    /// The name of the node on which a pod was entered.
    pub fn node_of(&self, key: &Key) -> Option<&Str> {
        let slot = self.slot(key)?;
        self.bound[slot as usize].as_ref().map(|b| &self.infos[b.node as usize].name)
    }

    /// The revision of a bound pod as it was entered.
    pub fn bound_revision(&self, key: &Key) -> Option<Revision> {
        self.bound(key).map(|pod| pod.metadata.resource_version)
    }

    /// Enters a pod that is to be bound to `node`, at once.
    pub fn assume(&mut self, pod: &Arc<Pod>, node: &Str, context: &SchedulingContext) {
        self.heed(context);
        let demand = self.demands.of(pod, context);
        self.remove_pod(&pod.key());
        let terms = (!demand.terms.is_empty()).then(|| demand.clone());
        self.enter(pod.clone(), demand.load.clone(), terms, node);
    }

    /// Counts what the terms of a demand, or of pods that are placed, ask for.
    pub(super) fn learn(&mut self, demand: &Demand) {
        if demand.terms.is_empty() && self.topology.is_idle() || !self.topology.is_new(&demand.terms) {
            return;
        }
        let pods = self.bound.iter().flatten().map(|b| (b.node, &*b.pod));
        let nodes = self.infos.iter().filter_map(|i| i.node.as_ref().map(|n| (i.index, &n.metadata.labels)));
        self.topology.learn(&demand.terms, pods, nodes);
    }
}
