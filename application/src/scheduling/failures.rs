//! Pods that fit nowhere, remembered by what they ask for: while nothing has changed that could help, pods that are alike
//! are not looked at again one by one.

use super::Demand;
use super::lookup::Lookup;
use std::sync::Arc;
use steersman_domain::ports::NodeVerdict;

/// How many are remembered.
const MOST: usize = 4096;

/// Why no node can take pods of a demand.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) summary: String,
    pub(super) verdicts: Arc<Vec<NodeVerdict>>,
    /// The demand, so that its address stays its own.
    demand: Arc<Demand>,
    /// The count of changes at which it held.
    at: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Lookup<usize, Failure>);

impl Failures {
    /// The failure of pods that are alike, if nothing has changed since.
    pub(super) fn get(&self, demand: &Arc<Demand>, at: u64) -> Option<&Failure> {
        self.0.get(&(Arc::as_ptr(demand) as usize)).filter(|f| f.at == at)
    }

    pub(super) fn put(&mut self, demand: &Arc<Demand>, at: u64, summary: String, verdicts: Arc<Vec<NodeVerdict>>) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let failure = Failure { summary, verdicts, demand: demand.clone(), at };
        debug_assert!(Arc::ptr_eq(&failure.demand, demand));
        self.0.insert(Arc::as_ptr(demand) as usize, failure);
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
