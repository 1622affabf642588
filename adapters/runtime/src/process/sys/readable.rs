//! Waiting for a descriptor inside tokio.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes a descriptor into tokio's care, to wait until it is readable. It must not block.
pub(in crate::process) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always has the same valid descriptor and closes it only when dropped, which `AsyncFd` does
    // after it has deregistered it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
