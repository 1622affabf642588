//! Probes of real processes: by command, by connection, by request.

use std::time::{Duration, Instant};

use steersman_tests::kubectl::Kubectl;

use crate::{SOON, apply, each, has};

const READY: &str = "{.status.conditions[?(@.type=='Ready')].status}";
const RESTARTS: &str = "{.status.containerStatuses[0].restartCount}";

/// A program that listens, with a directory in which another has made a file, under a probe.
fn pod(name: &str, file: &str, probes: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  runtimeClassName: process
  terminationGracePeriodSeconds: 1
  volumes:
  - name: work
    emptyDir: {{}}
  initContainers:
  - name: make
    command: [sh, -c, 'touch $0/{file}', /mnt]
    volumeMounts:
    - {{name: work, mountPath: /mnt}}
  containers:
  - name: main
    command: [steer, example, http, --port, '8080']
    volumeMounts:
    - {{name: work, mountPath: /mnt}}
{probes}"
    )
}

/// Waits until an event of a pod says this.
#[track_caller]
fn told(k: &Kubectl, pod: &str, words: &str) {
    let of = format!("involvedObject.name={pod}");
    let began = Instant::now();
    loop {
        let events = k.ok(&["get", "events", "--field-selector", &of, "--output", "jsonpath={.items[*].message}"]);
        if events.contains(words) {
            return;
        }
        assert!(began.elapsed() < SOON, "no {words:?} in:\n{events}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_command_decides_whether_a_pod_is_ready() {
    each("readiness", |k| {
        let probe = "    readinessProbe:
      exec: {command: [sh, -c, 'test -e $0/ready', /mnt]}
      periodSeconds: 1
      failureThreshold: 1
";
        apply(k, &pod("web", "other", probe));
        k.becomes(SOON, "pod/web", "{.status.phase}", "Running");
        k.becomes(SOON, "pod/web", READY, "False");
        told(k, "web", "Readiness probe failed: the command ended with 1");
        k.ok(&["delete", "pod", "web"]);
        apply(k, &pod("web", "ready", probe));
        k.becomes(SOON, "pod/web", READY, "True");
        has(&k.ok(&["describe", "pod", "web"]), "Readiness:");
    });
}

#[test]
fn one_that_is_unwell_is_started_again() {
    each("liveness", |k| {
        let probes = "    livenessProbe:
      httpGet: {path: /work, port: 8080}
      periodSeconds: 1
      failureThreshold: 2
    startupProbe:
      tcpSocket: {port: 8080}
      periodSeconds: 1
      failureThreshold: 60
";
        apply(k, &pod("well", "file", probes));
        apply(k, &pod("ill", "file", probes).replace("'8080']", "'8080', --delay-ms, '60000']"));
        k.becomes(SOON, "pod/well", READY, "True");
        k.becomes(SOON, "pod/ill", RESTARTS, "1");
        told(k, "ill", "Liveness probe failed: no answer within 1 s");
        told(k, "ill", "Container main failed liveness probe, will be restarted");
        k.becomes(SOON, "pod/well", RESTARTS, "0");
        k.becomes(SOON, "pod/well", "{.status.containerStatuses[0].started}", "true");
    });
}
