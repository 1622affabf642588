//! Finds every process of a container where no control group knows them: by parent and by session.

use crate::process::record::ProcessStat;
use std::collections::{BTreeMap, BTreeSet};

/// The processes that run now, by id.
pub(super) fn all() -> BTreeMap<u32, ProcessStat> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, ProcessStat::read(pid).ok()?))
        })
        .collect()
}

/// The processes that belong to `main`: itself, its session, and all that descend from either. `strays`: also children of
/// `reaper`, who takes in orphans, unless they are listed in `others` (the first processes of other containers, whose
/// sessions are left alone too). Zombies do not count.
pub(super) fn members(
    all: &BTreeMap<u32, ProcessStat>,
    main: u32,
    reaper: u32,
    others: &BTreeSet<u32>,
    strays: bool,
) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for (pid, stat) in all {
        let orphan = stat.parent == reaper && strays && !others.contains(pid) && !others.contains(&stat.session);
        if *pid == main || stat.session == main || orphan {
            found.insert(*pid);
        }
    }
    loop {
        let before = found.len();
        for (pid, stat) in all {
            if found.contains(&stat.parent) && !others.contains(pid) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    found.retain(|pid| *pid > 1 && *pid != reaper && all.get(pid).is_some_and(|s| !matches!(s.state, b'Z' | b'X')));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(parent: u32, session: u32) -> ProcessStat {
        ProcessStat { state: b'S', parent, session, start_time: 0 }
    }

    #[test]
    fn a_container_is_its_session_and_what_descends_from_it() {
        // 10 is the shim, 20 and 30 are containers, 22 left the session of 20, 23 is an orphan of an unknown one.
        let all = BTreeMap::from([
            (10, process(1, 10)),
            (20, process(10, 20)),
            (21, process(20, 20)),
            (22, process(21, 22)),
            (23, process(10, 23)),
            (24, process(10, 20)),
            (30, process(10, 30)),
            (31, process(10, 30)),
        ]);
        let others = BTreeSet::from([30]);
        assert_eq!(members(&all, 20, 10, &others, false), BTreeSet::from([20, 21, 22, 24]));
        assert_eq!(members(&all, 20, 10, &others, true), BTreeSet::from([20, 21, 22, 23, 24]));
    }

    #[test]
    fn this_very_process_is_among_all() {
        assert!(all().contains_key(&std::process::id()));
    }
}
