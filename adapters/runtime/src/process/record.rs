//! The files by which agent and shim remember, and how they are written so that a crash leaves the old or the new.

use super::cgroup::Cgroups;
use super::layout;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use steersman_domain::ports::{ContainerRecord, ExitRecord, SandboxSpec};
use steersman_domain::{Str, Time};

/// `sandbox.json`: the pod, written once before its shim starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxFile {
    pub(super) spec: SandboxSpec,
    pub(super) ip: Ipv4Addr,
    pub(super) cgroups: Cgroups,
    pub(super) log_max_bytes: u64,
    pub(super) log_max_files: u32,
    /// The pod is over, and its address belongs to others.
    #[serde(default)]
    pub(super) released: bool,
}

/// `shim.json`: a process that cannot be mistaken for another one, even after a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// Clock ticks after boot, as `/proc/PID/stat` says.
    pub(super) start_time: u64,
    pub(super) boot_id: String,
}

impl ProcessId {
    /// Names a process that runs now.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(ProcessId { pid, start_time: ProcessStat::read(pid)?.start_time, boot_id: boot_id()? })
    }

    /// Whether it was started since the host was.
    pub(super) fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|now| now == self.boot_id)
    }

    /// Whether this very process still runs. A zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        self.is_of_this_boot()
            && ProcessStat::read(self.pid)
                .is_ok_and(|stat| stat.start_time == self.start_time && !matches!(stat.state, b'Z' | b'X'))
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessStat {
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) session: u32,
    pub(super) start_time: u64,
}

impl ProcessStat {
    /// Reads them for a process that exists.
    pub(super) fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected form of /proc/PID/stat"))
    }

    /// The name of the program may hold anything, so fields count from the last parenthesis.
    fn parse(text: &[u8]) -> Option<Self> {
        let after = text.iter().rposition(|b| *b == b')')? + 1;
        let fields: Vec<&str> = std::str::from_utf8(&text[after..]).ok()?.split_ascii_whitespace().collect();
        Some(ProcessStat {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// `container.json`, and what the shim answers: one start of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContainerState {
    pub(super) name: Str,
    pub(super) attempt: u32,
    pub(super) id: Str,
    pub(super) pid: u32,
    /// Of the process, in clock ticks after boot: tells it from a later one of its number.
    pub(super) start_time: u64,
    pub(super) started_at_micros: i64,
    /// Counts containers of the pod in the order of their first start.
    pub(super) order: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exit: Option<ExitRecord>,
}

impl ContainerState {
    /// The same in the words of the port.
    pub(super) fn to_record(&self) -> ContainerRecord {
        ContainerRecord {
            name: self.name.clone(),
            attempt: self.attempt,
            id: self.id.clone(),
            pid: self.exit.is_none().then_some(self.pid),
            started_at: Time::from_micros(self.started_at_micros),
            exit: self.exit.clone(),
        }
    }
}

/// The latest start of every container of a pod, as the files say, in order of first start.
pub(super) fn load_containers(pod: &Path) -> Vec<ContainerState> {
    let mut found: Vec<ContainerState> = fs::read_dir(pod.join(layout::CONTAINERS))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            layout::attempts(pod, &name).into_iter().rev().find_map(|attempt| load_container(pod, &name, attempt))
        })
        .collect();
    found.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    found
}

/// One start of a container; `None` when it never ran.
pub(super) fn load_container(pod: &Path, name: &str, attempt: u32) -> Option<ContainerState> {
    let dir = layout::attempt_dir(pod, name, attempt);
    let mut state: ContainerState = read_json(&dir.join(layout::CONTAINER)).ok()??;
    state.exit = read_json(&dir.join(layout::EXIT)).ok().flatten();
    Some(state)
}

/// Gives a container that nobody waited for a record of its end, and keeps it.
pub(super) fn record_lost(pod: &Path, state: &mut ContainerState, message: &str) -> io::Result<()> {
    let record = ExitRecord {
        exit_code: 137,
        signal: 9,
        oom_killed: false,
        started_at_micros: state.started_at_micros,
        finished_at_micros: now_micros(),
        message: message.into(),
    };
    let dir = layout::attempt_dir(pod, &state.name, state.attempt);
    write_json(&dir.join(layout::EXIT), &record, true)?;
    state.exit = Some(record);
    Ok(())
}

/// `volume.json`: where the content of a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum VolumeFile {
    /// In the volume's own directory. `files`: written by the runtime, so nobody else needs to write there.
    Own { files: bool },
    /// Somewhere else on the host.
    Host { path: std::path::PathBuf },
}

/// Now, in microseconds since the Unix epoch.
pub(super) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Reads a JSON file; `None` when there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a JSON file in one step. With `durable` it also survives a loss of power: the file and its directory are
/// flushed before this returns.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T, durable: bool) -> io::Result<()> {
    let bytes = serde_json::to_vec(value).map_err(io::Error::from)?;
    let temporary = path.with_extension("json.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if durable && let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_number() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start_time: me.start_time + 1, ..me.clone() }.is_alive());
        assert!(!ProcessId { boot_id: "another boot".into(), ..me }.is_alive());
    }

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let text = b"42 (a) b) S 7 42 43 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 1 2 3";
        let stat = ProcessStat::parse(text).unwrap();
        assert_eq!(stat, ProcessStat { state: b'S', parent: 7, session: 43, start_time: 987 });
        assert_eq!(ProcessStat::parse(b"42 (a"), None);
    }

    #[test]
    fn a_json_file_is_replaced_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        write_json(&path, &1_u32, true).unwrap();
        write_json(&path, &2_u32, false).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), Some(2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
