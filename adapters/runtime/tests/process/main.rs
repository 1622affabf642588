//! The process runtime with real processes. Some tests need root (mounts, other users, limits); without it they say so and
//! are counted as passed only where nothing of theirs could run.
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
