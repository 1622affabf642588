//! Scheduling: which node a pod goes to, as a pure function of the nodes, what is taken on them, and the pods that wait.
//! Filters say which nodes are feasible and why the others are not; scores rank the feasible ones; a profile names both.
//! It binds nothing and waits for nothing: that is the driver's part. Source of the filters' meaning and wording:
//! kube-scheduler's plug-ins of the same names.

mod filter;
mod nodes;
mod profile;
mod schedule;
mod score;
mod weight;

pub use filter::{Demand, Filter, Rejection};
pub use nodes::{NodeInfo, Nodes};
pub use profile::{Profile, default_profiles};
pub use schedule::{DefaultScheduler, Scheduler, SchedulingContext, schedule};
pub use score::Score;
pub use weight::Weight;
