//! The process runtime on systems other than Linux: says what is missing.

#[path = "config.rs"]
mod config;

pub use config::{OpenError, ProcessConfig};
use std::ffi::OsString;
use std::process::ExitCode;

/// Process pods need Linux: sub-reapers, control groups, seccomp user notification, and all of 127.0.0.0/8 on loopback.
#[derive(Debug)]
pub struct ProcessRuntime {
    _private: (),
}

impl ProcessRuntime {
    /// Always refuses.
    pub async fn open(_config: ProcessConfig) -> Result<Self, OpenError> {
        Err(OpenError::Unsupported(
            "process pods need Linux (sub-reapers, control groups, seccomp user notification); use another runtime class, \
             or run steer in a Linux machine",
        ))
    }
}

/// No pod runs as a process on this system.
///
/// # Errors
/// Never.
pub fn claimed_addresses() -> std::io::Result<Vec<std::net::Ipv4Addr>> {
    Ok(Vec::new())
}

/// Does nothing: there is no shim on this system.
pub fn init() {}

/// There is no shim on this system.
pub fn shim_main(_args: Vec<OsString>) -> ExitCode {
    ExitCode::FAILURE
}
