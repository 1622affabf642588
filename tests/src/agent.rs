//! A running `steer agent`: a node of its own process, as on another host.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::process::{self, Signal};
use crate::steer::{SteerUp, binary};

/// A join token of a cluster, good for one node.
///
/// # Panics
/// When none is given.
#[must_use]
pub fn token(up: &SteerUp) -> String {
    let mut command = Command::new(binary());
    command.args(["token", "create", "--data-dir"]).arg(up.data().path());
    let made = command.stdin(Stdio::null()).output().expect("steer starts");
    assert!(made.status.success(), "no token: {}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("a token is text").trim().to_owned()
}

/// A running agent. Dropping it stops it and what runs in its folder.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    data: Arc<tempfile::TempDir>,
    name: String,
    token: String,
}

impl Agent {
    /// Joins a node of this name.
    ///
    /// # Panics
    /// When no token is given, or the program does not start.
    #[must_use]
    pub fn join(up: &SteerUp, name: &str) -> Self {
        Self::start(up, &token(up), name)
    }

    /// Joins with this token.
    ///
    /// # Panics
    /// When the program does not start.
    #[must_use]
    pub fn start(up: &SteerUp, token: &str, name: &str) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self::launch(up.url(), (token, name, None), data)
    }

    /// As [`Agent::join`], as a node that others reach by this address.
    ///
    /// # Panics
    /// As [`Agent::join`].
    #[must_use]
    pub fn join_at(up: &SteerUp, name: &str, address: IpAddr) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self::launch(up.url(), (&token(up), name, Some(address)), data)
    }

    fn launch(url: &str, (token, name, address): (&str, &str, Option<IpAddr>), data: Arc<tempfile::TempDir>) -> Self {
        let mut command = Command::new(binary());
        command.args(["agent", "--server", url, "--token", token, "--name", name, "--data-dir"]).arg(data.path());
        if let Some(address) = address {
            command.args(["--address", &address.to_string()]);
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", data.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Agent { child: child.expect("steer starts"), data, name: name.to_owned(), token: token.to_owned() }
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Kills the agent alone, as a crash would, and starts it again on the same folder when the answer is called.
    pub fn crash(mut self) -> impl FnOnce(&SteerUp) -> Self {
        // An error means that it has ended already.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
        let (data, name, token) = (Arc::clone(&self.data), self.name.clone(), self.token.clone());
        move |up| {
            let again = Self::launch(up.url(), (&token, &name, None), data);
            // It holds the folder now, so this drop leaves what runs there alone.
            drop(self);
            again
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
        if Arc::strong_count(&self.data) == 1 {
            for pid in process::around(self.data.path()) {
                let _sent = process::signal(pid, Signal::KILL);
            }
        }
    }
}
