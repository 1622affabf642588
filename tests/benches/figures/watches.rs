//! Watches of clients that do not read: what each of them makes the server hold.

use crate::client::Target;
use crate::cluster::resident;
use crate::steer;
use std::time::Duration;
use steersman_tests::steer::SteerUp;

const WATCHES: usize = 500;
const OBJECTS: usize = 5_000;
const WATCH: &str = "/api/v1/configmaps?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersion=0\
                     &resourceVersionMatch=NotOlderThan";

/// Prints the resident memory before and after 500 clients have asked for a watch of 5,000 ConfigMaps of 1 kB with all that
/// is there, and have read no more than the head of the answer: each over a connection of its own, and all over one of
/// HTTP/2. Each time a fresh server.
pub(crate) fn unread() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(connections());
    runtime.block_on(streams());
}

async fn connections() {
    let steer = steer(&["--nodes", "0"]);
    let target = prepared(&steer).await;
    let before = resident(steer.pid());
    let mut open = Vec::new();
    for _ in 0..WATCHES {
        open.push(target.connect().await.stream(WATCH, 1).await);
    }
    settle().await;
    tell("each with a connection of its own", before, resident(steer.pid()));
}

async fn streams() {
    let steer = steer(&["--nodes", "0"]);
    let target = prepared(&steer).await;
    let mut streams = target.streams().await;
    let before = resident(steer.pid());
    for _ in 0..WATCHES {
        streams.open(WATCH).await;
    }
    settle().await;
    tell("all on one connection of HTTP/2", before, resident(steer.pid()));
}

/// Where a server is that has the objects. Their bytes are encoded at the first read and kept for all others, so one client
/// reads them.
async fn prepared(steer: &SteerUp) -> Target {
    let target = Target::new(steer.kubeconfig());
    let mut client = target.connect().await;
    for n in 0..OBJECTS {
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c{n}"}},"data":{{"key":"{n:01000}"}}}}"#
        );
        assert_eq!(client.ask("POST", "/api/v1/namespaces/default/configmaps", &body).await, 201);
    }
    drop(target.connect().await.stream(WATCH, OBJECTS * 1000).await);
    target
}

fn tell(how: &str, before: f64, after: f64) {
    println!(
        "watches: {WATCHES} of {OBJECTS} ConfigMaps that nobody reads, {how}: {before:.0} MiB before, {after:.0} MiB after, \
         {:.0} KiB for each",
        (after - before) * 1024.0 / WATCHES as f64
    );
}

/// Gives the server time to fill whatever it fills.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}
