//! Who is where, counted: for every question that some pod asks about other pods, how many pods answer to it on each node,
//! kept up to date pod by pod; and for every label that divides nodes into places, the place of each node.

use super::Situation;
use super::lookup::Lookup;
pub(super) use super::terms::NamespaceLabels;
use super::terms::{Query, Spread, Term, Terms};
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::{Map, Pod, Str};

/// How many questions are kept; beyond it all are forgotten, and those still in use are counted anew.
const MOST_QUESTIONS: usize = 2048;

/// A node that has no value of a label is in no place.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Which nodes count for topology spread, by the index of the node.
#[derive(Clone, Debug, Default)]
pub struct Eligible {
    /// Whether the pod's node selector and affinity allow the node.
    pub(super) affine: Vec<bool>,
    /// Whether the pod tolerates its taints.
    pub(super) tolerated: Vec<bool>,
}

/// How many pods of a kind there are, node by node.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) on: Vec<u32>,
    pub(super) total: u32,
}

impl Tally {
    fn add(&mut self, node: u32) {
        let at = node as usize;
        if self.on.len() <= at {
            self.on.resize(at + 1, 0);
        }
        self.on[at] += 1;
        self.total += 1;
    }

    fn subtract(&mut self, node: u32) {
        if let Some(count) = self.on.get_mut(node as usize).filter(|count| **count > 0) {
            *count -= 1;
            self.total -= 1;
        }
    }

    /// Summed up by place.
    pub(super) fn by_place(&self, places: &Places) -> Vec<u32> {
        let mut sums = vec![0; places.names.len()];
        for (count, place) in self.on.iter().zip(&places.of).filter(|(count, place)| **count > 0 && **place != NOWHERE)
        {
            sums[*place as usize] += count;
        }
        sums
    }
}

/// The places into which a label divides the nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// By the index of the node.
    pub(super) of: Vec<u32>,
    pub(super) names: Vec<Str>,
    known: BTreeMap<Str, u32>,
}

impl Places {
    fn set(&mut self, node: u32, value: Option<&Str>) {
        let at = node as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, NOWHERE);
        }
        self.of[at] = match value {
            None => NOWHERE,
            Some(value) => *self.known.entry(value.clone()).or_insert_with(|| {
                self.names.push(value.clone());
                u32::try_from(self.names.len() - 1).unwrap_or(NOWHERE)
            }),
        };
    }

    /// The place of a node, if it has one.
    pub(super) fn of(&self, node: u32) -> Option<usize> {
        self.of.get(node as usize).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }
}

/// What a term of a pod that is placed says to pods that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Never in the same place.
    StayAway,
    /// Rather in the same place, by this weight; rather not, where it is negative.
    Weighs(i64),
}

/// A term that pods which are placed hold.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) term: Term,
    pub(super) says: Says,
    pub(super) tally: Tally,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    namespaces: NamespaceLabels,
    queries: Vec<(Arc<Query>, Tally)>,
    known: Lookup<u64, Vec<usize>>,
    held: Vec<Held>,
    places: BTreeMap<Str, Places>,
}

/// A weight of pods that are placed and require a pod: what kube-scheduler calls the hard pod affinity weight.
const REQUIRED_WEIGHT: i64 = 1;

impl Topology {
    pub(super) fn is_idle(&self) -> bool {
        self.queries.is_empty() && self.held.is_empty()
    }

    /// The number of pods that answer to a query, if it is asked.
    pub(super) fn tally(&self, query: &Query) -> Option<&Tally> {
        let list = self.known.get(&query.hash)?;
        list.iter().map(|at| &self.queries[*at]).find(|(known, _)| **known == *query).map(|(_, tally)| tally)
    }

    pub(super) fn places(&self, key: &Str) -> Option<&Places> {
        self.places.get(key)
    }

    /// The terms of placed pods that mean this pod.
    pub(super) fn held_about<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Held> {
        self.held.iter().filter(|h| h.tally.total > 0 && h.term.query.matches(pod, &self.namespaces))
    }

    pub(super) fn matches(&self, query: &Query, pod: &Pod) -> bool {
        query.matches(pod, &self.namespaces)
    }

    /// The labels of a namespace are now these, or it is gone. Answers whether a question depends on them: then all counts
    /// must be made anew.
    pub(super) fn put_namespace(&mut self, name: &Str, labels: Option<Map<Str>>) -> bool {
        let old = match labels.clone() {
            Some(labels) => self.namespaces.insert(name.clone(), labels),
            None => self.namespaces.remove(name),
        };
        old != labels && self.queries.iter().any(|(query, _)| query.all.iter().any(|s| s.reads_namespaces()))
    }

    /// A pod comes to a node.
    pub(super) fn enter(&mut self, node: u32, pod: &Pod, terms: &Terms) {
        for (query, tally) in &mut self.queries {
            if query.matches(pod, &self.namespaces) {
                tally.add(node);
            }
        }
        self.each_held(terms, |held| held.tally.add(node));
    }

    /// A pod leaves a node.
    pub(super) fn leave(&mut self, node: u32, pod: &Pod, terms: &Terms) {
        for (query, tally) in &mut self.queries {
            if query.matches(pod, &self.namespaces) {
                tally.subtract(node);
            }
        }
        self.each_held(terms, |held| held.tally.subtract(node));
    }

    fn each_held(&mut self, terms: &Terms, mut each: impl FnMut(&mut Held)) {
        if terms.is_empty() {
            return;
        }
        let away = terms.anti_required.iter().map(|t| (t, Says::StayAway));
        let near = terms.required.iter().map(|t| (t, Says::Weighs(REQUIRED_WEIGHT)));
        let rather = terms.preferred.iter().map(|(w, t)| (t, Says::Weighs(*w)));
        let rather_not = terms.anti_preferred.iter().map(|(w, t)| (t, Says::Weighs(-*w)));
        for (term, says) in away.chain(near).chain(rather).chain(rather_not) {
            let at = self.held.iter().position(|h| h.says == says && h.term == *term).unwrap_or_else(|| {
                self.held.push(Held { term: term.clone(), says, tally: Tally::default() });
                self.held.len() - 1
            });
            each(&mut self.held[at]);
        }
    }

    /// The labels of a node are now these, or it is gone.
    pub(super) fn put_node(&mut self, node: u32, labels: Option<&Map<Str>>) {
        for (key, places) in &mut self.places {
            places.set(node, labels.and_then(|l| l.get(key)));
        }
    }

    /// What is asked for and not counted yet: the label keys, and whether there is a new query.
    pub(super) fn is_new(&self, terms: &Terms) -> bool {
        let held = self.held.iter().map(|h| &h.term.key);
        terms.uses().any(|(query, key)| self.tally(query).is_none() || !self.places.contains_key(key))
            || held.into_iter().any(|key| !self.places.contains_key(key))
    }

    /// Counts from now on what terms ask for. `pods` are all pods that are placed, `nodes` all nodes with their labels.
    pub(super) fn learn<'a>(
        &mut self,
        terms: &Terms,
        pods: impl Iterator<Item = (u32, &'a Pod)> + Clone,
        nodes: impl Iterator<Item = (u32, &'a Map<Str>)> + Clone,
    ) {
        if self.queries.len() > MOST_QUESTIONS {
            self.queries.clear();
            self.known.clear();
            self.places.clear();
        }
        let held: Vec<Str> = self.held.iter().map(|h| h.term.key.clone()).collect();
        for key in terms.uses().map(|(_, key)| key.clone()).chain(held) {
            self.places.entry(key.clone()).or_insert_with(|| {
                let mut places = Places::default();
                nodes.clone().for_each(|(node, labels)| places.set(node, labels.get(&key)));
                places
            });
        }
        for (query, _) in terms.uses() {
            if self.tally(query).is_some() {
                continue;
            }
            let mut tally = Tally::default();
            for (node, pod) in pods.clone() {
                if query.matches(pod, &self.namespaces) {
                    tally.add(node);
                }
            }
            self.queries.push((query.clone(), tally));
            let at = self.queries.len() - 1;
            match self.known.get_mut(&query.hash) {
                Some(list) => list.push(at),
                None => {
                    self.known.insert(query.hash, vec![at]);
                }
            }
        }
    }

    /// Forgets all questions of pods that are not placed: they are counted anew when they are asked again.
    pub(super) fn forget_queries(&mut self) {
        self.queries.clear();
        self.known.clear();
    }
}

/// How many pods a spread constraint counts in each place; `None` for places in which no node counts. `keys` are the places
/// of all constraints: a node counts only where it has a place in each.
pub(super) fn spread_counts(at: &Situation<'_>, spread: &Spread, keys: &[&Places]) -> Vec<Option<u32>> {
    let Some(places) = at.nodes.topology.places(&spread.key) else { return Vec::new() };
    let tally = at.nodes.topology.tally(&spread.query);
    let mut count = vec![None; places.names.len()];
    for (node, place) in places.of.iter().enumerate().filter(|(_, place)| **place != NOWHERE) {
        let allowed = |list: &[bool], honored: bool| !honored || list.get(node).copied().unwrap_or(false);
        let counts = allowed(&at.eligible.affine, spread.honors_affinity)
            && allowed(&at.eligible.tolerated, spread.honors_taints)
            && keys.iter().all(|p| p.of.get(node).is_some_and(|place| *place != NOWHERE));
        if counts {
            *count[*place as usize].get_or_insert(0) += tally.and_then(|t| t.on.get(node)).copied().unwrap_or(0);
        }
    }
    count
}
