//! System calls for which no safe interface exists. Everything `unsafe` of the crate is below here.

pub(super) mod exec;
pub(super) mod readable;
pub(super) mod seccomp;
pub(super) mod signals;
