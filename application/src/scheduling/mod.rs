//! Scheduling: which node a pod goes to, as a pure function of the nodes, what is taken on them, and the pods that wait.
//! Filters say which nodes are feasible and why the others are not; scores rank the feasible ones; a profile names both.
//! Pods that are alike share what is worked out for them, and nodes are kept in the order in which they are liked, so that a
//! decision looks at few of them. It binds nothing and waits for nothing: that is the driver's part.
//! Source of the filters' meaning and wording: kube-scheduler's plug-ins of the same names.

mod bound;
mod class;
mod context;
mod decide;
mod demand;
mod failures;
pub mod filters;
mod gang;
mod lookup;
mod node_info;
mod nodes;
mod order;
mod plugin;
mod preempt;
mod profile;
mod ranking;
#[cfg(test)]
mod reference;
mod schedule;
pub mod scores;
mod summary;
mod terms;
#[cfg(test)]
mod tests;
mod topology;
mod weight;

pub use context::SchedulingContext;
pub use demand::{Demand, Load};
pub use node_info::{NodeInfo, Taken};
pub use nodes::Nodes;
pub use plugin::{Basis, Check, Filter, Measure, Preference, Reason, Score, Situation};
pub use preempt::Budget;
pub use profile::{Profile, ProfileError, default_profiles};
pub use schedule::{DefaultScheduler, Scheduler, schedule};
pub use terms::{PodSelector, Query, Spread, Term, Terms};
pub use topology::Eligible;
pub use weight::Weight;

/// Which nodes count for topology spread of pods of a demand.
fn eligible(demand: &Demand, infos: &[NodeInfo]) -> Eligible {
    let asked = |filter: &dyn Filter| infos.iter().map(|i| i.node.is_some() && filter.passes(demand, i)).collect();
    Eligible {
        affine: asked(&filters::NodeAffinity),
        tolerated: infos
            .iter()
            .map(|i| filters::TaintToleration.passes(demand, i) && filters::NodeUnschedulable.passes(demand, i))
            .collect(),
    }
}
