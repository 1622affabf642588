//! The containers of a pod: start, stop, and the careful end.
//!
//! A container has ended when its first process has ended *and* nothing that it started is left *and* its log is complete
//! *and* the record of it is on disk. Only then is it announced.

use super::launch::{self, Program};
use super::log_writer::LogWriter;
use super::server::{Shim, Waiter};
use super::tree;
use crate::process::cgroup::Group;
use crate::process::layout;
use crate::process::log_format::Stream;
use crate::process::record::{self, ContainerState};
use crate::process::wire::{Failure, Launch, Reply};
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use steersman_domain::ports::ExitRecord;

/// The first pause before looking again whether a killed tree is gone; it doubles up to the second.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// The latest start of a container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) state: ContainerState,
    /// What is needed while it runs; `None` once it has ended.
    pub(super) running: Option<Box<Running>>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) launch: Launch,
    pub(super) group: Group,
    dir: PathBuf,
    log: LogWriter,
    pipes: [Option<OwnedFd>; 2],
    waiters: Vec<Waiter>,
    /// When everything is killed.
    deadline: Option<Instant>,
    /// Its first process has ended.
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    exit_code: i32,
    signal: i32,
    finished_at_micros: i64,
    next_look: Instant,
    pause: Duration,
}

impl Container {
    /// One that ended in an earlier life of the shim.
    pub(super) fn ended(state: ContainerState) -> Self {
        Container { state, running: None }
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let pipes = self.running.iter().flat_map(|r| [Stream::Out, Stream::Err].into_iter().zip(&r.pipes));
        pipes.filter_map(|(stream, pipe)| Some((stream, pipe.as_ref()?.as_fd())))
    }

    /// Moves output into the log; one read, so that a loud container does not keep others waiting.
    pub(super) fn read_output(&mut self, stream: Stream) {
        if let Some(running) = &mut self.running {
            running.read_output(stream);
        }
    }

    /// Brings the time at which it is killed forward.
    pub(super) fn bring_deadline(&mut self, at: Instant) {
        if let Some(running) = &mut self.running {
            running.deadline = Some(running.deadline.map_or(at, |have| have.min(at)));
        }
    }

    /// When to look after it even if nothing happens.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        running.end.as_ref().map(|end| end.next_look).or(running.deadline)
    }
}

impl Running {
    /// Whether there may be more.
    fn read_output(&mut self, stream: Stream) -> bool {
        let Some(pipe) = &self.pipes[stream as usize] else { return false };
        let mut buffer = [0; 64 * 1024];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => {
                self.pipes[stream as usize] = None;
                false
            }
            Ok(n) => {
                self.log.write(stream, &buffer[..n]);
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => {
                self.pipes[stream as usize] = None;
                false
            }
        }
    }
}

impl Shim {
    /// Starts a container, or answers the one that this very start has already made.
    pub(super) fn start(&mut self, launch: Launch) -> Result<ContainerState, Failure> {
        if self.ending.is_some() {
            return Err(Failure::Unavailable("the pod is ending".to_owned()));
        }
        let known = self.containers.get(&launch.name);
        if let Some(known) = known {
            if known.state.attempt == launch.attempt {
                return Ok(known.state.clone());
            }
            if known.state.exit.is_none() {
                return Err(Failure::Unavailable(format!(
                    "container {} still runs as attempt {}: stop it first",
                    launch.name, known.state.attempt
                )));
            }
        }
        let order = known.map_or_else(
            || self.containers.values().map(|c| c.state.order + 1).max().unwrap_or(0),
            |known| known.state.order,
        );
        self.forget_old_attempts(&launch);
        let dir = layout::attempt_dir(&self.dir, &launch.name, launch.attempt);
        let result = self.start_in(&dir, launch, order);
        if result.is_err() {
            let _stays = fs::remove_dir_all(&dir);
        }
        result
    }

    /// Keeps the logs of the start before this one, and removes older ones.
    fn forget_old_attempts(&self, launch: &Launch) {
        let attempts = layout::attempts(&self.dir, &launch.name);
        let old = attempts.iter().rev().filter(|a| **a != launch.attempt).skip(1);
        for attempt in old {
            let _stays = fs::remove_dir_all(layout::attempt_dir(&self.dir, &launch.name, *attempt));
        }
    }

    fn start_in(&mut self, dir: &PathBuf, launch: Launch, order: u32) -> Result<ContainerState, Failure> {
        let failed = |what: &str, e: io::Error| Failure::Unavailable(format!("container {}: {what}: {e}", launch.name));
        // What an earlier try under the same number left is not part of this one.
        let _none = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).map_err(|e| failed("log directory", e))?;
        let log = LogWriter::create(dir, self.sandbox.log_max_bytes, self.sandbox.log_max_files)
            .map_err(|e| failed("log", e))?;
        let work_dir = self.work_dir(&launch).map_err(|e| failed("working directory", e))?;
        let group_name = format!("{}-{}", launch.name, launch.attempt);
        let pod = self.sandbox.spec.uid.as_str();
        let group = Group::create(&self.sandbox.cgroups, pod, &group_name, &launch.limits)
            .map_err(|e| failed("control group", e))?;
        let program = Program {
            launch: &launch,
            command: &launch.command,
            work_dir,
            scratch: self.dir.join(layout::MNT),
            joins: group.joins().map_err(|e| failed("control group", e))?,
            namespace: None,
        };
        let started_at_micros = record::now_micros();
        let started = launch::start(&program).inspect_err(|_| {
            group.remove();
        })?;
        let state = ContainerState {
            name: launch.name.clone(),
            attempt: launch.attempt,
            id: launch.id.clone(),
            pid: started.pid,
            start_time: record::ProcessStat::read(started.pid).map_or(0, |stat| stat.start_time),
            started_at_micros,
            order,
            exit: None,
        };
        if let Some(binds) = started.binds {
            self.add_binds(binds);
        }
        let written = record::write_json(&dir.join(layout::CONTAINER), &state, false);
        let running = Running {
            launch,
            group,
            dir: dir.clone(),
            log,
            pipes: [Some(started.out), Some(started.err)],
            waiters: Vec::new(),
            // Without its record it could not be adopted.
            deadline: written.is_err().then(Instant::now),
            end: None,
        };
        self.containers
            .insert(state.name.clone(), Container { state: state.clone(), running: Some(Box::new(running)) });
        Ok(state)
    }

    /// The directory of a container that names none: its own, empty at first, and kept over restarts.
    fn work_dir(&self, launch: &Launch) -> io::Result<PathBuf> {
        let dir = self.dir.join(layout::WORK).join(launch.name.as_str());
        fs::create_dir_all(&dir)?;
        // The user may change from one start to the next.
        let user = launch.credentials.user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        std::os::unix::fs::chown(&dir, Some(user), launch.credentials.group)?;
        Ok(dir)
    }

    pub(super) fn stop(&mut self, waiter: Waiter, name: &str, grace: Duration) {
        let Some(container) = self.containers.get_mut(name) else {
            return self.fail(waiter, Failure::NotFound(format!("container {name}")));
        };
        if let Some(exit) = &container.state.exit {
            let record = exit.clone();
            return self.reply(waiter, Reply::Stopped(record));
        }
        let pid = container.state.pid;
        // A grace beyond all reckoning is no deadline.
        if let Some(deadline) = Instant::now().checked_add(grace) {
            container.bring_deadline(deadline);
        }
        let Some(running) = &mut container.running else { return };
        running.waiters.push(waiter);
        let first = running.waiters.len() == 1;
        if first && !grace.is_zero() && running.end.is_none() {
            signal(pid, Signal::TERM);
        }
    }

    /// Takes in every child that has ended.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_pid().cast_unsigned();
            let signal = status.terminating_signal().unwrap_or(0);
            let exit_code = status.exit_status().unwrap_or(128 + signal);
            let now = Instant::now();
            let container = self.containers.values_mut().find(|c| c.state.pid == pid && c.state.exit.is_none());
            if let Some(running) = container.and_then(|c| c.running.as_mut()) {
                let finished_at_micros = record::now_micros();
                running.end = Some(End { exit_code, signal, finished_at_micros, next_look: now, pause: FIRST_LOOK });
            } else {
                self.command_ended(pid, exit_code);
            }
        }
    }

    /// Does what is due: kills what is past its deadline, and finishes what has ended.
    pub(super) fn tend(&mut self, now: Instant) {
        let names: Vec<_> =
            self.containers.values().filter(|c| c.running.is_some()).map(|c| c.state.name.clone()).collect();
        for name in names {
            self.tend_container(&name, now);
        }
        self.tend_commands(now);
    }

    fn tend_container(&mut self, name: &str, now: Instant) {
        let mains: BTreeSet<u32> = self.first_processes(name);
        let Some(container) = self.containers.get_mut(name) else { return };
        let Some(running) = &mut container.running else { return };
        let main = container.state.pid;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if running.end.is_none() {
            if due(running.deadline) {
                kill_tree(&running.group, main, &mains);
                // Until its first process is seen to have ended there is nothing more to do but try again.
                running.deadline = Some(now + LAST_LOOK);
            }
            return;
        }
        if !due(running.end.as_ref().map(|end| end.next_look)) {
            return;
        }
        let gone = !kill_tree(&running.group, main, &mains);
        if let Some(end) = running.end.as_mut().filter(|_| !gone) {
            end.next_look = now + end.pause;
            end.pause = (end.pause * 2).min(LAST_LOOK);
            return;
        }
        self.finish(name);
    }

    /// The first processes of all other containers and of commands, and the shim's own: whose children are not `name`'s.
    fn first_processes(&self, name: &str) -> BTreeSet<u32> {
        let running = self.containers.values().filter(|c| c.running.is_some() && c.state.name != name);
        running.map(|c| c.state.pid).collect()
    }

    /// Everything is gone: complete the log, write the record, tell.
    fn finish(&mut self, name: &str) {
        let Some(container) = self.containers.get_mut(name) else { return };
        let Some(mut running) = container.running.take() else { return };
        for stream in [Stream::Out, Stream::Err] {
            while running.read_output(stream) {}
        }
        running.log.finish();
        let Some(end) = running.end else { return };
        let oom_killed = end.exit_code != 0 && running.group.oom_kills() > 0;
        let mut exit = ExitRecord {
            exit_code: end.exit_code,
            signal: end.signal,
            oom_killed,
            started_at_micros: container.state.started_at_micros,
            finished_at_micros: end.finished_at_micros,
            message: "".into(),
        };
        if let Err(error) = record::write_json(&running.dir.join(layout::EXIT), &exit, true) {
            exit.message = format!("the record of this exit could not be written: {error}").into();
        }
        container.state.exit = Some(exit.clone());
        let state = container.state.clone();
        running.group.remove();
        self.announce(&Reply::Exited(state));
        for waiter in running.waiters {
            self.reply(waiter, Reply::Stopped(exit.clone()));
        }
    }
}

/// Kills all of a container; whether something was left to kill.
fn kill_tree(group: &Group, main: u32, others: &BTreeSet<u32>) -> bool {
    if group.tracks() {
        if group.is_empty() {
            return false;
        }
        group.kill();
        return !group.is_empty();
    }
    let members = tree::members(&tree::all(), main, std::process::id(), others, others.is_empty());
    for pid in &members {
        signal(*pid, Signal::KILL);
    }
    !members.is_empty()
}

pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // One that is gone already is as good.
        let _gone = rustix::process::kill_process(pid, signal);
    }
}
