//! `steer up`: a whole cluster in this process.

pub(crate) mod check;
pub(crate) mod follow;
pub(crate) mod progress;
mod state;

use crate::client::{Api, ClientFlags};
use crate::{apply, files, out, stop};
use clap::Args;
use follow::Follow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use steersman::functions::{Registry, workers};
use steersman::{Autoscaling, Cluster, ClusterBuilder};

/// The arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Apply a manifest, a folder of them, or `-`; can be given several times
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// How many nodes to run in this process
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=32))]
    nodes: u16,
    /// How many nodes to pretend beside them, for pods of the runtime `simulated`
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    simulated_nodes: u16,
    /// Say `all ready` when the workloads of the manifests are (jobs: when they are done), and end with an error when one cannot be
    #[arg(long, requires = "files")]
    wait: bool,
    /// The port of the host's address for the traffic of other nodes to pods; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    tunnel_port: u16,
    #[command(flatten)]
    serve: Serve,
}

/// Where a server keeps its state and listens.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where state is kept; else $XDG_STATE_HOME/steersman
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// The address by which other hosts reach this one; else the API's, or the one that leads out
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The runtime of pods that name none
    #[arg(long, value_name = "NAME", default_value = "container",
          value_parser = ["task", "process", "container", "simulated"])]
    default_runtime: String,
    /// How often, in seconds, each autoscaler is looked at
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    autoscaler_sync: u64,
    /// Over how many seconds the usage of pods is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    usage_window: u64,
}

/// Where a server keeps its state and listens, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServeOptions {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) address: Option<IpAddr>,
    /// `task`, `process`, `container` or `simulated`.
    pub(crate) default_runtime: String,
    /// How often each autoscaler is looked at, and over how long usage is measured.
    pub(crate) autoscaling: (Duration, Duration),
}

impl ServeOptions {
    /// A cluster with these options, and one node.
    pub(crate) fn builder(&self) -> ClusterBuilder {
        let functions = Registry::new();
        workers::register(&functions).expect("an empty registry has all names free");
        let builder = Cluster::builder()
            .data_dir(&self.data_dir)
            .listen(self.listen)
            .default_runtime(&self.default_runtime)
            .autoscaling(Autoscaling::default().sync(self.autoscaling.0).window(self.autoscaling.1))
            .functions(functions);
        match self.address {
            Some(address) => builder.address(address),
            None => builder,
        }
    }
}

/// What `up` shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpOptions {
    /// What to apply once the API serves; see [`crate::files::read`].
    pub(crate) files: Vec<PathBuf>,
    pub(crate) serve: ServeOptions,
    /// Nodes in this process, 0 to 32.
    pub(crate) nodes: u16,
    /// Nodes that run nothing, 0 to 10,000.
    pub(crate) simulated_nodes: u16,
    pub(crate) tunnel_port: u16,
    /// Whether to say when all that was applied is ready.
    pub(crate) wait: bool,
}

impl Serve {
    /// Fills the defaults in.
    ///
    /// # Errors
    /// When no data directory is named and the environment gives no place for one.
    pub(crate) fn options(self) -> anyhow::Result<ServeOptions> {
        let data_dir = match self.data_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => crate::client::default_state_dir()?,
        };
        let Serve { listen, address, default_runtime, autoscaler_sync, usage_window, .. } = self;
        let autoscaling = (Duration::from_secs(autoscaler_sync), Duration::from_secs(usage_window));
        Ok(ServeOptions { data_dir, listen, address, default_runtime, autoscaling })
    }
}

impl Up {
    /// Fills the defaults in.
    ///
    /// # Errors
    /// As [`Serve::options`].
    pub(crate) fn options(self) -> anyhow::Result<UpOptions> {
        let Up { files, nodes, simulated_nodes, wait, tunnel_port, serve } = self;
        let serve = serve.options()?;
        Ok(UpOptions { files, serve, nodes, simulated_nodes, tunnel_port, wait })
    }
}

/// Runs a cluster until it is asked to stop, then stops it in order; asked again, at once.
///
/// # Errors
/// A manifest that is malformed or of an unknown kind, or has unknown fields, said before anything is started; an address or data directory that is in use; a manifest that
/// the API refuses; with `wait` a workload that cannot become ready.
pub(crate) fn run_up(options: UpOptions) -> anyhow::Result<()> {
    let documents = if options.files.is_empty() { Vec::new() } else { files::read(&options.files, false)? };
    check::documents(&documents)?;
    stop::block_on(async move |mut stop| {
        let builder = options.serve.builder().nodes(options.nodes).simulated_nodes(options.simulated_nodes);
        let builder = builder.tunnel_port(options.tunnel_port);
        let Some(cluster) = stop::start(builder, &mut stop).await? else { return Ok(()) };
        let ended = tokio::select! {
            biased;
            () = stop.asked() => Ok(()),
            Err(error) = work(&cluster, &documents, options.wait) => Err(error),
        };
        stop::end(cluster, &mut stop).await;
        ended
    })
}

/// The cluster goes on when nobody reads what it prints.
fn read_or_not(said: anyhow::Result<()>) -> anyhow::Result<()> {
    said.or_else(|error| if crate::is_broken_pipe(&error) { Ok(()) } else { Err(error) })
}

/// Applies the manifests and shows how far the workloads are; ends only by an error.
async fn work(cluster: &Cluster, documents: &[files::Document], wait: bool) -> anyhow::Result<()> {
    let flags = ClientFlags { kubeconfig: cluster.kubeconfig_path().map(Into::into), context: None };
    let api = Arc::new(Api::new(&flags)?);
    let mut only = None;
    if !documents.is_empty() {
        let how = apply::How { dry_run: false, validate: apply::Validate::Strict };
        read_or_not(apply::documents_to(&api, documents, (None, how)).await)?;
        only = Some(progress::workloads(documents, &api.namespace));
    }
    if wait {
        read_or_not(follow::follow(Arc::clone(&api), Follow { only: only.clone(), until_ready: true }).await)?;
        read_or_not(out::say("all ready"))?;
    }
    // The display is not the cluster: when it breaks, the cluster goes on.
    if let Err(error) = follow::follow(api, Follow { only, until_ready: false }).await {
        out::note(format!("the progress is no longer shown: {error:#}"));
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        up: Up,
    }

    #[test]
    fn flags_become_options() {
        let line =
            ["up", "-f", "a", "-f", "-", "--data-dir", "/d", "--listen", "127.0.0.1:0", "--nodes", "3", "--wait"];
        let options = Line::try_parse_from(line).expect("good").up.options().expect("good");
        assert_eq!(options.files, [PathBuf::from("a"), PathBuf::from("-")]);
        assert_eq!((options.nodes, options.wait, options.serve.listen.port()), (3, true, 0));
        assert_eq!((options.serve.data_dir, options.serve.default_runtime.as_str()), ("/d".into(), "container"));
    }

    #[test]
    fn bad_flags_are_refused() {
        for bad in ["--nodes 33", "--listen here", "--default-runtime magic", "--wait"] {
            let line = std::iter::once("up").chain(bad.split(' '));
            assert!(Line::try_parse_from(line).is_err(), "{bad}");
        }
    }
}
