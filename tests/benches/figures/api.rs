//! Throughput of the API over HTTPS: creates and gets of ConfigMaps by many clients, each with a connection of its own.

use crate::client::Target;
use crate::steer;
use std::time::Instant;

const CLIENTS: usize = 32;
const CREATES: usize = 1_000;
const GETS: usize = 3_000;

/// Prints creates and gets per second.
pub(crate) fn throughput() {
    let steer = steer(&[]);
    let target = Target::new(steer.kubeconfig());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let create = runtime.block_on(many(&target, CREATES, |client, n| {
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c{client}-{n}"}},"data":{{"key":"{n:0100}"}}}}"#
        );
        ("POST", "/api/v1/namespaces/default/configmaps".to_owned(), body, 201)
    }));
    let get = runtime.block_on(many(&target, GETS, |client, n| {
        ("GET", format!("/api/v1/namespaces/default/configmaps/c{client}-{}", n % CREATES), String::new(), 200)
    }));
    println!("api: {create:.0} ConfigMap creates/s, {get:.0} gets/s with {CLIENTS} clients over HTTPS");
}

/// Requests per second of all clients together.
async fn many(target: &Target, each: usize, request: fn(usize, usize) -> (&'static str, String, String, u16)) -> f64 {
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(target.connect().await);
    }
    let start = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(client, mut connection)| {
            tokio::spawn(async move {
                for n in 0..each {
                    let (method, path, body, expected) = request(client, n);
                    assert_eq!(connection.ask(method, &path, &body).await, expected, "{method} {path}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a client ends well");
    }
    (CLIENTS * each) as f64 / start.elapsed().as_secs_f64()
}
