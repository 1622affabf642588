//! The decision port, and the built-in scheduler: one pass over a batch of pods, each decided on the nodes as the pods before
//! it leave them.

use super::decide::Attempt;
use super::{Nodes, SchedulingContext, gang};
use std::sync::Arc;
use steersman_domain::Pod;
use steersman_domain::ports::Decision;

/// The scheduler as a decision port: hosts may bring their own.
///
/// `schedule` decides on a batch in order and enters each placement into `nodes`, so that later pods see it. It is pure:
/// equal inputs give equal decisions. A pod that fits nowhere is a decision, not an error. Pods of one gang stand next to each
/// other in a batch.
pub trait Scheduler: Send + Sync {
    /// One decision for each pod of a known profile, in order.
    fn schedule(&self, nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision>;
}

/// The built-in scheduler: filters, then the highest weighted score; among equals the node that the profile likes better
/// (for a spreading one the emptiest, then the one with the fewest pods), at last the first by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultScheduler;

impl Scheduler for DefaultScheduler {
    fn schedule(&self, nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision> {
        schedule(nodes, pods, context)
    }
}

/// See [`Scheduler`]. Pods of unknown profiles are passed over.
pub fn schedule(nodes: &mut Nodes, pods: &[Arc<Pod>], context: &SchedulingContext) -> Vec<Decision> {
    nodes.heed(context);
    let mut decisions = Vec::with_capacity(pods.len());
    let mut rest = pods;
    while let Some((pod, after)) = rest.split_first() {
        if let Some(gang) = pod.gang() {
            let members = gang::run(rest, &gang);
            decisions.extend(gang::decide(nodes, &gang, members, context));
            rest = &rest[members.len()..];
            continue;
        }
        rest = after;
        let Some(profile) = context.profile(pod) else { continue };
        let demand = nodes.demands.of(pod, context);
        decisions.push(Attempt { pod, demand: &demand, profile, context }.decide(nodes));
    }
    decisions
}
