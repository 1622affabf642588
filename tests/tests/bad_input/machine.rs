//! What is wrong with the machine: ports and folders that others hold, programs that cannot be run.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::Value;
use steersman_tests::load::ask;
use steersman_tests::manifests::Web;
use steersman_tests::process::Signal;
use steersman_tests::steer::{Options, SteerUp, free_port};
use steersman_tests::wait::eventually;

use crate::{SOON, cluster, kubectl, says, steer, steer_fails};

/// The message of a condition of a service once it has this status.
fn ports_bound(k: &steersman_tests::kubectl::Kubectl, service: &str, status: &str) -> String {
    eventually(SOON, &format!("PortsBound is {status}"), || {
        let found = k.json(&["get", "service", service]);
        let all = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let wanted = |c: &&Value| c["type"] == "PortsBound" && c["status"] == status;
        all.iter().find(wanted).map(|c| c["message"].as_str().unwrap_or_default().to_owned()).ok_or(found.to_string())
    })
}

#[test]
fn a_service_port_that_a_program_holds_is_told_and_taken_once_it_is_free() {
    let k = kubectl("held");
    let held = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let port = held.local_addr().expect("an address").port();
    let web = Web { replicas: 1, ..Web::named("web") };
    let service = web.service().replace("port: 8080", &format!("port: {port}"));
    k.ok_with(&["apply", "-f", "-"], &format!("{service}---\n{}", web.deployment()));
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);

    let message = ports_bound(&k, "web", "False");
    let cause = format!("0.0.0.0:{port}");
    for word in [cause.as_str(), "stop the program", "change the service's port"] {
        assert!(message.contains(word), "no {word:?} in {message}");
    }
    let events = eventually(SOON, "an event tells it", || {
        let events = k.ok(&["get", "events", "--field-selector", "involvedObject.name=web,type=Warning"]);
        if events.contains("PortBlocked") { Ok(events) } else { Err(events) }
    });
    assert!(events.contains(&cause), "{events}");
    let why = steer(cluster().kubeconfig(), &["why", "service/web", "--namespace", k.namespace()]);
    assert!(why.stdout.contains(&cause), "{why}");

    drop(held);
    ports_bound(&k, "web", "True");
    let address = k.service_address("web", port);
    eventually(SOON, "the service answers", || ask(address).map_err(|why| format!("{why:?}")));
}

#[test]
fn a_port_of_the_api_that_is_in_use_is_told() {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address: SocketAddr = held.local_addr().expect("an address");
    let data = tempfile::tempdir().expect("a temporary folder");
    let place = data.path().to_str().expect("UTF-8");
    for command in ["up", "server"] {
        let args = [command, "--data-dir", place, "--listen", &address.to_string()];
        let words = [&address.to_string(), "in use", "--listen"];
        let output = steer_fails(cluster().kubeconfig(), &args, &words);
        assert_eq!(output.stderr.matches("in use").count(), 1, "told once: {output}");
    }
    let output = steer(cluster().kubeconfig(), &["up", "--data-dir", place, "--listen", "localhost"]);
    assert_ne!(output.status, Some(0), "{output}");
    says(&output, &["--listen", "localhost"]);
}

#[test]
fn a_data_directory_that_is_in_use_is_told_with_who_uses_it() {
    let data = cluster().data();
    let place = data.path().to_str().expect("UTF-8");
    for command in ["up", "server"] {
        let args = [command, "--data-dir", place, "--listen", "127.0.0.1:0"];
        let pid = cluster().pid().to_string();
        steer_fails(cluster().kubeconfig(), &args, &[place, "in use", &pid, "--data-dir"]);
    }
    assert_eq!(cluster().kubectl().ok(&["get", "--raw", "/readyz"]).trim_end(), "ok", "the first serves on");
}

#[test]
fn a_data_directory_that_cannot_be_is_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("written");
    let place = file.to_str().expect("UTF-8");
    steer_fails(cluster().kubeconfig(), &["up", "--data-dir", place, "--listen", "127.0.0.1:0"], &[place]);
}

#[test]
fn a_damaged_journal_is_told_with_its_line_and_left_as_it_is() {
    let mut up = SteerUp::start();
    let data = up.data();
    assert!(up.end(Signal::TERM).success(), "{}", up.output());
    let journal = data.path().join("journal");
    let mut bytes = std::fs::read(&journal).expect("a journal");
    let first = bytes.iter().position(|byte| *byte == b'\n').expect("lines");
    bytes[first + 1..first + 9].copy_from_slice(b"damaged!");
    std::fs::write(&journal, &bytes).expect("written");
    let place = data.path().to_str().expect("UTF-8");
    let args = ["up", "--data-dir", place, "--listen", "127.0.0.1:0"];
    let words = [journal.to_str().expect("UTF-8"), "damaged at line 2", "restore a copy"];
    steer_fails(cluster().kubeconfig(), &args, &words);
    assert_eq!(std::fs::read(&journal).expect("still there"), bytes, "whoever mends it finds it as it was");
}

#[test]
fn a_server_that_is_not_there_and_a_torn_kubeconfig_are_told() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("kubeconfig");
    let good = std::fs::read_to_string(cluster().kubeconfig()).expect("text");
    let nowhere = format!("https://127.0.0.1:{}", free_port());
    std::fs::write(&path, good.replace(cluster().url(), &nowhere)).expect("written");
    steer_fails(&path, &["get", "pods"], &["cannot reach", &nowhere]);
    std::fs::write(&path, "clusters: [").expect("written");
    steer_fails(&path, &["get", "pods"], &[path.to_str().expect("UTF-8"), "malformed", "line 1"]);
    let gone = dir.path().join("gone");
    steer_fails(&gone, &["get", "pods"], &[gone.to_str().expect("UTF-8"), "steer up"]);
}

/// A pod that runs one program, once.
fn runs(name: &str, program: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
    - {{name: main, command: [{program:?}]}}
"
    )
}

#[test]
fn a_program_that_is_not_there_or_may_not_run_is_named_by_the_pod() {
    let k = kubectl("programs");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let gone = dir.path().join("gone");
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "no program").expect("written");
    for (name, program, code, words) in
        [("gone", &gone, "127", "no such"), ("plain", &plain, "126", "permission denied")]
    {
        let program = program.to_str().expect("UTF-8");
        k.ok_with(&["apply", "-f", "-"], &runs(name, program));
        k.becomes(SOON, &format!("pod/{name}"), "{.status.phase}", "Failed");
        let path = "{.status.containerStatuses[0].state.terminated}";
        let ended = k.ok(&["get", "pod", name, "--output", &format!("jsonpath={path}")]);
        let ended: Value = serde_json::from_str(&ended).unwrap_or_else(|error| panic!("{error}: {ended}"));
        assert_eq!(ended["exitCode"].to_string(), code, "{ended}");
        let message = ended["message"].as_str().unwrap_or_default();
        assert!(message.contains(program) && message.contains(words), "{ended}");
        let events = k.ok(&["get", "events", "--field-selector", &format!("involvedObject.name={name},type=Warning")]);
        assert!(events.contains(program), "{events}");
    }
}

#[test]
fn a_runtime_that_no_node_offers_is_told_with_the_cure() {
    // Without `--default-runtime` a pod that names none is for containers, which this node does not run.
    let up = SteerUp::start_with(Options::default());
    let k = up.kubectl();
    k.ok_with(&["apply", "-f", "-"], &runs("waits", "true"));
    let path = "{.status.conditions[?(@.type==\"PodScheduled\")].message}";
    let told = eventually(SOON, "the pod is told why it waits", || {
        let told = k.ok(&["get", "pod", "waits", "--output", &format!("jsonpath={path}")]);
        if told.is_empty() { Err(told) } else { Ok(told) }
    });
    for word in ["container", "runtimeClassName", "--default-runtime"] {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
}
