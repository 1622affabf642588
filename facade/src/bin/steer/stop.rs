//! How commands that serve start and stop: the line that says where the API is, an orderly end at the first signal, and
//! an end at once at the second.

use crate::out;
use anyhow::Context as _;
use std::future::Future;
use std::io::IsTerminal as _;
use steersman::{Cluster, ClusterBuilder};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The signals that ask a command to stop: Ctrl-C, SIGTERM, and the end of the terminal.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hangup: hangup? })
    }

    /// Waits for the next signal. Cancelling loses none.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Runs a command that serves, with its log on standard error (`RUST_LOG` chooses what, warnings when unset).
///
/// # Errors
/// Those of the command, and when the runtime cannot be made.
pub(crate) fn block_on<F>(serve: impl FnOnce(Stop) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // An error means that there is a log already, which will do.
    let _logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // They would be told on standard error, which is what is broken then, and end the program.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async { Box::pin(serve(Stop::new()?)).await });
    // What still blocks a thread, such as a name being looked up, must not hold the end back.
    runtime.shutdown_background();
    ended
}

/// Starts a cluster and says that it is ready; nothing when it was asked to stop before.
///
/// # Errors
/// When the cluster cannot start.
pub(crate) async fn start(builder: ClusterBuilder, stop: &mut Stop) -> anyhow::Result<Option<Cluster>> {
    let cluster = tokio::select! {
        biased;
        () = stop.asked() => return Ok(None),
        cluster = builder.start() => cluster?,
    };
    let url = cluster.url().context("the API does not listen")?;
    let kubeconfig = cluster.kubeconfig_path().context("no kubeconfig was written")?;
    let ready = format!("ready: {url} kubeconfig: {}", kubeconfig.display());
    if let Err(error) = out::say(ready) {
        out::note(format!("nobody reads standard output ({error:#}): the cluster goes on"));
    }
    Ok(Some(cluster))
}

/// Stops a cluster in order; asked again, without grace; asked once more, not even waiting for that.
pub(crate) async fn end(cluster: Cluster, stop: &mut Stop) {
    crate::out::note("stopping; press Ctrl-C again to stop at once");
    let (hurry, hurried) = tokio::sync::oneshot::channel::<()>();
    let again = async {
        stop.asked().await;
        // Nobody waits for it when the cluster has just ended.
        let _ended = hurry.send(());
        stop.asked().await;
    };
    let stopped = cluster.stop_or_kill(async { drop(hurried.await) });
    tokio::select! {
        biased;
        () = stopped => {}
        () = again => {}
    }
}
