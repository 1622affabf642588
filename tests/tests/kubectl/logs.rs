//! Logs: whole, the end, by time, of many pods, of the run before, and as they come.

use steersman_tests::kubectl::Kubectl;
use steersman_tests::wait::eventually;

use crate::{SOON, each, has};

/// A pod that runs a shell script, with the label `app=NAME`.
fn script(kubectl: &Kubectl, name: &str, restart: &str, text: &str) {
    let label = format!("--labels=app={name}");
    let restart = format!("--restart={restart}");
    kubectl.ok(&["run", name, "--image=none", &label, &restart, "--command", "--", "sh", "-c", text]);
}

/// Waits until a pod's log ends with these words.
fn ends(kubectl: &Kubectl, name: &str, words: &str) {
    eventually(SOON, &format!("the log of {name} ends with {words:?}"), || {
        let seen = kubectl.run(&["logs", name]);
        if seen.stdout.trim_end().ends_with(words) { Ok(()) } else { Err(seen.to_string()) }
    });
}

#[test]
fn a_log_is_read_whole_and_in_part() {
    each("logs", |k| {
        script(k, "talk", "Never", "for i in 1 2 3; do echo line $i; done; echo aside >&2; sleep 600");
        ends(k, "talk", "aside");
        assert_eq!(k.ok(&["logs", "talk"]), "line 1\nline 2\nline 3\naside\n");
        assert_eq!(k.ok(&["logs", "talk", "--tail=2"]), "line 3\naside\n");
        assert_eq!(k.ok(&["logs", "talk", "--limit-bytes=6"]), "line 1");
        assert_eq!(k.ok(&["logs", "--selector", "app=talk"]).lines().count(), 4);
        assert_eq!(k.ok(&["logs", "talk", "--since=1h"]).lines().count(), 4);
        assert_eq!(k.ok(&["logs", "talk", "--since-time=2100-01-01T00:00:00Z"]), "");
        let stamped = k.ok(&["logs", "talk", "--timestamps", "--tail=1"]);
        let (time, text) = stamped.split_once(' ').unwrap_or_default();
        assert!(time.len() >= 20 && time.starts_with("20") && time.ends_with('Z'), "{stamped}");
        assert_eq!(text, "aside\n");
    });
}

#[test]
fn a_log_is_followed_to_its_end() {
    each("follow", |k| {
        let dir = tempfile::tempdir().expect("temporary folder");
        let go = dir.path().join("go");
        let text = format!("echo first; until [ -e {} ]; do sleep 0.1; done; echo second", go.display());
        script(k, "slow", "Never", &text);
        ends(k, "slow", "first");
        let follow = k.start(&["logs", "--follow", "slow"]);
        follow.prints(SOON, "first");
        assert!(!follow.stdout().contains("second"));
        std::fs::write(&go, "").expect("write");
        let end = follow.finish(SOON);
        assert_eq!((end.status, end.stdout.as_str()), (Some(0), "first\nsecond\n"), "{end}");
    });
}

#[test]
fn the_run_before_can_be_read() {
    each("previous", |k| {
        let dir = tempfile::tempdir().expect("temporary folder");
        let seen = dir.path().join("seen");
        let seen = seen.display();
        let text = format!("if [ -e {seen} ]; then echo second; sleep 600; fi; touch {seen}; echo first; exit 3");
        script(k, "twice", "Always", &text);
        ends(k, "twice", "second");
        assert_eq!(k.ok(&["logs", "twice", "--previous"]), "first\n");
        assert_eq!(k.ok(&["logs", "twice"]), "second\n");
        script(k, "once", "Never", "echo only; sleep 600");
        ends(k, "once", "only");
        k.fails(&["logs", "once", "--previous"], &["previous terminated container"]);
    });
}

#[test]
fn a_log_that_is_not_there_is_said() {
    each("nologs", |k| {
        k.fails(&["logs", "nope"], &["NotFound", "pods \"nope\" not found"]);
        script(k, "talk", "Never", "echo here; sleep 600");
        ends(k, "talk", "here");
        let other = k.fails(&["logs", "talk", "--container", "other"], &["other"]);
        has(&other.stderr, "talk");
    });
}
