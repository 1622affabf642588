//! Stores for Steersman. Now: in memory, the reference that every other store is compared with,
//! and heartbeats beside any store.

#![warn(missing_docs)]

mod heartbeats;
mod memory;
mod signal;

pub use heartbeats::Heartbeats;
pub use memory::{JournalError, MemoryStore};
