//! Required affinity and anti-affinity to pods, the pod's own and that of pods which are placed.
//! Source of the rules: kube-scheduler `plugins/interpodaffinity/filtering.go`.

use crate::scheduling::terms::Term;
use crate::scheduling::topology::{Places, Says, Tally};
use crate::scheduling::{Basis, Check, Demand, Filter, NodeInfo, Nodes, Reason, Situation};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct InterPodAffinity;

impl Filter for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn basis(&self) -> Basis {
        Basis::Pods
    }

    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) didn't match pod affinity rules".into()
    }

    fn begin<'a>(&'a self, at: &Situation<'a>) -> Option<Box<dyn Check + 'a>> {
        let (terms, topology) = (&at.demand.terms, &at.nodes.topology);
        let held: Vec<Counted<'a>> = topology
            .held_about(at.pod)
            .filter(|h| h.says == Says::StayAway)
            .filter_map(|h| Counted::new(at.nodes, &h.term, &h.tally))
            .collect();
        if held.is_empty() && terms.required.is_empty() && terms.anti_required.is_empty() {
            return None;
        }
        let counted =
            |term: &'a Term| topology.tally(&term.query).and_then(|tally| Counted::new(at.nodes, term, tally));
        let required: Vec<Counted<'a>> = terms.required.iter().filter_map(counted).collect();
        // The first of a group that wants to be together has nobody to be with.
        let nobody = terms.required.first().is_some_and(|t| topology.tally(&t.query).is_none_or(|t| t.total == 0));
        let first = nobody && terms.required.iter().all(|t| topology.matches(&t.query, at.pod));
        Some(Box::new(Rules {
            held,
            required,
            first,
            unanswered: terms.required.len(),
            anti: terms.anti_required.iter().filter_map(counted).collect(),
        }))
    }
}

/// A term with the number of its pods in every place.
struct Counted<'a> {
    places: &'a Places,
    count: Vec<u32>,
}

impl<'a> Counted<'a> {
    fn new(nodes: &'a Nodes, term: &'a Term, tally: &Tally) -> Option<Self> {
        let places = nodes.topology.places(&term.key)?;
        Some(Counted { places, count: tally.by_place(places) })
    }

    /// How many there are in the place of a node; `None`: the node is in no place.
    fn at(&self, node: u32) -> Option<u32> {
        self.places.of(node).map(|place| self.count.get(place).copied().unwrap_or(0))
    }
}

struct Rules<'a> {
    held: Vec<Counted<'a>>,
    required: Vec<Counted<'a>>,
    /// Whether the pod is the first of those that it wants to be with.
    first: bool,
    /// The number of required terms.
    unanswered: usize,
    anti: Vec<Counted<'a>>,
}

impl Rules<'_> {
    fn together(&self, node: u32) -> bool {
        self.required.len() == self.unanswered
            && self.required.iter().all(|c| c.at(node).is_some_and(|count| count > 0 || self.first))
    }

    fn apart(list: &[Counted<'_>], node: u32) -> bool {
        list.iter().all(|c| c.at(node).is_none_or(|count| count == 0))
    }
}

impl Check for Rules<'_> {
    fn passes(&self, node: &NodeInfo) -> bool {
        Rules::apart(&self.held, node.index) && Rules::apart(&self.anti, node.index) && self.together(node.index)
    }

    fn explain(&self, node: &NodeInfo) -> Reason {
        if !self.together(node.index) {
            "node(s) didn't match pod affinity rules".into()
        } else if !Rules::apart(&self.anti, node.index) {
            "node(s) didn't match pod anti-affinity rules".into()
        } else {
            "node(s) didn't satisfy existing pods anti-affinity rules".into()
        }
    }
}
