//! Functions as pods: a host registers async or blocking functions by name, and pods of the runtime `task` run them, each
//! with a mailbox. A pod's `image` names the function; its one argument, if any, is a JSON document with the parameters.

mod context;
mod deadlines;
mod exchange;
mod gauge;
mod log;
mod message;
mod port;
mod registry;
mod run;
mod runtime;
mod settings;
mod state;
mod switchboard;
#[cfg(test)]
mod tests;
mod watchdog;

pub use context::{Context, PodIdentity, Worker, block_on};
pub use message::{Message, Reply};
pub use port::MAILBOX_PROBE;
pub use registry::{BoxError, Outcome, RegisterError, Registry};
pub use runtime::{TaskConfig, TaskRuntime};
pub use settings::{HANG_AFTER, MAILBOX};
pub use switchboard::{Address, Balance, Switchboard, WITHIN};
