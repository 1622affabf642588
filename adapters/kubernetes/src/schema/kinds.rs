//! The served kinds: names, scope, short names, subresources.

use super::Gvk;

/// A kind that the API serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Such as `Deployment`.
    pub kind: &'static str,
    /// The resource's name in URLs, such as `deployments`; empty for kinds that exist only as a
    /// subresource's body.
    pub plural: &'static str,
    /// Such as `deployment`.
    pub singular: &'static str,
    /// What kubectl also accepts.
    pub short_names: &'static [&'static str],
    /// Groups of resources that kubectl lists together.
    pub categories: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// The type in the field table.
    pub type_name: &'static str,
    /// What can be addressed below an object.
    pub subresources: &'static [Subresource],
}

impl Kind {
    /// What can be done to the resource, as discovery names it; nothing for kinds without a resource.
    #[must_use]
    pub fn verbs(&self) -> &'static [&'static str] {
        match (self.plural, self.kind) {
            ("", _) => &[],
            _ if self.is_ask() => &["create"],
            _ => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        }
    }

    /// Whether objects of the kind are only ever sent and answered, never kept: creating one is asking for something.
    #[must_use]
    pub fn is_ask(&self) -> bool {
        self.kind == "Binding" || self.kind.starts_with("SelfSubject")
    }

    /// Whether objects of the kind are created under a name and stay.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.plural.is_empty() && !self.is_ask()
    }

    /// `v1` or `GROUP/VERSION`.
    #[must_use]
    pub fn api_version(&self) -> String {
        Gvk::new(self.group, self.version, self.kind).api_version()
    }
}

/// An address below an object, such as `pods/eviction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// The last part of the path.
    pub name: &'static str,
    /// Group of the body.
    pub group: &'static str,
    /// Version of the body.
    pub version: &'static str,
    /// Kind of the body.
    pub kind: &'static str,
    /// The verbs it answers, as discovery names them.
    pub verbs: &'static [&'static str],
}

const GET_PUT_PATCH: &[&str] = &["get", "patch", "update"];

const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", group, version, kind, verbs: GET_PUT_PATCH }
}

const SCALE: Subresource =
    Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: GET_PUT_PATCH };

const CORE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    type_name: "",
    subresources: &[],
};

/// Every served kind. `policy/v1beta1` is an older name for `policy/v1`.
pub const KINDS: &[Kind] = &[
    Kind { kind: "Binding", plural: "bindings", singular: "binding", type_name: "core.v1.Binding", ..CORE },
    Kind {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        type_name: "core.v1.ConfigMap",
        ..CORE
    },
    Kind {
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        type_name: "core.v1.Endpoints",
        ..CORE
    },
    Kind {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        type_name: "core.v1.Event",
        ..CORE
    },
    Kind {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        type_name: "core.v1.Namespace",
        subresources: &[
            Subresource { name: "finalize", group: "", version: "v1", kind: "Namespace", verbs: &["update"] },
            status("", "v1", "Namespace"),
        ],
        ..CORE
    },
    Kind {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        type_name: "core.v1.Node",
        subresources: &[status("", "v1", "Node")],
        ..CORE
    },
    Kind {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        type_name: "core.v1.Pod",
        subresources: &[
            Subresource { name: "binding", group: "", version: "v1", kind: "Binding", verbs: &["create"] },
            Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] },
            Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: &["get"] },
            status("", "v1", "Pod"),
        ],
        ..CORE
    },
    Kind { kind: "Secret", plural: "secrets", singular: "secret", type_name: "core.v1.Secret", ..CORE },
    Kind {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        type_name: "core.v1.Service",
        subresources: &[status("", "v1", "Service")],
        ..CORE
    },
    Kind {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        type_name: "core.v1.ServiceAccount",
        ..CORE
    },
    Kind {
        group: "apps",
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        type_name: "apps.v1.Deployment",
        subresources: &[SCALE, status("apps", "v1", "Deployment")],
        ..CORE
    },
    Kind {
        group: "apps",
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        type_name: "apps.v1.ReplicaSet",
        subresources: &[SCALE, status("apps", "v1", "ReplicaSet")],
        ..CORE
    },
    Kind {
        group: "apps",
        kind: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        type_name: "apps.v1.DaemonSet",
        subresources: &[status("apps", "v1", "DaemonSet")],
        ..CORE
    },
    Kind {
        group: "apps",
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        type_name: "apps.v1.StatefulSet",
        subresources: &[SCALE, status("apps", "v1", "StatefulSet")],
        ..CORE
    },
    Kind {
        group: "apps",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        type_name: "apps.v1.ControllerRevision",
        ..CORE
    },
    Kind {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        namespaced: false,
        type_name: "authentication.v1.SelfSubjectReview",
        ..CORE
    },
    Kind {
        group: "authorization.k8s.io",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        namespaced: false,
        type_name: "authorization.v1.SelfSubjectAccessReview",
        ..CORE
    },
    Kind {
        group: "authorization.k8s.io",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        namespaced: false,
        type_name: "authorization.v1.SelfSubjectRulesReview",
        ..CORE
    },
    Kind { group: "autoscaling", kind: "Scale", type_name: "autoscaling.v1.Scale", ..CORE },
    Kind {
        group: "batch",
        kind: "CronJob",
        plural: "cronjobs",
        singular: "cronjob",
        short_names: &["cj"],
        categories: &["all"],
        type_name: "batch.v1.CronJob",
        subresources: &[status("batch", "v1", "CronJob")],
        ..CORE
    },
    Kind {
        group: "batch",
        kind: "Job",
        plural: "jobs",
        singular: "job",
        categories: &["all"],
        type_name: "batch.v1.Job",
        subresources: &[status("batch", "v1", "Job")],
        ..CORE
    },
    Kind {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        type_name: "coordination.v1.Lease",
        ..CORE
    },
    Kind {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        type_name: "discovery.v1.EndpointSlice",
        ..CORE
    },
    Kind {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        type_name: "events.v1.Event",
        ..CORE
    },
    Kind {
        group: "node.k8s.io",
        kind: "RuntimeClass",
        plural: "runtimeclasses",
        singular: "runtimeclass",
        namespaced: false,
        type_name: "node.v1.RuntimeClass",
        ..CORE
    },
    Kind {
        group: "scheduling.k8s.io",
        kind: "PriorityClass",
        plural: "priorityclasses",
        singular: "priorityclass",
        short_names: &["pc"],
        namespaced: false,
        type_name: "scheduling.v1.PriorityClass",
        ..CORE
    },
    Kind {
        group: "policy",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        short_names: &["pdb"],
        type_name: "policy.v1.PodDisruptionBudget",
        subresources: &[status("policy", "v1", "PodDisruptionBudget")],
        ..CORE
    },
    Kind {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        type_name: "autoscaling.v2.HorizontalPodAutoscaler",
        subresources: &[status("autoscaling", "v2", "HorizontalPodAutoscaler")],
        ..CORE
    },
    Kind {
        group: "autoscaling",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: &["all"],
        type_name: "autoscaling.v1.HorizontalPodAutoscaler",
        subresources: &[status("autoscaling", "v1", "HorizontalPodAutoscaler")],
        ..CORE
    },
    Kind { group: "policy", kind: "Eviction", type_name: "policy.v1.Eviction", ..CORE },
    Kind { group: "policy", version: "v1beta1", kind: "Eviction", type_name: "policy.v1.Eviction", ..CORE },
];

/// The served kind of this name.
#[must_use]
pub fn kind_of(gvk: Gvk<'_>) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.kind == gvk.kind && k.group == gvk.group && k.version == gvk.version)
}
