//! What adapters are tested with: conformance suites, a manual clock, a seeded entropy.

pub mod store;
mod time;

pub use time::{ManualClock, SeededEntropy};
