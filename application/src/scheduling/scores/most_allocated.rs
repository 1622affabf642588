//! The fuller, the better: bin packing.

use super::share::{mean, weighed};
use crate::scheduling::{Basis, Demand, NodeInfo, Preference, Score};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct MostAllocated;

impl Score for MostAllocated {
    fn name(&self) -> &'static str {
        "MostAllocated"
    }

    fn explain(&self) -> &'static str {
        "percent of cpu and memory that is taken, the mean of both"
    }

    fn basis(&self) -> Basis {
        Basis::Room
    }

    fn of(&self, pod: &Demand, node: &NodeInfo) -> i64 {
        mean(weighed(pod, node))
    }

    fn order(&self) -> Option<Preference> {
        Some(Preference::Fullest)
    }
}
