//! The pods of a Job, counted. A pod that has ended is first noted in the status (by its uid, or for a success of an indexed
//! Job by its index), then let go, then added to the counts: so it counts once, whatever is repeated or lost.

use super::failure::{self, Meaning};
use super::is_held;
use crate::driver::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steersman_domain::indexes::Indexes;
use steersman_domain::{Job, Pod, PodPhase, Uid, UncountedTerminatedPods};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally<'a> {
    /// Pods that run or will, in name order.
    pub(super) active: Vec<&'a Arc<Pod>>,
    /// Pods that end, but have not ended.
    pub(super) terminating: usize,
    pub(super) ready: usize,
    /// Successes and failures in all, with those that are not in the counts yet.
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    /// The counts of the status as they will be.
    pub(super) counted: (i32, i32),
    pub(super) uncounted: UncountedTerminatedPods,
    pub(super) completed: Indexes,
    /// Indexes that will not be tried again; `None`: they have no limits of their own.
    pub(super) failed_indexes: Option<Indexes>,
    /// Failures so far of each index.
    pub(super) index_failures: BTreeMap<i32, i32>,
    /// Pods that have failed and count.
    pub(super) failures: Vec<&'a Arc<Pod>>,
    /// Pods that have succeeded.
    pub(super) successes: Vec<&'a Arc<Pod>>,
    /// The failure that ends the Job, in words.
    pub(super) fatal: Option<String>,
    /// Pods that the stored status has noted, or that are not to be counted.
    pub(super) to_release: Vec<&'a Arc<Pod>>,
}

/// How a pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Active,
    Terminating,
    Succeeded,
    Failed,
}

fn stand(job: &Job, pod: &Pod) -> Stand {
    match pod.status.phase {
        PodPhase::Succeeded => Stand::Succeeded,
        PodPhase::Failed => Stand::Failed,
        _ if !pod.metadata.is_deleting() => Stand::Active,
        // It is replaced, and so counted, at once; or only when it has ended.
        _ if is_held(pod) && job.spec.pod_replacement_policy != "Failed" => Stand::Failed,
        _ => Stand::Terminating,
    }
}

impl<'a> Tally<'a> {
    pub(super) fn of(job: &'a Job, world: &'a World) -> Self {
        let status = &job.status;
        let mut tally = Tally {
            counted: (status.succeeded, status.failed),
            completed: Indexes::parse(&status.completed_indexes).unwrap_or_default(),
            failed_indexes: job.spec.backoff_limit_per_index.map(|_| {
                status.failed_indexes.as_deref().and_then(|text| Indexes::parse(text).ok()).unwrap_or_default()
            }),
            ..Tally::default()
        };
        let noted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let mut held: BTreeSet<&Uid> = BTreeSet::new();
        let mut newly = (BTreeSet::new(), BTreeSet::new());
        for pod in world.controlled::<Pod>(&job.metadata.uid) {
            if is_held(pod) {
                held.insert(&pod.metadata.uid);
            }
            match stand(job, pod) {
                Stand::Active => {
                    tally.ready += usize::from(pod.is_ready());
                    tally.active.push(pod);
                }
                Stand::Terminating => tally.terminating += 1,
                Stand::Succeeded => tally.success(job, pod, &noted, &mut newly.0),
                Stand::Failed => {
                    tally.terminating += usize::from(!pod.is_terminal());
                    tally.failure(job, pod, &noted, &mut newly.1);
                }
            }
        }
        tally.sum(job, noted, &held, newly);
        tally.active.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        tally
    }

    fn success(&mut self, job: &Job, pod: &'a Arc<Pod>, noted: &UncountedTerminatedPods, newly: &mut BTreeSet<i32>) {
        self.successes.push(pod);
        if !is_held(pod) {
            return;
        }
        if job.is_indexed() {
            match pod.completion_index().filter(|index| *index < job.spec.completions.unwrap_or(0)) {
                Some(index) if self.completed.contains(index) => self.to_release.push(pod),
                Some(index) => drop(newly.insert(index)),
                // Its index is no longer asked for.
                None => self.to_release.push(pod),
            }
        } else if noted.succeeded.contains(&pod.metadata.uid) {
            self.to_release.push(pod);
        } else {
            self.uncounted.succeeded.push(pod.metadata.uid.clone());
        }
    }

    fn failure(&mut self, job: &Job, pod: &'a Arc<Pod>, noted: &UncountedTerminatedPods, newly: &mut BTreeSet<i32>) {
        let meaning = failure::meaning(job, pod);
        if meaning == Meaning::Ignored {
            if is_held(pod) {
                self.to_release.push(pod);
            }
            return;
        }
        self.failures.push(pod);
        if let Some(index) = pod.completion_index() {
            let before = failure::of_index_before(pod);
            let count = self.index_failures.entry(index).or_default();
            *count = (*count).max(before + 1);
            let limit = job.spec.backoff_limit_per_index.unwrap_or(i32::MAX);
            if meaning == Meaning::FailsIndex || before + 1 > limit {
                newly.insert(index);
            }
        }
        if !is_held(pod) {
            return;
        }
        if let Meaning::FailsJob(why) = meaning {
            self.fatal.get_or_insert(why);
        }
        if noted.failed.contains(&pod.metadata.uid) {
            self.to_release.push(pod);
        } else {
            self.uncounted.failed.push(pod.metadata.uid.clone());
        }
    }

    fn sum(
        &mut self,
        job: &Job,
        noted: UncountedTerminatedPods,
        held: &BTreeSet<&Uid>,
        (completed, failed): (BTreeSet<i32>, BTreeSet<i32>),
    ) {
        // Those that have been let go are in the counts from now on.
        for uid in noted.succeeded {
            match held.contains(&uid) {
                true => self.uncounted.succeeded.push(uid),
                false => self.counted.0 += 1,
            }
        }
        for uid in noted.failed {
            match held.contains(&uid) {
                true => self.uncounted.failed.push(uid),
                false => self.counted.1 += 1,
            }
        }
        self.uncounted.succeeded.sort();
        self.uncounted.failed.sort();
        let count = |uids: &[Uid]| i32::try_from(uids.len()).unwrap_or(i32::MAX);
        self.succeeded = self.counted.0 + count(&self.uncounted.succeeded);
        self.failed = self.counted.1 + count(&self.uncounted.failed);
        if job.is_indexed() {
            self.completed = self.completed.with(&completed).below(job.spec.completions.unwrap_or(0));
            self.succeeded = self.completed.len();
            self.counted.0 = self.succeeded;
        }
        let done = self.completed.clone();
        self.failed_indexes = self.failed_indexes.take().map(|indexes| {
            let failed = failed.into_iter().filter(|index| !done.contains(*index)).collect();
            indexes.with(&failed).below(job.spec.completions.unwrap_or(0))
        });
    }

    /// Whether everything that ended is in the counts.
    pub(super) fn is_complete(&self) -> bool {
        self.uncounted == UncountedTerminatedPods::default()
    }

    /// The index is done, for better or worse.
    pub(super) fn is_settled(&self, index: i32) -> bool {
        self.completed.contains(index) || self.failed_indexes.as_ref().is_some_and(|f| f.contains(index))
    }

    /// How many pods are to run.
    fn wanted(&self, job: &Job) -> usize {
        let parallelism = usize::try_from(job.parallelism()).unwrap_or(0);
        let Some(completions) = job.spec.completions else {
            // Once one has succeeded the others end by themselves.
            return if self.succeeded > 0 { self.active.len().min(parallelism) } else { parallelism };
        };
        let failed = self.failed_indexes.as_ref().map_or(0, Indexes::len);
        let left = completions.saturating_sub(self.succeeded).saturating_sub(failed);
        usize::try_from(left).unwrap_or(0).min(parallelism)
    }

    /// How many pods are to be created.
    pub(super) fn missing(&self, job: &Job) -> usize {
        let waits = if job.spec.pod_replacement_policy == "Failed" { self.terminating } else { 0 };
        self.wanted(job).saturating_sub(self.active.len() + waits)
    }

    /// The pods that are too many: those whose index another has or nobody asks for, then those that serve least.
    pub(super) fn surplus(&self, job: &Job) -> Vec<&'a Arc<Pod>> {
        let mut taken = BTreeSet::new();
        let completions = job.spec.completions.unwrap_or(0);
        let is_double = |pod: &&'a Arc<Pod>, taken: &mut BTreeSet<i32>| {
            job.is_indexed()
                && !pod
                    .completion_index()
                    .is_some_and(|index| index < completions && !self.is_settled(index) && taken.insert(index))
        };
        let mut first: Vec<&'a Arc<Pod>> = Vec::new();
        let mut rest: Vec<&'a Arc<Pod>> = Vec::new();
        for pod in &self.active {
            if is_double(pod, &mut taken) { first.push(pod) } else { rest.push(pod) }
        }
        let more = rest.len().saturating_sub(self.wanted(job));
        rest.sort_by_key(|pod| {
            let serves = (!pod.spec.node_name.is_empty(), pod.status.phase == PodPhase::Running, pod.is_ready());
            (serves, std::cmp::Reverse(pod.metadata.creation_timestamp), pod.metadata.name.clone())
        });
        first.extend(rest.into_iter().take(more));
        first
    }
}
