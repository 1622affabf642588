//! The pods that a Job makes.

use super::tally::Tally;
use super::{Work, backoff};
use crate::reconcile::pod_names::Names;
use crate::reconcile::template::pod_of;
use crate::reconcile::{Outcome, fnv64};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::{
    EnvVar, EnvVarSource, JOB_COMPLETION_INDEX, JOB_INDEX_FAILURES, JOB_TRACKING, Job, ObjectFieldSelector, Pod, Str,
    names,
};

/// The variable that tells a program its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The pods that are missing, as far as no back-off holds them up.
pub(super) fn missing(
    work: &Work<'_>,
    names: &mut Names,
    tally: &Tally<'_>,
    most: usize,
    outcome: &mut Outcome,
) -> Vec<Pod> {
    let wait = backoff::of_job(work.job, tally, work.now.time);
    if wait > Duration::ZERO {
        outcome.why.push(format!("{} pods have failed: the next follows in {wait:?}", tally.failed));
        outcome.look_again(wait);
        return Vec::new();
    }
    if !work.job.is_indexed() {
        let names = names.offer(&work.job.metadata, work.world, most);
        return names.into_iter().map(|name| plain(work.job, name)).collect();
    }
    indexes(work, tally, most, outcome).into_iter().map(|index| indexed(work, tally, index)).collect()
}

/// The lowest indexes that nobody works on.
fn indexes(work: &Work<'_>, tally: &Tally<'_>, most: usize, outcome: &mut Outcome) -> Vec<i32> {
    let mut taken: BTreeSet<i32> = tally.active.iter().filter_map(|pod| pod.completion_index()).collect();
    if work.job.spec.pod_replacement_policy == "Failed" {
        let pods = work.world.controlled::<Pod>(&work.job.metadata.uid);
        taken.extend(
            pods.filter(|pod| pod.metadata.is_deleting() && !pod.is_terminal()).filter_map(|p| p.completion_index()),
        );
    }
    let mut free = Vec::new();
    for index in 0..work.job.spec.completions.unwrap_or(0) {
        if free.len() >= most {
            break;
        }
        if taken.contains(&index) || tally.is_settled(index) {
            continue;
        }
        match backoff::of_index(work.job, tally, index, work.now.time) {
            Duration::ZERO => free.push(index),
            wait => {
                outcome.why.push(format!("index {index} has failed: it is tried again in {wait:?}"));
                outcome.look_again(wait);
            }
        }
    }
    free
}

/// A pod of the Job's template, held until it has been counted.
fn plain(job: &Job, name: Str) -> Pod {
    let mut pod = pod_of(job, &job.spec.template, name);
    if !pod.metadata.has_finalizer(JOB_TRACKING) {
        pod.metadata.finalizers.push(Str::new_static(JOB_TRACKING));
    }
    pod
}

/// The pod of an index.
fn indexed(work: &Work<'_>, tally: &Tally<'_>, index: i32) -> Pod {
    let job = work.job;
    let prefix = format!("{}-{index}-", job.metadata.name);
    // The same name until the pod is seen, so that a creation that is repeated meets the pod.
    let name = (0_u64..)
        .map(|attempt| {
            let random = fnv64(&[job.metadata.uid.as_str(), &index.to_string(), &attempt.to_string()]);
            Str::from(names::generated(&prefix, &names::suffix(random)))
        })
        .find(|name| work.world.get::<Pod>(&job.metadata.namespace, name).is_none());
    let mut pod = plain(job, name.unwrap_or_default());
    pod.metadata.generate_name = prefix.into();
    let number = Str::from(index.to_string());
    pod.metadata.labels.insert(JOB_COMPLETION_INDEX, number.clone());
    pod.metadata.annotations.insert(JOB_COMPLETION_INDEX, number);
    if job.spec.backoff_limit_per_index.is_some() {
        let failures = tally.index_failures.get(&index).copied().unwrap_or(0);
        pod.metadata.annotations.insert(JOB_INDEX_FAILURES, failures.to_string().into());
    }
    if pod.spec.hostname.is_empty() {
        pod.spec.hostname = format!("{}-{index}", job.metadata.name).into();
    }
    for container in pod.spec.containers.iter_mut().chain(&mut pod.spec.init_containers) {
        if container.env.iter().all(|variable| variable.name != INDEX_VARIABLE) {
            Arc::make_mut(container).env.push(index_variable());
        }
    }
    pod
}

fn index_variable() -> EnvVar {
    let field_path = format!("metadata.annotations['{JOB_COMPLETION_INDEX}']").into();
    let field = ObjectFieldSelector { field_path, ..ObjectFieldSelector::default() };
    EnvVar {
        name: Str::new_static(INDEX_VARIABLE),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}
