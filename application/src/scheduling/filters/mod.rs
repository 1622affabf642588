//! The built-in filters, one file each. Their names, meaning and wording are kube-scheduler's, where it has one like it.

mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod runtime_offered;
mod taint_toleration;

pub use inter_pod_affinity::InterPodAffinity;
pub use node_affinity::NodeAffinity;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub(in crate::scheduling) use node_resources_fit::NAME as FIT;
pub use node_resources_fit::NodeResourcesFit;
pub use node_unschedulable::NodeUnschedulable;
pub use pod_topology_spread::PodTopologySpread;
pub use runtime_offered::RuntimeOffered;
pub use taint_toleration::TaintToleration;

use super::Filter;
use std::sync::Arc;

/// Every built-in filter, in the order of asking: the first rejection is the reason that is kept.
pub fn built_in() -> Vec<Arc<dyn Filter>> {
    vec![
        Arc::new(NodeUnschedulable),
        Arc::new(NodeName),
        Arc::new(TaintToleration),
        Arc::new(NodeAffinity),
        Arc::new(RuntimeOffered),
        Arc::new(NodePorts),
        Arc::new(NodeResourcesFit),
        Arc::new(PodTopologySpread),
        Arc::new(InterPodAffinity),
    ]
}
