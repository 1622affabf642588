//! Preferred affinity and anti-affinity to pods, the pod's own and that of pods which are placed, by weight. A required
//! affinity of a placed pod to this one counts with weight 1.
//! Source of the rules: kube-scheduler `plugins/interpodaffinity/scoring.go`.

use super::share::range;
use crate::scheduling::terms::Term;
use crate::scheduling::topology::{Says, Tally};
use crate::scheduling::{Basis, Measure, NodeInfo, Score, Situation};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct InterPodAffinity;

impl Score for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn explain(&self) -> &'static str {
        "weights of the pods nearby that it prefers, and that prefer it, from the least to the most of all nodes"
    }

    fn basis(&self) -> Basis {
        Basis::Pods
    }

    fn begin<'a>(&'a self, at: &Situation<'a>) -> Option<Box<dyn Measure + 'a>> {
        let (terms, topology) = (&at.demand.terms, &at.nodes.topology);
        let held: Vec<_> = topology.held_about(at.pod).filter(|h| matches!(h.says, Says::Weighs(_))).collect();
        if terms.preferred.is_empty() && terms.anti_preferred.is_empty() && held.is_empty() {
            return None;
        }
        let mut raw = vec![0_i64; at.nodes.infos.len()];
        let mut weigh = |term: &Term, tally: Option<&Tally>, weight: i64| {
            let (Some(tally), Some(places)) = (tally, topology.places(&term.key)) else { return };
            let count = tally.by_place(places);
            for (node, sum) in (0..).zip(&mut raw) {
                if let Some(place) = places.of(node) {
                    *sum += weight * i64::from(count[place]);
                }
            }
        };
        for (weight, term) in &terms.preferred {
            weigh(term, topology.tally(&term.query), *weight);
        }
        for (weight, term) in &terms.anti_preferred {
            weigh(term, topology.tally(&term.query), -weight);
        }
        for held in held {
            if let Says::Weighs(weight) = held.says {
                weigh(&held.term, Some(&held.tally), weight);
            }
        }
        // Where all nodes are alike there is nothing to measure.
        let there = at.nodes.infos.iter().zip(&raw).filter(|(info, _)| info.node.is_some()).map(|(_, raw)| *raw);
        let (least, most) = range(there)?;
        raw.iter_mut().for_each(|value| *value = 100 * (*value - least) / (most - least));
        Some(Box::new(Weights(raw)))
    }
}

struct Weights(Vec<i64>);

impl Measure for Weights {
    fn of(&self, node: &NodeInfo) -> i64 {
        self.0.get(node.index as usize).copied().unwrap_or(0)
    }
}
