//! Runs a cluster in this process until it is asked to stop.

use super::UpOptions;
use super::follow::{Follow, follow};
use super::progress::workloads;
use crate::apply::{How, Validate, documents_to};
use crate::client::{Api, ClientFlags};
use crate::files::{self, Document};
use crate::out;
use anyhow::Context as _;
use std::future::pending;
use std::sync::Arc;
use steersman::Cluster;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Interrupts and requests to terminate.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Starts the cluster, applies the manifests, shows the progress, and stops in order when asked to; a second request ends
/// at once.
///
/// # Errors
/// When the cluster cannot start, or a manifest cannot be applied; the cluster is stopped then.
pub(crate) fn run(options: UpOptions) -> anyhow::Result<()> {
    // Read before anything starts: a manifest that cannot be read is no reason to start a cluster.
    let documents = files::read(&options.files, false)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(up(options, documents));
    // Whatever still blocks has no more say.
    runtime.shutdown_background();
    ended
}

async fn up(options: UpOptions, documents: Vec<Document>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let cluster = Cluster::builder(&options.serve.data_dir)
        .listen(options.serve.listen)
        .nodes(options.nodes)
        .simulated_nodes(options.simulated_nodes)
        .default_runtime(&options.serve.default_runtime)
        .start()
        .await?;
    out::say(format!("ready: https://{} kubeconfig: {}", cluster.address(), cluster.kubeconfig().display()))?;
    let work = work(&cluster, &options, &documents);
    let ended = tokio::select! {
        biased;
        () = signals.next() => Ok(()),
        ended = work => ended,
    };
    tokio::select! {
        biased;
        () = signals.next() => anyhow::bail!("stopped at once: processes of pods may still run; the next start takes them over"),
        () = cluster.stop() => {}
    }
    ended
}

/// Applies and follows; ends only with an error.
async fn work(cluster: &Cluster, options: &UpOptions, documents: &[Document]) -> anyhow::Result<()> {
    if !options.shows_progress && documents.is_empty() {
        return pending().await;
    }
    let flags = ClientFlags { kubeconfig: Some(cluster.kubeconfig().to_owned()), context: None };
    let api = Arc::new(Api::new(&flags).context("reading the kubeconfig that was just written")?);
    documents_to(&api, documents, (None, How { dry_run: false, validate: Validate::Strict })).await?;
    let only = workloads(documents, &api.namespace);
    if options.wait {
        follow(api.clone(), Follow { only: Some(only), until_ready: true }).await?;
        out::say("all workloads are ready")?;
    }
    if options.shows_progress {
        follow(api, Follow { only: None, until_ready: false }).await?;
    }
    pending().await
}
