//! Runtimes of Steersman pods, and the service proxy.
//!
//! `task` runs pods as functions of this process; `process` runs pods as operating-system processes, each pod under a small shim process of its own; `proxy` is the
//! userspace data path of services. This is the only crate that may use `unsafe`, and it does so in `process::sys` alone.

#![warn(missing_docs)]

mod health;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(not(target_os = "linux"))]
#[path = "process/other.rs"]
pub mod process;
pub mod proxy;
pub mod task;

pub use process::{OpenError, ProcessConfig, ProcessRuntime, claimed_addresses, init, shim_main};
