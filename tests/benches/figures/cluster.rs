//! Figures of a whole cluster: start, idle, scheduling, healing.

use crate::client::Target;
use crate::{median, steer};
use std::fs;
use std::time::{Duration, Instant};
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
fn resident(pid: u32) -> f64 {
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

/// A Deployment of 1,000 pods on 100 simulated nodes: from the answer to its creation to the last bind.
pub(crate) fn schedule() {
    let steer = steer(&["--nodes", "0", "--simulated-nodes", "100"]);
    let kubectl = steer.kubectl();
    let manifest = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"many"},"spec":{"replicas":1000,
        "selector":{"matchLabels":{"app":"many"}},"template":{"metadata":{"labels":{"app":"many"}},
        "spec":{"runtimeClassName":"simulated","containers":[{"name":"c","image":"none",
        "resources":{"requests":{"cpu":"10m","memory":"1Mi"}}}]}}}}"#;
    kubectl.ok_with(&["apply", "-f", "-"], manifest);
    let begin = Instant::now();
    let pods = loop {
        let pods = kubectl.json(&["get", "pods", "-l", "app=many"]);
        let items = pods["items"].as_array().cloned().unwrap_or_default();
        let bound = items.iter().filter(|p| p["spec"]["nodeName"].is_string()).count();
        if bound == 1000 {
            break items;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{bound} of 1000 pods are bound after a minute");
    };
    // The events carry microseconds: the first pod's creation is not later than the Deployment's first event.
    let events = kubectl.json(&["get", "events"]);
    let micros = |reason: &str| {
        let times = events["items"].as_array().into_iter().flatten().filter(|e| e["reason"] == reason);
        times.filter_map(|e| e["eventTime"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let first = micros("ScalingReplicaSet").into_iter().min().unwrap_or_default();
    let last = micros("Scheduled").into_iter().max().unwrap_or_default();
    println!("schedule: {} pods on 100 nodes, first event {first}, last bind {last}", pods.len());
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
