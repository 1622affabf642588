//! The groups of one container, in every tree of the host.

use super::{Cgroups, Controller, Hierarchy};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use steersman_domain::ports::Limits;

/// The period over which cpu quotas count, in microseconds: the kernel's own default.
const CPU_PERIOD_US: i64 = 100_000;

/// The groups of one container.
#[derive(Debug)]
pub(in crate::process) struct Group {
    /// With whether the tree is of version 2.
    dirs: Vec<(PathBuf, bool)>,
    memory: Option<PathBuf>,
}

impl Group {
    /// Makes the groups of a container and writes its limits. A tree of version 1 is used only where it has a limit to
    /// keep, for joining it costs time; a tree of version 2 always, for it can kill. Limits without a controller are left
    /// out: the node says so.
    pub(in crate::process) fn create(cgroups: &Cgroups, pod: &str, name: &str, limits: &Limits) -> io::Result<Self> {
        let mut group = Group { dirs: Vec::new(), memory: None };
        for hierarchy in &cgroups.hierarchies {
            let wanted: Vec<(Controller, Setting)> = hierarchy
                .controllers
                .iter()
                .flat_map(|c| settings(*c, hierarchy.unified, limits).into_iter().map(|s| (*c, s)))
                .collect();
            if !hierarchy.unified && wanted.is_empty() {
                continue;
            }
            if let Err(error) = group.add(hierarchy, pod, name, &wanted) {
                group.remove();
                return Err(error);
            }
        }
        Ok(group)
    }

    fn add(
        &mut self,
        hierarchy: &Hierarchy,
        pod: &str,
        name: &str,
        wanted: &[(Controller, Setting)],
    ) -> io::Result<()> {
        let of_pod = pod_group(hierarchy, pod);
        let dir = of_pod.join(name);
        let named =
            |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        fs::create_dir_all(&dir).map_err(|e| named(&dir, e))?;
        self.dirs.push((dir.clone(), hierarchy.unified));
        if hierarchy.unified {
            for controller in &hierarchy.controllers {
                let control = of_pod.join("cgroup.subtree_control");
                fs::write(&control, format!("+{controller}")).map_err(|e| named(&control, e))?;
            }
        }
        if hierarchy.controllers.contains(&Controller::Memory) {
            self.memory = Some(dir.clone());
        }
        for (_, setting) in wanted {
            let path = dir.join(setting.file);
            match fs::write(&path, &setting.value) {
                Ok(()) => {}
                Err(_) if setting.optional => {}
                Err(error) => return Err(named(&path, error)),
            }
        }
        Ok(())
    }

    /// The files by which a process joins: it writes `0` to each.
    pub(in crate::process) fn joins(&self) -> io::Result<Vec<File>> {
        self.dirs.iter().map(|(dir, _)| OpenOptions::new().write(true).open(dir.join("cgroup.procs"))).collect()
    }

    /// Whether every process of the container is a member of some group, so that `kill` and `is_empty` are exact.
    pub(in crate::process) fn tracks(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// Sends SIGKILL to every member.
    pub(in crate::process) fn kill(&self) {
        let at_once = self.dirs.iter().any(|(dir, v2)| *v2 && fs::write(dir.join("cgroup.kill"), "1").is_ok());
        if !at_once {
            for member in self.members() {
                kill_process(member);
            }
        }
    }

    /// Whether nothing runs in it any more.
    pub(in crate::process) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    fn members(&self) -> Vec<u32> {
        // Every tree has the same members; one is enough, and version 2 is the one that is always there where it exists.
        let Some((dir, _)) = self.dirs.iter().find(|(_, v2)| *v2).or_else(|| self.dirs.first()) else {
            return Vec::new();
        };
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
    }

    /// How often the kernel has killed a member for the memory limit.
    pub(in crate::process) fn oom_kills(&self) -> u64 {
        let Some(dir) = &self.memory else { return 0 };
        ["memory.events", "memory.oom_control"]
            .iter()
            .filter_map(|file| fs::read_to_string(dir.join(file)).ok())
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
            .sum()
    }

    /// Removes the groups; true when none is left.
    pub(in crate::process) fn remove(&self) -> bool {
        // Every one is tried, also after one that failed.
        self.dirs.iter().filter(|(dir, _)| !remove_dir(dir)).count() == 0
    }
}

/// The groups of a pod, one in each tree.
pub(in crate::process) fn pod_groups(cgroups: &Cgroups, pod: &str) -> Vec<(PathBuf, bool)> {
    cgroups.hierarchies.iter().map(|h| (pod_group(h, pod), h.unified)).collect()
}

/// Kills what is left in the groups of a pod and removes them; true when none is left.
pub(in crate::process) fn remove_groups(cgroups: &Cgroups, pod: &str) -> bool {
    let mut all = true;
    for (dir, _) in pod_groups(cgroups, pod) {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if fs::write(path.join("cgroup.kill"), "1").is_err() {
                    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
                    text.lines().filter_map(|l| l.parse().ok()).for_each(kill_process);
                }
                all &= remove_dir(&path);
            }
        }
        all &= remove_dir(&dir);
    }
    all
}

fn pod_group(hierarchy: &Hierarchy, pod: &str) -> PathBuf {
    hierarchy.root.join(format!("pod-{pod}"))
}

/// Removes a group and those that a privileged container may have made in it.
fn remove_dir(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_dir(&entry.path());
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn kill_process(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()).filter(|p| p.as_raw_pid() > 1) {
        // One that is gone already is as good.
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// One file of a group and what to write into it.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    file: &'static str,
    value: String,
    /// Not every kernel has it.
    optional: bool,
}

/// The files that hold the limits of one controller. Shares and weights are computed as Kubernetes does.
fn settings(controller: Controller, unified: bool, limits: &Limits) -> Vec<Setting> {
    let must = |file: &'static str, value: String| Setting { file, value, optional: false };
    let may = |file: &'static str, value: String| Setting { file, value, optional: true };
    let mut list = Vec::new();
    match controller {
        Controller::Cpu => {
            let shares = limits.cpu_request_milli.saturating_mul(1024).saturating_div(1000).clamp(2, 262_144);
            if limits.cpu_request_milli > 0 && unified {
                list.push(must("cpu.weight", (1 + (shares - 2) * 9999 / 262_142).to_string()));
            } else if limits.cpu_request_milli > 0 {
                list.push(must("cpu.shares", shares.to_string()));
            }
            // The kernel takes no quota under 1 ms.
            let quota = limits.cpu_limit_milli.saturating_mul(CPU_PERIOD_US / 1000).max(1000);
            if limits.cpu_limit_milli > 0 && unified {
                list.push(must("cpu.max", format!("{quota} {CPU_PERIOD_US}")));
            } else if limits.cpu_limit_milli > 0 {
                list.push(must("cpu.cfs_period_us", CPU_PERIOD_US.to_string()));
                list.push(must("cpu.cfs_quota_us", quota.to_string()));
            }
        }
        Controller::Memory if limits.memory_limit_bytes > 0 => {
            let bytes = limits.memory_limit_bytes.to_string();
            if unified {
                list.push(must("memory.max", bytes));
                list.push(may("memory.swap.max", "0".to_owned()));
                list.push(may("memory.oom.group", "1".to_owned()));
            } else {
                list.push(must("memory.limit_in_bytes", bytes.clone()));
                list.push(may("memory.memsw.limit_in_bytes", bytes));
            }
        }
        Controller::Pids if limits.pids_limit > 0 => list.push(must("pids.max", limits.pids_limit.to_string())),
        Controller::Memory | Controller::Pids => {}
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { cpu_request_milli: 500, cpu_limit_milli: 1500, memory_limit_bytes: 1 << 20, pids_limit: 7 };

    fn shown(controller: Controller, unified: bool) -> Vec<(&'static str, String)> {
        settings(controller, unified, &LIMITS).into_iter().map(|s| (s.file, s.value)).collect()
    }

    #[test]
    fn limits_are_written_in_the_words_of_each_version() {
        assert_eq!(
            shown(Controller::Cpu, false),
            [
                ("cpu.shares", "512".into()),
                ("cpu.cfs_period_us", "100000".into()),
                ("cpu.cfs_quota_us", "150000".to_owned())
            ]
        );
        assert_eq!(
            shown(Controller::Cpu, true),
            [("cpu.weight", "20".to_owned()), ("cpu.max", "150000 100000".to_owned())]
        );
        assert_eq!(shown(Controller::Memory, false)[0], ("memory.limit_in_bytes", "1048576".to_owned()));
        assert_eq!(shown(Controller::Memory, true)[0], ("memory.max", "1048576".to_owned()));
        assert_eq!(shown(Controller::Pids, true), [("pids.max", "7".to_owned())]);
        assert!(Controller::ALL.iter().all(|c| settings(*c, false, &Limits::default()).is_empty()));
    }

    #[test]
    fn members_are_killed_one_by_one_where_the_kernel_cannot_kill_a_group() {
        let parent = format!("steersman-unit-{}", std::process::id());
        let mut cgroups = super::super::detect(&parent).cgroups;
        cgroups.hierarchies.retain(|h| !h.unified && h.controllers.contains(&Controller::Pids));
        let Some(root) = cgroups.hierarchies.first().map(|h| h.root.clone()) else { return };
        let limits = Limits { pids_limit: 9, ..Limits::default() };
        let group = Group::create(&cgroups, "u", "app-0", &limits).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for mut join in group.joins().unwrap() {
            std::io::Write::write_all(&mut join, child.id().to_string().as_bytes()).unwrap();
        }
        assert!(group.tracks() && !group.is_empty());
        assert_eq!(fs::read_to_string(root.join("pod-u/app-0/pids.max")).unwrap().trim(), "9");
        group.kill();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(group.is_empty() && group.remove() && remove_groups(&cgroups, "u"));
        for hierarchy in super::super::detect(&parent).cgroups.hierarchies {
            fs::remove_dir(hierarchy.root).unwrap();
        }
    }

    #[test]
    fn groups_are_made_only_where_they_have_something_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let tree = |name: &str, unified, controllers| Hierarchy { root: dir.path().join(name), unified, controllers };
        let cgroups = Cgroups {
            hierarchies: vec![
                tree("cpu", false, vec![Controller::Cpu]),
                tree("memory", false, vec![Controller::Memory]),
                tree("unified", true, vec![]),
            ],
        };
        let limits = Limits { memory_limit_bytes: 4096, ..Limits::default() };
        let group = Group::create(&cgroups, "u1", "app-0", &limits).unwrap();
        assert!(!dir.path().join("cpu").exists());
        assert_eq!(fs::read_to_string(dir.path().join("memory/pod-u1/app-0/memory.limit_in_bytes")).unwrap(), "4096");
        assert!(dir.path().join("unified/pod-u1/app-0").exists());
        fs::write(dir.path().join("memory/pod-u1/app-0/memory.oom_control"), "under_oom 0\noom_kill 3\n").unwrap();
        assert_eq!(group.oom_kills(), 3);
        fs::write(dir.path().join("unified/pod-u1/app-0/cgroup.procs"), "12\n0\n34\n").unwrap();
        assert_eq!(group.members(), [12, 34]);
    }
}
