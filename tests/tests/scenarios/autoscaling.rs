//! Autoscaling as a host sets it up: its own decision, and its own pace.

use std::sync::Arc;
use std::time::Duration;

use steersman::Autoscaling;
use steersman::simulation::{Simulation, size};
use steersman_domain::ports::{AutoScaler, ScaleDecision, ScaleQuestion};
use steersman_domain::{Deployment, HorizontalPodAutoscaler};

/// Wants as many replicas as the name of the autoscaler says.
struct ByName;

impl AutoScaler for ByName {
    fn decide(&self, question: &ScaleQuestion<'_>) -> ScaleDecision {
        let name = &question.autoscaler.metadata.name;
        let replicas = name.rsplit('-').next().and_then(|number| number.parse().ok());
        ScaleDecision {
            replicas,
            recommendation: None,
            reason: "its name says so".to_owned(),
            conditions: vec![("ScalingActive", true, "Named", format!("read off {name}"))],
            current: Vec::new(),
            failures: Vec::new(),
        }
    }
}

const BOTH: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: to-4}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 9
";

#[test]
fn a_host_brings_its_own_autoscaler_and_its_own_pace() {
    let autoscaling = Autoscaling::default().scaler(Arc::new(ByName)).sync(Duration::from_secs(1));
    let builder = Simulation::builder().seed(3).nodes(2, size(4, 8)).autoscaling(autoscaling);
    let mut simulation = builder.start().expect("it starts");
    simulation
        .run(async |cluster| {
            cluster.apply(BOTH).await.expect("applied");
            let began = cluster.now();
            let four = |web: Option<&Deployment>| web.is_some_and(|web| web.status.ready_replicas == 4);
            cluster.wait_for(("default", "web"), Duration::from_secs(60), four).await.expect("it is scaled");
            assert!(cluster.now() - began < Duration::from_secs(5));
            // A pace of a second: what somebody else does is undone as soon.
            cluster.edit::<Deployment>("default", "web", |web| web.spec.replicas = Some(1)).await.expect("edited");
            let one = |web: Option<&Deployment>| web.is_some_and(|web| web.spec.replicas == Some(1));
            cluster.wait_for(("default", "web"), Duration::from_secs(2), one).await.expect("seen");
            cluster.wait_for(("default", "web"), Duration::from_secs(5), four).await.expect("again");
            let hpa = cluster.get::<HorizontalPodAutoscaler>("default", "to-4").await.expect("there");
            assert_eq!(
                hpa.status.conditions.iter().find(|c| c.kind == "ScalingActive").map(|c| c.reason.as_str()),
                Some("Named")
            );
        })
        .expect("it ends");
}
