//! Hard topology spread constraints: no place may be more than the skew above the least filled one.
//! Source of the rules: kube-scheduler `plugins/podtopologyspread/filtering.go`.

use crate::scheduling::terms::Spread;
use crate::scheduling::topology::{Places, spread_counts};
use crate::scheduling::{Basis, Check, Demand, Filter, NodeInfo, Reason, Situation};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct PodTopologySpread;

impl Filter for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn basis(&self) -> Basis {
        Basis::Pods
    }

    fn explain(&self, _: &Demand, _: &NodeInfo) -> Reason {
        "node(s) didn't match pod topology spread constraints".into()
    }

    fn begin<'a>(&'a self, at: &Situation<'a>) -> Option<Box<dyn Check + 'a>> {
        let hard: Vec<&Spread> = at.demand.terms.spread.iter().filter(|s| s.hard).collect();
        if hard.is_empty() {
            return None;
        }
        let keys: Vec<_> = hard.iter().filter_map(|s| at.nodes.topology.places(&s.key)).collect();
        let rules = hard.iter().zip(&keys).map(|(spread, places)| {
            let count = spread_counts(at, spread, &keys);
            let there = count.iter().flatten();
            let least = there.clone().min().copied().unwrap_or(0);
            let least = if there.count() < spread.min_domains { 0 } else { least };
            let own = i64::from(at.nodes.topology.matches(&spread.query, at.pod));
            Rule { spread, places, most: spread.max_skew + i64::from(least) - own, count }
        });
        Some(Box::new(Rules(rules.collect())))
    }
}

struct Rule<'a> {
    spread: &'a Spread,
    places: &'a Places,
    /// Pods by place; `None`: no node of the place counts.
    count: Vec<Option<u32>>,
    /// The most that a place may have already.
    most: i64,
}

struct Rules<'a>(Vec<Rule<'a>>);

impl Check for Rules<'_> {
    fn passes(&self, node: &NodeInfo) -> bool {
        self.0.iter().all(|rule| {
            let place = rule.places.of(node.index);
            place.is_some_and(|at| i64::from(rule.count[at].unwrap_or(0)) <= rule.most)
        })
    }

    fn explain(&self, node: &NodeInfo) -> Reason {
        let missing = self.0.iter().find(|rule| rule.places.of(node.index).is_none());
        match missing {
            Some(rule) => {
                let key = &rule.spread.key;
                format!("node(s) didn't match pod topology spread constraints (missing required label {key})").into()
            }
            None => "node(s) didn't match pod topology spread constraints".into(),
        }
    }
}
