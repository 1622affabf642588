//! The entities: one file per family, with the rules that live on them.

mod affinity;
mod autoscaling;
mod batch;
mod config;
mod event;
mod ledgers;
mod node;
mod pod;
mod pod_status;
mod policy;
mod priority;
mod probe;
mod references;
mod scheduling;
mod service;
mod sets;
mod workload;

pub use affinity::*;
pub use autoscaling::*;
pub use batch::*;
pub use config::*;
pub use event::*;
pub use ledgers::*;
pub use node::*;
pub use pod::*;
pub use pod_status::*;
pub use policy::*;
pub use priority::*;
pub use probe::*;
pub use scheduling::*;
pub use service::*;
pub use sets::*;
pub use workload::*;
