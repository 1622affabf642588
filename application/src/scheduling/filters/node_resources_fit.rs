//! Too little of a resource is free. Where nothing else is said, the order of nodes steps over those that do not fit, and
//! only resources beyond cpu, memory and pods are asked of each.

use crate::scheduling::{Basis, Demand, Filter, NodeInfo, Reason};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct NodeResourcesFit;

/// The name, by which the scheduler knows the filter that the order of nodes stands in for.
pub(in crate::scheduling) const NAME: &str = "NodeResourcesFit";

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn basis(&self) -> Basis {
        Basis::Room
    }

    fn passes(&self, pod: &Demand, node: &NodeInfo) -> bool {
        if !pod.need.fits(&node.free()) {
            return false;
        }
        if !pod.beyond {
            return true;
        }
        let storage = node.allocatable.storage_bytes.saturating_sub(node.taken.allocated.storage_bytes);
        let enough = pod.request().storage_bytes <= 0 || pod.request().storage_bytes <= storage;
        enough
            && pod.request().extended.iter().all(|(name, amount)| {
                let of = node.allocatable.extended.get(name).copied().unwrap_or(0);
                let taken = node.taken.allocated.extended.get(name).copied().unwrap_or(0);
                *amount <= 0 || *amount <= of.saturating_sub(taken)
            })
    }

    fn explain(&self, pod: &Demand, node: &NodeInfo) -> Reason {
        let short = node.taken.allocated.shortages(&node.allocatable, pod.request());
        let mut words = short.iter().map(|s| -> Reason {
            match s.resource.as_str() {
                "pods" => "Too many pods".into(),
                "cpu" => "Insufficient cpu".into(),
                "memory" => "Insufficient memory".into(),
                other => format!("Insufficient {other}").into(),
            }
        });
        match (words.next(), words.next()) {
            (None, _) => "Insufficient resources".into(),
            (Some(one), None) => one,
            (Some(one), Some(two)) => {
                let rest: Vec<Reason> = [one, two].into_iter().chain(words).collect();
                rest.join(", ").into()
            }
        }
    }
}
