//! The built-in scores, one file each. Their names and meaning are kube-scheduler's.

mod balanced_allocation;
mod image_locality;
mod inter_pod_affinity;
mod least_allocated;
mod most_allocated;
mod node_affinity;
mod pod_topology_spread;
mod share;
mod taint_toleration;

pub use balanced_allocation::BalancedAllocation;
pub use image_locality::ImageLocality;
pub use inter_pod_affinity::InterPodAffinity;
pub use least_allocated::LeastAllocated;
pub use most_allocated::MostAllocated;
pub use node_affinity::NodeAffinity;
pub use pod_topology_spread::PodTopologySpread;
pub use taint_toleration::TaintToleration;
