//! The life of processes when things go wrong: under load, under SIGKILL, and when `steer` itself dies.

mod hosts;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use steersman_tests::kubectl::Kubectl;
use steersman_tests::load::{Load, Phase, Shape, ask};
use steersman_tests::manifests::Web;
use steersman_tests::process::{self, Signal};
use steersman_tests::steer::{Options, SteerUp, binary};
use steersman_tests::wait::{eventually, until};

/// Time for what should take a second on an idle machine.
const SOON: Duration = Duration::from_secs(30);

/// A version that no other test run on this machine uses: processes are found by it.
fn version(of: &str) -> String {
    format!("{of}-{}", std::process::id())
}

/// The processes that serve this version.
fn serving(version: &str) -> BTreeSet<u32> {
    let ours = |words: &[String]| {
        let program = words.first().is_some_and(|word| Path::new(word).ends_with("steer"));
        program && words.get(1).is_some_and(|word| word == "example") && words.iter().any(|word| word == version)
    };
    process::with_words(ours).into_iter().collect()
}

/// Applies a web and waits until all of it is ready; where its service answers.
fn serve(kubectl: &Kubectl, web: &Web<'_>) -> SocketAddr {
    kubectl.ok_with(&["apply", "-f", "-"], &web.yaml());
    kubectl.ok(&["rollout", "status", &format!("deployment/{}", web.name), "--timeout=60s"]);
    let address = kubectl.service_address(web.name, 8080);
    eventually(SOON, "the service answers", || ask(address).map_err(|why| format!("{why:?}")));
    address
}

/// Waits until a load has been answered this many times more.
fn more_answers(load: &Load, more: u64) {
    let before = load.answered();
    until(SOON, "the load is answered", || load.answered() >= before + more, || format!("{}", load.answered()));
}

/// Name, uid and restarts of every pod, one line each.
fn pods(kubectl: &Kubectl) -> BTreeSet<String> {
    let path =
        "{range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let found = kubectl.ok(&["get", "pods", "--output", &format!("jsonpath={path}")]);
    found.lines().map(str::to_owned).collect()
}

#[test]
fn a_killed_process_loses_only_what_it_was_answering() {
    let up = SteerUp::start();
    let k = up.kubectl();
    let version = version("killed");
    let address = serve(&k, &Web { replicas: 3, version: &version, ..Web::named("web") });
    let shape = Shape::default();
    let load = Load::start(address, shape);
    more_answers(&load, 200);
    let before = serving(&version);
    let victim = *before.first().expect("three serve");
    assert!(process::signal(victim, Signal::KILL));
    until(
        SOON,
        "another process serves in its place",
        || {
            let now = serving(&version);
            now.len() == 3 && !now.contains(&victim)
        },
        || format!("{before:?} then {:?}", serving(&version)),
    );
    k.becomes(SOON, "deployment/web", "{.status.readyReplicas}", "3");
    more_answers(&load, 200);
    let report = load.stop();
    assert!(report.lost.len() <= shape.clients, "each client can have had one request with the victim: {report}");
    assert_eq!(report.lost_in(Phase::Answer), report.lost.len(), "{report}");
    let restarts: Vec<String> = pods(&k).iter().filter(|pod| pod.ends_with(" 1")).cloned().collect();
    assert_eq!(restarts.len(), 1, "healed in place, once: {:?}", pods(&k));
}

#[test]
fn a_rolling_update_under_load_loses_nothing() {
    let up = SteerUp::start();
    let k = up.kubectl();
    let (old, new) = (version("old"), version("new"));
    let web = Web { replicas: 3, version: &old, ..Web::named("web") };
    let address = serve(&k, &web);
    let load = Load::start(address, Shape::default());
    more_answers(&load, 200);
    k.ok_with(&["apply", "-f", "-"], &Web { version: &new, ..web }.deployment());
    k.ok(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    until(SOON, "no process of the old version runs", || serving(&old).is_empty(), || format!("{:?}", serving(&old)));
    more_answers(&load, 200);
    let report = load.stop();
    assert!(report.lost.is_empty(), "{report}");
    for version in [&old, &new] {
        assert!(report.lines.keys().any(|line| line.ends_with(version.as_str())), "nothing from {version}: {report}");
    }
    let last = ask(address).expect("the new version answers");
    assert!(last.trim_end().ends_with(&new), "{last}");
}

#[test]
fn a_rolling_update_behind_a_plain_port_loses_nothing() {
    let up = SteerUp::start();
    let k = up.kubectl();
    let (old, new) = (version("plain-old"), version("plain-new"));
    let web = Web { replicas: 3, version: &old, ..Web::named("web") };
    k.ok_with(&["apply", "-f", "-"], &web.service().replace(", appProtocol: http", ""));
    k.ok_with(&["apply", "-f", "-"], &web.deployment());
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let address = k.service_address("web", 8080);
    eventually(SOON, "the service answers", || ask(address).map_err(|why| format!("{why:?}")));
    let load = Load::start(address, Shape::default());
    more_answers(&load, 200);
    k.ok_with(&["apply", "-f", "-"], &Web { version: &new, ..web }.deployment());
    k.ok(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    until(SOON, "no process of the old version runs", || serving(&old).is_empty(), || format!("{:?}", serving(&old)));
    more_answers(&load, 200);
    let report = load.stop();
    assert!(report.lost.is_empty(), "{report}");
    assert!(report.lines.keys().any(|line| line.ends_with(new.as_str())), "{report}");
}

#[test]
fn kept_connections_survive_a_scale_down_and_a_restart() {
    let up = SteerUp::start();
    let k = up.kubectl();
    let version = version("kept");
    let address = serve(&k, &Web { replicas: 3, version: &version, ..Web::named("web") });
    let load = Load::start(address, Shape { keep_alive: true, ..Shape::default() });
    more_answers(&load, 200);
    k.ok(&["scale", "deployment/web", "--replicas=1"]);
    until(SOON, "one process is left", || serving(&version).len() == 1, || format!("{:?}", serving(&version)));
    k.ok(&["rollout", "restart", "deployment/web"]);
    k.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    more_answers(&load, 200);
    let report = load.stop();
    assert!(report.lost.is_empty(), "{report}");
}

#[test]
fn a_crash_of_steer_leaves_processes_that_are_adopted_with_their_real_exit_codes() {
    let mut up = SteerUp::start();
    let k = up.kubectl();
    let version = version("adopted");
    let address = serve(&k, &Web { version: &version, ..Web::named("web") });
    let go = up.data().path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done; exit 7", go.display());
    k.ok(&["run", "ends", "--image=none", "--restart=Never", "--command", "--", "sh", "-c", &script]);
    k.ok(&["wait", "--for=condition=Ready", "pod/ends", "--timeout=30s"]);
    let waiting = || process::with_words(|words| words.last() == Some(&script) && words[0].ends_with("sh"));
    assert_eq!(waiting().len(), 1);
    let (before, served) = (pods(&k), serving(&version));
    let data = up.data();
    up.end(Signal::KILL);
    assert_eq!(serving(&version), served, "processes outlive the crash");
    std::fs::write(&go, "").expect("write");
    until(SOON, "the waiting process has ended, unseen", || waiting().is_empty(), || format!("{:?}", waiting()));

    let args = Options::with(&["--default-runtime", "process"]).args;
    let up = SteerUp::start_with(Options { args, data: Some(data), ..Options::default() });
    let k = up.kubectl();
    k.becomes(SOON, "pod/ends", "{.status.containerStatuses[0].state.terminated.exitCode}", "7");
    k.becomes(SOON, "pod/ends", "{.status.phase}", "Failed");
    k.becomes(SOON, "deployment/web", "{.status.readyReplicas}", "2");
    assert_eq!(pods(&k), before, "the same pods, and none was restarted");
    assert_eq!(serving(&version), served, "the same processes");
    eventually(SOON, "the service answers again", || ask(address).map_err(|why| format!("{why:?}")));
}

#[test]
fn an_interrupt_stops_processes_and_keeps_objects() {
    let mut up = SteerUp::start();
    let k = up.kubectl();
    let version = version("kept-objects");
    serve(&k, &Web { version: &version, ..Web::named("web") });
    let names = |k: &Kubectl| k.ok(&["get", "pods", "--output", "jsonpath={.items[*].metadata.uid}"]);
    let before = names(&k);
    let data = up.data();
    let status = up.end(Signal::INT);
    assert!(status.success(), "{status}:\n{}", up.output());
    assert_eq!(serving(&version), BTreeSet::new());

    let args = Options::with(&["--default-runtime", "process"]).args;
    let up = SteerUp::start_with(Options { args, data: Some(data), ..Options::default() });
    let k = up.kubectl();
    k.becomes(SOON, "deployment/web", "{.status.readyReplicas}", "2");
    assert_eq!(names(&k), before, "the same pods start again");
    assert_eq!(serving(&version).len(), 2);
}

#[test]
fn a_second_interrupt_kills_what_takes_its_time() {
    let mut up = SteerUp::start();
    let k = up.kubectl();
    let mark = version("stubborn");
    let script = format!("trap '' TERM; while :; do sleep 0.05; done; {mark}");
    k.ok(&["run", "stubborn", "--image=none", "--command", "--", "sh", "-c", &script]);
    k.ok(&["wait", "--for=condition=Ready", "pod/stubborn", "--timeout=30s"]);
    let stubborn = || process::with_words(|words| words.last() == Some(&script) && words[0].ends_with("sh"));
    // A shell that is just forking for its next `sleep` is seen twice.
    assert!(!stubborn().is_empty());
    let before = pods(&k);
    let data = up.data();
    assert!(process::signal(up.pid(), Signal::INT));
    until(SOON, "it says that it stops", || up.output().contains("stopping;"), || up.output());
    let begun = Instant::now();
    assert!(up.end(Signal::INT).success(), "{}", up.output());
    // Its grace is thirty seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(stubborn(), Vec::<u32>::new(), "nothing is left running");

    let args = Options::with(&["--default-runtime", "process"]).args;
    let up = SteerUp::start_with(Options { args, data: Some(data), ..Options::default() });
    let k = up.kubectl();
    k.ok(&["wait", "--for=condition=Ready", "pod/stubborn", "--timeout=30s"]);
    let (uid, again) = (before.first().expect("one").split(' ').nth(1), pods(&k));
    assert_eq!(again.first().expect("one").split(' ').nth(1), uid, "the same pod runs again: {again:?}");
    k.ok(&["delete", "pod", "stubborn", "--now"]);
}

#[test]
fn clusters_keep_off_the_addresses_of_one_that_crashed() {
    let mut up = SteerUp::start();
    let version = version("left");
    let address = serve(&up.kubectl(), &Web { version: &version, ..Web::named("web") });
    let data = up.data();
    up.end(Signal::KILL);
    let other = SteerUp::start();
    let elsewhere = serve(&other.kubectl(), &Web { version: &version, ..Web::named("web") });
    assert_ne!(address, elsewhere);
    let restarts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    assert_eq!(other.kubectl().ok(&["get", "pods", "--output", restarts]), "0 0", "no port was taken");
    let args = Options::with(&["--default-runtime", "process"]).args;
    let up = SteerUp::start_with(Options { args, data: Some(data), ..Options::default() });
    up.kubectl().becomes(SOON, "deployment/web", "{.status.readyReplicas}", "2");
    eventually(SOON, "the service answers at its address", || ask(address).map_err(|why| format!("{why:?}")));
    assert_eq!(up.kubectl().ok(&["get", "pods", "--output", restarts]), "0 0", "none was restarted");
}

#[test]
fn a_cluster_without_a_reader_goes_on_and_stops_in_order() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let manifest = data.path().join("web.yaml");
    let version = version("unread");
    std::fs::write(&manifest, Web { version: &version, ..Web::named("web") }.yaml()).expect("writable");
    let mut command = std::process::Command::new(binary());
    command.args(["up", "--listen", "127.0.0.1:0", "--default-runtime", "process", "--data-dir"]).arg(data.path());
    command.arg("-f").arg(&manifest).stdin(std::process::Stdio::null());
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("steer starts");
    // As when a terminal is closed, or `| head` has seen enough.
    drop((child.stdout.take(), child.stderr.take()));
    until(SOON, "the manifest is applied", || serving(&version).len() == 2, || format!("{:?}", child.id()));
    assert!(process::signal(child.id(), Signal::HUP));
    let status = eventually(SOON, "steer ends", || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        other => Err(format!("{other:?}")),
    });
    assert!(status.success() && serving(&version).is_empty(), "{status}: {:?} are left", serving(&version));
}

#[test]
fn a_data_directory_serves_one_steer() {
    let up = SteerUp::start();
    let data = up.data();
    let mut second = std::process::Command::new(binary());
    second.arg("up").arg("--data-dir").arg(data.path()).args(["--listen", "127.0.0.1:0"]);
    let second = second.stdin(std::process::Stdio::null()).output().expect("steer starts");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success(), "{said}");
    assert!(said.contains(&data.path().display().to_string()) && said.contains("in use"), "{said}");
    drop(data);
    assert_eq!(up.kubectl().ok(&["get", "--raw", "/readyz"]).trim_end(), "ok", "the first serves on");
}

#[test]
fn the_shop_of_the_examples_opens() {
    let shop = steersman_tests::tree::root().join("docs/examples/shop.yaml");
    let shop = shop.to_str().expect("a path in UTF-8");
    let up = SteerUp::start_with(Options::with(&["-f", shop, "--wait"]));
    let k = up.kubectl();
    for tier in ["shop-api", "shop-web"] {
        k.ok(&["rollout", "status", &format!("deployment/{tier}"), "--timeout=60s"]);
    }
    let address = k.service_address("shop-web", 8080);
    let body = eventually(SOON, "the shop answers", || ask(address).map_err(|why| format!("{why:?}")));
    let tiers: Vec<&str> = body.lines().collect();
    assert!(tiers.len() == 2 && tiers[0].starts_with("shop-web-") && tiers[1].starts_with("shop-api-"), "{body:?}");
}
