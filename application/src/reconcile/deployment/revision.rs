//! Revisions: the name and the annotations of ReplicaSets, by which `kubectl rollout history` and `undo` find their way.

use super::conditions::{self, CREATE_ERROR, NEW_SET_CREATED, NEW_SET_FOUND, PROGRESSING};
use super::sets::Set;
use super::{Rollout, bounds};
use crate::reconcile::claims::controller_reference;
use std::sync::Arc;
use steersman_domain::{Deployment, ObjectMeta, PodTemplateSpec, ReplicaSet, Str, meta, names};

/// The label that tells the pods of one template from those of another.
pub(super) const HASH: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that mean nothing on its ReplicaSets.
const NOT_COPIED: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
    "deprecated.daemonset.template.generation",
];
/// Bytes of the list of former revisions; the oldest are dropped first.
const MAX_HISTORY: usize = 2000;

/// Whether two templates are equal but for the hash.
pub(super) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let labels = |t: &PodTemplateSpec| {
        let mut labels = t.metadata.labels.clone();
        labels.remove(HASH);
        labels
    };
    if a.spec != b.spec || labels(a) != labels(b) {
        return false;
    }
    let (mut a, mut b) = (a.metadata.clone(), b.metadata.clone());
    a.labels = Default::default();
    b.labels = Default::default();
    a == b
}

/// The hash of a template: 32-bit FNV-1a over its JSON, and over the number of collisions when there were any.
pub(in crate::reconcile) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    // A template has only text keys, so it can always be written.
    let json = serde_json::to_vec(template).unwrap_or_default();
    let salt = collisions.map(i32::to_le_bytes);
    let bytes = json.iter().chain(salt.iter().flatten());
    names::safe_encode(bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)))
}

/// The revision in the annotations; 0 when there is none.
pub(super) fn of(meta: &ObjectMeta) -> i64 {
    meta.annotations.get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// A count in the annotations.
pub(super) fn count(meta: &ObjectMeta, key: &str) -> Option<i32> {
    meta.annotations.get(key).and_then(|n| n.parse().ok())
}

/// Keeps what the Deployment wants now: its replicas, and the most pods there may be.
pub(super) fn set_replicas(meta: &mut ObjectMeta, wanted: i32, most: i32) {
    for (key, value) in [(DESIRED, wanted), (MOST, most)] {
        if count(meta, key) != Some(value) {
            meta.annotations.insert(key, value.to_string().into());
        }
    }
}

fn copy_annotations(from: &Deployment, to: &mut ObjectMeta) {
    for (key, value) in from.metadata.annotations.iter() {
        if !NOT_COPIED.contains(&key.as_str()) {
            to.annotations.insert(key.clone(), value.clone());
        }
    }
}

/// Makes the set the newest; a revision that it had before goes into its history.
fn set_revision(meta: &mut ObjectMeta, new: i64) {
    let old = of(meta);
    let had = meta.annotations.get(REVISION).cloned();
    if had.as_ref().is_some_and(|text| text.parse::<i64>().is_err() && !text.is_empty()) || old >= new {
        return;
    }
    meta.annotations.insert(REVISION, new.to_string().into());
    if let Some(old) = had {
        let history = meta.annotations.get(HISTORY).cloned().unwrap_or_default();
        let mut list: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
        list.push(&old);
        while list.iter().map(|r| r.len() + 1).sum::<usize>() > MAX_HISTORY + 1 {
            list.remove(0);
        }
        meta.annotations.insert(HISTORY, list.join(",").into());
    }
}

impl Rollout<'_> {
    /// The revision that the new set has or is to have.
    fn new_revision(&self) -> i64 {
        self.old().into_iter().map(|at| of(&self.sets[at].now.metadata)).max().unwrap_or(0).saturating_add(1)
    }

    /// Brings an existing new set up to date: annotations, revision, minimum time of readiness.
    pub(super) fn take_new(&mut self) {
        let (Some(at), new_revision) = (self.new, self.new_revision()) else { return };
        let set = &mut self.sets[at].now;
        copy_annotations(&self.deployment, &mut set.metadata);
        set_revision(&mut set.metadata, new_revision);
        set.spec.min_ready_seconds = self.deployment.spec.min_ready_seconds;
        let (name, revision) = (set.metadata.name.clone(), set.metadata.annotations.get(REVISION).cloned());
        self.deployment_revision(revision.unwrap_or_default());
        let list = &mut self.deployment.status.conditions;
        if conditions::progress_deadline(self.before).is_some() && meta::condition(list, PROGRESSING).is_none() {
            let message = format!("Found new replica set {name:?}");
            conditions::set(list, conditions::new(PROGRESSING, "True", NEW_SET_FOUND, message, self.now));
        }
    }

    fn deployment_revision(&mut self, revision: Str) {
        let annotations = &mut self.deployment.metadata.annotations;
        if annotations.get(REVISION) != Some(&revision) {
            annotations.insert(REVISION, revision);
        }
    }

    /// The new set, created when there is none. `None` when its name is taken by another template: the count of
    /// collisions goes up, which gives another name next time.
    pub(super) fn ensure_new(&mut self) -> Option<usize> {
        if self.new.is_some() {
            self.take_new();
            return self.new;
        }
        let hash = hash(&self.deployment.spec.template, self.deployment.status.collision_count);
        let (name, namespace) = (format!("{}-{hash}", self.before.metadata.name), &self.before.metadata.namespace);
        if self.world.get::<ReplicaSet>(namespace, &name).is_some() {
            let count = self.deployment.status.collision_count.unwrap_or(0).saturating_add(1);
            self.deployment.status.collision_count = Some(count);
            self.why(format!("the name {name} is taken by another ReplicaSet: another name is tried"));
            return None;
        }
        let revision = self.new_revision();
        let mut set = new_set(self.before, &hash, name.as_str().into());
        copy_annotations(&self.deployment, &mut set.metadata);
        set_revision(&mut set.metadata, revision);
        self.sets.push(Set::to_create(set));
        let at = self.sets.len() - 1;
        self.new = Some(at);
        let replicas = self.new_replicas(at);
        self.why(format!("no ReplicaSet has the present template: creates {name} as revision {revision}"));
        self.scale_to(at, replicas);
        self.deployment_revision(revision.to_string().into());
        if conditions::progress_deadline(self.before).is_some() {
            let condition = match self.refusal {
                None => {
                    let message = format!("Created new replica set {name:?}");
                    conditions::new(PROGRESSING, "True", NEW_SET_CREATED, message, self.now)
                }
                Some(refusal) => {
                    let message = format!("Failed to create new replica set {name:?}: {refusal}");
                    conditions::new(PROGRESSING, "False", CREATE_ERROR, message, self.now)
                }
            };
            conditions::set(&mut self.deployment.status.conditions, condition);
        }
        Some(at)
    }
}

/// A ReplicaSet of the present template, without pods yet.
fn new_set(deployment: &Deployment, hash: &str, name: Str) -> ReplicaSet {
    let mut template = PodTemplateSpec::clone(&deployment.spec.template);
    template.metadata.labels.insert(HASH, hash.into());
    let mut set = ReplicaSet::default();
    set.metadata.name = name;
    set.metadata.namespace = deployment.metadata.namespace.clone();
    set.metadata.owner_references = vec![controller_reference(deployment)];
    set.metadata.labels = template.metadata.labels.clone();
    set.spec.replicas = Some(0);
    set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
    set.spec.selector = deployment.spec.selector.clone();
    set.spec.selector.match_labels.insert(HASH, hash.into());
    bounds_annotations(deployment, &mut set.metadata);
    set.spec.template = Arc::new(template);
    set
}

fn bounds_annotations(deployment: &Deployment, meta: &mut ObjectMeta) {
    set_replicas(meta, deployment.replicas(), bounds::max_total(deployment));
}
