//! The process runtime: pods as operating-system processes.
//!
//! Each pod runs under a *shim*, a small single-threaded process that outlives the agent: it starts the containers, keeps
//! their logs, rewrites wildcard binds to the pod's address, waits, and writes a durable record of every exit. The *agent*
//! side ([`ProcessRuntime`]) keeps addresses, volumes and limits, and talks to the shims over Unix sockets. What both agree
//! on is in `record` (files), `wire` (messages) and `layout` (paths).
//!
//! It does not pull images, expand variables, restart anything, or decide: callers do.

mod address;
mod agent;
mod cgroup;
mod claim;
mod config;
mod identity;
mod layout;
mod log_format;
mod record;
mod shim;
mod sys;
mod usage;
mod wire;

pub use agent::ProcessRuntime;
pub use claim::claimed_addresses;
pub use config::{OpenError, ProcessConfig};
pub use shim::{init, shim_main};
