//! Services and pods by hand: expose, run, endpoints, environment, events.

use steersman_tests::load::{Phase, ask};
use steersman_tests::manifests::{Web, example_pod};
use steersman_tests::wait::{eventually, until};

use crate::{SOON, apply, each, has};

#[test]
fn an_exposed_deployment_answers_at_its_address() {
    each("expose", |k| {
        apply(k, &Web { version: "v5", ..Web::named("web") }.deployment());
        has(&k.ok(&["expose", "deployment", "web", "--name=front", "--port=9090", "--target-port=8080"]), "exposed");
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        let address = k.service_address("front", 9090);
        let body = eventually(SOON, "the service answers", || ask(address).map_err(|why| format!("{why:?}")));
        let pod = body.split_whitespace().next().unwrap_or_default();
        assert!(pod.starts_with("web-") && body.trim_end().ends_with(" v5"), "{body:?}");
        k.ok(&["get", "pod", pod]);
        let addresses = "{.subsets[*].addresses[*].ip}";
        let ready = k.ok(&["get", "endpoints", "front", "--output", &format!("jsonpath={addresses}")]);
        assert_eq!(ready.split_whitespace().count(), 2, "{ready}");
        let slices = ["--selector", "kubernetes.io/service-name=front", "--output"];
        let slices =
            k.ok(&[&["get", "endpointslices"], &slices[..], &["jsonpath={.items[*].endpoints[*].addresses[0]}"]]
                .concat());
        assert_eq!(slices.split_whitespace().count(), 2, "{slices}");
    });
}

#[test]
fn a_node_port_answers_on_every_address_of_the_host() {
    each("node-port", |k| {
        apply(k, &Web { version: "v7", ..Web::named("web") }.deployment());
        k.ok(&["expose", "deployment", "web", "--name=front", "--type=NodePort", "--port=9090", "--target-port=8080"]);
        let port = || k.ok(&["get", "service", "front", "--output", "jsonpath={.spec.ports[0].nodePort}"]);
        let given: u16 = port().parse().expect("a port");
        assert!((30_000..=32_767).contains(&given), "{given}");
        has(&k.ok(&["get", "service", "front"]), &format!("9090:{given}/TCP"));
        has(&k.ok(&["describe", "service", "front"]), "NodePort");
        for host in ["127.0.0.1", "127.0.7.7"] {
            let address = format!("{host}:{given}").parse().expect("an address");
            let body = eventually(SOON, "the node port answers", || ask(address).map_err(|why| format!("{why:?}")));
            assert!(body.trim_end().ends_with(" v7"), "{body:?}");
        }
        let taken = format!("--node-port={given}");
        let same = ["create", "service", "nodeport", "other", "--tcp=80:8080", taken.as_str()];
        k.fails(&same, &["spec.ports[0].nodePort", "provided port is already allocated"]);
        let far = ["create", "service", "nodeport", "far", "--tcp=80:8080", "--node-port=80"];
        k.fails(&far, &["spec.ports[0].nodePort", "must be between 30000 and 32767"]);
        k.ok(&["annotate", "service", "front", "kept=yes"]);
        assert_eq!(port(), given.to_string(), "an update that does not name it keeps it");
        k.ok(&["patch", "service", "front", "--patch", r#"{"spec":{"type":"ClusterIP"}}"#]);
        assert_eq!(port(), "", "given back with the type");
        let address = format!("127.0.0.1:{given}").parse().expect("an address");
        until(SOON, "nobody listens any more", || ask(address).is_err(), || format!("{:?}", ask(address)));
        k.ok(&same);
        k.ok(&["delete", "service", "other"]);
    });
}

#[test]
fn a_service_without_endpoints_refuses() {
    each("empty", |k| {
        apply(k, &Web::named("web").service());
        let address = k.service_address("web", 8080);
        // A port of HTTP says so in HTTP's own words.
        let (phase, why) = ask(address).expect_err("nobody serves");
        assert_eq!(phase, Phase::Refused, "{why}");
        has(&why, "has no ready endpoints for port 8080");
        // Any other port is closed at once.
        apply(k, &Web::named("raw").service().replace(", appProtocol: http", ""));
        let (phase, why) = ask(k.service_address("raw", 8080)).expect_err("nobody serves");
        assert!(phase < Phase::Refused, "no answer may come from nobody: {phase:?} {why}");
    });
}

#[test]
fn run_makes_a_pod_that_serves() {
    each("run", |k| {
        let command = ["--command", "--", "steer", "example", "http", "--port", "8080", "--version", "v9"];
        let made = k.ok(&[&["run", "solo", "--image=none", "--port=8080"][..], &command[..]].concat());
        has(&made, "pod/solo created");
        k.ok(&["wait", "--for=condition=Ready", "pod/solo", "--timeout=30s"]);
        k.ok(&["expose", "pod", "solo", "--port=8080"]);
        let address = k.service_address("solo", 8080);
        let body = eventually(SOON, "the pod answers", || ask(address).map_err(|why| format!("{why:?}")));
        assert_eq!(body.lines().next(), Some("solo v9"));
        assert_ne!(k.ok(&["get", "pod", "solo", "--output", "jsonpath={.status.podIP}"]), "");
    });
}

#[test]
fn containers_are_told_of_services_and_of_themselves() {
    each("environment", |k| {
        apply(k, &Web::named("back-end").service());
        let address = k.service_address("back-end", 8080);
        // The harness gives RUST_BACKTRACE to steer: nothing of that environment may reach a pod.
        let script = "echo $BACK_END_SERVICE_HOST:$BACK_END_SERVICE_PORT; echo [$RUST_BACKTRACE]; sleep 600";
        let run = ["run", "told", "--image=none", "--restart=Never", "--command", "--", "sh", "-c", script];
        k.ok(&run);
        k.ok(&["wait", "--for=condition=Ready", "pod/told", "--timeout=30s"]);
        eventually(SOON, "the pod has printed", || {
            let log = k.ok(&["logs", "told"]);
            if log == format!("{address}\n[]\n") { Ok(()) } else { Err(log) }
        });
    });
}

#[test]
fn an_end_is_told_with_its_code() {
    each("codes", |k| {
        apply(k, &example_pod("seven", &["crash", "--after", "0", "--code", "7"], "Never"));
        k.becomes(SOON, "pod/seven", "{.status.phase}", "Failed");
        k.becomes(SOON, "pod/seven", "{.status.containerStatuses[0].state.terminated.exitCode}", "7");
        let absent = example_pod("absent", &[], "Never").replace("[steer, example, ]", "[/nonexistent/program]");
        apply(k, &absent);
        eventually(SOON, "the pod says that its program is not there", || {
            let pod = k.ok(&["describe", "pod", "absent"]);
            if pod.contains("/nonexistent/program") && pod.to_lowercase().contains("no such file") {
                Ok(())
            } else {
                Err(pod)
            }
        });
    });
}

#[test]
fn a_crash_is_healed_and_remembered() {
    each("crash", |k| {
        apply(k, &example_pod("crash", &["crash", "--after", "0", "--code", "3"], "Always"));
        eventually(SOON, "it was restarted", || {
            let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
            let count = k.ok(&["get", "pod", "crash", "--output", restarts]);
            if count.parse::<u32>().is_ok_and(|count| count >= 1) { Ok(()) } else { Err(count) }
        });
        k.becomes(SOON, "pod/crash", "{.status.containerStatuses[0].lastState.terminated.exitCode}", "3");
    });
}

#[test]
fn events_tell_what_happened() {
    each("events", |k| {
        apply(k, &Web::named("web").deployment());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        let by_field = ["get", "events", "--field-selector", "involvedObject.kind=Deployment,involvedObject.name=web"];
        eventually(SOON, "the deployment's event is told", || {
            let events = k.ok(&by_field);
            if events.contains("ScalingReplicaSet") { Ok(()) } else { Err(events) }
        });
        // The command is there from 1.26.
        if k.minor() >= 26 {
            has(&k.ok(&["events", "--for", "deployment/web"]), "ScalingReplicaSet");
            has(&k.ok(&["events"]), "Scheduled");
        }
    });
}
