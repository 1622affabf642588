//! Functions as pods: `kubectl` sees them as it sees any pod, `steer ask` and `steer send` speak to them.

use std::process::{Command, Output};

use steersman_tests::kubectl::Kubectl;
use steersman_tests::steer::binary;
use steersman_tests::wait::eventually;

use crate::{SOON, apply, cluster, each, has};

fn steer(k: &Kubectl, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).arg("--kubeconfig").arg(cluster().kubeconfig()).args(["--namespace", k.namespace()]);
    command.output().expect("steer runs")
}

fn told(k: &Kubectl, args: &[&str]) -> String {
    let output = steer(k, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn refused(k: &Kubectl, args: &[&str]) -> String {
    let output = steer(k, args);
    assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn pod(name: &str, function: &str, parameters: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  runtimeClassName: task\n  \
         containers: [{{name: main, image: {function}, args: ['{parameters}']}}]\n"
    )
}

#[test]
fn functions_are_asked_logged_and_ended() {
    each("functions", |k| {
        apply(k, &pod("echo", "workers/echo_worker", "{\"prefix\": \"HI\"}"));
        apply(k, &pod("loud", "workers/processor_worker", "{\"operation\": \"uppercase\", \"forward_to\": \"five\"}"));
        apply(k, &pod("five", "workers/aggregator_worker", "{\"window_size\": 2}"));
        apply(k, &pod("sums", "workers/calculator_worker", "null"));
        k.ok(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"]);
        assert_eq!(told(k, &["ask", "echo", "there"]), "HI: there");
        assert_eq!(told(k, &["ask", "pod/sums", r#"{"operation": "average", "operands": [1, 2, 6]}"#]), "3.0");
        assert_eq!(told(k, &["ask", "sums", r#"{"operation": "root", "operands": [4]}"#]), "null");
        assert_eq!(told(k, &["ask", "loud", "one"]), "ONE");
        assert_eq!(told(k, &["send", "loud", "two"]), "sent to loud");
        eventually_logs(k, "five", r#"{"count":2,"messages":["ONE","TWO"],"sample":"ONE"}"#);
        apply(
            k,
            "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec: {selector: {app: echo}, ports: [{port: 80}]}\n",
        );
        k.becomes(SOON, "endpoints/echo", "{.subsets[0].addresses[0].targetRef.name}", "echo");
        eventually(SOON, "the service answers", || {
            let output = steer(k, &["ask", "service/echo", "7"]);
            (String::from_utf8_lossy(&output.stdout).trim() == "HI: 7")
                .then_some(())
                .ok_or_else(|| format!("{output:?}"))
        });
        let form = refused(k, &["ask", "sums", "nonsense"]);
        has(&form, "the message is no Sum: ");
        has(&refused(k, &["ask", "nobody", "x"]), "pods \"nobody\" not found");
        has(&refused(k, &["ask", "deployment/x"]), "write NAME, pod/NAME or service/NAME");
        k.ok(&["delete", "pod", "echo", "--timeout=30s"]);
        has(&refused(k, &["ask", "service/echo", "x"]), "has no ready function in this process");
    });
}

fn eventually_logs(k: &Kubectl, pod: &str, words: &str) {
    eventually(SOON, words, || {
        let logs = k.ok(&["logs", pod]);
        logs.contains(words).then_some(()).ok_or(logs)
    });
}

#[test]
fn a_function_that_cannot_start_says_why() {
    each("functions-bad", |k| {
        apply(k, &pod("typo", "workers/echo_wroker", "{}"));
        apply(k, &pod("odd", "workers/echo_worker", "{\"prefx\": \"HI\"}"));
        for (pod, words) in [("typo", "did you mean"), ("odd", "unknown field `prefx`")] {
            eventually(SOON, words, || {
                let text = k.ok(&["get", "pod", pod, "--output", "json"]);
                text.contains(words).then_some(()).ok_or(text)
            });
        }
    });
}
