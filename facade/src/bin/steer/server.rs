//! `steer server`: the API and the controllers, without a node.

use crate::up::{Serve, ServeOptions};
use anyhow::bail;
use clap::Args;

/// The arguments of `server`.
#[derive(Debug, Args)]
pub(crate) struct Server {
    #[command(flatten)]
    serve: Serve,
}

impl Server {
    /// Fills the defaults in.
    ///
    /// # Errors
    /// As [`Serve::options`].
    pub(crate) fn options(self) -> anyhow::Result<ServeOptions> {
        self.serve.options()
    }
}

/// Runs a server until it is asked to stop.
///
/// # Errors
/// When the address or the data directory is in use.
pub(crate) fn run_server(options: ServeOptions) -> anyhow::Result<()> {
    bail!("this build has no server to start with {options:?}")
}
