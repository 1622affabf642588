//! Pods and their containers, with the rules that live on them.

use crate::entity::{Omit, entity};
use crate::ledger::Resources;
use crate::{
    Affinity, Condition, HttpHeader, IntOrString, Kind, Map, ObjectMeta, PodStatus, Probe, Protocol, Quantity, Shared,
    Str, Time, Toleration, TopologySpreadConstraint, meta,
};
use serde::{Deserialize, Serialize};

entity! {
    /// A group of containers that run together on one node.
    pub struct Pod[Kind::Pod] {
        metadata: ObjectMeta = "metadata",
        spec: PodSpec = "spec",
        status: PodStatus = "status",
    }

    /// The desired state of a pod.
    pub struct PodSpec {
        volumes: Vec<Shared<Volume>> = "volumes",
        init_containers: Vec<Shared<Container>> = "initContainers",
        containers: Vec<Shared<Container>> = "containers",
        restart_policy: RestartPolicy = "restartPolicy",
        /// Seconds between the request to end and the kill; absent: 30.
        termination_grace_period_seconds: Option<i64> = "terminationGracePeriodSeconds",
        /// Seconds after the start at which the pod fails.
        active_deadline_seconds: Option<i64> = "activeDeadlineSeconds",
        node_selector: Map<Str> = "nodeSelector",
        service_account_name: Str = "serviceAccountName",
        /// The node the pod is bound to; empty: to be scheduled.
        node_name: Str = "nodeName",
        security_context: Option<Shared<PodSecurityContext>> = "securityContext",
        hostname: Str = "hostname",
        /// Kept for the pods of StatefulSets; nothing serves names of pods yet.
        subdomain: Str = "subdomain",
        affinity: Option<Shared<Affinity>> = "affinity",
        /// The scheduler profile; empty: `default-scheduler`.
        scheduler_name: Str = "schedulerName",
        tolerations: Vec<Shared<Toleration>> = "tolerations",
        /// The runtime; empty: the cluster's default.
        runtime_class_name: Str = "runtimeClassName",
        /// The name of the priority class; empty: the default one, if there is any.
        priority_class_name: Str = "priorityClassName",
        /// The value of the class, filled in by the server.
        priority: Option<i32> = "priority",
        /// `PreemptLowerPriority` (the default) or `Never`.
        preemption_policy: Option<Str> = "preemptionPolicy",
        /// What the runtime itself takes beside the containers, filled in from the runtime class.
        overhead: Map<Quantity> = "overhead",
        topology_spread_constraints: Vec<Shared<TopologySpreadConstraint>> = "topologySpreadConstraints",
        /// While there is any, the pod is not scheduled.
        scheduling_gates: Vec<PodSchedulingGate> = "schedulingGates",
        /// Whether service addresses are put into the environment; absent: yes.
        enable_service_links: Option<bool> = "enableServiceLinks",
    }

    /// A reason not to schedule a pod yet; whoever knows that it is over removes it.
    pub struct PodSchedulingGate {
        name: Str = "name",
    }

    /// One container: a program and what it needs.
    pub struct Container {
        name: Str = "name",
        image: Str = "image",
        command: Vec<Str> = "command",
        args: Vec<Str> = "args",
        working_dir: Str = "workingDir",
        ports: Vec<ContainerPort> = "ports",
        env_from: Vec<EnvFromSource> = "envFrom",
        env: Vec<EnvVar> = "env",
        resources: ResourceRequirements = "resources",
        /// Only for init containers: `Always` makes a sidecar.
        restart_policy: Option<Str> = "restartPolicy",
        volume_mounts: Vec<VolumeMount> = "volumeMounts",
        /// Whether it should be started again.
        liveness_probe: Option<Shared<Probe>> = "livenessProbe",
        /// Whether it takes traffic; without one, its declared ports must accept connections.
        readiness_probe: Option<Shared<Probe>> = "readinessProbe",
        /// Whether it has come up; until then the other two are not asked.
        startup_probe: Option<Shared<Probe>> = "startupProbe",
        lifecycle: Option<Lifecycle> = "lifecycle",
        security_context: Option<SecurityContext> = "securityContext",
    }

    /// A port that a container listens on.
    pub struct ContainerPort {
        name: Str = "name",
        /// A literal port of the host, taken into account by the scheduler; 0: none.
        host_port: i32 = "hostPort",
        container_port: i32 = "containerPort",
        protocol: Protocol = "protocol",
        host_ip: Str = "hostIP",
    }

    /// All keys of a ConfigMap or Secret as environment variables.
    pub struct EnvFromSource {
        prefix: Str = "prefix",
        config_map_ref: Option<ObjectName> = "configMapRef",
        secret_ref: Option<ObjectName> = "secretRef",
    }

    /// A reference by name within the namespace.
    pub struct ObjectName {
        name: Str = "name",
        optional: Option<bool> = "optional",
    }

    /// An environment variable; `$(NAME)` in its value is expanded from the variables before it.
    pub struct EnvVar {
        name: Str = "name",
        value: Str = "value",
        value_from: Option<EnvVarSource> = "valueFrom",
    }

    /// Where a variable's value comes from; exactly one is set.
    pub struct EnvVarSource {
        field_ref: Option<ObjectFieldSelector> = "fieldRef",
        resource_field_ref: Option<ResourceFieldSelector> = "resourceFieldRef",
        config_map_key_ref: Option<KeySelector> = "configMapKeyRef",
        secret_key_ref: Option<KeySelector> = "secretKeyRef",
    }

    /// A field of the pod, by path.
    pub struct ObjectFieldSelector {
        api_version: Str = "apiVersion",
        field_path: Str = "fieldPath",
    }

    /// A request or limit of a container.
    pub struct ResourceFieldSelector {
        container_name: Str = "containerName",
        resource: Str = "resource",
        divisor: Quantity = "divisor",
    }

    /// A key of a ConfigMap or Secret.
    pub struct KeySelector {
        name: Str = "name",
        key: Str = "key",
        optional: Option<bool> = "optional",
    }

    /// What a container asks for and may use at most.
    pub struct ResourceRequirements {
        limits: Map<Quantity> = "limits",
        requests: Map<Quantity> = "requests",
    }

    /// A volume's place in a container.
    pub struct VolumeMount {
        name: Str = "name",
        mount_path: Str = "mountPath",
        sub_path: Str = "subPath",
        read_only: bool = "readOnly",
    }

    /// Hooks around a container's life.
    pub struct Lifecycle {
        post_start: Option<LifecycleHandler> = "postStart",
        pre_stop: Option<LifecycleHandler> = "preStop",
    }

    /// What a hook does; exactly one is set.
    pub struct LifecycleHandler {
        exec: Option<ExecAction> = "exec",
        http_get: Option<HttpGetAction> = "httpGet",
        sleep: Option<SleepAction> = "sleep",
    }

    /// A command run in the container's environment.
    pub struct ExecAction {
        command: Vec<Str> = "command",
    }

    /// An HTTP request to the container.
    pub struct HttpGetAction {
        path: Str = "path",
        port: IntOrString = "port",
        host: Str = "host",
        scheme: Str = "scheme",
        http_headers: Vec<HttpHeader> = "httpHeaders",
    }

    /// A pause in seconds.
    pub struct SleepAction {
        seconds: i64 = "seconds",
    }

    /// Identity and limits of all containers of a pod.
    pub struct PodSecurityContext {
        run_as_user: Option<i64> = "runAsUser",
        run_as_group: Option<i64> = "runAsGroup",
        run_as_non_root: Option<bool> = "runAsNonRoot",
        supplemental_groups: Vec<i64> = "supplementalGroups",
        fs_group: Option<i64> = "fsGroup",
    }

    /// Identity and limits of one container; overrides the pod's.
    pub struct SecurityContext {
        capabilities: Option<Capabilities> = "capabilities",
        privileged: Option<bool> = "privileged",
        run_as_user: Option<i64> = "runAsUser",
        run_as_group: Option<i64> = "runAsGroup",
        run_as_non_root: Option<bool> = "runAsNonRoot",
        read_only_root_filesystem: Option<bool> = "readOnlyRootFilesystem",
        allow_privilege_escalation: Option<bool> = "allowPrivilegeEscalation",
    }

    /// Capabilities to add and to drop, without the `CAP_` prefix.
    pub struct Capabilities {
        add: Vec<Str> = "add",
        drop: Vec<Str> = "drop",
    }

    /// A directory that containers mount. Kinds other than these are refused by the runtime.
    pub struct Volume {
        name: Str = "name",
        empty_dir: Option<EmptyDirVolumeSource> = "emptyDir",
        config_map: Option<ConfigMapVolumeSource> = "configMap",
        secret: Option<SecretVolumeSource> = "secret",
        host_path: Option<HostPathVolumeSource> = "hostPath",
    }

    /// A directory that lives as long as the pod.
    pub struct EmptyDirVolumeSource {
        medium: Str = "medium",
        size_limit: Option<Quantity> = "sizeLimit",
    }

    /// The keys of a ConfigMap as files.
    pub struct ConfigMapVolumeSource {
        name: Str = "name",
        items: Vec<KeyToPath> = "items",
        default_mode: Option<i32> = "defaultMode",
        optional: Option<bool> = "optional",
    }

    /// The keys of a Secret as files.
    pub struct SecretVolumeSource {
        secret_name: Str = "secretName",
        items: Vec<KeyToPath> = "items",
        default_mode: Option<i32> = "defaultMode",
        optional: Option<bool> = "optional",
    }

    /// A key and the file it becomes.
    pub struct KeyToPath {
        key: Str = "key",
        path: Str = "path",
        mode: Option<i32> = "mode",
    }

    /// A directory of the host.
    pub struct HostPathVolumeSource {
        path: Str = "path",
        kind: Str = "type",
    }
}

/// When containers that ended are started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Containers are started again however they ended.
    #[default]
    Always,
    /// Containers are started again unless they ended well.
    OnFailure,
    /// Containers are not started again.
    Never,
}

impl Omit for RestartPolicy {
    fn omit(&self) -> bool {
        false
    }
}

impl RestartPolicy {
    /// Whether a container that ended with this exit code is started again.
    pub fn restarts(self, exit_code: i32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// The annotation that names the gang of a pod: pods of one namespace and gang are placed all together or not at all.
pub const GANG: &str = "scheduling.steersman.io/gang";
/// The annotation that says how many pods make the gang whole.
pub const GANG_SIZE: &str = "scheduling.steersman.io/gang-size";
/// The most pods that a gang may need: they are bound in one transaction.
pub const LARGEST_GANG: usize = 10_000;

/// The gang that a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gang<'a> {
    /// The namespace of its pods.
    pub namespace: &'a Str,
    /// What it is called, by the annotation.
    pub name: &'a Str,
    /// How many of its pods are placed together. Further ones are placed as others are.
    pub size: usize,
}

impl Pod {
    /// Whether the Ready condition is true.
    pub fn is_ready(&self) -> bool {
        meta::condition(&self.status.conditions, "Ready").is_some_and(Condition::is_true)
    }

    /// Whether the pod has been ready for at least `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i32, now: Time) -> bool {
        match meta::condition(&self.status.conditions, "Ready") {
            Some(ready) if ready.is_true() => {
                min_ready_seconds <= 0
                    || ready
                        .last_transition_time
                        .is_some_and(|t| now.since(t).as_secs() >= u64::from(min_ready_seconds.unsigned_abs()))
            }
            _ => false,
        }
    }

    /// Whether the pod has ended for good.
    pub fn is_terminal(&self) -> bool {
        self.status.phase.is_terminal()
    }

    /// Whether the pod is neither ended nor ending.
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.metadata.is_deleting()
    }

    /// The scheduler profile by name.
    pub fn scheduler_name(&self) -> &str {
        if self.spec.scheduler_name.is_empty() { "default-scheduler" } else { &self.spec.scheduler_name }
    }

    /// The priority; pods without one have 0.
    pub fn priority(&self) -> i32 {
        self.spec.priority.unwrap_or(0)
    }

    /// Whether the pod may take the place of pods of lower priority.
    pub fn preempts(&self) -> bool {
        self.spec.preemption_policy.as_deref() != Some("Never")
    }

    /// The gang of the pod, by the annotations [`GANG`] and [`GANG_SIZE`]; `None`: it is placed for itself.
    pub fn gang(&self) -> Option<Gang<'_>> {
        let annotations = &self.metadata.annotations;
        if annotations.is_empty() {
            return None;
        }
        let (name, size) = (annotations.get(GANG)?, annotations.get(GANG_SIZE)?);
        let size = size.parse().ok().filter(|size| (1..=LARGEST_GANG).contains(size))?;
        Some(Gang { namespace: &self.metadata.namespace, name, size })
    }

    /// The grace of an ordinary deletion, in seconds.
    pub fn grace_seconds(&self) -> i64 {
        self.spec.termination_grace_period_seconds.unwrap_or(30).max(0)
    }

    /// What the pod takes on its node: the sum over containers or the largest init container, whichever is more; a
    /// sidecar counts beside both, and so does the overhead of the runtime. One pod each. Source: Kubernetes "Resource sharing within containers".
    pub fn requests(&self) -> Resources {
        let of = |c: &Container| Resources::of_container(c);
        let mut sidecars = Resources::default();
        let mut init_peak = Resources::default();
        for c in &self.spec.init_containers {
            if c.restart_policy.as_deref() == Some("Always") {
                sidecars.add(&of(c));
                init_peak.max_with(&sidecars);
            } else {
                let mut with = of(c);
                with.add(&sidecars);
                init_peak.max_with(&with);
            }
        }
        let mut total = sidecars;
        for c in &self.spec.containers {
            total.add(&of(c));
        }
        total.max_with(&init_peak);
        if !self.spec.overhead.is_empty() {
            total.add(&Resources::of_list(&self.spec.overhead));
        }
        total.pods = 1;
        total
    }

    /// The literal host ports of the pod.
    pub fn host_ports(&self) -> impl Iterator<Item = (&ContainerPort, i32)> {
        self.spec.containers.iter().flat_map(|c| c.ports.iter()).filter(|p| p.host_port > 0).map(|p| (p, p.host_port))
    }

    /// The quality-of-service class by the Kubernetes rule.
    pub fn qos_class(&self) -> &'static str {
        let all = || self.spec.init_containers.iter().chain(&self.spec.containers);
        let set = |r: &Map<Quantity>, name: &str| r.get(name).is_some_and(|q| q.milli() > 0);
        let none = all()
            .all(|c| ["cpu", "memory"].iter().all(|n| !set(&c.resources.requests, n) && !set(&c.resources.limits, n)));
        let guaranteed = all().all(|c| {
            ["cpu", "memory"].iter().all(|n| {
                let limit = c.resources.limits.get(n);
                let request = c.resources.requests.get(n).or(limit);
                limit.is_some_and(|l| l.milli() > 0 && request.is_some_and(|r| r.milli() == l.milli()))
            })
        });
        match (none, guaranteed) {
            (true, _) => "BestEffort",
            (false, true) => "Guaranteed",
            (false, false) => "Burstable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_init_containers_and_sidecars() {
        let container = |cpu: &str, sidecar: bool| {
            Shared::new(Container {
                resources: ResourceRequirements {
                    requests: [("cpu", Quantity::parse(cpu).expect("quantity"))].into_iter().collect(),
                    ..Default::default()
                },
                restart_policy: sidecar.then(|| "Always".into()),
                ..Default::default()
            })
        };
        let mut pod = Pod::default();
        pod.spec.containers = vec![container("1", false), container("500m", false)];
        assert_eq!(pod.requests().cpu_milli, 1500);
        pod.spec.init_containers = vec![container("2", false)];
        assert_eq!(pod.requests().cpu_milli, 2000);
        pod.spec.init_containers.insert(0, container("1", true));
        assert_eq!(pod.requests().cpu_milli, 3000);
        assert_eq!(pod.qos_class(), "Burstable");
    }
}
