//! The process runtime with real processes. Tests of mounts, other users and limits need root and are left out without it;
//! tests of what an ordinary user gets run themselves again as one where root runs them. What the pods run is `/bin/sh`
//! and, where sockets are concerned, `program.rs`, a binary of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod adoption;
mod identity;
mod life;
mod limits;
mod logs;
mod ports;
mod unprivileged;
mod volumes;
mod world;
