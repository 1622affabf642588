//! `kubectl top`: measured usage of real processes.

use std::time::{Duration, Instant};

use steersman_tests::kubectl::Kubectl;
use steersman_tests::manifests::example_pod;

use crate::{apply, each};

/// Two windows, and some patience.
const MEASURED: Duration = Duration::from_secs(60);

/// Thousandths of a core and mebibytes, as `kubectl top` prints them in a line that begins with `name`.
fn top(k: &Kubectl, args: &[&str], name: &str) -> Option<(u64, u64)> {
    let output = k.run(&[&["top"], args].concat());
    let text = output.stdout;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let mut numbers = line
        .split_whitespace()
        .filter_map(|word| word.strip_suffix("Mi").or_else(|| word.strip_suffix('m'))?.parse::<u64>().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[track_caller]
fn becomes(k: &Kubectl, args: &[&str], name: &str, holds: impl Fn(u64, u64) -> bool) {
    let began = Instant::now();
    loop {
        let seen = top(k, args, name);
        if seen.is_some_and(|(cpu, memory)| holds(cpu, memory)) {
            return;
        }
        assert!(began.elapsed() < MEASURED, "kubectl top {args:?}: {name} shows {seen:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn pods_and_nodes_show_what_they_really_use() {
    each("top", |k| {
        apply(k, &example_pod("busy", &["burn-cpu", "--threads", "1"], "Always"));
        apply(k, &example_pod("large", &["eat-memory", "--mb", "64", "--hold"], "Always"));
        // Others share the two cores of a test machine.
        becomes(k, &["pods"], "busy", |cpu, _| cpu >= 200);
        becomes(k, &["pods"], "large", |_, memory| memory >= 64);
        becomes(k, &["pods", "busy", "--containers"], "busy", |cpu, _| cpu >= 200);
        becomes(k, &["pods", "--selector", "app=large"], "large", |cpu, _| cpu < 1000);
        let node = k.ok(&["get", "nodes", "--output", "jsonpath={.items[0].metadata.name}"]);
        becomes(k, &["nodes"], &node, |cpu, memory| cpu >= 200 && memory >= 64);
        k.fails(&["top", "pod", "none"], &["not found"]);
    });
}
