//! Kinds, keys, revisions, and the sum of all objects that a store holds.

use crate::entity::{Omit, decode_message};
use crate::*;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What is known of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version in which objects are stored.
    pub version: &'static str,
    /// `group/version`, or the version alone for the core group.
    pub api_version: &'static str,
    /// The kind in CamelCase.
    pub kind: &'static str,
    /// As in paths: `pods`.
    pub plural: &'static str,
    /// As people say it: `pod`.
    pub singular: &'static str,
    /// As people abbreviate it: `po`.
    pub short_names: &'static [&'static str],
    /// Groups that people may ask for: `all`.
    pub categories: &'static [&'static str],
    /// Whether objects are in a namespace.
    pub namespaced: bool,
    /// Whether the API serves the kind; ledgers are internal.
    pub served: bool,
}

macro_rules! kinds {
    ($($kind:ident => $group:literal $version:literal $api:literal $plural:literal $singular:literal
        [$($short:literal),*] [$($category:literal),*] $namespaced:literal $served:literal;)*) => {
        /// The kind of an object. The order is the order of creation in a file that holds several kinds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(#[doc = concat!("`", $plural, "` of `", $api, "`.")] $kind,)* }

        impl Kind {
            /// Every kind, in order.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// What is known of the kind.
            pub const fn info(self) -> &'static KindInfo {
                match self { $(Kind::$kind => &KindInfo {
                    group: $group, version: $version, api_version: $api, kind: stringify!($kind), plural: $plural,
                    singular: $singular, short_names: &[$($short),*], categories: &[$($category),*],
                    namespaced: $namespaced, served: $served,
                },)* }
            }
        }

        /// An object of any kind, shared and immutable.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $(#[allow(missing_docs)] $kind(Arc<$kind>),)* }

        impl Object {
            /// The kind of the object.
            pub const fn kind(&self) -> Kind {
                match self { $(Object::$kind(_) => Kind::$kind,)* }
            }

            /// Its metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self { $(Object::$kind(o) => &o.metadata,)* }
            }

            /// Its metadata, to be changed; copies the object first if it is shared.
            pub fn meta_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Object::$kind(o) => &mut Arc::make_mut(o).metadata,)* }
            }

            /// Decodes JSON text as an object of `kind`; its own `kind` field is not read.
            pub fn decode(kind: Kind, json: &[u8]) -> Result<Object, DecodeError> {
                match kind { $(Kind::$kind => decode::<$kind>(json).map(|o| Object::$kind(Arc::new(o))),)* }
            }

            /// Decodes a JSON value as an object of `kind`.
            pub fn from_value(kind: Kind, value: serde_json::Value) -> Result<Object, DecodeError> {
                match kind { $(Kind::$kind => serde_json::from_value::<$kind>(value)
                    .map(|o| Object::$kind(Arc::new(o))).map_err(|e| DecodeError(decode_message(&e))),)* }
            }

            /// Encodes as compact JSON.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Object::$kind(o) => encode(&**o),)* }
            }
        }

        $(impl Resource for $kind {
            const KIND: Kind = Kind::$kind;
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
            fn from_object(object: &Object) -> Option<&Arc<Self>> {
                match object { Object::$kind(o) => Some(o), _ => None }
            }
            fn into_object(this: Arc<Self>) -> Object { Object::$kind(this) }
        })*
    };
}

kinds! {
    Namespace => "" "v1" "v1" "namespaces" "namespace" ["ns"] [] false true;
    Node => "" "v1" "v1" "nodes" "node" ["no"] [] false true;
    RuntimeClass => "node.k8s.io" "v1" "node.k8s.io/v1" "runtimeclasses" "runtimeclass" [] [] false true;
    PriorityClass => "scheduling.k8s.io" "v1" "scheduling.k8s.io/v1" "priorityclasses" "priorityclass" ["pc"] [] false true;
    ServiceAccount => "" "v1" "v1" "serviceaccounts" "serviceaccount" ["sa"] [] true true;
    ConfigMap => "" "v1" "v1" "configmaps" "configmap" ["cm"] [] true true;
    Secret => "" "v1" "v1" "secrets" "secret" [] [] true true;
    Service => "" "v1" "v1" "services" "service" ["svc"] ["all"] true true;
    Endpoints => "" "v1" "v1" "endpoints" "endpoints" ["ep"] [] true true;
    EndpointSlice => "discovery.k8s.io" "v1" "discovery.k8s.io/v1" "endpointslices" "endpointslice" [] [] true true;
    Deployment => "apps" "v1" "apps/v1" "deployments" "deployment" ["deploy"] ["all"] true true;
    ReplicaSet => "apps" "v1" "apps/v1" "replicasets" "replicaset" ["rs"] ["all"] true true;
    PodDisruptionBudget => "policy" "v1" "policy/v1" "poddisruptionbudgets" "poddisruptionbudget" ["pdb"] [] true true;
    ControllerRevision => "apps" "v1" "apps/v1" "controllerrevisions" "controllerrevision" [] [] true true;
    DaemonSet => "apps" "v1" "apps/v1" "daemonsets" "daemonset" ["ds"] ["all"] true true;
    StatefulSet => "apps" "v1" "apps/v1" "statefulsets" "statefulset" ["sts"] ["all"] true true;
    CronJob => "batch" "v1" "batch/v1" "cronjobs" "cronjob" ["cj"] ["all"] true true;
    HorizontalPodAutoscaler => "autoscaling" "v2" "autoscaling/v2" "horizontalpodautoscalers" "horizontalpodautoscaler" ["hpa"] ["all"] true true;
    Job => "batch" "v1" "batch/v1" "jobs" "job" [] ["all"] true true;
    Pod => "" "v1" "v1" "pods" "pod" ["po"] ["all"] true true;
    Event => "" "v1" "v1" "events" "event" ["ev"] [] true true;
    Lease => "coordination.k8s.io" "v1" "coordination.k8s.io/v1" "leases" "lease" [] [] true true;
    NodeLedger => "steersman.internal" "v1" "steersman.internal/v1" "nodeledgers" "nodeledger" [] [] false false;
    AddressLedger => "steersman.internal" "v1" "steersman.internal/v1" "addressledgers" "addressledger" [] [] false false;
}

impl Kind {
    /// The kind named by an API group and a kind in CamelCase.
    pub fn find(group: &str, kind: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.info().group == group && k.info().kind == kind)
    }

    /// The kind named by `apiVersion` and `kind`, whatever the version.
    pub fn find_api(api_version: &str, kind: &str) -> Option<Kind> {
        Kind::find(api_version.rsplit_once('/').map_or("", |(group, _)| group), kind)
    }

    /// The group and plural as errors write them: `pods`, `deployments.apps`.
    pub fn qualified_plural(self) -> String {
        let info = self.info();
        if info.group.is_empty() { info.plural.into() } else { format!("{}.{}", info.plural, info.group) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().kind)
    }
}

/// JSON that is not an object of its kind; says where and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

fn decode<T: for<'de> Deserialize<'de>>(json: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(json).map_err(|e| DecodeError(decode_message(&e)))
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("entities hold only text keys and valid raw JSON, so encoding cannot fail")
}

/// A typed kind.
pub trait Resource: Clone + Default + PartialEq + fmt::Debug + Serialize + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// The typed form, when the object is of this kind.
    fn from_object(object: &Object) -> Option<&Arc<Self>>;
    /// The sum form.
    fn into_object(this: Arc<Self>) -> Object;

    /// The key under which the object is stored.
    fn key(&self) -> Key {
        Key { kind: Self::KIND, namespace: self.meta().namespace.clone(), name: self.meta().name.clone() }
    }

    /// The reference by which dependents name this object as the owner that manages them.
    fn controller_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: Self::KIND.info().api_version.into(),
            kind: Self::KIND.info().kind.into(),
            name: self.meta().name.clone(),
            uid: self.meta().uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        }
    }
}

/// Where an object lives: kind, namespace (empty for cluster scope), name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind of the object.
    pub kind: Kind,
    /// Its namespace; empty for objects of the whole cluster.
    pub namespace: Str,
    /// Its name.
    pub name: Str,
}

impl Key {
    /// The key of a namespaced object.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Key { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(kind: Kind, name: &str) -> Self {
        Key::new(kind, "", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.info().singular)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// The store's own global counter of changes; every change of an object takes the next one. Written as a decimal
/// string (`resourceVersion`). 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Omit for Revision {
    fn omit(&self) -> bool {
        self.0 == 0
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::entity::FieldName::deserialize(deserializer)?;
        match &*text.0 {
            "" => Ok(Revision(0)),
            other => other
                .parse()
                .map(Revision)
                .map_err(|_| D::Error::custom(format!("{other:?} is not a resource version of this cluster"))),
        }
    }
}

/// An object as stored at a revision. Its metadata holds that revision; its JSON is encoded once, on first use.
#[derive(Debug)]
pub struct Stored {
    /// Where it is kept.
    pub key: Key,
    /// The revision that made it so.
    pub revision: Revision,
    /// The object itself.
    pub object: Object,
    json: OnceLock<Bytes>,
}

impl Stored {
    /// Stamps `object` with `revision`.
    pub fn new(key: Key, revision: Revision, mut object: Object) -> Self {
        object.meta_mut().resource_version = revision;
        Stored { key, revision, object, json: OnceLock::new() }
    }

    /// The compact JSON of the object, shared by every reader.
    pub fn json(&self) -> Bytes {
        self.json.get_or_init(|| self.object.encode().into()).clone()
    }

    /// The typed object, when it is of kind `T`.
    pub fn typed<T: Resource>(&self) -> Option<&Arc<T>> {
        T::from_object(&self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_was_written_comes_back_whole() {
        let written = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "b", "labels": {"x": "y"}, "managedFields": [{"manager": "m"}]},
            "spec": {
                "restartPolicy": "Always", "dnsConfig": {"nameservers": ["1.2.3.4"]},
                "containers": [{"name": "c", "image": "i", "unheardOf": {"deep": [1, 2.50, null]},
                    "resources": {"requests": {"cpu": "0.5"}}, "tty": true}],
            },
            "status": {"phase": "Pending"},
        });
        let object = Object::from_value(Kind::Pod, written.clone()).expect("decodes");
        let again: Value = serde_json::from_slice(&object.encode()).expect("encodes");
        assert_eq!(again, written);
        let spaced = serde_json::to_vec_pretty(&written).expect("text");
        assert_eq!(Object::decode(Kind::Pod, &spaced).expect("decodes"), object);
    }

    #[test]
    fn errors_name_the_path() {
        let error = Object::decode(
            Kind::Deployment,
            br#"{"spec":{"template":{"spec":{"containers":[{"ports":[{"containerPort":"x"}]}]}}}}"#,
        )
        .expect_err("a text is not a port");
        assert!(error.0.starts_with("spec.template.spec.containers.ports.containerPort: invalid type"), "{error}");
    }

    #[test]
    fn kinds_are_found() {
        assert_eq!(Kind::find_api("apps/v1", "Deployment"), Some(Kind::Deployment));
        assert_eq!(Kind::find_api("v1", "Pod"), Some(Kind::Pod));
        assert_eq!(Kind::find("", "Deployment"), None);
        assert_eq!(Kind::Deployment.qualified_plural(), "deployments.apps");
    }
}
