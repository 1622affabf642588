//! Figures of a whole cluster: start, idle, scheduling, healing.

use crate::client::Target;
use crate::{median, steer};
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use steersman_tests::process::{self, Signal};

/// From the start of the program to the first `/readyz` that is answered, five times.
pub(crate) fn start() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        let steer = steer(&[]);
        let target = Target::new(steer.kubeconfig());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let status = runtime.block_on(async { target.connect().await.ask("GET", "/readyz", "").await });
        assert_eq!(status, 200);
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    println!(
        "start: /readyz answered {:.0} ms after the program's start (median of {times:.0?})",
        median(times.clone())
    );
}

/// Clock ticks of user and system time that a process has used; 100 a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// Resident memory in MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// Resident memory and cpu of a cluster with one node that has nothing to do, over 20 seconds.
pub(crate) fn idle() {
    let steer = steer(&[]);
    std::thread::sleep(Duration::from_secs(3));
    let (before, begin) = (ticks(steer.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let used = (ticks(steer.pid()) - before) as f64 / 100.0 / begin.elapsed().as_secs_f64();
    println!("idle: {:.1} MiB resident, {:.2} % of a core over 20 s", resident(steer.pid()), used * 100.0);
}

/// A Deployment of 1,000 pods on 100 simulated nodes: from the moment before its creation is sent to the last bind, three
/// times.
pub(crate) fn schedule() {
    let times: Vec<f64> = (0..3).map(|_| schedule_once()).collect();
    println!("schedule: 1000 pods on 100 nodes bound in {:.0} ms (median of {times:.0?})", median(times.clone()));
}

fn schedule_once() -> f64 {
    let steer = steer(&["--nodes", "0", "--simulated-nodes", "100"]);
    let kubectl = steer.kubectl();
    let begin = Instant::now();
    while kubectl.ok(&["get", "nodes", "--no-headers"]).matches(" Ready").count() < 100 {
        assert!(begin.elapsed() < Duration::from_secs(60), "not every node is ready after a minute");
    }
    let body = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"many"},"spec":{"replicas":1000,"selector":{"matchLabels":{"app":"many"}},"template":{"metadata":{"labels":{"app":"many"}},"spec":{"runtimeClassName":"simulated","containers":[{"name":"c","image":"none","resources":{"requests":{"cpu":"10m","memory":"1Mi"}}}]}}}}"#;
    let target = Target::new(steer.kubeconfig());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The events of binds carry microseconds of this machine's clock.
    let sent = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let status = runtime.block_on(async {
        target.connect().await.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body).await
    });
    assert_eq!(status, 201);
    let begin = Instant::now();
    let bound = loop {
        let events = kubectl.json(&["get", "events", "--field-selector", "reason=Scheduled"]);
        let times = events["items"].as_array().into_iter().flatten().filter_map(|e| e["eventTime"].as_str());
        let times: Vec<String> = times.map(str::to_owned).collect();
        if times.len() >= 1000 {
            break times.into_iter().max().unwrap_or_default();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{} of 1000 pods are bound after a minute", times.len());
    };
    let last: jiff::Timestamp = bound.parse().expect("a time");
    (last.as_microsecond() as f64 - sent.as_micros() as f64) / 1000.0
}

/// The processes of the example server.
fn servers() -> Vec<u32> {
    process::with_words(|words| words.get(1..).is_some_and(|rest| rest == ["example", "http", "--port", "8080"]))
}

/// From kill -9 of a pod's process to its next life, five times, each a first crash.
pub(crate) fn heal() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let steer = steer(&["--default-runtime", "process"]);
        let kubectl = steer.kubectl();
        let manifest = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"containers":[{"name":"c",
            "command":["steer","example","http","--port","8080"],"ports":[{"containerPort":8080}]}]}}"#;
        kubectl.ok_with(&["apply", "-f", "-"], manifest);
        kubectl.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
        let old = servers();
        let begin = Instant::now();
        for pid in &old {
            let _sent = process::signal(*pid, Signal::KILL);
        }
        while !servers().iter().any(|pid| !old.contains(pid)) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no new process after 30 s");
            std::thread::sleep(Duration::from_millis(2));
        }
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    println!("heal: a new process {:.0} ms after the first crash (median of {times:.0?})", median(times.clone()));
}
