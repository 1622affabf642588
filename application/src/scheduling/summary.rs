//! Why a pod fits nowhere, in one text: which reasons on how many nodes, and how to mend it where one thing would.

use super::filters::FIT;
use super::{Demand, Reason, SchedulingContext};
use std::collections::BTreeMap;
use steersman_domain::Quantity;
use steersman_domain::selector::Requirement;

/// Why nodes said no, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    nodes: usize,
    /// Filter, reason, nodes: few different ones.
    reasons: Vec<(&'static str, Reason, usize)>,
}

impl Tally {
    /// Counts a rejection; `None` is a node that said yes.
    pub(super) fn count(&mut self, rejection: Option<&(&'static str, Reason)>) {
        self.nodes += 1;
        let Some((filter, reason)) = rejection else { return };
        match self.reasons.iter_mut().find(|(f, r, _)| f == filter && r == reason) {
            Some((_, _, count)) => *count += 1,
            None => self.reasons.push((filter, reason.clone(), 1)),
        }
    }

    /// `0/3 nodes are available: 2 Insufficient cpu, 1 node(s) were unschedulable.` and advice.
    pub(super) fn summary(&self, demand: &Demand, context: &SchedulingContext) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, reason, count) in &self.reasons {
            for part in reason.split(", ") {
                *counts.entry(part).or_default() += count;
            }
        }
        let reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let mut text = format!("0/{} nodes are available: {}.", self.nodes, reasons.join(", "));
        if let Some(advice) = self.advice(demand, context) {
            text.push(' ');
            text.push_str(&advice);
        }
        text
    }

    fn advice(&self, demand: &Demand, context: &SchedulingContext) -> Option<String> {
        if !self.reasons.is_empty() && self.reasons.iter().all(|(filter, ..)| *filter == "RuntimeOffered") {
            let asked = context.handler(&demand.pod);
            return Some(format!(
                "No node offers the runtime {asked:?}: set spec.runtimeClassName to one that is offered (process runs \
                 commands of the host), or start the cluster with --default-runtime."
            ));
        }
        if let Some(contradiction) = contradiction(demand) {
            return Some(contradiction);
        }
        self.reasons.iter().any(|(filter, ..)| *filter == FIT).then(|| {
            let request = demand.request();
            let own = [
                ("cpu", Quantity::from_milli(request.cpu_milli)),
                ("memory", Quantity::from_bytes(request.memory_bytes)),
                ("ephemeral-storage", Quantity::from_bytes(request.storage_bytes)),
            ];
            let own = own.iter().filter(|(_, amount)| amount.milli() > 0);
            let mut amounts: Vec<String> = own.map(|(name, amount)| format!("{} {name}", amount.as_str())).collect();
            amounts.extend(request.extended.iter().map(|(name, amount)| format!("{amount} {name}")));
            let last = amounts.pop().unwrap_or_default();
            let others = amounts.join(", ");
            let and = if others.is_empty() { "" } else { " and " };
            format!("The pod requests {others}{and}{last}.")
        })
    }
}

/// Rules of the pod that no node can keep at once.
fn contradiction(demand: &Demand) -> Option<String> {
    let terms = &demand.terms;
    let both = terms.required.iter().find(|near| {
        let query = &near.query;
        terms
            .anti_required
            .iter()
            .any(|away| away.key == near.key && query.all.iter().any(|s| away.query.all == [s.clone()]))
    });
    if let Some(term) = both {
        return Some(format!(
            "No cluster can satisfy it: its podAffinity requires and its podAntiAffinity forbids the same pods in the same \
             {}. Remove one of the two.",
            term.key
        ));
    }
    let selector = &demand.selector.0;
    let excluded = |key: &str, value: &str| {
        let required = demand.pod.spec.affinity.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
        let contradicts = |r: &steersman_domain::LabelSelectorRequirement| {
            r.key == key
                && match r.operator.as_str() {
                    "In" => !r.values.iter().any(|v| v == value),
                    "NotIn" => r.values.iter().any(|v| v == value),
                    "DoesNotExist" => true,
                    _ => false,
                }
        };
        required.node_selector_terms.iter().all(|t| t.match_expressions.iter().any(contradicts)).then_some(())
    };
    selector.iter().find_map(|r| match r {
        Requirement::In(key, values) => {
            let value = values.first()?;
            excluded(key, value)?;
            Some(format!(
                "No node can satisfy it: nodeSelector asks for {key}={value}, and the required node affinity excludes it. \
                 Remove one of the two."
            ))
        }
        _ => None,
    })
}
