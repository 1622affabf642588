//! The examples, played; and what cannot be played.

use super::play::{Played, Script, play};
use super::report::Report;
use super::{jobs, nodes, svg, table};
use crate::files;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/simulate").join(name)
}

/// The examples together, with a failure.
fn script() -> Script {
    Script {
        nodes: nodes::read(&example("nodes.yaml")).expect("nodes"),
        manifests: files::read(&[example("web.yaml")], false).expect("manifests"),
        jobs: jobs::read(&example("jobs.csv")).expect("jobs"),
        faults: vec!["large-1@30m+1h".parse().expect("a failure")],
        seed: 0,
        heartbeat: Duration::from_secs(10),
        span: None,
    }
}

fn reported(script: &Script) -> (Report, Played) {
    let played = play(script).expect("it can be played");
    (Report::of(script, &played), played)
}

#[test]
fn the_examples_end_as_they_must() {
    let (report, _) = reported(&script());
    assert_eq!(report.simulated_seconds.round(), 5702.0, "the last job of four GPUs: 5400 + 300 s, and two starts");
    let pods = &report.pods;
    assert_eq!((pods.running, pods.waiting), (8, 1), "the service, and a job that is larger than any node");
    assert_eq!(pods.succeeded, 6 + 6, "all other jobs");
    let ready: Vec<_> = report.workloads.iter().map(|w| (w.name.as_str(), w.done, w.wanted)).collect();
    assert_eq!(ready, [("web", 8, 8), ("report", 6, 6)]);
    let [waiting] = &report.waiting[..] else { panic!("one reason: {:?}", report.waiting) };
    assert!(waiting.example.starts_with("default/huge-"), "{waiting:?}");
    assert!(waiting.reason.ends_with("6 Insufficient cpu. The pod requests 20 cpu and 8Gi memory."), "{waiting:?}");
    let [failure] = &report.failures[..] else { panic!("one failure") };
    assert_eq!((failure.at, failure.ready_before), (1800.0, 8));
    assert!(failure.noticed_after.is_some_and(|after| (30.0..=40.0).contains(&after)), "{failure:?}");
    assert!(failure.recovered_after.is_some_and(|after| (330.0..=400.0).contains(&after)), "{failure:?}");
    let gpu = &report.utilisation["nvidia.com/gpu"];
    // 2 GPUs for 5400, 3600 and 1800 s, of 4 for 5702 s.
    assert!((gpu.mean - 21_600.0 / 22_808.0).abs() < 0.002 && gpu.peak == 1.0, "{gpu:?}");
    assert!((report.waits.max - (report.simulated_seconds - 1200.0)).abs() < 1.0, "{:?}", report.waits);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let told = |script: &Script| {
        let (report, played) = reported(script);
        let json = serde_json::to_string(&report).expect("a report is JSON");
        (json, svg::picture(&report, &played), table::text(&report, false))
    };
    assert_eq!(told(&script()), told(&script()));
    let other = Script { seed: 1, ..script() };
    assert_ne!(reported(&other).0.placement_checksum, reported(&script()).0.placement_checksum);
}

#[test]
fn the_picture_is_whole() {
    let (report, played) = reported(&script());
    let picture = svg::picture(&report, &played);
    assert!(picture.starts_with("<svg xmlns") && picture.ends_with("</svg>\n"));
    for name in ["large-1", "small-2", "gpu", "90 m", "not ready"] {
        let name = if name == "90 m" { ">90m<" } else { name };
        assert!(picture.contains(name), "{name} is missing");
    }
    assert!(picture.contains("fill=\"#c8372d\" fill-opacity=\"0.500\""), "the failure is marked");
    assert!(!picture.contains("NaN") && !picture.contains("inf\""));
}

#[test]
fn time_can_be_limited_and_what_never_rests_is_ended() {
    let (report, _) = reported(&Script { span: Some(Duration::from_secs(600)), ..script() });
    assert_eq!((report.simulated_seconds, report.unfinished), (600.0, false));
    assert!(report.failures.is_empty(), "it was to come later");
    let heartbeat = Duration::from_secs(600);
    let mut restless = Script { jobs: Vec::new(), faults: Vec::new(), heartbeat, ..script() };
    let cron = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {
            "metadata": {"annotations": {"steersman.io/simulated-run-for": "5s"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "tick"}]},
        }}}},
    });
    restless.manifests = vec![files::Document { from: "here".into(), object: cron }];
    let (report, _) = reported(&restless);
    assert!(report.unfinished && report.simulated_seconds >= 24.0 * 3600.0, "{}", report.simulated_seconds);
    // Every five minutes of a day, and the one that may be begun.
    assert!((287..=290).contains(&report.pods.succeeded), "{:?}", report.pods);
}

#[test]
fn what_cannot_be_played_is_refused_with_its_place() {
    let refused = |script: Script| format!("{:#}", play(&script).expect_err("it cannot be played"));
    let error = refused(Script { faults: vec!["nobody@1m".parse().expect("a failure")], ..script() });
    assert!(error.contains("no such node; there are gpu, large-1"), "{error}");
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "main", "image": "a", "resources": {"requests": {"cpu": "2", "memory": "-1"}}}]},
    });
    let error = refused(Script { manifests: vec![files::Document { from: "a.yaml".into(), object }], ..script() });
    assert!(error.starts_with("in a.yaml: ") && error.contains("requests"), "{error}");
}
