//! A service that supervises its own workers: three async functions behind a service, one of which panics over some of its
//! work and is started again, as a process would be.
//!
//! ```sh
//! cargo run --release --example workers
//! ```

#![allow(clippy::print_stdout, reason = "it talks to people")]

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;
use steersman::domain::{Deployment, Pod};
use steersman::functions::Context;
use steersman::{Cluster, Query};

const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: divide}
spec:
  replicas: 3
  selector: {matchLabels: {app: divide}}
  template:
    metadata: {labels: {app: divide}}
    spec:
      containers:
      - name: main
        image: workers/divide          # a function of this program
        command: ['{"between": "rest"}']   # its parameters
---
apiVersion: v1
kind: Service
metadata: {name: divide}
spec: {selector: {app: divide}, ports: [{port: 80}]}
"#;

/// What the function is told when it starts.
#[derive(Deserialize)]
struct Settings {
    between: String,
}

/// What it is asked.
#[derive(Serialize, Deserialize)]
struct Division {
    of: i64,
    by: i64,
}

async fn divide(mut context: Context, settings: Settings) {
    let between = &settings.between;
    // Nothing checks for a zero: whole numbers divided by it panic.
    let answer = |Division { of, by }: Division| {
        let between = between.clone();
        async move { Ok::<String, String>(format!("{} {between} {}", of / by, of % by)) }
    };
    context.answer_each(answer).await;
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let cluster = Cluster::builder().start().await?;
    cluster.functions().register("workers/divide", divide)?;
    cluster.apply(MANIFEST).await?;
    let ready = |divide: Option<&Deployment>| divide.is_some_and(|divide| divide.status.ready_replicas == 3);
    cluster.wait_for(("default", "divide"), Duration::from_secs(10), ready).await?;

    // Whoever of the three is next in turn answers.
    let service = cluster.reach("service/divide", "default")?;
    service.ready(Duration::from_secs(10)).await?;
    let answer: String = service.ask(Division { of: 22, by: 7 }).await?;
    println!("22 by 7 is {answer}");

    // One of them panics. Whoever asked is told so at once, and the others go on.
    let refused = service.ask::<String>(Division { of: 1, by: 0 }).await;
    println!("1 by 0: {}", refused.expect_err("nobody can answer that"));
    let restarted = |world: &steersman::application::driver::world::World| {
        world.all::<Pod>().any(|pod| pod.status.container_statuses.iter().any(|status| status.restart_count.0 == 1))
    };
    cluster.until("it is started again", Duration::from_secs(10), restarted).await?;
    for pod in cluster.list::<Pod>(&Query::namespace("default")).await? {
        let restarts = pod.status.container_statuses.first().map_or(0, |status| status.restart_count.0);
        println!("{}: {:?}, restarts: {restarts}", pod.metadata.name, pod.status.phase);
    }
    cluster.stop().await;
    Ok(())
}
