//! Reconcilers: each compares what is wanted with what is, for one object, and answers what to write. They are pure: equal
//! input gives equal output, nothing is read but the snapshot, nothing waits. One writer per field.

mod outcome;

pub use outcome::{Note, Outcome};
