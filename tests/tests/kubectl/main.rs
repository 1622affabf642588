//! kubectl as people and scripts use it, every version that is promised, against one running `steer up`.
//!
//! Each test has a namespace of its own per kubectl. Those that change nodes start a cluster of their own.

mod auth;
mod autoscale;
mod delete;
mod discovery;
mod functions;
mod get;
mod jobs;
mod logs;
mod nodes;
mod objects;
mod probes;
mod refused;
mod rollout;
mod services;
mod sets;
mod top;

use std::sync::OnceLock;
use std::time::Duration;

use steersman_tests::kubectl::Kubectl;
use steersman_tests::steer::SteerUp;

/// Time for what should take a second on an idle machine.
const SOON: Duration = Duration::from_secs(30);

/// The cluster that the tests of this file share; the harness stops it when the test process ends.
fn cluster() -> &'static SteerUp {
    static CLUSTER: OnceLock<SteerUp> = OnceLock::new();
    CLUSTER.get_or_init(SteerUp::start)
}

/// Runs a test with every kubectl, each in a namespace of its own, which is given up afterwards.
fn each(purpose: &str, test: impl Fn(&Kubectl)) {
    for kubectl in cluster().kubectls() {
        eprintln!("--- kubectl 1.{}", kubectl.minor());
        let kubectl = kubectl.in_new_namespace(purpose);
        test(&kubectl);
        kubectl.ok(&["delete", "namespace", kubectl.namespace(), "--wait=false"]);
    }
}

/// Applies a manifest that must be taken.
#[track_caller]
fn apply(kubectl: &Kubectl, manifest: &str) -> String {
    kubectl.ok_with(&["apply", "--filename", "-"], manifest)
}

/// Asserts that a text has a part.
#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in:\n{text}");
}
