//! `steer token`: join tokens for nodes.

use crate::client::{Api, Call, ClientFlags};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// The parts of `token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token with which one node can join
    Create(Create),
}

/// The arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The data directory of the server; else $XDG_STATE_HOME/steersman
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long it can be used
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = crate::spans::read)]
    ttl: Duration,
}

/// What kind of token to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenOptions {
    pub(crate) data_dir: PathBuf,
    pub(crate) ttl: Duration,
}

impl Create {
    /// Fills the defaults in.
    ///
    /// # Errors
    /// When no data directory is named and the environment gives no place for one, or for a token that lives no time.
    pub(crate) fn options(self) -> anyhow::Result<TokenOptions> {
        if self.ttl.is_zero() {
            bail!("a token with --ttl 0 could never be used");
        }
        let data_dir = self.data_dir.map_or_else(crate::client::default_state_dir, Ok)?;
        Ok(TokenOptions { data_dir, ttl: self.ttl })
    }
}

/// Makes a token and gives it.
///
/// # Errors
/// When the server is not there, or refuses.
pub(crate) fn create_token(options: &TokenOptions) -> anyhow::Result<String> {
    let flags = ClientFlags { kubeconfig: Some(options.data_dir.join("kubeconfig")), context: None };
    let api = Api::new(&flags)?;
    let ask = Call::post("/apis/steersman.io/v1/jointokens", &json!({"lifetimeSeconds": options.ttl.as_secs().max(1)}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(api.json(ask))?;
    let token = answer["token"].as_str().context("the server's answer holds no token: is it of another version?")?;
    Ok(token.to_owned())
}
