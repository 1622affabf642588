//! Fork and exec of a process without threads, and reading another process's memory.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;

/// The two sides of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::process) enum Fork {
    Parent { child: u32 },
    Child,
}

/// Forks the calling process, which must have one thread only; answers an error when it has more.
pub(in crate::process) fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1) != 1 {
        return Err(io::Error::other("the shim must have a single thread: call init() first in main"));
    }
    // SAFETY: there is one thread, checked above, so no lock of the allocator or of the standard library can be held by a
    // thread that the child does not have; the child may do what any process may.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        child if child > 0 => Ok(Fork::Parent { child: child.unsigned_abs() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends the process at once, without running destructors or exit handlers that belong to the parent.
pub(in crate::process) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Becomes another program. Returns only with the error.
pub(in crate::process) fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: the path is a C string, both lists end with a null pointer, and all texts outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Marks every descriptor from 3 on to be closed by exec.
pub(in crate::process) fn close_from_3_on_exec() {
    // SAFETY: only flags of descriptors change; none is closed here.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Kernels before 5.11 do not know the flag.
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        if let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).filter(|fd| *fd > 2) {
            // SAFETY: only a flag of the descriptor changes.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Closes every descriptor from 3 on: what a careless host has left open for its children. For a process that has just
/// begun and has opened nothing itself.
pub(in crate::process) fn close_from_3() {
    // SAFETY: the caller owns no descriptor yet, so none that is in use is closed.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if done != 0 {
        // A kernel before 5.9: they stay open here, and exec closes them for containers.
        close_from_3_on_exec();
    }
}

/// Enters a new mount namespace, a copy of the present one.
pub(in crate::process) fn new_mount_namespace() -> io::Result<()> {
    // SAFETY: the process has one thread and shares no memory; only its view of mounts changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Enters a new namespace in which the host has this name.
pub(in crate::process) fn new_host_name(name: &str) -> io::Result<()> {
    // SAFETY: the process has one thread; only the names of its host change, which are its own from then on.
    if unsafe { libc::unshare(libc::CLONE_NEWUTS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: pointer and length describe `name`, which the kernel only reads.
    if unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads bytes of another process's memory; answers how many came.
pub(in crate::process) fn read_memory(pid: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address as usize), iov_len: into.len() };
    // SAFETY: `local` describes a buffer that is exclusively ours for the call; `remote` is an address of the other
    // process, which the kernel checks.
    let read = unsafe { libc::process_vm_readv(pid.cast_signed(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
