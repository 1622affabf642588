//! Many nodes in one process, and how few requests many pods cost.

use super::api::{ApiHandle, MemoryApi};
use super::fixture::{TokioSpawner, pod, settle};
use crate::client::Write;
use crate::driver::agent::{Agent, AgentConfig, AgentPorts, NoTraffic, SimulatedConfig, SimulatedRuntime, Stop};
use crate::driver::spawner::Spawner;
use std::sync::Arc;
use std::time::Duration;
use steersman_domain::Object;
use steersman_domain::ports::{Clock, Runtime};
use steersman_domain::testing::{ManualClock, SeededEntropy};
use tokio::sync::watch;

const NODES: usize = 50;
const PODS: usize = 20;

#[tokio::test]
async fn fifty_nodes_run_a_thousand_pods() {
    let api = Arc::new(MemoryApi::default());
    let clock: Arc<ManualClock> = Arc::default();
    let spawner: Arc<dyn Spawner> = Arc::new(TokioSpawner);
    let (_stop, asked) = watch::channel(Stop::Run);
    let mut running = Vec::new();
    for n in 0..NODES {
        let simulated = SimulatedConfig { start_delay: Duration::from_secs(1), ..SimulatedConfig::default() };
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let runtime = SimulatedRuntime::new(simulated, Arc::clone(&time), Arc::clone(&spawner));
        let mut config = AgentConfig::new(&format!("node-{n}"));
        config.default_runtime = "simulated".into();
        let ports = AgentPorts {
            client: Arc::new(ApiHandle(Arc::clone(&api))),
            runtimes: vec![Arc::new(runtime) as Arc<dyn Runtime>],
            clock: time,
            entropy: Arc::new(SeededEntropy::new(n as u64)),
            spawner: Arc::clone(&spawner),
            traffic: Arc::new(NoTraffic),
        };
        let (agent, asked) = (Agent::new(config, ports), asked.clone());
        running.push(spawner.spawn("agent", Box::pin(async move { agent.run(asked).await })));
    }
    settle().await;
    for n in 0..NODES * PODS {
        let mut pod = pod(&format!("p{n}"), r#"{"containers":[{"name":"a"}]}"#);
        pod.spec.node_name = format!("node-{}", n % NODES).into();
        api.act(Write::Create(Object::Pod(Arc::new(pod))));
    }
    let before = api.requests();
    settle().await;
    clock.advance(Duration::from_secs(1));
    for _ in 0..50 {
        settle().await;
    }
    let unready: Vec<String> =
        (0..NODES * PODS).map(|n| format!("p{n}")).filter(|p| !api.pod(p).is_some_and(|p| p.is_ready())).collect();
    assert!(unready.is_empty(), "{} pods are not ready, {:?} first", unready.len(), unready.first());
    // Each pod has two statuses and two events to tell; one request for each would be 4,000.
    let requests = api.requests() - before;
    assert!(requests < 1000, "{requests} requests for {} pods", NODES * PODS);
}
