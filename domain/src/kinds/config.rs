//! Namespaces and the configuration that pods read: ConfigMap, Secret, ServiceAccount, RuntimeClass.

use crate::entity::entity;
use crate::{Condition, Kind, Map, ObjectMeta, Quantity, Str};

entity! {
    /// A namespace. It is gone when every object in it is.
    pub struct Namespace[Kind::Namespace] {
        metadata: ObjectMeta = "metadata",
        spec: NamespaceSpec = "spec",
        status: NamespaceStatus = "status",
    }

    /// What holds a namespace back from being removed.
    pub struct NamespaceSpec {
        finalizers: Vec<Str> = "finalizers",
    }

    /// `Active` or `Terminating`.
    pub struct NamespaceStatus {
        phase: Str = "phase",
        conditions: Vec<Condition> = "conditions",
    }

    /// Configuration as text and bytes (base64 in JSON) by key.
    pub struct ConfigMap[Kind::ConfigMap] {
        metadata: ObjectMeta = "metadata",
        data: Map<Str> = "data",
        /// Base64 by key.
        binary_data: Map<Str> = "binaryData",
        /// When true, data may no longer change.
        immutable: Option<bool> = "immutable",
    }

    /// Confidential configuration: base64 by key.
    pub struct Secret[Kind::Secret] {
        metadata: ObjectMeta = "metadata",
        data: Map<Str> = "data",
        /// Plain text that the server moves into `data`; never read back.
        string_data: Map<Str> = "stringData",
        kind: Str = "type",
        immutable: Option<bool> = "immutable",
    }

    /// An identity for pods.
    pub struct ServiceAccount[Kind::ServiceAccount] {
        metadata: ObjectMeta = "metadata",
    }

    /// Names a runtime (`handler`): `task`, `process`, `container` or `simulated`.
    pub struct RuntimeClass[Kind::RuntimeClass] {
        metadata: ObjectMeta = "metadata",
        handler: Str = "handler",
        scheduling: Option<RuntimeClassScheduling> = "scheduling",
        overhead: Option<Overhead> = "overhead",
    }

    /// What the runtime itself takes for each pod, beside its containers.
    pub struct Overhead {
        pod_fixed: Map<Quantity> = "podFixed",
    }

    /// Where pods of a runtime class may run.
    pub struct RuntimeClassScheduling {
        node_selector: Map<Str> = "nodeSelector",
        tolerations: Vec<crate::Toleration> = "tolerations",
    }
}

impl Namespace {
    /// Whether new objects are refused because the namespace is being removed.
    pub fn is_terminating(&self) -> bool {
        self.metadata.is_deleting() || self.status.phase == "Terminating"
    }
}
