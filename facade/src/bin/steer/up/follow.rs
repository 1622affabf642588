//! Follows the workloads of a running cluster through its API, and shows their progress.

use super::progress::{Progress, Screen, Workloads};
use crate::client::{self, Api, Call, is_refused};
use crate::out;
use anyhow::bail;
use serde_json::Value;
use std::io::IsTerminal as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What is followed. Replica sets stand between pods and deployments.
const FOLLOWED: [&str; 6] = [
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/replicasets",
    "/apis/batch/v1/jobs",
    "/api/v1/pods",
];
/// Changes that wait to be shown; more make the readers wait, not grow.
const QUEUE: usize = 256;

/// One change: an event of a watch, or that a kind was listed whole.
enum Change {
    Event(String, Value),
    Listed,
}

/// What to follow, and how long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Follow {
    /// Only these workloads; else all.
    pub(crate) only: Option<Workloads>,
    /// End when all are ready; else go on until dropped.
    pub(crate) until_ready: bool,
}

/// Shows the progress of workloads on standard output, redrawn on a terminal.
///
/// # Errors
/// When the server cannot be followed; with `until_ready` also when a workload fails, with its reason.
pub(crate) async fn follow(api: Arc<Api>, what: Follow) -> anyhow::Result<()> {
    let (sender, mut changes) = mpsc::channel(QUEUE);
    // Dropped with this future, and the tasks end with it.
    let mut readers = JoinSet::new();
    for path in FOLLOWED {
        readers.spawn(read(Arc::clone(&api), path, sender.clone()));
    }
    drop(sender);
    let terminal = std::io::stdout().is_terminal();
    let (mut progress, mut listed) = (Progress::new(what.only), 0);
    loop {
        let change = tokio::select! {
            biased;
            Some(change) = changes.recv() => change,
            // A reader ends only by an error while this side listens.
            Some(ended) = readers.join_next() => return ended?,
            else => return Ok(()),
        };
        match change {
            Change::Listed => listed += 1,
            Change::Event(kind, object) => {
                let lines = progress.observe(&kind, &object);
                if !terminal {
                    lines.iter().try_for_each(out::say)?;
                } else if changes.is_empty() {
                    // Only when nothing else is waiting: a thousand pods need no thousand frames.
                    out::print(&progress.redraw(screen()))?;
                }
            }
        }
        if what.until_ready && listed >= FOLLOWED.len() && changes.is_empty() {
            let failed = progress.failed();
            if !failed.is_empty() {
                bail!("not all workloads became ready: {}", failed.join("; "));
            }
            if progress.is_ready() {
                return Ok(());
            }
        }
    }
}

/// The terminal as it is now: people resize it.
fn screen() -> Screen {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    // A terminal that does not know its size is taken for one of the usual size.
    let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
    Screen { columns, rows, colour: out::coloured() }
}

/// Sends every change of a kind, from a list on; lists again when the watch is too old.
async fn read(api: Arc<Api>, path: &'static str, sender: mpsc::Sender<Change>) -> anyhow::Result<()> {
    loop {
        let chunks = api.chunks(&Call::get(path)).await?;
        let revision = chunks[0]["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let objects = chunks.iter().flat_map(client::items);
        let listed = objects.map(|object| Change::Event("ADDED".to_owned(), object)).chain([Change::Listed]);
        for change in listed {
            if sender.send(change).await.is_err() {
                return Ok(());
            }
        }
        let mut watch = api.watch(Call::get(path), &revision);
        loop {
            match watch.next().await {
                Ok((kind, object)) => {
                    if sender.send(Change::Event(kind, object)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) if is_refused(&error, 410) => break,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{answer, plain, serve};
    use serde_json::json;

    fn web(available: i64, reason: &str) -> Value {
        json!({"kind": "Deployment", "metadata": {"namespace": "default", "name": "web", "uid": "u"}, "spec": {"replicas": 1},
            "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": available,
                "conditions": [{"type": "Progressing", "reason": reason}]}})
    }

    /// Follows a cluster that lists `first`, and whose watch then tells of `then`.
    async fn followed(first: Value, then: Value) -> anyhow::Result<()> {
        let (address, _) = serve(move |_, uri| match (uri.contains("deployments"), uri.contains("watch=true")) {
            (true, false) => answer(
                200,
                &json!({"kind": "DeploymentList", "metadata": {"resourceVersion": "1"}, "items": [first]}).to_string(),
            ),
            (true, true) => answer(200, &format!("{}\n", json!({"type": "MODIFIED", "object": then}))),
            (false, false) => answer(200, r#"{"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}"#),
            // An event of another kind: without one the watch would be taken for one that cannot be served.
            (false, true) => answer(200, "{\"type\": \"BOOKMARK\", \"object\": {\"kind\": \"Pod\"}}\n"),
        })
        .await;
        let following = follow(Arc::new(plain(address)), Follow { only: None, until_ready: true });
        tokio::time::timeout(std::time::Duration::from_secs(10), following).await.expect("it ends")
    }

    #[tokio::test]
    async fn following_ends_when_all_is_ready() {
        followed(web(0, "ReplicaSetUpdated"), web(1, "NewReplicaSetAvailable")).await.expect("ready");
        followed(web(1, "NewReplicaSetAvailable"), web(1, "NewReplicaSetAvailable")).await.expect("ready at once");
    }

    #[tokio::test]
    async fn following_fails_with_the_reason() {
        let error = followed(web(0, "ReplicaSetUpdated"), web(0, "ProgressDeadlineExceeded")).await.expect_err("fails");
        let want = "deployment/web: deployment \"web\" exceeded its progress deadline";
        assert!(error.to_string().ends_with(want), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_gone_ends_the_following() {
        let nobody = plain("127.0.0.1:1".parse().expect("an address"));
        assert!(follow(Arc::new(nobody), Follow::default()).await.is_err());
    }
}
