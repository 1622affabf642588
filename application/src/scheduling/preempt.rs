//! Preemption: where a pod of higher priority fits nowhere, which pods of lower priority would have to end so that it does.
//! Never in vain: what is proposed has been tried, with every filter, on the nodes as they will be. At the lowest price: by
//! the rules of kube-scheduler (`framework/preemption`): no disruption budget broken, then the least important victim, then
//! the least sum of priorities, then the fewest, then those that started last, then the first node by name. Chains are bounded, because
//! a victim always has a lower priority than the pod that takes its place.

use super::bound::Bound;
use super::decide::{Attempt, Begun};
use super::node_info::NodeInfo;
use super::nodes::Nodes;
use super::order::room;
use super::{Demand, Eligible, Situation};
use std::cmp::{Ordering, Reverse};
use steersman_domain::ledger::{Resources, host_port_conflict};
use steersman_domain::ports::Preemption;
use steersman_domain::selector::Selector;
use steersman_domain::{Key, Pod, Resource, Str, Time};

/// Nodes whose price is worked out exactly; the level of priority that has to give way is known for all.
const MOST_PRICED: usize = 32;
/// Of those, so many are tried with every filter.
const MOST_TRIED: usize = 8;
/// Victims that the reason names.
const MOST_NAMED: usize = 5;

/// How many pods of a kind may be ended now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The namespace of the pods.
    pub namespace: Str,
    /// Which pods.
    pub selector: Selector,
    /// How many may be disrupted now.
    pub allowed: i64,
}

impl Budget {
    fn covers(&self, pod: &Pod) -> bool {
        self.namespace == pod.metadata.namespace && self.selector.matches(&pod.metadata.labels)
    }
}

/// What a preemption costs; less is better.
type Price = (usize, i32, i64, usize, Reverse<Option<Time>>, u64);

/// The pods to end on one node.
struct Offer {
    node: u32,
    victims: Vec<Key>,
    price: Price,
}

impl Attempt<'_> {
    /// The place that can be made for the pod; `None`: none, or it may not preempt. The pod is entered there, so that what
    /// becomes free is kept for it.
    pub(super) fn preempt(
        &self,
        nodes: &mut Nodes,
        nominated: Option<u32>,
        levels: Vec<Level>,
        why: &str,
    ) -> Option<Preemption> {
        if let Some(at) = nominated.filter(|at| self.still_waits(nodes, *at)) {
            let node = nodes.infos[at as usize].name.clone();
            self.reserve(nodes, at);
            let reason = format!("waits for the pods that it preempts on {node} to end");
            return Some(Preemption { node, victims: Vec::new(), why: reason, unschedulable: why.to_owned() });
        }
        let mut offers = self.offers(nodes, levels);
        offers.sort_by_key(|offer| offer.price);
        for offer in offers.into_iter().take(MOST_TRIED) {
            if self.would_fit(nodes, &offer) {
                return Some(self.accept(nodes, offer, why));
            }
        }
        None
    }

    /// Whether pods that make room for this one are still there.
    fn still_waits(&self, nodes: &Nodes, at: u32) -> bool {
        let lower = |b: &Bound| b.load.priority < self.demand.load.priority && b.is_going();
        nodes.infos.get(at as usize).is_some_and(|info| info.node.is_some() && nodes.bound_on(info).any(lower))
    }

    /// Whether the pod may end others, and there are any that it may end.
    pub(super) fn may_preempt(&self, nodes: &Nodes) -> bool {
        self.pod.preempts() && nodes.has_lower(self.demand.load.priority)
    }

    /// What the cheapest nodes would cost, as far as room and ports go.
    fn offers(&self, nodes: &Nodes, mut levels: Vec<Level>) -> Vec<Offer> {
        if levels.len() > MOST_PRICED {
            levels.select_nth_unstable(MOST_PRICED);
            levels.truncate(MOST_PRICED);
        }
        levels.sort_unstable();
        levels.iter().filter_map(|level| self.offer(nodes, &nodes.infos[level.node as usize])).collect()
    }

    /// The fewest and least important pods of a node without which this one has room there.
    fn offer(&self, nodes: &Nodes, info: &NodeInfo) -> Option<Offer> {
        let priority = self.demand.load.priority;
        let (going, mut lower): (Vec<&Bound>, Vec<&Bound>) =
            nodes.bound_on(info).filter(|b| b.load.priority < priority || b.is_going()).partition(|b| b.is_going());
        let mut taken = info.taken.allocated.clone();
        going.iter().chain(&lower).for_each(|bound| taken.subtract(&bound.load.request));
        let fits = |taken: &Resources| match self.demand.beyond {
            true => taken.shortages(&info.allocatable, self.demand.request()).is_empty(),
            false => self.demand.need.fits(&room(&info.allocatable, taken)),
        };
        let conflicts = |ports: &[Str]| self.demand.load.host_ports.iter().any(|port| host_port_conflict(ports, port));
        if !fits(&taken) || !self.demand.load.host_ports.is_empty() && conflicts(&remaining(info, &going, &lower)) {
            return None;
        }
        // The most important are let off first, and before all those whose budgets are spent.
        let breaks = broken(nodes, &lower);
        let is_spent = |b: &Bound| !breaks.is_empty() && breaks.contains(&b.pod.key());
        lower.sort_by(|a, b| {
            let standing = |b: &Bound| (Reverse(is_spent(b)), Reverse(b.load.priority), started(&b.pod));
            standing(a).cmp(&standing(b)).then_with(|| by_name(a, b))
        });
        let mut victims: Vec<&Bound> = Vec::new();
        for bound in lower {
            taken.add(&bound.load.request);
            if !fits(&taken) || conflicts(&bound.load.host_ports) {
                taken.subtract(&bound.load.request);
                victims.push(bound);
            }
        }
        victims.sort_by(|a, b| {
            let standing = |b: &Bound| (b.load.priority, Reverse(started(&b.pod)));
            standing(a).cmp(&standing(b)).then_with(|| by_name(a, b))
        });
        let price = (
            victims.iter().filter(|b| is_spent(b)).count(),
            victims.last().map_or(i32::MIN, |b| b.load.priority),
            // Priorities may be negative: shifted, so that fewer victims are never dearer.
            victims.iter().map(|b| i64::from(b.load.priority) - i64::from(i32::MIN)).sum(),
            victims.len(),
            Reverse(
                victims
                    .iter()
                    .filter(|b| Some(b.load.priority) == victims.last().map(|b| b.load.priority))
                    .filter_map(|b| started(&b.pod))
                    .min(),
            ),
            info.order,
        );
        Some(Offer { node: info.index, victims: victims.iter().map(|b| b.pod.key()).collect(), price })
    }

    /// Tries an offer: with the victims, and what is going anyway, out of the way, does every filter let the pod in? The
    /// nodes are as they were afterwards.
    fn would_fit(&self, nodes: &mut Nodes, offer: &Offer) -> bool {
        let info = &nodes.infos[offer.node as usize];
        let going = nodes.bound_on(info).filter(|b| b.is_going()).map(|b| b.pod.key());
        let out: Vec<Key> = offer.victims.iter().cloned().chain(going).collect();
        let (improved, changed) = (nodes.improved, nodes.changed);
        let removed: Vec<Bound> = out.iter().filter_map(|key| nodes.take_pod(key)).collect();
        let eligible = match self.demand.terms.spread.is_empty() {
            true => Eligible::default(),
            false => super::eligible(self.demand, &nodes.infos),
        };
        let situation = Situation { pod: self.pod, demand: self.demand, nodes, eligible: &eligible };
        let fits = Begun::new(self.profile, &situation).look(&nodes.infos[offer.node as usize]).is_ok();
        removed.into_iter().for_each(|bound| nodes.give_back(bound));
        (nodes.improved, nodes.changed) = (improved, changed);
        fits
    }

    fn accept(&self, nodes: &mut Nodes, offer: Offer, why: &str) -> Preemption {
        let mut victims = Vec::new();
        // A gang takes back what it does as a whole; nobody else does.
        if self.pod.gang().is_none() {
            nodes.displaced.clear();
        }
        for key in offer.victims {
            match nodes.is_reserved(&key) {
                // It has only been promised the place: it looks for another.
                true => {
                    let displaced = nodes.take_pod(&key);
                    nodes.displaced.extend(displaced);
                }
                false => {
                    nodes.set_going(&key, true);
                    victims.push(key);
                }
            }
        }
        self.reserve(nodes, offer.node);
        let node = nodes.infos[offer.node as usize].name.clone();
        let reason = match victims.len() {
            0 => format!("takes the room on {node} of pods that end already"),
            count => {
                let named: Vec<String> =
                    victims.iter().take(MOST_NAMED).map(|k| format!("{}/{}", k.namespace, k.name)).collect();
                let more = if count > MOST_NAMED { ", …" } else { "" };
                let pods = if count == 1 { "1 pod" } else { &format!("{count} pods") };
                format!("preempts {pods} of lower priority on {node}: {}{more}", named.join(", "))
            }
        };
        Preemption { node, victims, why: reason, unschedulable: why.to_owned() }
    }

    fn reserve(&self, nodes: &mut Nodes, at: u32) {
        let terms = (!self.demand.terms.is_empty()).then(|| self.demand.clone());
        nodes.reserve(self.pod.clone(), self.demand.load.clone(), terms, at);
    }
}

/// A node where there would be room if pods of lower priority ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    /// The highest priority that has to give way.
    priority: i32,
    order: u64,
    node: u32,
}

impl Level {
    /// `None`: there is no room even then. Ports, and resources beyond cpu, memory and pods, are looked at with the price.
    pub(super) fn of(demand: &Demand, info: &NodeInfo) -> Option<Self> {
        let mut free = info.free();
        for (priority, sum) in info.by_priority.iter().take_while(|(priority, _)| *priority < demand.load.priority) {
            free.cpu = free.cpu.saturating_add(sum.cpu_milli);
            free.memory = free.memory.saturating_add(sum.memory_bytes);
            free.pods = free.pods.saturating_add(i32::try_from(sum.pods).unwrap_or(i32::MAX));
            if demand.need.fits(&free) {
                return Some(Level { priority: *priority, order: info.order, node: info.index });
            }
        }
        None
    }
}

/// The ports that are taken on a node once these have left.
fn remaining(info: &NodeInfo, going: &[&Bound], lower: &[&Bound]) -> Vec<Str> {
    let mut ports = info.taken.host_ports.clone();
    for port in going.iter().chain(lower).flat_map(|bound| &bound.load.host_ports) {
        if let Ok(at) = ports.binary_search(port) {
            ports.remove(at);
        }
    }
    ports
}

fn by_name(a: &Bound, b: &Bound) -> Ordering {
    let (a, b) = (&a.pod.metadata, &b.pod.metadata);
    (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name))
}

/// The pods whose end would break a budget, if all of these ended.
fn broken(nodes: &Nodes, pods: &[&Bound]) -> Vec<Key> {
    if nodes.budgets.is_empty() {
        return Vec::new();
    }
    let mut left: Vec<(&Budget, i64)> = nodes.budgets.values().map(|b| (b, b.allowed)).collect();
    let mut list = Vec::new();
    for bound in pods {
        let mut spent = false;
        for (_, allowed) in left.iter_mut().filter(|(budget, _)| budget.covers(&bound.pod)) {
            *allowed -= 1;
            spent |= *allowed < 0;
        }
        if spent {
            list.push(bound.pod.key());
        }
    }
    list
}

fn started(pod: &Pod) -> Option<Time> {
    pod.status.start_time.or(pod.metadata.creation_timestamp)
}
