//! What a process runtime needs to know to open.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// How to open a [`super::ProcessRuntime`].
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Where pods live: their records, logs and volumes. Made with mode 0700. One runtime at a time uses a directory.
    pub data_dir: PathBuf,
    /// The /24 of loopback addresses this node gives to its pods; the last octet is ignored (`127.72.3.0`).
    pub pod_subnet: Ipv4Addr,
    /// The program that becomes the shim, with its first arguments: `["/usr/bin/steer", "__shim"]`. It must call
    /// [`super::shim_main`] with the arguments that follow, before it starts any thread.
    pub shim: Vec<OsString>,
    /// Put first into the `PATH` of containers that bring none; normally the directory of `steer`.
    pub path_prefix: Option<PathBuf>,
    /// The name of the control group under which the groups of pods are made; may have several parts (`steersman/node-0`).
    pub cgroup_parent: String,
    /// The size at which a log file is closed and the next begins, in bytes.
    pub log_max_bytes: u64,
    /// How many log files of one start of a container are kept.
    pub log_max_files: u32,
}

impl ProcessConfig {
    /// A configuration with the usual limits: logs of 5 files of 10 MiB, control groups under `steersman`.
    pub fn new(data_dir: PathBuf, pod_subnet: Ipv4Addr, shim: Vec<OsString>) -> Self {
        let path_prefix = shim
            .first()
            .and_then(|program| PathBuf::from(program).parent().map(PathBuf::from))
            .filter(|d| d.is_absolute());
        ProcessConfig {
            data_dir,
            pod_subnet,
            shim,
            path_prefix,
            cgroup_parent: "steersman".to_owned(),
            log_max_bytes: 10 * 1024 * 1024,
            log_max_files: 5,
        }
    }
}

/// Why a runtime could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A part of the configuration cannot work.
    #[error("process runtime: {0}")]
    Invalid(String),
    /// The data directory cannot be used.
    #[error("process runtime: {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// This system has no process runtime.
    #[error("process runtime: {0}")]
    Unsupported(&'static str),
}
