//! A running `steer up` on a data directory of its own.
//!
//! It speaks to the binary only as people do: by flags, by the line it prints when the API serves, and by signals.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::kubectl::{Kubectl, binaries};
use crate::process::{self, Signal};
use crate::wait::eventually;

/// How long a start may take, with a debug build on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(30);
/// How long an orderly stop may take: the longest grace period a test gives its pods, and some air.
const STOP: Duration = Duration::from_secs(45);

/// What a `steer up` is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further words of the command line, such as `--nodes 2` or `-f FILE`.
    pub args: Vec<String>,
    /// The data directory of an earlier run; a fresh one when there is none.
    pub data: Option<Arc<tempfile::TempDir>>,
    /// Where the API listens; a free port of 127.0.0.1 when nothing is said.
    pub listen: Option<String>,
}

impl Options {
    /// Options with these further words.
    #[must_use]
    pub fn with(args: &[&str]) -> Self {
        Self { args: args.iter().map(|word| (*word).to_owned()).collect(), ..Self::default() }
    }
}

/// A running `steer up`. Dropping it stops it, and everything it started.
#[derive(Debug)]
pub struct SteerUp {
    child: Child,
    guardian: Option<Child>,
    data: Arc<tempfile::TempDir>,
    output: Arc<Mutex<String>>,
    url: String,
    kubeconfig: PathBuf,
}

impl SteerUp {
    /// Starts a cluster whose pods are processes unless they say otherwise, and waits until its API serves.
    ///
    /// # Panics
    /// When the binary is not there, ends, or does not say that it is ready; with all that it printed.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Options::with(&["--default-runtime", "process"]))
    }

    /// Starts a cluster with the given options and waits until its API serves.
    ///
    /// # Panics
    /// As [`SteerUp::start`].
    #[must_use]
    pub fn start_with(options: Options) -> Self {
        Self::start_binary(binary(), options)
    }

    /// As [`SteerUp::start_with`], of this binary.
    ///
    /// # Panics
    /// As [`SteerUp::start`].
    #[must_use]
    pub fn start_binary(binary: &Path, options: Options) -> Self {
        let data = options.data.unwrap_or_else(|| Arc::new(tempfile::tempdir().expect("a temporary folder")));
        let mut command = Command::new(binary);
        let listen = options.listen.as_deref().unwrap_or("127.0.0.1:0");
        command.arg("up").arg("--data-dir").arg(data.path()).args(["--listen", listen]).args(&options.args);
        Self::launch(command, data)
    }

    /// Starts a command that behaves as `steer up` does.
    fn launch(mut command: Command, data: Arc<tempfile::TempDir>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", data.path())
            .env("XDG_STATE_HOME", data.path())
            .env("RUST_BACKTRACE", "1")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().expect("stdout is piped"), &output);
        collect(child.stderr.take().expect("stderr is piped"), &output);
        let guardian = guardian(child.id());
        let mut started =
            Self { child, guardian: Some(guardian), data, output, url: String::new(), kubeconfig: PathBuf::new() };
        let (url, kubeconfig) = eventually(START, "steer up prints `ready:`", || {
            if let Some(ready) = ready_line(&started.output()) {
                return Ok(ready);
            }
            // A process that has ended will not become ready: said at once, not after the deadline.
            if let Ok(Some(status)) = started.child.try_wait() {
                panic!("steer up ended ({status}) before it was ready:\n{}", started.output());
            }
            Err(format!("its output is:\n{}", started.output()))
        });
        started.url = url;
        started.kubeconfig = kubeconfig;
        started
    }

    /// Where the API answers, as `https://ADDR`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The kubeconfig that the start wrote.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The data directory; give a clone to [`Options::data`] to start again on it. While a clone lives, a drop leaves
    /// what runs in the directory alone.
    #[must_use]
    pub fn data(&self) -> Arc<tempfile::TempDir> {
        Arc::clone(&self.data)
    }

    /// The process number of `steer`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed until now, both streams as they came.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One kubectl per version that is tested with, Debian's first, all speaking to this cluster.
    #[must_use]
    pub fn kubectls(&self) -> Vec<Kubectl> {
        binaries().iter().map(|binary| Kubectl::new(binary, &self.kubeconfig)).collect()
    }

    /// The newest kubectl, for tests that are not about kubectl.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        let newest = self.kubectls().into_iter().max_by_key(Kubectl::minor);
        newest.expect("STEERSMAN_KUBECTLS names at least one kubectl")
    }

    /// Sends a signal and waits for the end of `steer` itself, not of what it started.
    ///
    /// # Panics
    /// When it is still there after the longest grace period.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        // Before the process is waited for: after that its number may belong to another.
        self.dismiss_guardian();
        let _gone = process::signal(self.child.id(), signal);
        let output = Arc::clone(&self.output);
        eventually(STOP, "steer up ends", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(output.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Err(error) => Err(error.to_string()),
        })
    }

    fn dismiss_guardian(&mut self) {
        if let Some(mut guardian) = self.guardian.take() {
            // An error means that it is gone already, which is what is wanted.
            let _killed = guardian.kill();
            let _waited = guardian.wait();
        }
    }

    /// Whether somebody else holds the data directory, and with it what runs there.
    fn succeeded(&self) -> bool {
        Arc::strong_count(&self.data) > 1
    }
}

impl Drop for SteerUp {
    fn drop(&mut self) {
        self.dismiss_guardian();
        if matches!(self.child.try_wait(), Ok(None)) {
            let _sent = process::signal(self.child.id(), Signal::TERM);
            let end = std::time::Instant::now() + STOP;
            while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
            if matches!(self.child.try_wait(), Ok(None)) {
                let _sent = process::signal_group(self.child.id(), Signal::KILL);
                let _waited = self.child.wait();
            }
        }
        if !self.succeeded() {
            let _sent = process::signal_group(self.child.id(), Signal::KILL);
            for pid in process::around(self.data.path()) {
                let _sent = process::signal(pid, Signal::KILL);
            }
        }
        if std::thread::panicking() {
            eprintln!("--- steer up printed:\n{}", self.output());
        }
    }
}

/// The `steer` under test: `STEERSMAN_BIN`, else built once on demand.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("STEERSMAN_BIN") {
            let given = PathBuf::from(given);
            assert!(given.is_file(), "STEERSMAN_BIN names {}, which is no file", given.display());
            return given;
        }
        let root = crate::tree::root();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "steersman", "--bin", "steer"]).current_dir(&root);
        let status = build.stdin(Stdio::null()).status().expect("cargo starts");
        assert!(status.success(), "steer does not build: {status}");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        target.join("debug/steer")
    })
}

/// A port on 127.0.0.1 that was free a moment ago.
///
/// # Panics
/// When the machine has none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Reads `ready: https://ADDR kubeconfig: PATH` out of what was printed; only a line that has ended is whole.
fn ready_line(output: &str) -> Option<(String, PathBuf)> {
    let (whole, _) = output.rsplit_once('\n')?;
    whole.lines().find_map(|line| {
        let (url, kubeconfig) = line.strip_prefix("ready: ")?.split_once(" kubeconfig: ")?;
        Some((url.to_owned(), PathBuf::from(kubeconfig)))
    })
}

/// Collects a stream on a thread of its own, so that a full pipe never stops the process that writes it.
fn collect(stream: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// A shell that stops `pid` when this test process is gone, however it went: its standard input ends then. A cluster
/// that is shared by the tests of one binary is never dropped, and a killed test run drops nothing at all.
fn guardian(pid: u32) -> Child {
    let script = format!(
        "read _; kill -TERM {pid} && for i in $(seq 300); do sleep 0.1; kill -0 {pid} || exit; done; kill -KILL -{pid}"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().expect("sh starts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::until;

    const SOON: Duration = Duration::from_secs(10);

    /// A stand-in for `steer up`: prints what a script says.
    fn stand_in(script: &str) -> SteerUp {
        let data = Arc::new(tempfile::tempdir().expect("temporary folder"));
        let mut command = Command::new("sh");
        command.args(["-c", script, "steer"]).arg(data.path());
        SteerUp::launch(command, data)
    }

    #[test]
    fn the_ready_line_is_read_once_it_is_whole() {
        let line = "starting\nready: https://127.0.0.1:6443 kubeconfig: /tmp/a b/kubeconfig";
        assert_eq!(ready_line(line), None, "the path may still be growing");
        let whole = ready_line(&format!("{line}\n")).expect("whole");
        assert_eq!(whole, ("https://127.0.0.1:6443".to_owned(), PathBuf::from("/tmp/a b/kubeconfig")));
        assert_eq!(ready_line("already: https://x kubeconfig: y\n"), None);
    }

    #[test]
    fn a_start_is_awaited_and_a_drop_stops_everything() {
        let up = stand_in("echo noise >&2; echo ready: https://h:1 kubeconfig: $1/k; sleep 98768.25 & wait");
        assert_eq!((up.url(), up.kubeconfig()), ("https://h:1", up.data().path().join("k").as_path()));
        until(SOON, "both streams are collected", || up.output().contains("noise"), || up.output());
        let child = process::with_words(|words| words.last().is_some_and(|word| word == "98768.25"));
        let pid = up.pid();
        drop(up);
        assert!(!process::runs(pid));
        until(SOON, "its child is gone too", || child.iter().all(|pid| !process::runs(*pid)), || format!("{child:?}"));
    }

    #[test]
    fn a_start_that_fails_is_told_with_its_words() {
        let failed = std::panic::catch_unwind(|| stand_in("echo cannot listen >&2; exit 3"));
        let message = *failed.expect_err("it ended").downcast::<String>().expect("a message");
        assert!(message.contains("exit status: 3"), "{message}");
    }

    #[test]
    fn an_end_gives_the_status() {
        let mut up =
            stand_in("trap 'exit 7' TERM; echo ready: https://h:1 kubeconfig: /k; while :; do sleep 0.02; done");
        assert_eq!(up.end(Signal::TERM).code(), Some(7));
    }

    #[test]
    fn the_guardian_stops_what_its_owner_left() {
        let mut left = Command::new("sleep").arg("98769.25").process_group(0).spawn().expect("sleep starts");
        let mut guardian = guardian(left.id());
        assert!(process::runs(left.id()));
        drop(guardian.stdin.take());
        left.wait().expect("it is stopped");
        guardian.wait().expect("the guardian ends");
    }

    #[test]
    fn a_free_port_can_be_bound() {
        TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).expect("free");
    }
}
