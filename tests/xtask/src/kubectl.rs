//! The kubectls that the end-to-end tests drive: Debian's (1.20), fetched once, and the machine's own if it has one.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{capture, run};
use crate::tools::tools_dir;

/// Debian's package with kubectl 1.20, the oldest client that is promised to work.
const PACKAGE: &str = "kubernetes-client";

/// Every kubectl to test with, Debian's first, each a path to an executable that answered `version --client`.
///
/// # Errors
/// When Debian's cannot be had: a run without it would pass without having tested what it says.
pub(crate) fn kubectls() -> Result<Vec<PathBuf>> {
    let debian = debian_kubectl().with_context(|| {
        format!(
            "kubectl 1.20 cannot be had; put Debian's package `{PACKAGE}` where `apt-get download` finds it, \
             or run one test alone with `cargo test -p CRATE NAME`"
        )
    })?;
    let mut found = vec![debian];
    if let Some(own) = on_path("kubectl", std::env::var_os("PATH").as_deref()) {
        version(&own)?;
        found.push(own);
    }
    Ok(found)
}

/// The version a kubectl gives itself, such as `v1.20.2`.
///
/// # Errors
/// When the program does not run or answers without a version.
pub(crate) fn version(kubectl: &Path) -> Result<String> {
    let answer = capture(Command::new(kubectl).args(["version", "--client", "--output", "json"]).stdin(Stdio::null()))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).context("kubectl's version is not JSON")?;
    let version = answer.pointer("/clientVersion/gitVersion").and_then(|version| version.as_str());
    version.map(str::to_owned).with_context(|| format!("{} names no version", kubectl.display()))
}

/// The first executable file of that name in the folders of `path`.
pub(crate) fn on_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    std::env::split_paths(path?)
        .map(|dir| dir.join(name))
        .find(|file| std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
}

/// Debian's kubectl under `target/tools`, fetched if it is not there whole.
fn debian_kubectl() -> Result<PathBuf> {
    let dir = tools_dir()?.join(PACKAGE);
    let kubectl = dir.join("usr/bin/kubectl");
    if is_whole(&dir) {
        return Ok(kubectl);
    }
    println!("-- fetching Debian's {PACKAGE} once into {}", dir.display());
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let package = download(PACKAGE, &dir)?;
    run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&dir))?;
    std::fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))?;
    version(&kubectl)?;
    // Written last: a fetch that was broken off has no sums, and is done again.
    let sums = capture(Command::new("sha256sum").arg("usr/bin/kubectl").current_dir(&dir))?;
    std::fs::write(dir.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")?;
    Ok(kubectl)
}

/// Whether what was unpacked here is still what was unpacked here.
fn is_whole(dir: &Path) -> bool {
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--status", "SHA256SUMS"]).current_dir(dir).stderr(Stdio::null());
    dir.join("SHA256SUMS").is_file() && check.status().is_ok_and(|status| status.success())
}

/// Options with which apt knows the package, its lists brought up to date if need be.
pub(crate) fn apt_options(package: &str) -> Result<Vec<OsString>> {
    let mut options: Vec<OsString> = Vec::new();
    if !has_candidate(&options, package)? {
        if !is_root()? {
            options = private_state()?;
        }
        if !has_candidate(&options, package)? {
            run(Command::new("apt-get").args(&options).args(["--quiet", "update"]).stdin(Stdio::null()))?;
        }
    }
    Ok(options)
}

/// Downloads the package into `dir` and returns its file. apt checks it against Debian's signed lists.
pub(crate) fn download(package: &str, dir: &Path) -> Result<PathBuf> {
    let options = apt_options(package)?;
    let mut get = Command::new("apt-get");
    run(get.args(&options).args(["--quiet", "download", package]).current_dir(dir).stdin(Stdio::null()))?;
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            packages.push(path);
        }
    }
    match packages.as_slice() {
        [package] => Ok(package.clone()),
        others => bail!("apt-get download left {} packages in {}, not one", others.len(), dir.display()),
    }
}

/// Whether apt knows a version of the package that it could download.
fn has_candidate(options: &[OsString], package: &str) -> Result<bool> {
    let mut policy = Command::new("apt-cache");
    let answer = capture(policy.args(options).args(["policy", package]).env("LC_ALL", "C").stdin(Stdio::null()))?;
    Ok(candidate(&answer))
}

/// Reads `apt-cache policy`: silent for an unknown package, `(none)` for one that only others mention.
fn candidate(policy: &str) -> bool {
    policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate:")).any(|version| version.trim() != "(none)")
}

/// Options for an apt that keeps its lists and cache in `target/tools`: only root may write the machine's own.
fn private_state() -> Result<Vec<OsString>> {
    let state = tools_dir()?.join("apt");
    for dir in ["state/lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(state.join(dir)).with_context(|| format!("cannot make {}/{dir}", state.display()))?;
    }
    let set = |key: &str, dir: &str| {
        let mut option = OsString::from(format!("{key}="));
        option.push(state.join(dir));
        option
    };
    Ok(vec![
        "-o".into(),
        set("Dir::State", "state"),
        "-o".into(),
        set("Dir::Cache", "cache"),
        "-o".into(),
        "Dir::State::status=/var/lib/dpkg/status".into(),
    ])
}

/// Whether this task runs as root.
///
/// # Errors
/// When `id` does not run.
pub(crate) fn is_root() -> Result<bool> {
    Ok(capture(Command::new("id").arg("-u"))?.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_a_version_and_not_none() {
        assert!(candidate("kubernetes-client:\n  Installed: (none)\n  Candidate: 1.20.5+really1.20.2-1.1\n"));
        assert!(!candidate("kubernetes-client:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!candidate(""));
    }

    #[test]
    fn the_first_executable_of_the_path_is_found() {
        let path = OsString::from("/nonexistent:/proc:/bin:/usr/bin");
        let found = on_path("sh", Some(&path)).expect("every machine has sh");
        assert!(found.ends_with("sh") && found.is_file());
        assert_eq!(on_path("sh", None), None);
        assert_eq!(on_path("version", Some(OsStr::new("/proc"))), None, "a file that may not be run");
    }

    #[test]
    fn a_folder_without_sums_or_with_a_changed_file_is_not_whole() {
        let dir = std::env::temp_dir().join(format!("steersman-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("dir");
        assert!(!is_whole(&dir), "no sums");
        std::fs::write(dir.join("tool"), "one").expect("write");
        let sums = capture(Command::new("sha256sum").arg("tool").current_dir(&dir)).expect("sums");
        std::fs::write(dir.join("SHA256SUMS"), sums).expect("write");
        assert!(is_whole(&dir));
        std::fs::write(dir.join("tool"), "two").expect("write");
        assert!(!is_whole(&dir), "changed");
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
