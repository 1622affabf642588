//! The disruption controller: how many pods of each budget may be evicted now.
//! Source of the algorithm: Kubernetes `pkg/controller/disruption/disruption.go`.

#[cfg(test)]
mod tests;

use super::replica_set::sides;
use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{Part, Write};
use crate::driver::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::Change;
use steersman_domain::{
    Condition, Deployment, IntOrString, Key, Kind, Map, Object, Pod, PodDisruptionBudget, PodDisruptionBudgetStatus,
    ReplicaSet, Resource, StatefulSet, Str, Time,
};

/// How long an eviction may take until its pod begins to end; after that it is taken to have failed.
const EVICTION: Duration = Duration::from_secs(120);

/// The disruption controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disruptions;

impl Reconciler for Disruptions {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn triggers(&self, change: &Change, world: &World) -> Vec<Key> {
        let key = change.key();
        match key.kind {
            Kind::PodDisruptionBudget => vec![key.clone()],
            Kind::Pod => sides(change).flat_map(|pod| covering(pod, world)).map(|budget| budget.key()).collect(),
            // The number that is wanted may have changed.
            Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet => {
                world.in_namespace::<PodDisruptionBudget>(&key.namespace).map(|budget| budget.key()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<PodDisruptionBudget>().map(|budget| budget.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(budget) = world.get::<PodDisruptionBudget>(&key.namespace, &key.name) else {
            return Outcome::default();
        };
        let mut outcome = Outcome::default();
        let status = match count(budget, world, now.time, &mut outcome) {
            Ok(status) => status,
            Err(why) => {
                outcome.why.push(why.clone());
                let uid = budget.metadata.uid.clone();
                let failed = budget.status.conditions.iter().any(|c| c.reason == "SyncFailed" && c.message == why);
                if !failed {
                    let reason = "CalculateExpectedPodCountFailed";
                    let message = format!("Failed to calculate the number of expected pods: {why}");
                    outcome.notes.push(Note { about: key.clone(), uid, is_warning: true, reason, message });
                }
                unknown(budget, &why, now.time)
            }
        };
        if status != budget.status {
            let mut changed = PodDisruptionBudget::clone(budget);
            changed.status = status;
            outcome.writes.push(Write::Update(Object::PodDisruptionBudget(Arc::new(changed)), Part::Status));
        }
        outcome
    }
}

/// The budgets that cover a pod.
fn covering<'a>(pod: &'a Pod, world: &'a World) -> impl Iterator<Item = &'a Arc<PodDisruptionBudget>> {
    world.in_namespace::<PodDisruptionBudget>(&pod.metadata.namespace).filter(|budget| budget.covers(pod))
}

/// What is left of a budget.
fn count(
    budget: &PodDisruptionBudget,
    world: &World,
    now: Time,
    outcome: &mut Outcome,
) -> Result<PodDisruptionBudgetStatus, String> {
    let pods: Vec<&Arc<Pod>> =
        world.in_namespace::<Pod>(&budget.metadata.namespace).filter(|pod| budget.covers(pod)).collect();
    let (expected, desired) = expected(budget, &pods, world)?;
    let disrupted = disrupted(budget, &pods, now, outcome);
    let healthy = |pod: &&&Arc<Pod>| pod.is_active() && pod.is_ready() && disrupted.get(&pod.metadata.name).is_none();
    let current = i32::try_from(pods.iter().filter(healthy).count()).unwrap_or(i32::MAX);
    let allowed = if expected > 0 { (current - desired).max(0) } else { 0 };
    outcome.why.push(format!("{current} of {expected} pods are healthy, {desired} must be: {allowed} may be evicted"));
    let mut status = PodDisruptionBudgetStatus {
        observed_generation: budget.metadata.generation,
        disrupted_pods: disrupted,
        conditions: budget.status.conditions.clone(),
        extra: budget.status.extra.clone(),
        ..PodDisruptionBudgetStatus::default()
    };
    status.disruptions_allowed.0 = allowed;
    status.current_healthy.0 = current;
    status.desired_healthy.0 = desired;
    status.expected_pods.0 = expected;
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    let mut told = Condition::new("DisruptionAllowed", allowed > 0, reason, "", now.truncated());
    told.observed_generation = budget.metadata.generation;
    set_condition(&mut status.conditions, told);
    Ok(status)
}

/// Nothing may be evicted as long as nobody knows how many pods there are to be.
fn unknown(budget: &PodDisruptionBudget, why: &str, now: Time) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone();
    status.disruptions_allowed.0 = 0;
    status.observed_generation = budget.metadata.generation;
    let mut told = Condition::new("DisruptionAllowed", false, "SyncFailed", why, now.truncated());
    told.observed_generation = budget.metadata.generation;
    set_condition(&mut status.conditions, told);
    status
}

/// How many pods there are to be, and how many of them must be healthy.
fn expected(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], world: &World) -> Result<(i32, i32), String> {
    let there = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    match (&budget.spec.min_available, &budget.spec.max_unavailable) {
        (Some(IntOrString::Int(least)), _) => Ok((there, *least)),
        (Some(least), _) => {
            let expected = scale(pods, world)?;
            Ok((expected, least.scaled(expected, true).unwrap_or(expected)))
        }
        (None, Some(most)) => {
            let expected = scale(pods, world)?;
            Ok((expected, (expected - most.scaled(expected, true).unwrap_or(0)).max(0)))
        }
        // Neither bound: one must be healthy, as if that had been written.
        (None, None) => Ok((there, 1)),
    }
}

/// How many pods the controllers of these pods want in all.
fn scale(pods: &[&Arc<Pod>], world: &World) -> Result<i32, String> {
    let mut wanted: BTreeMap<Key, i32> = BTreeMap::new();
    for pod in pods {
        let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let owner = pod.metadata.controller().ok_or_else(|| format!("found no controller ref for pod {name:?}"))?;
        let of = |key: &Key| -> Option<(Key, i32)> {
            match key.kind {
                Kind::ReplicaSet => {
                    let set = world.get::<ReplicaSet>(&key.namespace, &key.name)?;
                    let above = set.metadata.controller().and_then(|owner| world.by_uid(&owner.uid));
                    match above.filter(|key| key.kind == Kind::Deployment) {
                        Some(key) => {
                            let deployment = world.get::<Deployment>(&key.namespace, &key.name)?;
                            Some((key.clone(), deployment.replicas()))
                        }
                        None => Some((key.clone(), set.replicas())),
                    }
                }
                Kind::StatefulSet => {
                    Some((key.clone(), world.get::<StatefulSet>(&key.namespace, &key.name)?.replicas()))
                }
                _ => None,
            }
        };
        // A controller that is gone counts for nothing; one without a number cannot be counted.
        match world.by_uid(&owner.uid) {
            None => {}
            Some(key) => {
                let (key, replicas) = of(key).ok_or_else(|| {
                    format!(
                        "pod {name:?} is managed by a {}, which has no scale: give minAvailable as a number instead",
                        owner.kind
                    )
                })?;
                wanted.insert(key, replicas);
            }
        }
    }
    Ok(wanted.values().fold(0, |sum, replicas| sum.saturating_add(*replicas)))
}

/// The pods whose eviction has been allowed but has not begun yet.
fn disrupted(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], now: Time, outcome: &mut Outcome) -> Map<Time> {
    let told: &Map<Time> = &budget.status.disrupted_pods;
    let mut left: Vec<(Str, Time)> = Vec::new();
    for (name, since) in told.iter() {
        let there = pods.iter().any(|pod| pod.metadata.name == *name && pod.is_active());
        let end = since.after(EVICTION);
        if there && end > now {
            outcome.look_again(end.since(now));
            left.push((name.clone(), *since));
        }
    }
    left.into_iter().collect()
}
