//! The hidden command under which each process pod runs.

use anyhow::bail;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs as a shim; `args` are the runtime's own.
///
/// # Errors
/// When it was not started by a runtime.
pub(crate) fn run_shim(args: &[OsString]) -> anyhow::Result<ExitCode> {
    bail!("this build has no shim to run with {args:?}")
}
