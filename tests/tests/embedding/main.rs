//! The crate as host programs embed it: in memory, several in one process, mounted in a router, under an operator.

mod clusters;
mod handle;
mod mount;
mod operator;
mod programs;

use std::time::Duration;

/// Far above what anything here takes.
const SOON: Duration = Duration::from_secs(30);

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web}]}
";
