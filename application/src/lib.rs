//! Steersman's decisions, use cases and drivers, on the domain's entities and ports.

#![warn(missing_docs)]

pub mod autoscaling;
pub mod client;
pub mod driver;
pub mod reconcile;
pub mod scheduling;
pub mod usecase;
