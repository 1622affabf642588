//! What a node's agent may do: read what its own pods need, keep its own node, its lease and the status of its pods, and
//! tell events. The rules are those of Kubernetes' node authorizer and of its admission plugin NodeRestriction, for the
//! kinds that are served here.

use super::Attributes;
use std::collections::BTreeSet;
use steersman_domain::{Key, Kind, Node, Object, Service};

const HEARTBEATS: &str = "kube-node-lease";
/// The condition by which a proxy tells whether the ports of a service could be bound.
const PORTS_BOUND: &str = "PortsBound";
/// Labels with this prefix are for operators alone, so that no node can draw pods to itself by them.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// The labels of Kubernetes' own prefixes that an agent may set.
const AGENT_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
const AGENT_PREFIXES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// What the rules say before any other object is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied(String),
    /// If a pod of the node refers to the object.
    IfReferenced(Key),
    /// If the pod is bound to the node.
    IfBound(Key),
}

fn denied(why: impl Into<String>) -> Verdict {
    Verdict::Denied(why.into())
}

/// Judges a wish of the agent of `node`.
pub(super) fn judge(node: &str, what: &Attributes<'_>) -> Verdict {
    let reads = matches!(what.verb, "get" | "list" | "watch");
    let own = what.name == node;
    match what.kind() {
        Some(Kind::Pod) => pods(node, what),
        Some(Kind::Secret | Kind::ConfigMap | Kind::ServiceAccount) => referenced(what, reads),
        Some(Kind::Node) => match what.verb {
            _ if reads => Verdict::Allowed,
            "create" if what.name.is_empty() || own => Verdict::Allowed,
            "update" | "patch" if own => Verdict::Allowed,
            "create" | "update" | "patch" => denied(format!("a node writes only its own object, nodes/{node}")),
            _ => denied("only an administrator removes nodes"),
        },
        Some(Kind::Lease) => {
            let kept = match what.verb {
                "create" => what.name.is_empty() || own,
                "get" | "update" | "patch" | "delete" => own,
                _ => false,
            };
            if kept && what.namespace == HEARTBEATS {
                Verdict::Allowed
            } else {
                denied(format!("a node keeps only its own lease, {node} in the namespace {HEARTBEATS}"))
            }
        }
        Some(Kind::Event) if matches!(what.verb, "create" | "update" | "patch") => Verdict::Allowed,
        Some(Kind::Service | Kind::EndpointSlice | Kind::RuntimeClass) if reads && what.sub.is_empty() => {
            Verdict::Allowed
        }
        // The proxy of a node tells of ports that it cannot bind.
        Some(Kind::Service) if what.sub == "status" && matches!(what.verb, "update" | "patch") => Verdict::Allowed,
        Some(
            Kind::Service
            | Kind::EndpointSlice
            | Kind::RuntimeClass
            | Kind::PriorityClass
            | Kind::Event
            | Kind::Endpoints
            | Kind::Namespace
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::DaemonSet
            | Kind::StatefulSet
            | Kind::ControllerRevision
            | Kind::PodDisruptionBudget
            | Kind::HorizontalPodAutoscaler
            | Kind::CronJob
            | Kind::Job
            | Kind::NodeLedger
            | Kind::AddressLedger,
        )
        | None => denied("a node's agent has no need of it: ask as a user of the group system:masters"),
    }
}

fn pods(node: &str, what: &Attributes<'_>) -> Verdict {
    match (what.verb, what.sub) {
        ("list" | "watch", "") if what.selects("spec.nodeName") == Some(node) => Verdict::Allowed,
        ("list" | "watch", "") => {
            denied(format!("a node sees only its own pods: select them with fieldSelector=spec.nodeName={node}"))
        }
        ("get" | "delete", "") | ("get" | "update" | "patch", "status") => match what.object(Kind::Pod) {
            Some(key) => Verdict::IfBound(key),
            None => denied("a node touches only pods that are bound to it: name one"),
        },
        _ => {
            denied("a node's agent reads its pods, writes their status and deletes them, and does nothing else to pods")
        }
    }
}

fn referenced(what: &Attributes<'_>, reads: bool) -> Verdict {
    let Some(kind) = what.kind().filter(|_| reads && what.sub.is_empty()) else {
        return denied("a node's agent only reads what its pods refer to");
    };
    match what.object(kind) {
        Some(key) => Verdict::IfReferenced(key),
        None => denied(format!(
            "a node reads only the {} that its pods refer to, one by one: name one, in a list or watch with \
             fieldSelector=metadata.name=NAME",
            what.resource
        )),
    }
}

/// Whether an agent may set or change a label of its node.
fn free_label(label: &str) -> bool {
    let prefix = label.split_once('/').map_or("", |(prefix, _)| prefix);
    let within = |domain: &str| prefix == domain || prefix.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    if within(RESTRICTED) {
        return false;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    !kubernetes || AGENT_LABELS.contains(&label) || AGENT_PREFIXES.iter().any(|p| within(p))
}

fn labels_that_differ(new: &Object, old: Option<&Object>) -> BTreeSet<String> {
    let all = |object: &Object| -> BTreeSet<(String, String)> {
        object.meta().labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    };
    let (new, old) = (all(new), old.map(all).unwrap_or_default());
    new.symmetric_difference(&old).map(|(key, _)| key.clone()).collect()
}

/// Judges what the agent of `node` wants to store in the place of `old`.
///
/// # Errors
/// Why it may not.
pub(super) fn check_write(node: &str, new: &Object, old: Option<&Object>) -> Result<(), String> {
    let named = new.meta().name.as_str();
    match (new, old) {
        (Object::Node(_) | Object::Lease(_), None) if named != node => {
            Err(format!("a node may create only its own objects, named {node}"))
        }
        (Object::Node(new_node), _) => {
            let forbidden: Vec<String> =
                labels_that_differ(new, old).into_iter().filter(|label| !free_label(label)).collect();
            if !forbidden.is_empty() {
                return Err(format!(
                    "node {node} may not change these of its labels: {}; an administrator sets them with \
                     `kubectl label node {node} KEY=VALUE`",
                    forbidden.join(", ")
                ));
            }
            match old {
                Some(Object::Node(old)) => check_node_update(node, new_node, old),
                _ => Ok(()),
            }
        }
        (Object::Service(new), Some(Object::Service(old))) if !only_ports_told(new, old) => {
            Err(format!("node {node} may change no more of a service's status than the condition {PORTS_BOUND}"))
        }
        (Object::Pod(_), Some(old)) if new.meta().labels != old.meta().labels => {
            Err(format!("node {node} may not change the labels of a pod through its status"))
        }
        _ => Ok(()),
    }
}

/// Whether two states of a service differ at most in what its proxy says of its ports.
fn only_ports_told(new: &Service, old: &Service) -> bool {
    let others = |service: &Service| {
        let mut status = service.status.clone();
        status.conditions.retain(|condition| condition.kind != PORTS_BOUND);
        status
    };
    others(new) == others(old)
}

fn check_node_update(node: &str, new: &Node, old: &Node) -> Result<(), String> {
    if new.spec.taints != old.spec.taints {
        return Err(format!(
            "node {node} may not change its taints; an administrator does with `kubectl taint node {node} …`"
        ));
    }
    if new.metadata.owner_references != old.metadata.owner_references {
        return Err(format!("node {node} may not change its owners"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn labels_of_operators_are_not_free() {
        for (label, expected) in [
            ("zone", true),
            ("example.com/rack", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/instance-type", true),
            ("deep.node.kubernetes.io/x", true),
            ("node-restriction.kubernetes.io/pci", false),
            ("a.node-restriction.kubernetes.io/pci", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("k8s.io/x", false),
            ("notkubernetes.io/x", true),
        ] {
            assert_eq!(free_label(label), expected, "{label}");
        }
    }

    #[test]
    fn a_node_tells_of_ports_and_nothing_else_of_services() {
        let service = |status: Value| {
            let value = json!({"metadata": {"name": "web"}, "status": status});
            Object::from_value(Kind::Service, value).expect("a service")
        };
        let (told, plain) = (json!({"conditions": [{"type": "PortsBound", "status": "False"}]}), service(json!({})));
        assert_eq!(check_write("n1", &service(told), Some(&plain)), Ok(()));
        let taken = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
        let error = check_write("n1", &service(taken), Some(&plain)).expect_err("draws traffic");
        assert!(error.contains("PortsBound"), "{error}");
    }

    fn node(labels: Value, taints: Value) -> Object {
        let value = json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}});
        Object::from_value(Kind::Node, value).expect("a node")
    }

    #[test]
    fn a_node_cannot_make_itself_more_attractive() {
        let taint = json!([{"key": "gpu", "effect": "NoSchedule"}]);
        let secure = json!({"node-restriction.kubernetes.io/secure": "yes"});
        let (plain, tainted) = (node(json!({"a": "b"}), json!([])), node(json!({"a": "b"}), taint.clone()));
        let check = |new: &Object, old: Option<&Object>| check_write("n1", new, old);
        assert_eq!(check(&tainted, None), Ok(()), "a node may register with taints");
        assert_eq!(check(&node(json!({"a": "c"}), taint), Some(&tainted)), Ok(()));
        let removed = check(&plain, Some(&tainted)).expect_err("takes a taint off");
        assert!(removed.contains("may not change its taints"), "{removed}");
        let added = check(&node(secure.clone(), json!([])), Some(&plain)).expect_err("adds a label");
        assert!(added.contains("node-restriction.kubernetes.io/secure"), "{added}");
        assert!(check(&plain, Some(&node(secure.clone(), json!([])))).is_err(), "takes a label off");
        assert!(check(&node(secure, json!([])), None).is_err(), "registers with a label");
        assert!(check_write("n2", &plain, None).is_err(), "registers under another name");
    }
}
