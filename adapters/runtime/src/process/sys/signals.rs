//! Signals of a process without threads: as readable events in the shim, and back to the defaults in its children.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Blocks SIGCHLD and gives a descriptor that is readable when a child has changed; drain it with [`drain`]. Other signals
/// that would end the process from outside are ignored, so that stopping the agent's service does not stop its pods.
pub(in crate::process) fn child_events() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given, and every later use of the set comes after it. The handlers
    // that are installed are constants, so no code of ours runs in signal context.
    unsafe {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Reads away what a descriptor of [`child_events`] holds.
pub(in crate::process) fn drain(fd: &OwnedFd) {
    let mut buffer = [0_u8; 16 * size_of::<libc::signalfd_siginfo>()];
    while rustix::io::read(fd, &mut buffer).is_ok_and(|n| n > 0) {}
}

/// Every signal to its default action, and none blocked: what a program expects to start with.
pub(in crate::process) fn reset() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // The kernel's `struct sigaction` of all zeros: the default action, no flags, no mask. It is at most this long.
    let default = [0_u64; 16];
    // SAFETY: `sigemptyset` initialises the set before it is read. The kernel is asked directly, because the C library
    // keeps two signals to itself that a careless host may have left ignored; it reads the record and nothing more.
    // Signals that cannot be changed answer with an error, which is right to ignore.
    unsafe {
        for signal in 1..=64_i32 {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8_usize);
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}
