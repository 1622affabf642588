//! Commands run beside a container, with its environment, identity and limits: probes, hooks.

use super::containers::signal;
use super::launch::{self, Program};
use super::server::{Shim, Waiter};
use super::tree;
use crate::process::layout;
use crate::process::log_format::Stream;
use crate::process::wire::{Failure, Reply};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much of a command's output is answered, in bytes.
const MAX_OUTPUT: usize = 10 * 1024;

#[derive(Debug)]
pub(super) struct RunningCommand {
    pid: u32,
    waiter: Waiter,
    timeout: Duration,
    pub(super) deadline: Option<Instant>,
    pipes: [Option<OwnedFd>; 2],
    output: Vec<u8>,
}

impl RunningCommand {
    pub(super) fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let pipes = [Stream::Out, Stream::Err].into_iter().zip(&self.pipes);
        pipes.filter_map(|(stream, pipe)| Some((stream, pipe.as_ref()?.as_fd())))
    }

    /// Keeps the beginning of what comes and drops the rest; whether there may be more.
    pub(super) fn read_output(&mut self, stream: Stream) -> bool {
        let Some(pipe) = &self.pipes[stream as usize] else { return false };
        let mut buffer = [0; 16 * 1024];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(n) if n > 0 => {
                let room = MAX_OUTPUT - self.output.len();
                self.output.extend_from_slice(&buffer[..n.min(room)]);
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                self.pipes[stream as usize] = None;
                false
            }
        }
    }
}

impl Shim {
    /// Starts a command; its answer follows when it has ended.
    pub(super) fn run_command(
        &mut self,
        waiter: Waiter,
        name: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let container = self.containers.get(name).ok_or_else(|| Failure::NotFound(format!("container {name}")))?;
        let running = container
            .running
            .as_ref()
            .ok_or_else(|| Failure::NotFound(format!("container {name} does not run: it")))?;
        let failed = |e: std::io::Error| Failure::Unavailable(format!("container {name}: command: {e}"));
        let own_view = !running.launch.mounts.is_empty() || running.launch.read_only_root;
        let namespace = format!("/proc/{}/ns/mnt", container.state.pid);
        let program = Program {
            launch: &running.launch,
            command: &command,
            work_dir: self.dir.join(layout::WORK).join(name),
            scratch: self.dir.join(layout::MNT),
            joins: running.group.joins().map_err(failed)?,
            namespace: own_view.then(|| File::open(namespace)).transpose().map_err(failed)?,
        };
        let started = launch::start(&program)?;
        if let Some(binds) = started.binds {
            self.add_binds(binds);
        }
        let id = self.next_id();
        let command = RunningCommand {
            pid: started.pid,
            waiter,
            timeout,
            deadline: Instant::now().checked_add(timeout),
            pipes: [Some(started.out), Some(started.err)],
            output: Vec::new(),
        };
        self.commands.insert(id, command);
        Ok(())
    }

    /// A child that is no container has ended: a command, or an orphan that nobody asks for.
    pub(super) fn command_ended(&mut self, pid: u32, exit_code: i32) {
        let Some(id) = self.commands.iter().find(|(_, c)| c.pid == pid).map(|(id, _)| *id) else { return };
        let Some(mut command) = self.commands.remove(&id) else { return };
        for stream in [Stream::Out, Stream::Err] {
            while command.read_output(stream) {}
        }
        self.reply(command.waiter, Reply::Executed { exit_code, output: command.output });
    }

    /// Ends commands that take too long, with all that they started.
    pub(super) fn tend_commands(&mut self, now: Instant) {
        let late: Vec<u64> = self
            .commands
            .iter()
            .filter(|(_, c)| c.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(command) = self.commands.remove(&id) else { continue };
            let containers: BTreeSet<u32> = self.containers.values().map(|c| c.state.pid).collect();
            for pid in tree::members(&tree::all(), command.pid, std::process::id(), &containers, false) {
                signal(pid, Signal::KILL);
            }
            let message = format!("the command did not end within {} ms", command.timeout.as_millis());
            self.fail(command.waiter, Failure::Unavailable(message));
        }
    }
}
