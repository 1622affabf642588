//! A cluster in virtual time: a node loses its power, and the program finds out how long its service limps. Five minutes and
//! more pass in some milliseconds, and pass alike in every run.
//!
//! ```sh
//! cargo run --release --example lose_a_node
//! ```

#![allow(clippy::print_stdout, reason = "it talks to people")]

use std::error::Error;
use std::time::{Duration, Instant};
use steersman::application::driver::world::World;
use steersman::domain::Pod;
use steersman::simulation::{Simulation, size};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web, resources: {requests: {cpu: 1}}}]}
";

fn serving(world: &World) -> usize {
    world.all::<Pod>().filter(|pod| pod.is_ready()).count()
}

pub(crate) fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let begun = Instant::now();
    let mut simulation = Simulation::builder().seed(7).nodes(3, size(4, 8)).start()?;
    let (noticed, healed) = simulation.run(async |cluster| {
        cluster.apply(MANIFEST).await?;
        cluster.until("web serves", Duration::from_secs(60), |world| serving(world) == 6).await?;
        let lost = cluster.now();
        cluster.lose_node("node-1")?;
        cluster.until("it is noticed", Duration::from_secs(60), |world| serving(world) < 6).await?;
        let noticed = cluster.now() - lost;
        cluster.until("web serves as before", Duration::from_secs(600), |world| serving(world) == 6).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>((noticed, cluster.now() - lost))
    })??;
    println!("The loss was noticed after {noticed:.1?}, and all six pods served again after {healed:.1?}.");
    println!("That took {:.0?}; the hash of the run is {}.", begun.elapsed(), simulation.trace().hash());
    Ok(())
}
