//! `steer server`: the API and the controllers, without a node.

use crate::stop;
use crate::up::{Serve, ServeOptions};
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

/// Runs a server until it is asked to stop, then stops it in order; asked again, at once.
///
/// # Errors
/// When the address or the data directory is in use.
pub(crate) fn run_server(options: &ServeOptions) -> anyhow::Result<()> {
    stop::block_on(async |mut stop| {
        let Some(cluster) = stop::start(options.builder().nodes(0), &mut stop).await? else { return Ok(()) };
        stop.asked().await;
        stop::end(cluster, &mut stop).await;
        Ok(())
    })
}
