//! The ports: what the core needs of the outside, and the decisions that a host may replace. Decision ports are synchronous
//! and pure; effect ports are async, fallible and object-safe.

mod autoscaler;
mod clock;
mod health;
mod messenger;
mod metrics;
mod repository;
mod runtime;
mod scheduler;
mod spawner;
mod store;

pub use autoscaler::*;
pub use clock::*;
pub use health::*;
pub use messenger::*;
pub use metrics::*;
pub use repository::*;
pub use runtime::*;
pub use scheduler::*;
pub use spawner::*;
pub use store::*;
