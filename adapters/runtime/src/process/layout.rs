//! Where the files of a pod are. Both the agent and the shim use these names.
//!
//! ```text
//! DATA/next-address                      the last octet that was given out
//! DATA/pods/UID/sandbox.json             what the pod is, and its address
//! DATA/pods/UID/shim.json                which process the shim is
//! DATA/pods/UID/shim.sock, shim.lock, shim.log
//! DATA/pods/UID/containers/NAME/ATTEMPT/ container.json, exit.json, 0.log, 1.log …
//! DATA/pods/UID/volumes/NAME/data        the volume as containers see it; `volume.json` beside it
//! DATA/pods/UID/work/NAME                the working directory of a container that names none
//! DATA/pods/UID/mnt                      an empty directory on which mounts are prepared
//! ```

use std::path::{Path, PathBuf};

pub(super) const SANDBOX: &str = "sandbox.json";
pub(super) const SHIM: &str = "shim.json";
pub(super) const SOCKET: &str = "shim.sock";
pub(super) const LOCK: &str = "shim.lock";
pub(super) const SHIM_LOG: &str = "shim.log";
pub(super) const CONTAINERS: &str = "containers";
pub(super) const CONTAINER: &str = "container.json";
pub(super) const EXIT: &str = "exit.json";
pub(super) const VOLUMES: &str = "volumes";
pub(super) const VOLUME: &str = "volume.json";
pub(super) const VOLUME_DATA: &str = "data";
pub(super) const LINKS: &str = "links.json";
pub(super) const WORK: &str = "work";
pub(super) const MNT: &str = "mnt";

/// The directory of one start of a container, below the directory of its pod.
pub(super) fn attempt_dir(pod: &Path, container: &str, attempt: u32) -> PathBuf {
    pod.join(CONTAINERS).join(container).join(attempt.to_string())
}

/// Whether a text may be one part of a path here: letters, digits, `-`, `_` and `.`, not starting with a dot.
pub(super) fn is_safe_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The attempts of a container that have a directory, in order.
pub(super) fn attempts(pod: &Path, container: &str) -> Vec<u32> {
    let mut found: Vec<u32> = std::fs::read_dir(pod.join(CONTAINERS).join(container))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_directory_are_not_safe() {
        assert!(is_safe_name("3f0c-a.b_c"));
        for bad in ["", ".", "..", "a/b", "a b", ".hidden", "a\0"] {
            assert!(!is_safe_name(bad), "{bad:?}");
        }
    }
}
