//! Driving a cluster with kubectl, as people and scripts do.
//!
//! Each [`Kubectl`] has a home of its own, so that no cache of discovery is shared between clusters, versions or tests.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::wait::eventually;

/// How long one command may take; kubectl's own waits are asked to be shorter.
const COMMAND: Duration = Duration::from_secs(90);

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as one would type it.
    pub command: String,
    /// Its exit code; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it wrote on its standard output.
    pub stdout: String,
    /// What it wrote on its standard error.
    pub stderr: String,
}

impl std::fmt::Display for Output {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.status.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        write!(to, "$ {}\nended with {status}\n{}{}", self.command, self.stdout, self.stderr)
    }
}

/// One kubectl with one kubeconfig, and perhaps a namespace.
#[derive(Debug, Clone)]
pub struct Kubectl {
    binary: PathBuf,
    minor: u32,
    kubeconfig: PathBuf,
    namespace: Option<String>,
    home: Arc<tempfile::TempDir>,
}

impl Kubectl {
    /// A kubectl for this kubeconfig.
    ///
    /// # Panics
    /// When the binary does not tell its version.
    #[must_use]
    pub fn new(binary: &Path, kubeconfig: &Path) -> Self {
        Self {
            binary: binary.to_path_buf(),
            minor: minor_version(binary),
            kubeconfig: kubeconfig.to_path_buf(),
            namespace: None,
            home: Arc::new(tempfile::tempdir().expect("a temporary folder")),
        }
    }

    /// The minor version: 20 for kubectl 1.20.
    #[must_use]
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// The namespace that commands speak of when they name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// The same kubectl in a namespace made for it, named after `purpose` and the version.
    ///
    /// # Panics
    /// When the namespace cannot be made.
    #[must_use]
    pub fn in_new_namespace(&self, purpose: &str) -> Self {
        let name = format!("{purpose}-{}", self.minor);
        self.ok(&["create", "namespace", &name]);
        Self { namespace: Some(name), ..self.clone() }
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it does not start, or does not end within 90 s.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "", &[])
    }

    /// Runs a command with text on its standard input and further environment variables.
    ///
    /// # Panics
    /// As [`Kubectl::run`].
    #[must_use]
    pub fn run_with(&self, args: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
        let mut command = self.command(args);
        command.envs(env.iter().copied()).stdin(Stdio::piped());
        let mut running = Running::start(command);
        let mut stdin = running.child.stdin.take().expect("stdin is piped");
        let input = input.to_owned();
        // On a thread of its own: a command that reads nothing must not stop this test. An error means just that.
        std::thread::spawn(move || {
            let _unread = stdin.write_all(input.as_bytes());
        });
        running.finish(COMMAND)
    }

    /// Runs a command that must succeed and returns its standard output.
    ///
    /// # Panics
    /// When it fails, with all that it said.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status == Some(0), "{output}");
        output.stdout
    }

    /// As [`Kubectl::ok`], with text on the standard input, such as a manifest for `-f -`.
    ///
    /// # Panics
    /// As [`Kubectl::ok`].
    #[track_caller]
    pub fn ok_with(&self, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input, &[]);
        assert!(output.status == Some(0), "{output}");
        output.stdout
    }

    /// Runs a command that must fail, with every one of `words` on its standard error, and returns what it did.
    ///
    /// # Panics
    /// When it succeeds, or says something else.
    #[track_caller]
    pub fn fails(&self, args: &[&str], words: &[&str]) -> Output {
        self.fails_with(args, "", words)
    }

    /// As [`Kubectl::fails`], with text on the standard input.
    ///
    /// # Panics
    /// As [`Kubectl::fails`].
    #[track_caller]
    pub fn fails_with(&self, args: &[&str], input: &str, words: &[&str]) -> Output {
        let output = self.run_with(args, input, &[]);
        assert!(output.status.is_some_and(|status| status != 0), "must fail: {output}");
        for word in words {
            assert!(output.stderr.contains(word), "must say {word:?}: {output}");
        }
        output
    }

    /// Starts a command that runs until it is dropped, such as `get --watch`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(args);
        command.stdin(Stdio::null());
        Running::start(command)
    }

    /// The JSON of an object or a list.
    ///
    /// # Panics
    /// When the command fails or answers no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut words = args.to_vec();
        words.extend(["--output", "json"]);
        let answer = self.ok(&words);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("no JSON ({error}): {answer}"))
    }

    /// Waits until a JSONPath of an object prints `wanted`.
    ///
    /// # Panics
    /// When it does not within `deadline`, with what it printed last.
    #[track_caller]
    pub fn becomes(&self, deadline: Duration, object: &str, path: &str, wanted: &str) {
        let output = format!("jsonpath={path}");
        eventually(deadline, &format!("{object} {path} is {wanted:?}"), || {
            let seen = self.run(&["get", object, "--output", &output]);
            if seen.status == Some(0) && seen.stdout == wanted { Ok(()) } else { Err(seen.to_string()) }
        });
    }

    /// Where a service answers on one of its ports.
    ///
    /// # Panics
    /// When the service is not there or has no address.
    #[track_caller]
    #[must_use]
    pub fn service_address(&self, name: &str, port: u16) -> SocketAddr {
        let address = self.ok(&["get", "service", name, "--output", "jsonpath={.spec.clusterIP}"]);
        let address = address.parse().unwrap_or_else(|error| panic!("service {name} has address {address:?}: {error}"));
        SocketAddr::new(address, port)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", self.home.path()).env("LC_ALL", "C");
        command.env("KUBECONFIG", &self.kubeconfig);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(args);
        command
    }
}

/// A command that is still running; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    stdout: Stream,
    stderr: Stream,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let stdout = Stream::collect(child.stdout.take().expect("stdout is piped"));
        let stderr = Stream::collect(child.stderr.take().expect("stderr is piped"));
        Self { child, command: line, stdout, stderr }
    }

    /// What it has written on its standard output until now.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until its standard output contains `words`.
    ///
    /// # Panics
    /// When it does not within `deadline`.
    #[track_caller]
    pub fn prints(&self, deadline: Duration, words: &str) {
        eventually(deadline, &format!("`{}` prints {words:?}", self.command), || {
            let seen = self.stdout();
            if seen.contains(words) { Ok(()) } else { Err(format!("{seen}{}", self.stderr.text())) }
        });
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `deadline`.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Output {
        let end = Instant::now() + deadline;
        let status: ExitStatus = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => panic!("`{}` runs on:\n{}{}", self.command, self.stdout.text(), self.stderr.text()),
                Err(error) => panic!("`{}` cannot be waited for: {error}", self.command),
            }
        };
        Output {
            command: self.command.clone(),
            status: status.code(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// One stream of a command, collected by a thread.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Stream {
    fn collect(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 8192];
            while let Ok(read @ 1..) = from.read(&mut part) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..read]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All of it, once the command has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.text()
    }
}

/// The kubectls to test with: `STEERSMAN_KUBECTLS` (paths joined by colons), else the one on `PATH`.
///
/// # Panics
/// When there is none: a test that drives nothing must not pass.
pub fn binaries() -> &'static [PathBuf] {
    static BINARIES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let given: Vec<PathBuf> = match std::env::var_os("STEERSMAN_KUBECTLS") {
            Some(list) => std::env::split_paths(&list).collect(),
            None => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .map(|dir| dir.join("kubectl"))
                .find(|file| file.is_file())
                .into_iter()
                .collect(),
        };
        assert!(!given.is_empty(), "there is no kubectl: run `cargo xtask test`, which fetches one");
        given
    })
}

/// The minor version that a kubectl gives itself; asked once per binary, as every ask costs a process.
fn minor_version(binary: &Path) -> u32 {
    static KNOWN: Mutex<Vec<(PathBuf, u32)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, minor)) = known.iter().find(|(path, _)| path == binary) {
        return *minor;
    }
    let mut ask = Command::new(binary);
    let output = ask.args(["version", "--client", "--output", "json"]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    let minor = read_minor(&text).unwrap_or_else(|| panic!("{} tells no version: {text}", binary.display()));
    known.push((binary.to_path_buf(), minor));
    minor
}

/// Reads `clientVersion.minor`, which may carry a plus: `"32+"`.
fn read_minor(version: &str) -> Option<u32> {
    let version: serde_json::Value = serde_json::from_str(version).ok()?;
    let minor = version.pointer("/clientVersion/minor")?.as_str()?;
    minor.trim_end_matches(|sign: char| !sign.is_ascii_digit()).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A stand-in that tells a version and otherwise does what `script` says.
    fn stand_in(script: &str) -> (tempfile::TempDir, Kubectl) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("kubectl");
        let text = format!(
            "#!/bin/sh\nif [ \"$1\" = version ]; then echo '{{\"clientVersion\": {{\"minor\": \"32+\"}}}}'; exit; fi\n{script}\n"
        );
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let kubectl = Kubectl::new(&path, Path::new("/nonexistent/kubeconfig"));
        (dir, kubectl)
    }

    #[test]
    fn a_minor_version_is_read_with_or_without_a_plus() {
        assert_eq!(read_minor("{\"clientVersion\": {\"minor\": \"20\"}}"), Some(20));
        assert_eq!(read_minor("{\"clientVersion\": {\"minor\": \"32+\"}}"), Some(32));
        assert_eq!(read_minor("{\"clientVersion\": {}}"), None);
        assert_eq!(read_minor("v1.20"), None);
    }

    #[test]
    fn a_command_has_its_streams_status_home_and_namespace() {
        let (_dir, kubectl) = stand_in("cat; echo \"$@\" \"$KUBECONFIG\"; echo oops >&2; test \"$HOME\" && exit 3");
        let kubectl = Kubectl { namespace: Some("n".to_owned()), ..kubectl };
        let output = kubectl.run_with(&["get", "pods"], "input\n", &[]);
        assert_eq!(output.stdout, "input\n--namespace n get pods /nonexistent/kubeconfig\n");
        assert_eq!((output.stderr.as_str(), output.status), ("oops\n", Some(3)));
        kubectl.fails(&["x"], &["oops"]);
        assert_ne!(kubectl.home.path(), Kubectl::new(&kubectl.binary, &kubectl.kubeconfig).home.path());
    }

    #[test]
    fn an_unexpected_end_panics_with_what_was_said() {
        let (_dir, kubectl) = stand_in("echo why >&2; exit 1");
        let message = |work: &(dyn Fn() + std::panic::RefUnwindSafe)| {
            *std::panic::catch_unwind(work).expect_err("panics").downcast::<String>().expect("a message")
        };
        assert!(message(&|| drop(kubectl.ok(&["get"]))).contains("why"));
        assert!(message(&|| drop(kubectl.fails(&["get"], &["other"]))).contains("must say \"other\""));
        let (_dir, kubectl) = stand_in("exit 0");
        assert!(message(&|| drop(kubectl.fails(&["get"], &[]))).contains("must fail"));
    }

    #[test]
    fn a_running_command_is_read_and_ended() {
        let (_dir, kubectl) = stand_in("echo one; exec sleep 98770.25");
        let running = kubectl.start(&["get", "--watch"]);
        running.prints(Duration::from_secs(10), "one");
        let pid = running.child.id();
        drop(running);
        assert!(!crate::process::runs(pid));
    }
}
