//! Pods of several agents behind one service: on one host, and on two with a cable between.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use steersman_tests::agent::Agent;
use steersman_tests::kubectl::Kubectl;
use steersman_tests::load::{Load, Shape, ask};
use steersman_tests::manifests::Web;
use steersman_tests::netns::Hosts;
use steersman_tests::steer::{Options, SteerUp};
use steersman_tests::wait::{eventually, until};

use super::{SOON, more_answers, serve, version};

const READY: &str = "{.status.conditions[?(@.type==\"Ready\")].status}";

/// The pods of a node, by name.
fn pods_on(kubectl: &Kubectl, node: &str) -> BTreeSet<String> {
    let path = format!("jsonpath={{.items[?(@.spec.nodeName==\"{node}\")].metadata.name}}");
    kubectl.ok(&["get", "pods", "--output", &path]).split_whitespace().map(str::to_owned).collect()
}

/// Asks until every one of these pods has answered.
fn all_answer(address: SocketAddr, pods: &BTreeSet<String>) {
    let mut missing = pods.clone();
    eventually(SOON, "every pod answers by the service", || {
        let answer = ask(address).map_err(|why| format!("{why:?}"))?;
        missing.retain(|pod| !answer.starts_with(pod.as_str()));
        if missing.is_empty() { Ok(()) } else { Err(format!("not yet: {missing:?}")) }
    });
}

#[test]
fn agents_of_one_host_share_a_service_and_the_seat_of_its_proxy() {
    let up = SteerUp::start_with(Options::with(&["--default-runtime", "process", "--nodes", "0"]));
    let k = up.kubectl();
    let first = Agent::join(&up, "first");
    k.becomes(SOON, "node/first", READY, "True");
    let _second = Agent::join(&up, "second");
    k.becomes(SOON, "node/second", READY, "True");
    let (old, new) = (version("agents-old"), version("agents-new"));
    let web = Web { replicas: 4, version: &old, ..Web::named("web") };
    let address = serve(&k, &web);
    let pods: BTreeSet<String> = ["first", "second"].iter().flat_map(|node| pods_on(&k, node)).collect();
    assert!(["first", "second"].iter().all(|node| !pods_on(&k, node).is_empty()), "not spread: {pods:?}");
    assert_eq!(pods.len(), 4);
    all_answer(address, &pods);

    // Whoever had the seat is gone: the other one sits down and serves with the pods that it reaches.
    let again = first.crash();
    all_answer(address, &pods_on(&k, "second"));
    let _first = again(&up);
    all_answer(address, &pods);

    let load = Load::start(address, Shape::default());
    more_answers(&load, 200);
    k.ok_with(&["apply", "-f", "-"], &Web { version: &new, ..web }.deployment());
    k.ok(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    more_answers(&load, 200);
    let report = load.stop();
    assert!(report.lost.is_empty(), "{report}");
}

#[test]
#[ignore = "needs root"]
fn pods_of_two_hosts_serve_clients_of_both() {
    let hosts = Hosts::new("serve");
    hosts.on(0, || {
        let listen = SocketAddr::new(hosts.address(0), 0).to_string();
        let options = Options { listen: Some(listen), ..Options::with(&["--default-runtime", "process"]) };
        let up = SteerUp::start_with(options);
        let k = up.kubectl();
        let _second = hosts.on(1, || Agent::join(&up, "second"));
        k.becomes(SOON, "node/second", READY, "True");
        let internal = "{.status.addresses[?(@.type==\"InternalIP\")].address}";
        k.becomes(SOON, "node/second", internal, &hosts.address(1).to_string());
        let (old, new) = (version("hosts-old"), version("hosts-new"));
        let web = Web { replicas: 4, version: &old, ..Web::named("web") };
        let address = serve(&k, &web);
        let there = pods_on(&k, "second");
        let all: BTreeSet<String> = k
            .ok(&["get", "pods", "--output", "jsonpath={.items[*].metadata.name}"])
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert!(!there.is_empty() && there.len() < all.len(), "not spread: {there:?} of {all:?}");
        for side in [0, 1] {
            hosts.on(side, || all_answer(address, &all));
        }

        // A rolling update under the load of clients on the other host.
        let load = hosts.on(1, || Load::start(address, Shape::default()));
        more_answers(&load, 200);
        k.ok_with(&["apply", "-f", "-"], &Web { version: &new, ..web }.deployment());
        k.ok(&["rollout", "status", "deployment/web", "--timeout=120s"]);
        more_answers(&load, 200);
        let report = load.stop();
        assert!(report.lost.is_empty(), "{report}");

        // Without the cable each host goes on with its own pods; with it, all serve again.
        let all: BTreeSet<String> = ["second"].iter().flat_map(|node| pods_on(&k, node)).collect();
        hosts.cable(false);
        until(
            SOON,
            "the host of the clients answers by itself",
            || hosts.on(1, || (0..8).all(|_| ask(address).is_ok())),
            || format!("{:?}", hosts.on(1, || ask(address))),
        );
        hosts.cable(true);
        hosts.on(0, || all_answer(address, &all));
    });
}
