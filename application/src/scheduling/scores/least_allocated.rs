//! The more is left free, the better (mean of cpu and memory).

use super::share::{mean, weighed};
use crate::scheduling::{Basis, Demand, NodeInfo, Preference, Score};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct LeastAllocated;

impl Score for LeastAllocated {
    fn name(&self) -> &'static str {
        "LeastAllocated"
    }

    fn explain(&self) -> &'static str {
        "percent of cpu and memory that stays free, the mean of both"
    }

    fn basis(&self) -> Basis {
        Basis::Room
    }

    fn of(&self, pod: &Demand, node: &NodeInfo) -> i64 {
        100 - mean(weighed(pod, node))
    }

    fn order(&self) -> Option<Preference> {
        Some(Preference::Emptiest)
    }
}
