//! Functions as pods: so far their names and parameters, their messages, and what they are given. The runtime that starts
//! and ends them is not written yet.

mod context;
mod gauge;
mod log;
mod message;
mod registry;
mod switchboard;

pub use context::{Context, PodIdentity, Worker, block_on};
pub use message::{Message, Reply};
pub use registry::{BoxError, Outcome, RegisterError, Registry};
pub use switchboard::{Address, Balance, Switchboard, WITHIN};
