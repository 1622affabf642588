//! The revisions of a template, kept as `ControllerRevision` objects: what `kubectl rollout history` shows and `undo` goes
//! back to. Each holds the template as a patch of its owner.
//! Source of the form: Kubernetes `pkg/controller/history`.

use super::Outcome;
use super::claims::controller_reference;
use super::deployment::revision::hash;
use crate::client::{DeleteOptions, Part, Write};
use crate::driver::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use steersman_domain::{ControllerRevision, Object, PodTemplateSpec, REVISION_HASH, Resource, Shared, Str};

/// One template with its name.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    /// Of the object: `OWNER-HASH`.
    pub(super) name: Str,
    pub(super) hash: Str,
    pub(super) template: Shared<PodTemplateSpec>,
}

/// The revisions of an owner.
#[derive(Debug)]
pub(super) struct Revisions {
    /// That of the template as it is now.
    pub(super) update: Revision,
    /// All others, oldest first.
    others: Vec<Arc<ControllerRevision>>,
    /// How often a name was taken by another template.
    pub(super) collisions: Option<i32>,
}

impl Revisions {
    /// Finds the revision of the template, or makes it: the writes are added to the outcome.
    pub(super) fn of<T: Resource>(
        owner: &T,
        template: &Shared<PodTemplateSpec>,
        collisions: Option<i32>,
        world: &World,
        outcome: &mut Outcome,
    ) -> Self {
        let mut all: Vec<Arc<ControllerRevision>> =
            world.controlled::<ControllerRevision>(&owner.meta().uid).cloned().collect();
        all.sort_by(|a, b| (a.revision, &a.metadata.name).cmp(&(b.revision, &b.metadata.name)));
        let last = all.last().map_or(0, |revision| revision.revision);
        let known = all.iter().rposition(|revision| template_of(revision).is_some_and(|t| t == **template));
        if let Some(at) = known {
            let found = all.remove(at);
            if found.revision < last && !owner.meta().is_deleting() {
                let mut again = ControllerRevision::clone(&found);
                again.revision = last + 1;
                outcome.why.push(format!("revision {} is the template again", found.metadata.name));
                outcome.writes.push(Write::Update(Object::ControllerRevision(Arc::new(again)), Part::Main));
            }
            return Revisions { update: named(owner, &found, template), others: all, collisions };
        }
        let (made, collisions) = make(owner, template, (last + 1, collisions), world);
        let update = named(owner, &made, template);
        if !owner.meta().is_deleting() {
            outcome.why.push(format!("the template is new: revision {}", made.metadata.name));
            outcome.writes.push(Write::Create(Object::ControllerRevision(Arc::new(made))));
        }
        Revisions { update, others: all, collisions }
    }

    /// A revision by the name of its object.
    pub(super) fn named(&self, name: &str) -> Option<Revision> {
        if self.update.name == name {
            return Some(self.update.clone());
        }
        let found = self.others.iter().find(|revision| revision.metadata.name == name)?;
        let template = Arc::new(template_of(found)?);
        let hash = found.metadata.labels.get(REVISION_HASH).cloned().unwrap_or_default();
        Some(Revision { name: found.metadata.name.clone(), hash, template })
    }

    /// Deletes the oldest that nobody uses any more, beyond so many. `live` are names or hashes.
    pub(super) fn forget(&self, keep: Option<i32>, live: &BTreeSet<Str>, outcome: &mut Outcome) {
        let is_live = |revision: &ControllerRevision| {
            let hash = revision.metadata.labels.get(REVISION_HASH);
            live.contains(&revision.metadata.name) || hash.is_some_and(|hash| live.contains(hash))
        };
        let idle: Vec<_> = self.others.iter().filter(|revision| !is_live(revision)).collect();
        let surplus = idle.len().saturating_sub(usize::try_from(keep.unwrap_or(10)).unwrap_or(0));
        for revision in idle.into_iter().take(surplus) {
            let options = DeleteOptions { uid: Some(revision.metadata.uid.clone()), ..DeleteOptions::default() };
            outcome.writes.push(Write::Delete(revision.key(), options));
        }
    }
}

fn named<T: Resource>(owner: &T, revision: &ControllerRevision, template: &Shared<PodTemplateSpec>) -> Revision {
    let name = revision.metadata.name.clone();
    let hash = revision.metadata.labels.get(REVISION_HASH).cloned();
    let prefix = format!("{}-", owner.meta().name);
    let hash = hash.unwrap_or_else(|| name.strip_prefix(&prefix).unwrap_or(&name).into());
    Revision { name, hash, template: template.clone() }
}

/// A new revision under a name that is free.
fn make<T: Resource>(
    owner: &T,
    template: &Shared<PodTemplateSpec>,
    (number, mut collisions): (i64, Option<i32>),
    world: &World,
) -> (ControllerRevision, Option<i32>) {
    let meta = owner.meta();
    loop {
        let hash = hash(template, collisions);
        let name = Str::from(format!("{}-{hash}", meta.name));
        if world.get::<ControllerRevision>(&meta.namespace, &name).is_some() {
            collisions = Some(collisions.unwrap_or(0) + 1);
            continue;
        }
        let mut revision = ControllerRevision { revision: number, ..ControllerRevision::default() };
        revision.metadata.name = name;
        revision.metadata.namespace = meta.namespace.clone();
        revision.metadata.labels = template.metadata.labels.clone();
        revision.metadata.labels.insert(REVISION_HASH, hash.into());
        revision.metadata.annotations = meta.annotations.clone();
        revision.metadata.annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        revision.metadata.owner_references = vec![controller_reference(owner)];
        // A template has only text keys, so it can always be written.
        if let Ok(raw) = serde_json::value::to_raw_value(&data(template)) {
            revision.extra.insert("data", raw);
        }
        return (revision, collisions);
    }
}

/// The patch of the owner that brings the template back.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template that a revision holds.
fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut data: Value = serde_json::from_str(revision.extra.get("data")?).ok()?;
    let mut template = data.get_mut("spec")?.get_mut("template")?.take();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}
