//! What people get wrong, through the real binary: each mistake is refused in words that tell what is wrong, where, and how
//! to mend it, and nothing else suffers.

mod machine;
mod manifests;
mod nodes;
mod requests;
mod simulate;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use steersman_tests::kubectl::{Kubectl, Output};
use steersman_tests::steer::{SteerUp, binary};
use steersman_tests::wait::eventually;

/// Time for what should take a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The cluster that most of these tests share; the harness stops it when the test process ends.
pub(crate) fn cluster() -> &'static SteerUp {
    static CLUSTER: OnceLock<SteerUp> = OnceLock::new();
    CLUSTER.get_or_init(SteerUp::start)
}

/// The newest kubectl in a namespace of its own.
pub(crate) fn kubectl(purpose: &str) -> Kubectl {
    cluster().kubectl().in_new_namespace(purpose)
}

/// Runs a test with every kubectl, each in a namespace of its own.
pub(crate) fn each(purpose: &str, test: impl Fn(&Kubectl)) {
    for kubectl in cluster().kubectls() {
        eprintln!("--- kubectl 1.{}", kubectl.minor());
        test(&kubectl.in_new_namespace(purpose));
    }
}

/// Runs `steer` to its end, with a kubeconfig.
///
/// # Panics
/// When it does not end in time.
pub(crate) fn steer(kubeconfig: &Path, args: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary folder");
    // Files, not pipes: nobody has to read them for the program to go on.
    let stream = |name: &str| std::fs::File::create(home.path().join(name)).expect("a file");
    let mut command = Command::new(binary());
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home.path()).env("XDG_STATE_HOME", home.path()).env("KUBECONFIG", kubeconfig);
    command.stdin(Stdio::null()).stdout(stream("out")).stderr(stream("err"));
    let mut child = command.spawn().expect("steer starts");
    let text = |name: &str| std::fs::read_to_string(home.path().join(name)).expect("text");
    let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(SOON, &format!("steer {} ends", args.join(" ")), || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(text("out") + &text("err")),
            Err(error) => Err(error.to_string()),
        })
    }));
    let status = status.unwrap_or_else(|slow| {
        // It must not outlive its test; an error means that it has ended after all.
        let _killed = child.kill();
        let _waited = child.wait();
        std::panic::resume_unwind(slow)
    });
    let command = format!("steer {}", args.join(" "));
    Output { command, status: status.code(), stdout: text("out"), stderr: text("err") }
}

/// Runs `steer`, which must fail and say all of these words.
#[track_caller]
pub(crate) fn steer_fails(kubeconfig: &Path, args: &[&str], words: &[&str]) -> Output {
    let output = steer(kubeconfig, args);
    assert!(output.status.is_some_and(|status| status != 0), "must fail: {output}");
    says(&output, words);
    output
}

/// Asserts that a failure says all of these words, in few lines and without a trace of a panic.
#[track_caller]
pub(crate) fn says(output: &Output, words: &[&str]) {
    for word in words {
        assert!(output.stderr.contains(word), "must say {word:?}: {output}");
    }
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert!(output.stderr.len() < 2000, "nobody reads that much: {output}");
}
