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
    #[command(flatten)]
    client: ClientFlags,
    /// The data directory of a server on this machine, whose kubeconfig is used
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    data_dir: Option<PathBuf>,
    /// How long it can be used
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = steersman::domain::spans::read)]
    ttl: Duration,
}

/// What kind of token to make, and where.
#[derive(Debug, Clone)]
pub(crate) struct TokenOptions {
    pub(crate) client: ClientFlags,
    pub(crate) ttl: Duration,
}

impl Create {
    /// Fills the defaults in: without a data directory the cluster is found as by every command of the client.
    ///
    /// # Errors
    /// For a token that lives no time.
    pub(crate) fn options(self) -> anyhow::Result<TokenOptions> {
        if self.ttl.is_zero() {
            bail!("a token with --ttl 0 could never be used");
        }
        let client = match self.data_dir {
            Some(dir) => ClientFlags { kubeconfig: Some(dir.join("kubeconfig")), context: None },
            None => self.client,
        };
        Ok(TokenOptions { client, ttl: self.ttl })
    }
}

/// Makes a token and gives it.
///
/// # Errors
/// When the server is not there, or refuses.
pub(crate) fn create_token(options: &TokenOptions) -> anyhow::Result<String> {
    let api = Api::new(&options.client)?;
    let ask = Call::post("/apis/steersman.io/v1/jointokens", &json!({"lifetimeSeconds": options.ttl.as_secs().max(1)}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(api.json(ask))?;
    let token = answer["token"].as_str().context("the server's answer holds no token: is it of another version?")?;
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn options(words: &[&str]) -> anyhow::Result<TokenOptions> {
        Line::try_parse_from(std::iter::once(&"create").chain(words))?.create.options()
    }

    #[test]
    fn the_cluster_is_named_as_for_other_commands_or_by_its_data() {
        let file = |words: &[&str]| options(words).expect("good").client.kubeconfig;
        assert_eq!(file(&["--kubeconfig", "/k"]), Some("/k".into()));
        assert_eq!(file(&["--data-dir", "/d"]), Some("/d/kubeconfig".into()));
        assert_eq!(file(&[]), None, "the environment says");
        assert!(options(&["--kubeconfig", "/k", "--data-dir", "/d"]).is_err(), "one of them is not meant");
        assert!(options(&["--ttl", "0s"]).is_err());
    }
}
