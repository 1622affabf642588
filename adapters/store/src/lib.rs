//! Stores for Steersman. Now: in memory, the reference that every other store is compared with.

mod memory;

pub use memory::{JournalError, MemoryStore};
