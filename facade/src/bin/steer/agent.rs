//! `steer agent`: a node that joins a cluster.

use crate::{out, stop};
use anyhow::Context as _;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use steersman::http::JoinToken;
use steersman::{JoinedNode, NodeOptions};

/// The arguments of `agent`.
#[derive(Args)]
pub(crate) struct Agent {
    /// The server to join, as https://HOST:PORT
    #[arg(long, value_name = "URL", value_parser = https)]
    server: String,
    /// The join token, from `steer token create`
    #[arg(long, value_name = "TOKEN", env = "STEERSMAN_TOKEN", hide_env_values = true)]
    token: String,
    /// The address by which other nodes reach this one; else the one that leads to the server
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The port of that address for the traffic of other nodes to pods; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    tunnel_port: u16,
    /// The node's name; else the host's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where state is kept; else $XDG_STATE_HOME/steersman/agent
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Over how many seconds the usage of pods is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    usage_window: u64,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A join token, `<ca-fingerprint>.<id>.<secret>`. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What an agent shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentOptions {
    /// `https://HOST:PORT`.
    pub(crate) server: String,
    pub(crate) token: Token,
    pub(crate) address: Option<IpAddr>,
    pub(crate) tunnel_port: u16,
    pub(crate) name: Option<String>,
    pub(crate) data_dir: PathBuf,
    pub(crate) usage_window: Duration,
}

fn https(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").ok_or("write it as https://HOST:PORT")?;
    if rest.is_empty() { Err("the host is missing".to_owned()) } else { Ok(text.trim_end_matches('/').to_owned()) }
}

fn token(text: &str) -> Result<Token, String> {
    let parts: Vec<_> = text.split('.').collect();
    if parts.len() == 3 && parts.iter().all(|part| !part.is_empty()) {
        Ok(Token(text.to_owned()))
    } else {
        Err("a token has three parts with dots between them: take it whole from `steer token create`".to_owned())
    }
}

impl Agent {
    /// Fills the defaults in.
    ///
    /// # Errors
    /// When no data directory is named and the environment gives no place for one.
    pub(crate) fn options(self) -> anyhow::Result<AgentOptions> {
        let data_dir = match self.data_dir {
            Some(dir) => std::path::absolute(dir)?,
            // Apart from a server's, which may run on the same machine.
            None => crate::client::default_state_dir()?.join("agent"),
        };
        // Read here and not by the parser of arguments, which would print what it refuses.
        let token = token(&self.token).map_err(|why| anyhow::anyhow!("--token: {why}"))?;
        let Agent { server, address, tunnel_port, name, usage_window, .. } = self;
        let usage_window = Duration::from_secs(usage_window);
        Ok(AgentOptions { server, token, address, tunnel_port, name, data_dir, usage_window })
    }
}

/// Runs a node until it is asked to stop, then stops its pods in order; asked again, at once.
///
/// # Errors
/// When the server cannot be reached, or the token is wrong, used or expired.
pub(crate) fn run_agent(options: AgentOptions) -> anyhow::Result<()> {
    let token = JoinToken::parse(&options.token.0)?;
    let program = std::env::current_exe().context("finding this program's own file")?;
    let node = NodeOptions {
        server: options.server,
        token,
        address: options.address,
        tunnel_port: options.tunnel_port,
        name: options.name,
        data_dir: options.data_dir,
        shim: vec![program.into(), "__shim".into()],
        usage_window: options.usage_window,
    };
    stop::block_on(async move |mut stop| {
        let joined = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            joined = JoinedNode::join(node) => joined?,
        };
        if let Err(error) = out::say(format!("joined as {}", joined.name())) {
            out::note(format!("nobody reads standard output ({error:#}): the node goes on"));
        }
        stop.asked().await;
        crate::out::note("stopping; press Ctrl-C again to stop at once");
        tokio::select! {
            biased;
            () = stop.asked() => {}
            () = joined.stop() => {}
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_tokens_are_checked_and_tokens_not_shown() {
        assert_eq!(https("https://h:1/"), Ok("https://h:1".to_owned()));
        assert!(https("h:1").is_err() && https("https://").is_err());
        assert!(token("a.b").is_err() && token("a..c").is_err());
        let good = token("finger.id.secret").expect("good");
        assert!(!format!("{good:?}").contains("secret"));
    }
}
