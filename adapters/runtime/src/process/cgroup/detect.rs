//! Finds where control groups can be made, by trying.

use super::{Cgroups, Controller, Hierarchy};
use std::fs;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Clone, Debug, Default)]
pub(in crate::process) struct Detected {
    pub(in crate::process) cgroups: Cgroups,
    /// Controllers that cannot be used, and why.
    pub(in crate::process) missing: Vec<(Controller, String)>,
}

/// A mounted tree, and the group of this process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tree {
    mount: PathBuf,
    unified: bool,
    /// Controllers of version 1; empty for version 2, which says itself.
    controllers: Vec<Controller>,
    own: PathBuf,
}

/// Makes the group `parent` wherever it is of use, and says which resources can be limited.
pub(in crate::process) fn detect(parent: &str) -> Detected {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Detected::default();
    let mut reasons: Vec<(Controller, String)> = Vec::new();
    for tree in trees(&mounts, &own) {
        let result = if tree.unified { unified(&tree, parent) } else { separate(&tree, parent) };
        match result {
            Ok((hierarchy, problems)) => {
                reasons.extend(problems);
                found.cgroups.hierarchies.push(hierarchy);
            }
            Err(reason) => reasons.extend(tree.controllers.iter().map(|c| (*c, reason.clone()))),
        }
    }
    for controller in Controller::ALL.into_iter().filter(|c| !found.cgroups.limits(*c)) {
        let reason = reasons.iter().rev().find(|(c, _)| *c == controller).map(|(_, reason)| reason.clone());
        found.missing.push((
            controller,
            reason.unwrap_or_else(|| format!("the {controller} controller is not mounted as a control group")),
        ));
    }
    found
}

/// The trees that hold a controller of interest, and the version 2 tree last.
fn trees(mounts: &str, own: &str) -> Vec<Tree> {
    let own_in = |controller: Option<Controller>| -> PathBuf {
        own.lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                Some((parts.next()?, parts.next()?))
            })
            .find(|(names, _)| match controller {
                None => names.is_empty(),
                Some(c) => names.split(',').any(|n| n == c.name()),
            })
            .map_or_else(|| PathBuf::from("/"), |(_, path)| PathBuf::from(path))
    };
    let mut found: Vec<Tree> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let controllers: Vec<_> =
            Controller::ALL.into_iter().filter(|c| options.split(',').any(|option| option == c.name())).collect();
        let unified = kind == "cgroup2";
        if unified || (kind == "cgroup" && !controllers.is_empty()) {
            let own = own_in(controllers.first().copied().filter(|_| !unified));
            let controllers = if unified { Vec::new() } else { controllers };
            found.push(Tree { mount: PathBuf::from(mount), unified, controllers, own });
        }
    }
    found.sort_by_key(|tree| tree.unified);
    found
}

/// Groups under which the runtime's group may be made, in order of preference: the top for those who may write there; the
/// parent of our own group and our own group where a service manager has delegated them.
fn candidates(tree: &Tree) -> Vec<PathBuf> {
    let own = tree.mount.join(tree.own.strip_prefix("/").unwrap_or(&tree.own));
    let mut list = vec![tree.mount.clone()];
    list.extend(own.parent().filter(|p| p.starts_with(&tree.mount)).map(Path::to_path_buf));
    list.push(own);
    list.dedup();
    list
}

fn make(candidate: &Path, parent: &str) -> Result<PathBuf, String> {
    let root = candidate.join(parent);
    fs::create_dir_all(&root).map_err(|e| format!("{}: {e}", root.display()))?;
    // A group that another user left there is no use: groups of pods are made within it.
    rustix::fs::access(&root, rustix::fs::Access::WRITE_OK).map_err(|e| format!("{}: {e}", root.display()))?;
    Ok(root)
}

type Outcome = Result<(Hierarchy, Vec<(Controller, String)>), String>;

fn separate(tree: &Tree, parent: &str) -> Outcome {
    let mut reason = String::new();
    for candidate in candidates(tree) {
        match make(&candidate, parent) {
            Ok(root) => {
                return Ok((Hierarchy { root, unified: false, controllers: tree.controllers.clone() }, Vec::new()));
            }
            Err(error) => reason = error,
        }
    }
    Err(format!("control groups cannot be made ({reason}): run steer as root, or delegate the groups to its user"))
}

fn unified(tree: &Tree, parent: &str) -> Outcome {
    let mut best: Option<(Hierarchy, Vec<(Controller, String)>)> = None;
    let mut reason = String::new();
    for candidate in candidates(tree) {
        let root = match make(&candidate, parent) {
            Ok(root) => root,
            Err(error) => {
                reason = error;
                continue;
            }
        };
        if let Err(error) = may_join(tree, &root) {
            reason = error;
            continue;
        }
        let mut problems = Vec::new();
        let mut controllers = Vec::new();
        for controller in Controller::ALL {
            match enable(&candidate, &root, controller) {
                Ok(()) => controllers.push(controller),
                Err(problem) => problems.push((controller, problem)),
            }
        }
        let better = best.as_ref().is_none_or(|(h, _)| h.controllers.len() < controllers.len());
        if better {
            best = Some((Hierarchy { root, unified: true, controllers }, problems));
        }
        if best.as_ref().is_some_and(|(h, _)| h.controllers.len() == Controller::ALL.len()) {
            break;
        }
    }
    best.ok_or_else(|| {
        format!("control groups cannot be made ({reason}): run steer as root, or delegate a group to it")
    })
}

/// Whether processes of ours can be moved there: version 2 wants the nearest common group of both to be ours as well.
fn may_join(tree: &Tree, root: &Path) -> Result<(), String> {
    let own = tree.mount.join(tree.own.strip_prefix("/").unwrap_or(&tree.own));
    let common = root.ancestors().find(|a| own.starts_with(a)).unwrap_or(&tree.mount);
    let procs = common.join("cgroup.procs");
    rustix::fs::access(&procs, rustix::fs::Access::WRITE_OK).map_err(|error| format!("{}: {error}", procs.display()))
}

/// Makes a controller of version 2 work in the children of `root`: every group above hands it down.
fn enable(candidate: &Path, root: &Path, controller: Controller) -> Result<(), String> {
    let mut chain: Vec<&Path> = root.ancestors().take_while(|a| a.starts_with(candidate)).collect();
    chain.reverse();
    for group in chain {
        let available = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
        if !available.split_whitespace().any(|c| c == controller.name()) {
            return Err(format!(
                "the {controller} controller is not available in {}: delegate it (systemd: Delegate=yes)",
                group.display()
            ));
        }
        let control = group.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&control).unwrap_or_default();
        if !enabled.split_whitespace().any(|c| c == controller.name()) {
            fs::write(&control, format!("+{controller}")).map_err(|error| {
                format!("the {controller} controller cannot be handed down from {}: {error}", group.display())
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n";

    #[test]
    fn a_mixed_host_has_its_limits_in_version_1_and_version_2_last() {
        let found = trees(HYBRID, "4:memory:/job/7\n2:cpu,cpuacct:/\n0::/\n");
        let shown: Vec<_> =
            found.iter().map(|t| (t.mount.to_str().unwrap(), t.controllers.clone(), t.own.to_str().unwrap())).collect();
        assert_eq!(
            shown,
            [
                ("/sys/fs/cgroup/cpu,cpuacct", vec![Controller::Cpu], "/"),
                ("/sys/fs/cgroup/memory", vec![Controller::Memory], "/job/7"),
                ("/sys/fs/cgroup/unified", vec![], "/"),
            ]
        );
        let memory = candidates(&found[1]);
        let shown: Vec<_> = memory.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(shown, ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/job", "/sys/fs/cgroup/memory/job/7"]);
    }

    #[test]
    fn at_the_top_there_is_one_candidate() {
        let tree = &trees("c /cg cgroup2 rw 0 0", "0::/")[0];
        assert_eq!(candidates(tree), [PathBuf::from("/cg"), PathBuf::from("/cg/")][..1]);
    }

    #[test]
    fn controllers_of_version_2_are_handed_down_where_they_are_available() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("steersman");
        fs::create_dir(&parent).unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        for group in [dir.path(), &parent] {
            fs::write(group.join("cgroup.controllers"), "memory pids").unwrap();
            fs::write(group.join("cgroup.subtree_control"), "pids").unwrap();
        }
        let tree = Tree { mount: dir.path().into(), unified: true, controllers: vec![], own: "/".into() };
        let (hierarchy, problems) = unified(&tree, "steersman").unwrap();
        assert_eq!(hierarchy.controllers, [Controller::Memory, Controller::Pids]);
        // The kernel would add what is written; here the last writing is left.
        assert_eq!(fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap(), "+pids");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].1.contains("cpu controller is not available"), "{problems:?}");
    }

    #[test]
    fn a_delegated_group_is_taken_when_the_top_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("user/session")).unwrap();
        // A file in the way stands for a directory that may not be written: root may write everywhere.
        fs::write(dir.path().join("steersman"), "").unwrap();
        let tree = Tree {
            mount: dir.path().into(),
            unified: false,
            controllers: vec![Controller::Pids],
            own: "/user/session".into(),
        };
        let (hierarchy, _) = separate(&tree, "steersman").unwrap();
        assert_eq!(hierarchy.root, dir.path().join("user/steersman"));
        let tree = Tree { unified: true, controllers: vec![], ..tree };
        let error = unified(&tree, "steersman").unwrap_err();
        assert!(error.contains("cgroup.procs"), "nobody may move a process there: {error}");
        fs::write(dir.path().join("user/session/cgroup.procs"), "").unwrap();
        assert_eq!(unified(&tree, "steersman").unwrap().0.root, dir.path().join("user/session/steersman"));
    }
}
