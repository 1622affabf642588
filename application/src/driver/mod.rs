//! The only async part of the core: queues, loops, the executor.

pub mod agent;
pub mod controllers;
pub mod housekeeping;
pub mod scheduler;
pub mod spawner;
pub mod world;
