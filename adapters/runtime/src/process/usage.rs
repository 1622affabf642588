//! What a container's processes have used: by its control groups where they count, else by the processes themselves.
//! Sources: the kernel's `cgroup-v1/memory`, `cgroup-v1/cpuacct`, `cgroup-v2`, and proc(5). Memory is what the kubelet
//! calls the working set: what is charged, without the files that can be dropped at once.

use super::cgroup::{Cgroups, pod_groups};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Nanoseconds of processor time, and bytes of memory.
pub(super) fn measure(cgroups: &Cgroups, pod: &str, group: &str, main: u32) -> (u64, u64) {
    let dirs: Vec<(PathBuf, bool)> =
        pod_groups(cgroups, pod).into_iter().map(|(dir, unified)| (dir.join(group), unified)).collect();
    let of_group = |read: fn(&Path, bool) -> Option<u64>| dirs.iter().find_map(|(dir, unified)| read(dir, *unified));
    let (cpu, memory) = (of_group(cpu_nanos), of_group(memory_bytes));
    if let (Some(cpu), Some(memory)) = (cpu, memory) {
        return (cpu, memory);
    }
    let members = members(&dirs, main);
    (
        cpu.unwrap_or_else(|| members.iter().filter_map(|pid| process_cpu(*pid)).sum()),
        memory.unwrap_or_else(|| members.iter().filter_map(|pid| process_memory(*pid)).sum()),
    )
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number after a word, in a file of words and numbers.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn cpu_nanos(group: &Path, unified: bool) -> Option<u64> {
    if unified {
        return field(&group.join("cpu.stat"), "usage_usec ").map(|micros| micros * 1000);
    }
    number(&group.join("cpuacct.usage"))
}

fn memory_bytes(group: &Path, unified: bool) -> Option<u64> {
    let (charged, droppable) = if unified {
        (number(&group.join("memory.current"))?, field(&group.join("memory.stat"), "inactive_file "))
    } else {
        (number(&group.join("memory.usage_in_bytes"))?, field(&group.join("memory.stat"), "total_inactive_file "))
    };
    Some(charged.saturating_sub(droppable.unwrap_or(0)))
}

/// The processes of a container: the members of a group, or the main process and all below it.
fn members(dirs: &[(PathBuf, bool)], main: u32) -> BTreeSet<u32> {
    let listed = dirs.iter().find_map(|(dir, _)| fs::read_to_string(dir.join("cgroup.procs")).ok());
    if let Some(listed) = listed {
        return listed.lines().filter_map(|line| line.parse().ok()).collect();
    }
    let mut all = BTreeSet::new();
    let mut next = vec![main];
    while let Some(pid) = next.pop() {
        if all.insert(pid) {
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
    }
    all
}

/// Time of the process and of its children that it has waited for.
fn process_cpu(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)))
}

fn process_memory(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_whitespace().skip(1).filter_map(|pages| pages.parse::<u64>().ok());
    let (resident, of_files) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(of_files) * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_is_seen_to_work() {
        let me = std::process::id();
        let began = process_cpu(me).expect("it lives");
        let mut sum = 0_u64;
        while process_cpu(me).expect("it lives") < began + 50_000_000 {
            sum = (0..100_000_u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let (cpu, memory) = measure(&Cgroups::default(), "none", "none", me);
        assert!(cpu >= 50_000_000 && memory > 100_000, "{cpu} ns, {memory} bytes");
    }

    #[test]
    fn groups_of_both_versions_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("cpuacct.usage", "7000\n");
        write("memory.usage_in_bytes", "5000\n");
        write("memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n");
        assert_eq!((cpu_nanos(dir.path(), false), memory_bytes(dir.path(), false)), (Some(7000), Some(3000)));
        write("cpu.stat", "usage_usec 9\nuser_usec 5\n");
        write("memory.current", "5000\n");
        assert_eq!((cpu_nanos(dir.path(), true), memory_bytes(dir.path(), true)), (Some(9000), Some(4999)));
        assert_eq!(cpu_nanos(&dir.path().join("none"), true), None);
    }
}
