//! Seccomp user notification: a filter that hands `bind` and `listen` to a supervisor, and the supervisor's three calls.
#![allow(unsafe_code)]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const AUDIT_ARCH: u32 = 0;

/// System calls of the x32 form of x86_64 have this bit.
const X32_BIT: u32 = 0x4000_0000;

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::process) struct Notification {
    pub(in crate::process) id: u64,
    /// The thread that calls.
    pub(in crate::process) thread: u32,
    pub(in crate::process) call: Call,
    pub(in crate::process) args: [u64; 6],
}

/// Which system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::process) enum Call {
    Bind,
    Listen,
    Other,
}

/// What the supervisor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::process) enum Answer {
    /// The kernel performs the call as it was made.
    Continue,
    /// The call has been done in its place.
    Done,
    /// The call fails with this error number.
    Errno(i32),
}

/// Installs the filter in the calling process and all it will start; answers the descriptor on which calls are notified.
/// Needs no_new_privs or CAP_SYS_ADMIN. Calls of another architecture (32-bit programs) pass unseen.
pub(in crate::process) fn install() -> io::Result<OwnedFd> {
    if AUDIT_ARCH == 0 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "not known for this processor architecture"));
    }
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | code | libc::BPF_K) as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    // `struct seccomp_data` begins with the call's number, then the architecture, both 32 bits.
    let mut program = [
        statement(load, 4),
        jump(libc::BPF_JEQ, AUDIT_ARCH, 0, 4),
        statement(load, 0),
        jump(libc::BPF_JGE, X32_BIT, 2, 0),
        jump(libc::BPF_JEQ, libc::SYS_bind as u32, 2, 0),
        jump(libc::BPF_JEQ, libc::SYS_listen as u32, 1, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let set = |flags: libc::c_ulong| {
        // SAFETY: the program outlives the call, which copies it; the descriptor that comes back is new and ours.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) }
    };
    // A caller that waits can be interrupted by a signal and would then bind twice; the second flag (Linux 5.19) lets only
    // a deadly signal through once the call has been received.
    let mut fd = set(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        fd = set(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    }
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel may know larger forms of these records than this program; then it would write past them.
#[repr(C)]
struct Padded<T> {
    record: T,
    reserve: [u64; 32],
}

/// Whether the kernel's records fit the space that is kept for them.
pub(in crate::process) fn sizes_fit() -> io::Result<bool> {
    // SAFETY: the record is plain numbers, for which zero is a value, and the kernel fills it.
    unsafe {
        let mut sizes: libc::seccomp_notif_sizes = zeroed();
        if libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(usize::from(sizes.seccomp_notif) <= size_of::<Padded<libc::seccomp_notif>>()
            && usize::from(sizes.seccomp_notif_resp) <= size_of::<Padded<libc::seccomp_notif_resp>>())
    }
}

/// Takes the next notification. Call when the descriptor is readable; `NotFound` when the caller died meanwhile.
pub(in crate::process) fn receive(fd: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: the record is plain numbers and must be zero when given to the kernel, which fills it; the reserve behind
    // it holds what a newer kernel may add.
    let record = unsafe {
        let mut padded: Padded<libc::seccomp_notif> = zeroed();
        if libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut padded) != 0 {
            return Err(io::Error::last_os_error());
        }
        padded.record
    };
    let call = match libc::c_long::from(record.data.nr) {
        libc::SYS_bind => Call::Bind,
        libc::SYS_listen => Call::Listen,
        _ => Call::Other,
    };
    Ok(Notification { id: record.id, thread: record.pid, call, args: record.data.args })
}

/// Whether the call still waits, so that the thread named in it is still the one that called.
pub(in crate::process) fn still_waits(fd: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the call reads one number.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Lets the caller go on.
pub(in crate::process) fn answer(fd: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    // SAFETY: the record is plain numbers; the kernel reads as many bytes of it as it knows, all of which are there.
    unsafe {
        let mut padded: Padded<libc::seccomp_notif_resp> = zeroed();
        padded.record.id = id;
        match answer {
            Answer::Continue => padded.record.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Answer::Done => {}
            Answer::Errno(number) => padded.record.error = -number,
        }
        if libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut padded) == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
