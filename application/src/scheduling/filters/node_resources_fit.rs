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
        let (need, free) = (pod.need, node.free());
        let short = [need.pods > free.pods, need.cpu > free.cpu, need.memory > free.memory];
        let known = WORDS[usize::from(short[0]) | usize::from(short[1]) << 1 | usize::from(short[2]) << 2];
        if !pod.beyond {
            return if known.is_empty() { "Insufficient resources".into() } else { known.into() };
        }
        let others = node.taken.allocated.shortages(&node.allocatable, pod.request()).into_iter();
        let others = others.filter(|s| !["pods", "cpu", "memory"].contains(&s.resource.as_str()));
        let others = others.map(|s| format!("Insufficient {}", s.resource));
        let known = Some(known.to_owned()).filter(|known| !known.is_empty());
        known.into_iter().chain(others).collect::<Vec<_>>().join(", ").into()
    }
}

/// What is short: pods 1, cpu 2, memory 4.
const WORDS: [&str; 8] = [
    "",
    "Too many pods",
    "Insufficient cpu",
    "Too many pods, Insufficient cpu",
    "Insufficient memory",
    "Too many pods, Insufficient memory",
    "Insufficient cpu, Insufficient memory",
    "Too many pods, Insufficient cpu, Insufficient memory",
];
