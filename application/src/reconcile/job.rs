//! The Job controller: runs pods until enough of them have succeeded, or too many have failed. Each pod that ends is counted
//! exactly once, whenever and by whomever it is deleted: a finalizer keeps it until the status has noted it.
//! Source of the algorithm: Kubernetes `pkg/controller/job`.

mod backoff;
mod end;
mod failure;
mod pods;
mod status;
mod tally;
#[cfg(test)]
mod tests;

use super::pod_names::Names;
use super::replica_set::{is_gone, sides};
use super::{Moment, Note, Outcome, Reconciler};
use crate::client::{ApiError, DeleteOptions, Part, Write};
use crate::driver::world::World;
use end::Verdict;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::ports::Change;
use steersman_domain::{JOB_TRACKING, Job, Key, Kind, Namespace, Object, Pod, Resource, Uid};
use tally::Tally;

/// Pods created or deleted for one Job in one pass at most: the rest follows in the next.
const BURST: usize = 500;
/// The controller that `managedBy` may name without handing the Job to another one.
const SELF: &str = "kubernetes.io/job-controller";

/// What is remembered of a Job between passes. Losing it costs a name used twice at different times.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: Uid,
    names: Names,
    /// Why its last creations were refused.
    refusal: Option<String>,
}

/// The Job controller.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    memory: BTreeMap<Key, Memory>,
}

impl Reconciler for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn triggers(&self, change: &Change, _: &World) -> Vec<Key> {
        match change.key().kind {
            Kind::Job => vec![change.key().clone()],
            Kind::Pod => sides(change).filter_map(|pod| owner(pod)).collect(),
            _ => Vec::new(),
        }
    }

    fn all(&self, world: &World) -> Vec<Key> {
        let mut keys: Vec<Key> = world.all::<Job>().map(|job| job.key()).collect();
        // Pods whose Job went while nobody looked are still held.
        keys.extend(world.all::<Pod>().filter(|pod| pod.metadata.has_finalizer(JOB_TRACKING)).filter_map(|p| owner(p)));
        keys.sort();
        keys.dedup();
        keys
    }

    fn reconcile(&mut self, world: &World, key: &Key, now: Moment) -> Outcome {
        let Some(job) = world.get::<Job>(&key.namespace, &key.name) else {
            self.memory.remove(key);
            return orphans(world, key);
        };
        if !job.spec.managed_by.is_empty() && job.spec.managed_by != SELF {
            return explained(&format!("it is managed by {}", job.spec.managed_by));
        }
        let memory = self.memory.entry(key.clone()).or_default();
        if memory.uid != job.metadata.uid {
            *memory = Memory { uid: job.metadata.uid.clone(), ..Memory::default() };
        }
        if let Some(end) = job.finished() {
            return finished(job, end.last_transition_time, world, now);
        }
        Work { job, key, world, now }.sync(memory)
    }

    fn answered(&mut self, key: &Key, refusal: Option<&ApiError>) {
        if let Some(memory) = self.memory.get_mut(key) {
            memory.refusal = refusal.map(ToString::to_string);
        }
    }
}

/// The Job that manages a pod, be it there or not.
fn owner(pod: &Pod) -> Option<Key> {
    let owner = pod.metadata.controller().filter(|owner| owner.kind == "Job")?;
    Some(Key { kind: Kind::Job, namespace: pod.metadata.namespace.clone(), name: owner.name.clone() })
}

fn explained(why: &str) -> Outcome {
    Outcome { why: vec![why.to_owned()], ..Outcome::default() }
}

/// Lets a pod go.
fn release(pod: &Pod) -> Write {
    let mut released = pod.clone();
    released.metadata.finalizers.retain(|f| f != JOB_TRACKING);
    Write::Update(Object::Pod(Arc::new(released)), Part::Main)
}

fn is_held(pod: &Pod) -> bool {
    pod.metadata.has_finalizer(JOB_TRACKING)
}

/// Pods of a Job that is gone need not be counted.
fn orphans(world: &World, key: &Key) -> Outcome {
    let mut outcome = Outcome::default();
    for pod in world.in_namespace::<Pod>(&key.namespace) {
        let owner = pod.metadata.controller().filter(|o| o.kind == "Job" && o.name == key.name);
        if is_held(pod) && owner.is_some_and(|o| world.by_uid(&o.uid).is_none()) {
            outcome.why.push(format!("its pod {} is let go", pod.metadata.name));
            outcome.writes.push(release(pod));
        }
    }
    outcome
}

/// A Job that is over: its pods are let go, and in the end it is deleted if it asks for that.
fn finished(job: &Arc<Job>, ended: Option<steersman_domain::Time>, world: &World, now: Moment) -> Outcome {
    let mut outcome = explained("it is over");
    let held = world.controlled::<Pod>(&job.metadata.uid).filter(|pod| is_held(pod));
    outcome.writes.extend(held.map(|pod| release(pod)));
    let Some(ttl) = job.spec.ttl_seconds_after_finished.filter(|_| !job.metadata.is_deleting()) else { return outcome };
    let due = ended.unwrap_or(now.time).after(Duration::from_secs(u64::try_from(ttl).unwrap_or(0)));
    if due > now.time {
        outcome.why.push(format!("it is deleted {ttl} s after its end"));
        outcome.look_again(due.since(now.time));
    } else {
        let options = DeleteOptions {
            uid: Some(job.metadata.uid.clone()),
            resource_version: Some(job.metadata.resource_version),
            ..DeleteOptions::default()
        };
        outcome.why.push(format!("{ttl} s have passed since its end: it is deleted"));
        outcome.writes.push(Write::Delete(job.key(), options));
    }
    outcome
}

/// What a decision about a Job looks at.
struct Work<'a> {
    job: &'a Arc<Job>,
    key: &'a Key,
    world: &'a World,
    now: Moment,
}

impl Work<'_> {
    fn sync(&self, memory: &mut Memory) -> Outcome {
        let mut outcome = Outcome::default();
        let mut tally = Tally::of(self.job, self.world);
        outcome.writes.extend(tally.to_release.iter().map(|pod| release(pod)));
        let verdict = end::verdict(self.job, &tally, self.now, &mut outcome);
        if !self.job.metadata.is_deleting() {
            match &verdict {
                Verdict::Fails(_) => self.end_all(&mut tally, false, &mut outcome),
                Verdict::Succeeds(_) => self.end_all(&mut tally, true, &mut outcome),
                Verdict::GoesOn if self.job.is_suspended() => self.end_all(&mut tally, true, &mut outcome),
                Verdict::GoesOn => self.manage(memory, &mut tally, &mut outcome),
            }
        }
        status::report(self, &tally, &verdict, &mut outcome);
        outcome
    }

    /// Ends all pods that run. Those of a Job that has what it wants are not counted as failures.
    fn end_all(&self, tally: &mut Tally<'_>, uncounted: bool, outcome: &mut Outcome) {
        let pods = std::mem::take(&mut tally.active);
        for pod in pods.into_iter().take(BURST) {
            self.end(pod, uncounted, outcome);
            tally.terminating += 1;
        }
    }

    fn end(&self, pod: &Pod, uncounted: bool, outcome: &mut Outcome) {
        if uncounted && is_held(pod) {
            outcome.writes.push(release(pod));
        }
        let options = DeleteOptions { uid: Some(pod.metadata.uid.clone()), ..DeleteOptions::default() };
        let note = self.note(false, "SuccessfulDelete", format!("Deleted pod: {}", pod.metadata.name));
        outcome.write_noting(Write::Delete(pod.key(), options), note);
    }

    /// Creates or deletes, so that as many pods run as are wanted.
    fn manage(&self, memory: &mut Memory, tally: &mut Tally<'_>, outcome: &mut Outcome) {
        memory.names.seen(self.world, &self.key.namespace);
        let surplus = tally.surplus(self.job);
        if !surplus.is_empty() {
            outcome.why.push(format!("{} pods are too many: they end", surplus.len()));
            for pod in surplus.into_iter().take(BURST) {
                self.end(pod, true, outcome);
                tally.active.retain(|p| p.metadata.uid != pod.metadata.uid);
                tally.terminating += 1;
            }
            return;
        }
        let missing = tally.missing(self.job);
        let running = tally.active.len();
        if missing == 0 {
            memory.refusal = None;
            outcome
                .why
                .push(format!("{running} pods run, {} have succeeded, {} failed", tally.succeeded, tally.failed));
            return;
        }
        if self.job.metadata.controller().is_some_and(|owner| is_gone(owner, self.world)) {
            outcome.why.push("its owner is gone: it waits to be deleted".into());
            return;
        }
        if self.world.get::<Namespace>("", &self.key.namespace).is_some_and(|n| n.is_terminating()) {
            outcome.why.push(format!("{missing} pods are missing, but the namespace is terminating"));
            return;
        }
        // After a refusal one pod finds out whether the cause is gone.
        let most = if memory.refusal.is_some() { 1 } else { missing.min(BURST) };
        let made = pods::missing(self, &mut memory.names, tally, most, outcome);
        if !made.is_empty() {
            outcome.why.push(format!("{missing} pods are missing: creates {}", made.len()));
        }
        for pod in made {
            let note = self.note(false, "SuccessfulCreate", format!("Created pod: {}", pod.metadata.name));
            outcome.write_noting(Write::Create(Object::Pod(Arc::new(pod))), note);
        }
    }

    fn note(&self, is_warning: bool, reason: &'static str, message: String) -> Note {
        Note { about: self.key.clone(), uid: self.job.metadata.uid.clone(), is_warning, reason, message }
    }
}
