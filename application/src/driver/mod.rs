//! The only async part of the core: queues, loops, the executor.

pub mod agent;
pub mod controllers;
pub mod housekeeping;
pub mod scheduler;
pub mod virtual_time;
pub mod world;

/// The port by which tasks are started, which adapters need too.
pub mod spawner {
    pub use steersman_domain::ports::{SpawnHandle, Spawner, Task};
}
