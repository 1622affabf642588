//! Starts one process with the identity, environment and view of files that a container has.
//!
//! The shim forks; the child makes itself into the container's process step by step and reports the first step that fails
//! over a socket which exec closes. So the parent knows that the program runs, or why it does not.

use super::mounts;
use crate::process::sys::{exec, seccomp, signals};
use crate::process::wire::{Failure, Launch};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CapabilitySet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a child may take from fork to exec; a hanging network file system is the usual cause of more.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Open files a container may have unless it raises the limit itself; within the host's hard limit.
const SOFT_OPEN_FILES: u64 = 65_536;

/// What to start.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) launch: &'a Launch,
    /// The program and its arguments: the container's own, or a command to run beside it.
    pub(super) command: &'a [String],
    /// The directory of a container that names none.
    pub(super) work_dir: PathBuf,
    /// An empty directory on which mounts are prepared.
    pub(super) scratch: PathBuf,
    /// Control groups to join.
    pub(super) joins: Vec<File>,
    /// Enter this mount namespace instead of making one.
    pub(super) namespace: Option<File>,
}

/// A process that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
    /// Where its binds are notified.
    pub(super) binds: Option<OwnedFd>,
}

/// Forks and waits until the program runs.
pub(super) fn start(program: &Program<'_>) -> Result<Started, Failure> {
    let command = Command::prepare(program)?;
    let unavailable = |what: &str, e: io::Error| Failure::Unavailable(format!("cannot start a process: {what}: {e}"));
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| unavailable("socket pair", e.into()))?;
    let (out, out_child) = pipe().map_err(|e| unavailable("pipe", e))?;
    let (err, err_child) = pipe().map_err(|e| unavailable("pipe", e))?;
    match exec::fork().map_err(|e| unavailable("fork", e))? {
        exec::Fork::Child => {
            drop(ours);
            let failure = become_program(program, &command, [out_child, err_child], &theirs);
            let text = serde_json::to_vec(&failure).unwrap_or_default();
            let _parent_gone = rustix::net::send(&theirs, &text, SendFlags::NOSIGNAL);
            exec::exit_now(127)
        }
        exec::Fork::Parent { child } => {
            drop((theirs, out_child, err_child));
            match await_exec(&ours) {
                Ok(binds) => Ok(Started { pid: child, out, err, binds }),
                Err(failure) => {
                    kill(child);
                    Err(failure)
                }
            }
        }
    }
}

fn kill(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _gone = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// A pipe whose reading end does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// Reads the child's reports until exec closes the socket: at most a descriptor, or a failure.
fn await_exec(socket: &OwnedFd) -> Result<Option<OwnedFd>, Failure> {
    let mut binds = None;
    let timeout = rustix::event::Timespec { tv_sec: START_TIMEOUT.as_secs().cast_signed(), tv_nsec: 0 };
    let hung = || {
        Failure::Unavailable(format!(
            "the program did not start within {} s: is its file system reachable?",
            START_TIMEOUT.as_secs()
        ))
    };
    loop {
        let mut polled = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Err(hung()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::Unavailable(format!("cannot wait for a started program: {error}"))),
        }
        let (fd, text) = take_report(socket)
            .map_err(|e| Failure::Unavailable(format!("cannot hear from a started program: {e}")))?;
        binds = fd.or(binds);
        match text.as_slice() {
            [] => return Ok(binds),
            [b'L'] => {}
            text => {
                return Err(serde_json::from_slice(text)
                    .unwrap_or_else(|_| Failure::Unavailable("the program could not be started".to_owned())));
            }
        }
    }
}

/// One message of a child: its text, and a descriptor that may come with it.
pub(super) fn take_report(socket: &OwnedFd) -> io::Result<(Option<OwnedFd>, Vec<u8>)> {
    let mut bytes = [0_u8; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|message| match message {
        rustix::net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((fd, bytes[..received.bytes].to_vec()))
}

/// Texts in the form exec wants, made before the fork.
#[derive(Debug)]
struct Command {
    args: Vec<CString>,
    env: Vec<CString>,
    /// Where the program may be, in the order of trial.
    candidates: Vec<CString>,
}

impl Command {
    fn prepare(program: &Program<'_>) -> Result<Self, Failure> {
        let name = program
            .command
            .first()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Failure::Refused("the container has no command: set `command`".to_owned()))?;
        let text = |bytes: &[u8]| {
            CString::new(bytes)
                .map_err(|_| Failure::Refused("a command or environment holds a NUL character".to_owned()))
        };
        let args = program.command.iter().map(|arg| text(arg.as_bytes())).collect::<Result<_, _>>()?;
        let env =
            program.launch.env.iter().map(|(k, v)| text(format!("{k}={v}").as_bytes())).collect::<Result<_, _>>()?;
        let candidates = if name.contains('/') {
            vec![text(name.as_bytes())?]
        } else {
            let path = program.launch.env.iter().rev().find(|(k, _)| k == "PATH").map_or("", |(_, v)| v.as_str());
            let split = std::env::split_paths(OsStr::new(path)).filter(|d| !d.as_os_str().is_empty());
            split.map(|dir| text(dir.join(name).as_os_str().as_bytes())).collect::<Result<_, _>>()?
        };
        Ok(Command { args, env, candidates })
    }
}

/// Runs in the child; returns only with what went wrong.
fn become_program(program: &Program<'_>, command: &Command, output: [OwnedFd; 2], report: &OwnedFd) -> Failure {
    let result = prepare_process(program, output, report);
    match result {
        Err(failure) => failure,
        Ok(()) => run(program, command),
    }
}

fn step<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Unavailable(format!("cannot prepare the process: {what}: {error}")))
}

fn prepare_process(program: &Program<'_>, [out, err]: [OwnedFd; 2], report: &OwnedFd) -> Result<(), Failure> {
    let launch = program.launch;
    let parent = rustix::process::getppid();
    step("session", rustix::process::setsid())?;
    signals::reset();
    // Before anything is made: mount points too must be open to the container's user.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Some(user) = launch.credentials.user {
        // Programs open `/dev/stdout` anew, which needs the right to the pipe itself.
        for pipe in [&out, &err] {
            step("owner of the output", rustix::fs::fchown(pipe, Some(rustix::process::Uid::from_raw(user)), None))?;
        }
    }
    let null = step("/dev/null", File::open("/dev/null"))?;
    step("standard input", rustix::stdio::dup2_stdin(&null))?;
    step("standard output", rustix::stdio::dup2_stdout(&out))?;
    step("standard error", rustix::stdio::dup2_stderr(&err))?;
    drop((out, err, null));
    for mut join in &program.joins {
        step("control group", join.write_all(b"0"))?;
    }
    if let Some(name) = &launch.hostname {
        step("host name", exec::new_host_name(name))?;
    }
    if let Some(namespace) = &program.namespace {
        let kind = Some(rustix::thread::LinkNameSpaceType::Mount);
        step("mount namespace", rustix::thread::move_into_link_name_space(namespace.as_fd(), kind))?;
    } else if !launch.mounts.is_empty() || launch.read_only_root {
        mounts::build(&launch.mounts, launch.read_only_root, &program.scratch)?;
    }
    limits()?;
    if launch.credentials.no_new_privs {
        step("no_new_privs", rustix::thread::set_no_new_privs(true))?;
    }
    if launch.rewrite_binds {
        step("bind filter", hand_over(report))?;
    }
    enter_directory(program)?;
    credentials(launch)?;
    if let Some(dir) = &launch.working_dir {
        // Once more as the user the container runs as, who must be able to enter it.
        std::env::set_current_dir(dir).map_err(|error| directory_failure(dir, &error))?;
    }
    step("parent death signal", rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))?;
    if rustix::process::getppid() != parent {
        return Err(Failure::Unavailable("the shim ended while a process was starting".to_owned()));
    }
    exec::close_from_3_on_exec();
    Ok(())
}

/// No core files unless asked for, and a number of open files that does not depend on who started the host program.
fn limits() -> Result<(), Failure> {
    let files = rustix::process::getrlimit(Resource::Nofile);
    let soft = files.maximum.map_or(SOFT_OPEN_FILES, |hard| hard.min(SOFT_OPEN_FILES));
    step("open files", rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(soft), ..files }))?;
    let core = rustix::process::getrlimit(Resource::Core);
    step("core files", rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), ..core }))
}

/// Installs the filter on binds in the calling process and sends its descriptor to the shim.
pub(super) fn hand_over(report: &OwnedFd) -> io::Result<()> {
    let listener = seccomp::install()?;
    let fds = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(report, &[IoSlice::new(b"L")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn enter_directory(program: &Program<'_>) -> Result<(), Failure> {
    let dir = program.launch.working_dir.as_deref().unwrap_or(&program.work_dir);
    match std::env::set_current_dir(dir) {
        Ok(()) => Ok(()),
        // A file system that does not trust root (NFS) may still let the user in: that is tried again later.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && program.launch.working_dir.is_some() => Ok(()),
        // In a mount namespace of its own the pod's directory may be out of sight; `/` is always there.
        Err(_) if program.launch.working_dir.is_none() => step("working directory", std::env::set_current_dir("/")),
        Err(error) => Err(directory_failure(dir, &error)),
    }
}

fn directory_failure(dir: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory: create it, or set another workingDir".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied: the container's user may not enter it".to_owned(),
        _ => error.to_string(),
    };
    Failure::CannotRun { message: format!("working directory {}: {why}", dir.display()), exit_code: 128 }
}

/// Groups before the user, the user before capabilities: each step needs the privileges that the next one gives up.
fn credentials(launch: &Launch) -> Result<(), Failure> {
    let want = &launch.credentials;
    let kept = CapabilitySet::from_bits_retain(want.capabilities);
    if want.bound {
        for bit in 0..64_u32 {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if !kept.contains(one) && rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false) {
                step("bounding set", rustix::thread::remove_capability_from_bounding_set(one))?;
            }
        }
    }
    if let Some(groups) = &want.groups {
        let groups: Vec<_> = groups.iter().map(|g| rustix::process::Gid::from_raw(*g)).collect();
        step("supplemental groups", rustix::thread::set_thread_groups(&groups))?;
    }
    if let Some(group) = want.group {
        let gid = rustix::process::Gid::from_raw(group);
        step("group", rustix::thread::set_thread_res_gid(gid, gid, gid))?;
    }
    step("capabilities", rustix::thread::set_keep_capabilities(!kept.is_empty()))?;
    if let Some(user) = want.user {
        let uid = rustix::process::Uid::from_raw(user);
        step("user", rustix::thread::set_thread_res_uid(uid, uid, uid))?;
    }
    let sets = rustix::thread::CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    step("capabilities", rustix::thread::set_capabilities(None, sets))?;
    // Ambient capabilities are what a program that is not root's still has after exec.
    for bit in (0..64_u32).filter(|bit| kept.bits() & (1 << bit) != 0) {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        step("ambient capabilities", rustix::thread::configure_capability_in_ambient_set(one, true))?;
    }
    Ok(())
}

/// Tries every place where the program may be, as a shell does; returns only with what went wrong.
fn run(program: &Program<'_>, command: &Command) -> Failure {
    let name = program.command.first().map_or("", String::as_str);
    let cannot = |why: &str, exit_code| Failure::CannotRun { message: format!("exec: {name:?}: {why}"), exit_code };
    let mut denied = None;
    for candidate in &command.candidates {
        let error = exec::execve(candidate, &command.args, &command.env);
        match error.raw_os_error() {
            Some(libc::ENOENT) if Path::new(OsStr::from_bytes(candidate.as_bytes())).exists() => {
                let message = "no such file or directory: the interpreter it names (its first line, or its loader) \
                               does not exist";
                return cannot(message, 127);
            }
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES | libc::EPERM) => denied = Some(candidate),
            Some(libc::ENOEXEC) => {
                let message = "exec format error: not a program for this machine, and no script with `#!` in its first \
                               line";
                return cannot(message, 126);
            }
            Some(libc::E2BIG) => {
                return cannot("argument list too long: its arguments and environment are too large together", 126);
            }
            _ => return cannot(&error.to_string(), 126),
        }
    }
    if let Some(candidate) = denied {
        let candidate = candidate.to_string_lossy();
        return cannot(&format!("permission denied: {candidate} is not executable for the container's user"), 126);
    }
    let place = if name.contains('/') { "on this node" } else { "in the directories of the container's PATH" };
    cannot(&format!("no such file or directory: there is no such program {place}"), 127)
}
