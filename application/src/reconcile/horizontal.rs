//! The autoscaling controller: asks the autoscaler every 15 seconds how many replicas each workload should have, scales it,
//! and tells what it did. What pods use is read off the heartbeats of their nodes.
//! Source of the rules: Kubernetes `pkg/controller/podautoscaler/horizontal.go`.

use super::{Moment, Note, Outcome, Reconciler};
use crate::autoscaling::{HorizontalAutoScaler, remember};
use crate::client::{Part, Write};
use crate::driver::agent::LEASE_NAMESPACE;
use crate::driver::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::ports::{AutoScaler, Change, PodMetrics, ScaleDecision, ScaleHistory, ScaleQuestion};
use steersman_domain::usage::NodeUsage;
use steersman_domain::{
    AlwaysI32, Condition, CrossReference, Deployment, HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, Key,
    Kind, Lease, Object, Pod, ReplicaSet, Resource, StatefulSet, Str, Time, Uid,
};

/// How often each autoscaler is looked at, as in Kubernetes.
pub const SYNC: Duration = Duration::from_secs(15);

type Measured = Arc<BTreeMap<Uid, Arc<PodMetrics>>>;

/// The autoscaling controller.
pub struct Autoscalers {
    scaler: Arc<dyn AutoScaler>,
    sync: Duration,
    /// What was recommended and done, and when to look next by the monotonic clock.
    known: BTreeMap<Key, (ScaleHistory, Duration)>,
    /// What was read off the newest heartbeat of each node.
    usage: BTreeMap<Str, (Arc<Lease>, Measured)>,
}

impl std::fmt::Debug for Autoscalers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Autoscalers").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Default for Autoscalers {
    fn default() -> Self {
        Autoscalers::new(Arc::new(HorizontalAutoScaler), SYNC)
    }
}

impl Autoscalers {
    /// With an autoscaler of the host, which is asked every `sync`.
    pub fn new(scaler: Arc<dyn AutoScaler>, sync: Duration) -> Self {
        Autoscalers { scaler, sync, known: BTreeMap::new(), usage: BTreeMap::new() }
    }

    fn measured(&mut self, world: &World, node: &Str) -> Option<Measured> {
        let lease = world.get::<Lease>(LEASE_NAMESPACE, node)?;
        if let Some((known, measured)) = self.usage.get(node)
            && Arc::ptr_eq(known, lease)
        {
            return Some(measured.clone());
        }
        let usage = NodeUsage::of(lease)?;
        let (at, window) = (usage.at.0, usage.window());
        let metrics = |pod: steersman_domain::usage::PodUsage| {
            let containers = pod.containers.into_iter().map(|c| {
                let milli = i64::try_from(c.cpu_nano_cores.div_ceil(1_000_000)).unwrap_or(i64::MAX);
                (c.name, milli, c.memory_bytes.and_then(|bytes| i64::try_from(bytes).ok()))
            });
            (pod.uid, Arc::new(PodMetrics { at, window, containers: containers.collect() }))
        };
        let measured: Measured = Arc::new(usage.pods.into_iter().map(metrics).collect());
        self.usage.insert(node.clone(), (lease.clone(), measured.clone()));
        Some(measured)
    }

    /// What was measured of each pod.
    fn metrics(&mut self, world: &World, pods: &[Arc<Pod>]) -> Vec<Option<Arc<PodMetrics>>> {
        let of = |pod: &Arc<Pod>| {
            let node = Some(&pod.spec.node_name).filter(|node| !node.is_empty())?;
            self.measured(world, node)?.get(&pod.metadata.uid).cloned()
        };
        pods.iter().map(of).collect()
    }
}

impl Reconciler for Autoscalers {
    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    fn triggers(&self, change: &Change, _: &World) -> Vec<Key> {
        let key = change.key();
        if key.kind == Kind::HorizontalPodAutoscaler { vec![key.clone()] } else { Vec::new() }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        world.all::<HorizontalPodAutoscaler>().map(|autoscaler| autoscaler.key()).collect()
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(autoscaler) = world.get::<HorizontalPodAutoscaler>(&key.namespace, &key.name) else {
            self.known.remove(key);
            return Outcome::default();
        };
        let (history, due) = self.known.get(key).cloned().unwrap_or_default();
        let is_new = autoscaler.status.observed_generation != Some(autoscaler.metadata.generation);
        if now.monotonic < due && !is_new {
            return Outcome { requeue_after: Some(due - now.monotonic), ..Outcome::default() };
        }
        let mut outcome = Outcome { requeue_after: Some(self.sync), ..Outcome::default() };
        let next = match target(world, &key.namespace, &autoscaler.spec.scale_target_ref) {
            Ok(target) => {
                let metrics = self.metrics(world, &target.pods);
                let question = ScaleQuestion {
                    autoscaler,
                    spec_replicas: target.spec_replicas,
                    status_replicas: target.status_replicas,
                    pods: &target.pods,
                    metrics: &metrics,
                    history: &history,
                    now: now.time,
                };
                let decision = self.scaler.decide(&question);
                let scales = decision.replicas.is_some_and(|replicas| replicas != target.spec_replicas);
                let next = remember(&question, &decision, scales);
                act(autoscaler, &target, decision, (&mut outcome, now.time));
                next
            }
            Err(why) => {
                lost(autoscaler, &why, (&mut outcome, now.time));
                history
            }
        };
        self.known.insert(key.clone(), (next, now.monotonic + self.sync));
        outcome
    }
}

/// What is scaled.
struct Target {
    object: Object,
    spec_replicas: i32,
    status_replicas: i32,
    pods: Vec<Arc<Pod>>,
}

fn target(world: &World, namespace: &str, to: &CrossReference) -> Result<Target, String> {
    let pods_of = |uid: &Uid| world.controlled::<Pod>(uid).cloned().collect::<Vec<_>>();
    let gone = |plural: &str| format!("{plural} {:?} not found", to.name);
    match to.kind.as_str() {
        "Deployment" => {
            let found = world.get::<Deployment>(namespace, &to.name).ok_or_else(|| gone("deployments.apps"))?;
            let sets = world.controlled::<ReplicaSet>(&found.metadata.uid);
            Ok(Target {
                object: Object::Deployment(found.clone()),
                spec_replicas: found.spec.replicas.unwrap_or(1),
                status_replicas: found.status.replicas,
                pods: sets.flat_map(|set| pods_of(&set.metadata.uid)).collect(),
            })
        }
        "ReplicaSet" => {
            let found = world.get::<ReplicaSet>(namespace, &to.name).ok_or_else(|| gone("replicasets.apps"))?;
            Ok(Target {
                object: Object::ReplicaSet(found.clone()),
                spec_replicas: found.spec.replicas.unwrap_or(1),
                status_replicas: found.status.replicas.0,
                pods: pods_of(&found.metadata.uid),
            })
        }
        "StatefulSet" => {
            let found = world.get::<StatefulSet>(namespace, &to.name).ok_or_else(|| gone("statefulsets.apps"))?;
            Ok(Target {
                object: Object::StatefulSet(found.clone()),
                spec_replicas: found.spec.replicas.unwrap_or(1),
                status_replicas: found.status.replicas.0,
                pods: pods_of(&found.metadata.uid),
            })
        }
        kind => Err(format!("a {kind} cannot be scaled: use a Deployment, a ReplicaSet or a StatefulSet")),
    }
}

fn scaled(object: &Object, replicas: i32) -> Object {
    match object {
        Object::Deployment(old) => {
            let mut new = Deployment::clone(old);
            new.spec.replicas = Some(replicas);
            Object::Deployment(Arc::new(new))
        }
        Object::ReplicaSet(old) => {
            let mut new = ReplicaSet::clone(old);
            new.spec.replicas = Some(replicas);
            Object::ReplicaSet(Arc::new(new))
        }
        Object::StatefulSet(old) => {
            let mut new = StatefulSet::clone(old);
            new.spec.replicas = Some(replicas);
            Object::StatefulSet(Arc::new(new))
        }
        other => other.clone(),
    }
}

fn note(autoscaler: &HorizontalPodAutoscaler, is_warning: bool, reason: &'static str, message: String) -> Note {
    Note { about: autoscaler.key(), uid: autoscaler.metadata.uid.clone(), is_warning, reason, message }
}

/// Scales, and tells what came of it.
fn act(
    autoscaler: &HorizontalPodAutoscaler,
    target: &Target,
    decision: ScaleDecision,
    (outcome, now): (&mut Outcome, Time),
) {
    let mut status = autoscaler.status.clone();
    let mut conditions = vec![(
        "AbleToScale",
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale".to_owned(),
    )];
    conditions.extend(decision.conditions);
    let desired = decision.replicas.unwrap_or(target.spec_replicas);
    if desired == target.spec_replicas {
        outcome.why.push(format!("{desired} replicas stay: {}", said(&conditions)));
    } else {
        let message = format!("New size: {desired}; reason: {}", decision.reason);
        outcome.why.push(message.clone());
        let write = Write::Update(scaled(&target.object, desired), Part::Main);
        outcome.write_noting(write, note(autoscaler, false, "SuccessfulRescale", message));
        let able = format!("the HPA controller was able to update the target scale to {desired}");
        conditions.push(("AbleToScale", true, "SucceededRescale", able));
        status.last_scale_time = Some(now);
    }
    for (reason, message) in decision.failures {
        outcome.why.push(format!("{reason}: {message}"));
        outcome.notes.push(note(autoscaler, true, reason, message));
    }
    status.current_metrics = decision.current;
    status.current_replicas = target.status_replicas;
    status.desired_replicas = AlwaysI32(desired);
    write_status(autoscaler, status, conditions, (outcome, now));
}

fn said(conditions: &[(&'static str, bool, &'static str, String)]) -> String {
    let last = conditions.iter().rfind(|c| c.0 != "ScalingLimited" || c.1);
    last.map_or_else(String::new, |(_, _, reason, message)| format!("{reason}: {message}"))
}

/// The target cannot be scaled.
fn lost(autoscaler: &HorizontalPodAutoscaler, why: &str, (outcome, now): (&mut Outcome, Time)) {
    outcome.why.push(format!("FailedGetScale: {why}"));
    outcome.notes.push(note(autoscaler, true, "FailedGetScale", why.to_owned()));
    let message = format!("the HPA controller was unable to get the target's current scale: {why}");
    let conditions = vec![("AbleToScale", false, "FailedGetScale", message)];
    write_status(autoscaler, autoscaler.status.clone(), conditions, (outcome, now));
}

fn write_status(
    autoscaler: &HorizontalPodAutoscaler,
    mut status: HorizontalPodAutoscalerStatus,
    conditions: Vec<(&'static str, bool, &'static str, String)>,
    (outcome, now): (&mut Outcome, Time),
) {
    status.observed_generation = Some(autoscaler.metadata.generation);
    for (kind, value, reason, message) in conditions {
        set_condition(&mut status.conditions, Condition::new(kind, value, reason, message, now));
    }
    if status != autoscaler.status {
        let mut changed = HorizontalPodAutoscaler::clone(autoscaler);
        changed.status = status;
        outcome.writes.push(Write::Update(Object::HorizontalPodAutoscaler(Arc::new(changed)), Part::Status));
    }
}
