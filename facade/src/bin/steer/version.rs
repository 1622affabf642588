//! `steer version`.

use crate::client::{Api, Call, ClientFlags};
use crate::out;
use clap::Args;

/// The arguments of `version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    flags: ClientFlags,
    /// Only the version of this program; asks no server
    #[arg(long)]
    client: bool,
}

/// Runs `version`.
///
/// # Errors
/// When the server cannot be asked; the version of this program is printed before.
pub(crate) async fn run(version: Version) -> anyhow::Result<()> {
    out::say(concat!("Client Version: v", env!("CARGO_PKG_VERSION")))?;
    if version.client {
        return Ok(());
    }
    let server = Api::new(&version.flags)?.json(Call::get("/version")).await?;
    out::say(format!("Server Version: {}", server["gitVersion"].as_str().unwrap_or("unknown")))
}
