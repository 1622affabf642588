//! What a pod says about other pods, in the form in which the scheduler asks it: which pods are meant, and over which label
//! of nodes.

use super::lookup::Mixer;
use std::hash::Hasher;
use std::sync::Arc;
use steersman_domain::selector::{Requirement, Selector};
use steersman_domain::{LabelSelector, Map, Pod, PodAffinityTerm, Str, TopologySpreadConstraint};

/// The labels of namespaces by name, for selectors of namespaces.
pub(super) type NamespaceLabels = std::collections::BTreeMap<Str, Map<Str>>;

/// Which pods are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSelector {
    /// Namespaces by name, sorted.
    namespaces: Vec<Str>,
    /// Namespaces by label beside them.
    namespace_selector: Option<Selector>,
    /// `None`: no pod.
    selector: Option<Selector>,
}

impl PodSelector {
    /// Whether a pod is meant.
    pub(super) fn matches(&self, pod: &Pod, namespaces: &NamespaceLabels) -> bool {
        let meta = &pod.metadata;
        let Some(selector) = &self.selector else { return false };
        let there = self.namespaces.binary_search(&meta.namespace).is_ok()
            || self.namespace_selector.as_ref().is_some_and(|s| {
                s.is_empty() || namespaces.get(&meta.namespace).is_some_and(|labels| s.matches(labels))
            });
        there && selector.matches(&meta.labels)
    }

    /// Whether the answer depends on labels of namespaces.
    pub(super) fn reads_namespaces(&self) -> bool {
        self.namespace_selector.as_ref().is_some_and(|s| !s.is_empty())
    }

    fn of_term(term: &PodAffinityTerm, pod: &Pod) -> Self {
        let mut namespaces = term.namespaces.clone();
        let namespace_selector = term.namespace_selector.as_ref().map(parsed);
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.push(pod.metadata.namespace.clone());
        }
        namespaces.sort();
        namespaces.dedup();
        let mut selector = term.label_selector.as_ref().map(parsed);
        if let Some(selector) = &mut selector {
            let label = |key: &Str| pod.metadata.labels.get(key).map(|value| (key.clone(), vec![value.clone()]));
            let added = term.match_label_keys.iter().filter_map(label);
            selector.0.extend(added.map(|(key, values)| Requirement::In(key, values)));
            let excluded = term.mismatch_label_keys.iter().filter_map(label);
            selector.0.extend(excluded.map(|(key, values)| Requirement::NotIn(key, values)));
        }
        PodSelector { namespaces, namespace_selector, selector }
    }

    fn of_spread(constraint: &TopologySpreadConstraint, pod: &Pod) -> Self {
        let mut selector = constraint.label_selector.as_ref().map(parsed);
        if let Some(selector) = &mut selector {
            for key in &constraint.match_label_keys {
                if let Some(value) = pod.metadata.labels.get(key) {
                    selector.0.push(Requirement::In(key.clone(), vec![value.clone()]));
                }
            }
        }
        PodSelector { namespaces: vec![pod.metadata.namespace.clone()], namespace_selector: None, selector }
    }
}

/// A selector that validation has let through; one that does not parse matches nothing.
fn parsed(selector: &LabelSelector) -> Selector {
    Selector::from_labels(selector).unwrap_or_else(|_| {
        // No label has an empty key, so nothing matches.
        Selector(vec![Requirement::Exists(Str::default())])
    })
}

/// Pods that all of some selectors mean, as they are counted on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub(super) all: Vec<PodSelector>,
    /// Whether pods that are being deleted are left out.
    pub(super) alive: bool,
    pub(super) hash: u64,
}

impl Query {
    fn new(all: Vec<PodSelector>, alive: bool) -> Arc<Self> {
        let mut mixer = Mixer::default();
        mixer.write(format!("{all:?}{alive}").as_bytes());
        Arc::new(Query { all, alive, hash: mixer.finish() })
    }

    /// Whether a pod counts.
    pub(super) fn matches(&self, pod: &Pod, namespaces: &NamespaceLabels) -> bool {
        !(self.alive && pod.metadata.is_deleting()) && self.all.iter().all(|s| s.matches(pod, namespaces))
    }
}

/// Pods, and the label of nodes that says which nodes count as one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Which pods.
    pub query: Arc<Query>,
    /// The label of nodes that tells which are near each other.
    pub key: Str,
}

impl Term {
    fn of(term: &PodAffinityTerm, pod: &Pod) -> Self {
        Term { query: Query::new(vec![PodSelector::of_term(term, pod)], false), key: term.topology_key.clone() }
    }
}

/// A topology spread constraint.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Which pods are counted.
    pub query: Arc<Query>,
    /// The label of nodes by which domains are told apart.
    pub key: Str,
    /// How much fuller one domain may be than the emptiest.
    pub max_skew: i64,
    /// Whether it must be kept, or is only preferred.
    pub hard: bool,
    /// How many domains there must be, for the emptiest to count.
    pub min_domains: usize,
    /// Domains are those of nodes that the pod may go to by its affinity.
    pub honors_affinity: bool,
    /// Domains are those of nodes whose taints it tolerates.
    pub honors_taints: bool,
}

/// Everything that a pod says about other pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Pods must be in the same place. All terms are asked of one pod, as in Kubernetes: the queries are equal.
    pub required: Vec<Term>,
    /// Near these it would rather be, by weight.
    pub preferred: Vec<(i64, Term)>,
    /// Pods must not be in the same place.
    pub anti_required: Vec<Term>,
    /// Away from these it would rather be, by weight.
    pub anti_preferred: Vec<(i64, Term)>,
    /// How it is to be spread.
    pub spread: Vec<Spread>,
}

impl Terms {
    /// The terms of a pod.
    pub fn of(pod: &Pod) -> Self {
        let affinity = pod.spec.affinity.as_ref();
        let (towards, away) =
            (affinity.and_then(|a| a.pod_affinity.as_ref()), affinity.and_then(|a| a.pod_anti_affinity.as_ref()));
        let mut terms = Terms::default();
        if let Some(rules) = towards {
            let all: Vec<PodSelector> = rules.required.iter().map(|t| PodSelector::of_term(t, pod)).collect();
            let query = Query::new(all, false);
            terms.required =
                rules.required.iter().map(|t| Term { query: query.clone(), key: t.topology_key.clone() }).collect();
            terms.preferred = rules.preferred.iter().map(|w| (i64::from(w.weight), Term::of(&w.term, pod))).collect();
        }
        if let Some(rules) = away {
            terms.anti_required = rules.required.iter().map(|t| Term::of(t, pod)).collect();
            terms.anti_preferred =
                rules.preferred.iter().map(|w| (i64::from(w.weight), Term::of(&w.term, pod))).collect();
        }
        terms.spread = pod.spec.topology_spread_constraints.iter().map(|c| spread(c, pod)).collect();
        terms
    }

    /// Whether the pod says nothing about other pods.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty()
            && self.preferred.is_empty()
            && self.anti_required.is_empty()
            && self.anti_preferred.is_empty()
            && self.spread.is_empty()
    }

    /// Every query and key in use.
    pub(super) fn uses(&self) -> impl Iterator<Item = (&Arc<Query>, &Str)> {
        let plain = self.required.iter().chain(&self.anti_required);
        let weighted = self.preferred.iter().chain(&self.anti_preferred).map(|(_, term)| term);
        let terms = plain.chain(weighted).map(|t| (&t.query, &t.key));
        terms.chain(self.spread.iter().map(|s| (&s.query, &s.key)))
    }
}

fn spread(constraint: &TopologySpreadConstraint, pod: &Pod) -> Spread {
    Spread {
        query: Query::new(vec![PodSelector::of_spread(constraint, pod)], true),
        key: constraint.topology_key.clone(),
        max_skew: constraint.max_skew.into(),
        hard: constraint.is_hard(),
        min_domains: constraint.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
        honors_affinity: constraint.honors_affinity(),
        honors_taints: constraint.honors_taints(),
    }
}
