//! The shim: one small process for each pod, which outlives the agent.
//!
//! It has a single thread, so that it may fork and prepare children with ordinary code, and waits in one `poll` for
//! everything: its socket, its children, their output, and the binds they make.

mod binds;
mod commands;
mod connection;
mod containers;
mod launch;
mod log_writer;
mod mounts;
mod probe;
mod server;
mod tree;

use crate::process::claim;
use crate::process::layout;
use crate::process::record::{self, ProcessId};
use crate::process::sys::exec;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The first argument by which a host program becomes the shim.
const ARGUMENT: &str = "__shim";

/// Becomes the shim when the program was started as one (its first argument is `__shim`), and does not return then. Call it
/// first in `main`, before any thread is started.
pub fn init() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == ARGUMENT) {
        let code = shim_main(args.collect());
        exec::exit_now(i32::from(code != ExitCode::SUCCESS));
    }
}

/// Runs the shim. `args`: what the runtime added after [`super::ProcessConfig::shim`]: `run DIRECTORY` or `probe`.
/// The program must have one thread. Returns in the process that was started, once the shim itself runs detached from it.
pub fn shim_main(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let result = match (args.next().as_ref().and_then(|a| a.to_str()), args.next()) {
        (Some("run"), Some(dir)) => detach(Path::new(&dir)),
        (Some("probe"), None) => probe::run(),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the shim is started by steer itself")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _no_reader = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Forks the shim away and waits until it answers on its socket.
fn detach(dir: &Path) -> io::Result<()> {
    exec::close_from_3();
    let dir = fs::canonicalize(dir)?;
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match exec::fork()? {
        exec::Fork::Parent { .. } => {
            drop(tell);
            let mut text = String::new();
            fs::File::from(ready).read_to_string(&mut text)?;
            match text.as_str() {
                "ready" => Ok(()),
                "" => Err(io::Error::other("the shim ended before it was ready")),
                error => Err(io::Error::other(error.to_owned())),
            }
        }
        exec::Fork::Child => {
            drop(ready);
            let mut tell = fs::File::from(tell);
            let code = match become_shim(&dir) {
                Ok(mut shim) => {
                    let told = tell.write_all(b"ready");
                    drop(tell);
                    i32::from(told.and_then(|()| shim.run()).is_err())
                }
                Err(error) => {
                    let _parent_gone = write!(tell, "{error}");
                    1
                }
            };
            exec::exit_now(code)
        }
    }
}

fn become_shim(dir: &Path) -> io::Result<server::Shim> {
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    // The name in process lists; the arguments still say the rest.
    rustix::thread::set_name(c"steer-shim")?;
    // The directory is also how the socket gets a path short enough for its address.
    std::env::set_current_dir(dir)?;
    let log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(layout::SHIM_LOG)?;
    let null = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(layout::LOCK)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another shim serves this pod already"))?;
    let sandbox: record::SandboxFile = record::read_json(Path::new(layout::SANDBOX))?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{} has no {}", dir.display(), layout::SANDBOX))
    })?;
    match fs::remove_file(layout::SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(layout::SOCKET)?;
    fs::set_permissions(layout::SOCKET, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let address = claim::claim(sandbox.ip)?;
    let shim = server::Shim::new(PathBuf::from(dir), sandbox, listener, [lock.into(), address.into()])?;
    record::write_json(Path::new(layout::SHIM), &ProcessId::of(std::process::id())?, false)?;
    Ok(shim)
}
