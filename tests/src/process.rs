//! Finding processes in `/proc` and signalling them by number.
//!
//! Signals go only to numbers that a caller found or started, never to a name.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

/// Sends a signal to one process; whether there was one to send it to.
#[must_use]
pub fn signal(pid: u32, signal: Signal) -> bool {
    number(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Sends a signal to the process group that `leader` began; whether there was one to send it to.
#[must_use]
pub fn signal_group(leader: u32, signal: Signal) -> bool {
    number(leader).is_some_and(|pid| kill_process_group(pid, signal).is_ok())
}

/// Whether a process runs: it exists and is not a zombie.
#[must_use]
pub fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Running processes whose words (`argv`) satisfy `wanted`, in order of their numbers.
#[must_use]
pub fn with_words(wanted: impl Fn(&[String]) -> bool) -> Vec<u32> {
    all().into_iter().filter(|pid| runs(*pid) && wanted(&words(*pid))).collect()
}

/// The words a process was started with; empty when it is gone.
#[must_use]
pub fn words(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Processes that have to do with a folder (they name it, stand in it, or hold a file in it open), and all that those
/// started. This is how the shims and the pods of a crashed `steer` are found: they share nothing else.
#[must_use]
pub fn around(dir: &Path) -> Vec<u32> {
    let own = std::process::id();
    let all = all();
    let mut found: BTreeSet<u32> = all.iter().copied().filter(|pid| *pid != own && touches(*pid, dir)).collect();
    loop {
        let before = found.len();
        for pid in &all {
            if *pid != own && stat(*pid).is_some_and(|stat| found.contains(&stat.parent)) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found.into_iter().filter(|pid| runs(*pid)).collect();
        }
    }
}

/// Whether a process names the folder, stands in it, or holds a file in it open.
fn touches(pid: u32, dir: &Path) -> bool {
    let needle = dir.as_os_str().as_bytes();
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if needle.is_empty() {
        return false;
    }
    if line.windows(needle.len()).any(|window| window == needle) {
        return true;
    }
    let link = |path: &Path| std::fs::read_link(path).is_ok_and(|target| target.starts_with(dir));
    if link(Path::new(&format!("/proc/{pid}/cwd"))) {
        return true;
    }
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| link(&descriptor.path()))
}

/// What `/proc/PID/stat` says, as far as it is used here.
struct Stat {
    state: char,
    parent: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, also parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some(Stat { state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
}

fn all() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

fn number(pid: u32) -> Option<Pid> {
    // 0 and 1 would mean "my own group" and init.
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::wait::until;

    const SOON: Duration = Duration::from_secs(10);

    fn sleeper(seconds: &str) -> Child {
        Command::new("sleep").arg(seconds).process_group(0).stdin(Stdio::null()).spawn().expect("sleep starts")
    }

    #[test]
    fn a_process_is_found_by_its_words_and_killed_by_its_number() {
        let mut child = sleeper("98765.25");
        let find = || with_words(|words| words.iter().any(|word| word == "98765.25"));
        until(SOON, "the sleeper is found", || find() == [child.id()], || format!("{:?}", find()));
        assert!(runs(child.id()));
        assert!(signal(child.id(), Signal::KILL));
        until(SOON, "it no longer runs, though nobody waited", || !runs(child.id()), String::new);
        assert_eq!(find(), Vec::<u32>::new());
        child.wait().expect("wait");
    }

    #[test]
    fn whoever_has_to_do_with_a_folder_is_found_with_children() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut shell = Command::new("sh")
            .args(["-c", "cd / && sleep 98766.25 & wait"])
            .current_dir(dir.path())
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .expect("sh starts");
        until(SOON, "both are found", || around(dir.path()).len() == 2, || format!("{:?}", around(dir.path())));
        let found = around(dir.path());
        assert!(found.contains(&shell.id()) && !found.contains(&std::process::id()), "{found:?}");
        assert!(signal_group(shell.id(), Signal::KILL));
        shell.wait().expect("wait");
        until(SOON, "both are gone", || around(dir.path()).is_empty(), || format!("{:?}", around(dir.path())));
    }

    #[test]
    fn an_open_file_gives_a_process_away() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = std::fs::File::create(dir.path().join("log")).expect("file");
        let mut child =
            Command::new("sleep").arg("98767.25").stdin(Stdio::null()).stdout(file).spawn().expect("sleep starts");
        until(SOON, "it is found", || around(dir.path()) == [child.id()], || format!("{:?}", around(dir.path())));
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    #[test]
    fn nobody_is_signalled_by_mistake() {
        assert!(!signal(0, Signal::KILL) && !signal(1, Signal::KILL) && !signal(u32::MAX, Signal::KILL));
        assert!(!signal_group(0, Signal::KILL) && !signal_group(1, Signal::KILL));
        assert!(!runs(u32::MAX));
        assert_eq!(words(u32::MAX), Vec::<String>::new());
    }
}
