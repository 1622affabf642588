//! The agent's own Node object and its lease. Making them is pure; keeping them up is one task. What operators set on the
//! node (labels, taints, unschedulable) stays.

use super::config::{AgentConfig, resource_list};
use super::shared::Shared;
use super::usage::Sampler;
use crate::client::{ApiError, Part, WriteOptions};
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::meta::set_condition;
use steersman_domain::usage::{NodeUsage, USAGE};
use steersman_domain::{
    Condition, Key, Kind, Lease, Map, MicroTime, Node, NodeRuntimeHandler, NodeStatus, Object, OwnerReference,
    Quantity, Resource, Time,
};

/// Where the leases of nodes live.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";

/// How soon a failed registration or renewal is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The node as it should be: `existing` with the agent's labels and status.
pub(super) fn desired_node(
    config: &AgentConfig,
    handlers: &[&'static str],
    runtime_conditions: &[Condition],
    existing: Option<&Node>,
    now: Time,
) -> Node {
    let mut node = existing.cloned().unwrap_or_default();
    if existing.is_none() {
        node.metadata.name = config.node_name.clone();
        node.spec.taints = config.taints.clone();
    }
    let info = &config.node_info;
    let fixed = [
        ("kubernetes.io/hostname", &config.node_name),
        ("kubernetes.io/os", &info.operating_system),
        ("kubernetes.io/arch", &info.architecture),
    ];
    for (key, value) in fixed.into_iter().filter(|(_, value)| !value.is_empty()) {
        node.metadata.labels.insert(key, value.clone());
    }
    for (key, value) in config.labels.iter() {
        node.metadata.labels.insert(key.clone(), value.clone());
    }
    node.status = desired_status(config, handlers, runtime_conditions, (&node.status, now));
    node
}

fn desired_status(
    config: &AgentConfig,
    handlers: &[&'static str],
    runtime_conditions: &[Condition],
    (existing, now): (&NodeStatus, Time),
) -> NodeStatus {
    let mut status = existing.clone();
    status.capacity = with_foreign(resource_list(&config.capacity), &existing.capacity);
    status.allocatable = with_foreign(resource_list(&config.allocatable()), &existing.allocatable);
    status.addresses = config.addresses.clone();
    status.node_info = config.node_info.clone();
    status.daemon_endpoints.kubelet_endpoint.port = config.traffic_port.into();
    status.runtime_handlers =
        handlers.iter().map(|&h| NodeRuntimeHandler { name: h.into(), ..NodeRuntimeHandler::default() }).collect();
    let own = [
        Condition::new(
            "MemoryPressure",
            false,
            "KubeletHasSufficientMemory",
            "the node has sufficient memory available",
            now,
        ),
        Condition::new("DiskPressure", false, "KubeletHasNoDiskPressure", "the node has no disk pressure", now),
        Condition::new("PIDPressure", false, "KubeletHasSufficientPID", "the node has sufficient PID available", now),
    ];
    let ready = Condition::new("Ready", true, "KubeletReady", "the agent is posting ready status", now);
    for mut condition in own.into_iter().chain(runtime_conditions.iter().cloned()).chain([ready]) {
        condition.last_transition_time = condition.last_transition_time.or(Some(now));
        let kind = condition.kind.clone();
        set_condition(&mut status.conditions, condition);
        if let Some(set) = status.conditions.iter_mut().find(|c| c.kind == kind) {
            set.last_heartbeat_time = Some(now);
        }
    }
    status
}

/// The agent's own amounts, beside extended resources (`example.com/gpu`) that others have written into the status: as in
/// Kubernetes, an operator or a device's program advertises those.
fn with_foreign(own: Map<Quantity>, existing: &Map<Quantity>) -> Map<Quantity> {
    let foreign = existing.iter().filter(|(name, _)| name.contains('/') && !own.contains_key(name));
    let mut list = own.clone();
    for (name, amount) in foreign {
        list.insert(name.clone(), amount.clone());
    }
    list
}

/// Whether two statuses differ in more than heartbeats.
pub(super) fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |s: &NodeStatus| {
        let mut s = s.clone();
        s.conditions.iter_mut().for_each(|c| c.last_heartbeat_time = None);
        s
    };
    still(a) != still(b)
}

/// The node's lease, renewed.
pub(super) fn renewed_lease(config: &AgentConfig, existing: Option<&Lease>, node: Option<&Node>, now: Time) -> Lease {
    let mut lease = existing.cloned().unwrap_or_default();
    lease.metadata.name = config.node_name.clone();
    lease.metadata.namespace = LEASE_NAMESPACE.into();
    if let Some(node) = node.filter(|_| lease.metadata.owner_references.is_empty()) {
        lease.metadata.owner_references = vec![OwnerReference {
            api_version: Kind::Node.info().api_version.into(),
            kind: Kind::Node.info().kind.into(),
            name: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
            ..OwnerReference::default()
        }];
    }
    lease.spec.holder_identity = config.node_name.clone();
    lease.spec.lease_duration_seconds = i32::try_from(config.lease_duration.as_secs()).ok();
    lease.spec.renew_time = Some(MicroTime(now));
    lease
}

/// What the task remembers between rounds.
#[derive(Default)]
struct Known {
    lease: Option<Arc<Lease>>,
    /// When the status was written last, by the monotonic clock.
    status_at: Option<Duration>,
    sampler: Sampler,
}

/// Registers the node, then keeps its lease and its status fresh, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut known = Known::default();
    loop {
        let wait = match round(&shared, &mut known).await {
            Ok(()) => shared.config.lease_interval.min(shared.config.usage_interval),
            Err(error) => {
                tracing::warn!(node = %shared.config.node_name, %error, "the node's status or lease was not written");
                // The lease that is remembered may be why.
                known.lease = None;
                RETRY.min(shared.config.lease_interval)
            }
        };
        shared.clock.sleep(wait).await;
    }
}

async fn round(shared: &Shared, known: &mut Known) -> Result<(), ApiError> {
    let node = keep_node(shared, known).await?;
    let usage = known.sampler.sample(shared).await;
    known.lease = Some(keep_lease(shared, known.lease.as_ref(), (&node, usage)).await?);
    Ok(())
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: "node-agent".into(), ..WriteOptions::default() }
}

fn typed<T: Resource>(object: &Object) -> Result<Arc<T>, ApiError> {
    let found = T::from_object(object).cloned();
    found.ok_or_else(|| ApiError::Unavailable(format!("the server answered with another kind than {}", T::KIND)))
}

async fn keep_node(shared: &Shared, known: &mut Known) -> Result<Arc<Node>, ApiError> {
    let key = Key::cluster(Kind::Node, &shared.config.node_name);
    let existing = match shared.client.get(&key).await {
        Ok(stored) => Some(typed::<Node>(&stored.object)?),
        Err(ApiError::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    let mut conditions = Vec::new();
    for runtime in shared.runtimes.values() {
        conditions.extend(runtime.conditions().await);
    }
    let handlers: Vec<&'static str> = shared.runtimes.keys().copied().collect();
    let now = shared.clock.now();
    let mut node = desired_node(&shared.config, &handlers, &conditions, existing.as_deref(), now);
    let stored = match &existing {
        None => shared.client.create(Object::Node(Arc::new(node.clone())), &options()).await?.object.clone(),
        Some(old) if old.metadata.labels != node.metadata.labels => {
            shared.client.update(Object::Node(Arc::new(node.clone())), Part::Main, &options()).await?.object.clone()
        }
        Some(old) => Object::Node(Arc::clone(old)),
    };
    let stored = typed::<Node>(&stored)?;
    let elapsed = shared.clock.monotonic();
    let due = known.status_at.is_none_or(|at| elapsed.saturating_sub(at) >= shared.config.status_interval);
    if !due && !differs(&stored.status, &node.status) {
        return Ok(stored);
    }
    node.metadata = stored.metadata.clone();
    node.spec = stored.spec.clone();
    let written = shared.client.update(Object::Node(Arc::new(node)), Part::Status, &options()).await?;
    known.status_at = Some(elapsed);
    typed(&written.object)
}

async fn keep_lease(
    shared: &Shared,
    known: Option<&Arc<Lease>>,
    (node, usage): (&Node, Option<NodeUsage>),
) -> Result<Arc<Lease>, ApiError> {
    let key = Key::new(Kind::Lease, LEASE_NAMESPACE, &shared.config.node_name);
    let existing = match known {
        Some(lease) => Some(Arc::clone(lease)),
        None => match shared.client.get(&key).await {
            Ok(stored) => Some(typed::<Lease>(&stored.object)?),
            Err(ApiError::NotFound(_)) => None,
            Err(error) => return Err(error),
        },
    };
    let mut lease = renewed_lease(&shared.config, existing.as_deref(), Some(node), shared.clock.now());
    if let Some(text) = usage.and_then(|usage| serde_json::to_string(&usage).ok()) {
        lease.metadata.annotations.insert(USAGE, text.into());
    }
    let object = Object::Lease(Arc::new(lease));
    let written = match existing {
        Some(_) => shared.client.update(object, Part::Main, &options()).await?,
        None => shared.client.create(object, &options()).await?,
    };
    typed(&written.object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::{Map, Quantity, Str, Taint};

    #[test]
    fn the_operators_settings_stay() {
        let mut config = AgentConfig::new("n1");
        config.capacity.cpu_milli = 4000;
        config.reserved.cpu_milli = 500;
        config.labels = [("zone", Str::from("a"))].into_iter().collect::<Map<Str>>();
        config.taints = vec![Taint { key: "first".into(), ..Taint::default() }];
        let now = Time::from_secs(100);
        let first = desired_node(&config, &["process"], &[], None, now);
        assert_eq!(first.status.allocatable.get("cpu").map(Quantity::as_str), Some("3500m"));
        assert_eq!(first.status.capacity.get("pods").map(Quantity::as_str), Some("110"));
        assert!(first.offers_runtime("process") && first.is_ready());
        assert_eq!(first.spec.taints.len(), 1);

        let mut changed = first.clone();
        changed.metadata.labels.insert("mine", "yes".into());
        changed.spec.taints.clear();
        changed.spec.unschedulable = true;
        let second = desired_node(&config, &["process"], &[], Some(&changed), now.after(Duration::from_secs(10)));
        assert_eq!(second.metadata.labels, changed.metadata.labels);
        assert_eq!(second.spec, changed.spec);
        assert!(!differs(&first.status, &second.status), "only heartbeats moved");
        assert_ne!(first.status, second.status, "heartbeats moved");
        let lacking = Condition::new("ProcessPorts", false, "Missing", "no seccomp", now);
        let third = desired_node(&config, &["process"], &[lacking], Some(&changed), now);
        assert!(differs(&first.status, &third.status));
    }

    #[test]
    fn leases_are_renewed_in_place() {
        let config = AgentConfig::new("n1");
        let first = renewed_lease(&config, None, Some(&Node::default()), Time::from_secs(1));
        let second = renewed_lease(&config, Some(&first), None, Time::from_secs(11));
        assert_eq!(second.spec.renew_time, Some(MicroTime(Time::from_secs(11))));
        assert_eq!((second.metadata, second.spec.lease_duration_seconds), (first.metadata, Some(40)));
    }
}
