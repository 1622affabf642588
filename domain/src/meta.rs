//! What every object has: names, uids, labels, owners, finalizers, conditions; and the label selector as objects hold it.

use crate::entity::{Omit, entity};
use crate::{Map, Revision, Str, Time};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The unique id of an object for all time: a UUID in its text form.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub Str);

impl Uid {
    /// A version 4 UUID out of 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        let b = (bits & !(0xf000_u128 << 64) & !(0xc000_u128 << 48)) | (0x4000_u128 << 64) | (0x8000_u128 << 48);
        let part = |shift: u32, mask: u128| (b >> shift) & mask;
        Uid(smol_str::format_smolstr!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 0xffff_ffff),
            part(80, 0xffff),
            part(64, 0xffff),
            part(48, 0xffff),
            part(0, 0xffff_ffff_ffff)
        ))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Uid(text.into())
    }
}

impl Omit for Uid {
    fn omit(&self) -> bool {
        self.0.is_empty()
    }
}

entity! {
    /// The metadata of an object.
    pub struct ObjectMeta {
        name: Str = "name",
        /// The prefix of a name that the server completes.
        generate_name: Str = "generateName",
        namespace: Str = "namespace",
        uid: Uid = "uid",
        /// The global revision of the last change; 0 in an object that was never stored.
        resource_version: Revision = "resourceVersion",
        /// Counts changes of the desired state, from 1.
        generation: i64 = "generation",
        creation_timestamp: Option<Time> = "creationTimestamp",
        /// When the object will be gone at the latest (request time plus grace). Set means: being deleted.
        deletion_timestamp: Option<Time> = "deletionTimestamp",
        deletion_grace_period_seconds: Option<i64> = "deletionGracePeriodSeconds",
        labels: Map<Str> = "labels",
        annotations: Map<Str> = "annotations",
        owner_references: Vec<OwnerReference> = "ownerReferences",
        finalizers: Vec<Str> = "finalizers",
    }

    /// A reference from a dependent to its owner in the same namespace (or to a cluster-scoped owner).
    pub struct OwnerReference {
        api_version: Str = "apiVersion",
        kind: Str = "kind",
        name: Str = "name",
        uid: Uid = "uid",
        /// Whether this owner manages the dependent; at most one does.
        controller: Option<bool> = "controller",
        block_owner_deletion: Option<bool> = "blockOwnerDeletion",
    }

    /// One observed aspect of an object's state.
    pub struct Condition {
        kind: Str = "type",
        /// `True`, `False` or `Unknown`.
        status: Str = "status",
        observed_generation: i64 = "observedGeneration",
        last_heartbeat_time: Option<Time> = "lastHeartbeatTime",
        last_probe_time: Option<Time> = "lastProbeTime",
        last_update_time: Option<Time> = "lastUpdateTime",
        last_transition_time: Option<Time> = "lastTransitionTime",
        /// One word in CamelCase.
        reason: Str = "reason",
        message: Str = "message",
    }

    /// A query over labels: all of `matchLabels` and all of `matchExpressions`.
    pub struct LabelSelector {
        match_labels: Map<Str> = "matchLabels",
        match_expressions: Vec<LabelSelectorRequirement> = "matchExpressions",
    }

    /// One requirement of a label selector.
    pub struct LabelSelectorRequirement {
        key: Str = "key",
        /// `In`, `NotIn`, `Exists` or `DoesNotExist` (for node selectors also `Gt` and `Lt`).
        operator: Str = "operator",
        values: Vec<Str> = "values",
    }
}

impl ObjectMeta {
    /// The reference of the owner that manages this object.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }

    /// Whether deletion has been asked for.
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// Whether `finalizer` still holds the object.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|f| f == finalizer)
    }
}

impl Condition {
    /// A condition that became `status` at `now`.
    pub fn new(kind: &str, status: bool, reason: &str, message: impl Into<Str>, now: Time) -> Self {
        Condition {
            kind: kind.into(),
            status: if status { "True" } else { "False" }.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: Some(now),
            ..Condition::default()
        }
    }

    /// Whether the status is `True`.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// The condition of a type in a list.
pub fn condition<'a>(list: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    list.iter().find(|c| c.kind == kind)
}

/// Sets a condition in a list. The transition time moves only when the status does; returns whether anything changed.
pub fn set_condition(list: &mut Vec<Condition>, mut new: Condition) -> bool {
    match list.iter_mut().find(|c| c.kind == new.kind) {
        None => {
            list.push(new);
            true
        }
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time;
            }
            let same = old.status == new.status
                && old.reason == new.reason
                && old.message == new.message
                && old.observed_generation == new.observed_generation;
            if !same {
                *old = new;
            }
            !same
        }
    }
}
