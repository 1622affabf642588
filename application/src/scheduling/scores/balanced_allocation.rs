//! Alike use of cpu and memory, so that neither is left over alone.

use super::share::used;
use crate::scheduling::{Basis, Demand, NodeInfo, Score};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct BalancedAllocation;

impl Score for BalancedAllocation {
    fn name(&self) -> &'static str {
        "BalancedAllocation"
    }

    fn explain(&self) -> &'static str {
        "100 less the difference between the percents of cpu and of memory in use"
    }

    fn basis(&self) -> Basis {
        Basis::Room
    }

    fn of(&self, pod: &Demand, node: &NodeInfo) -> i64 {
        let (cpu, memory) = used(pod, node);
        100 - (cpu - memory).abs()
    }
}
