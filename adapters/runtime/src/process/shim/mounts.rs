//! The container's own view of files: a private mount namespace with its volumes in place.
//!
//! Runs in the child, as root, before it becomes the container's user. The host's mounts stay as they are: what is made
//! here is seen by the container alone. A mount point that the host lacks is made without touching the host: its nearest
//! existing directory is replaced, in this namespace, by a small tmpfs that shows every entry of the original and the
//! missing one besides.

use crate::process::sys::exec;
use crate::process::wire::{Failure, MountPoint};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use std::fmt::Display;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// How many entries of a directory are shown again at most when a mount point has to be added to it. `/` and `/etc` of
/// usual hosts have under 300.
const MAX_ENTRIES: usize = 1024;

/// Enters a new namespace and mounts everything.
pub(super) fn build(mounts: &[MountPoint], read_only_root: bool, scratch: &Path) -> Result<(), Failure> {
    at("a private mount namespace", exec::new_mount_namespace())?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    at("mount propagation", rustix::mount::mount_change("/", slave))?;
    let mut ordered: Vec<&MountPoint> = mounts.iter().collect();
    ordered.sort_by_key(|m| m.target.components().count());
    // Sources are taken first: a mount may hide the path of another one's source, and what is made read-only below must
    // not make them so.
    let sources = ordered.iter().map(|m| Source::open(m)).collect::<Result<Vec<_>, _>>()?;
    for (mount, source) in ordered.iter().zip(&sources) {
        if !normal(&mount.target) {
            return Err(Failure::Refused(format!(
                "mountPath {} must be absolute, without `..`, and not /",
                mount.target.display()
            )));
        }
        let nested = ordered.iter().any(|m| m.target != mount.target && mount.target.starts_with(&m.target));
        if !nested && !mount.target.exists() {
            add_mount_point(&mount.target, source.directory, scratch)?;
        }
    }
    if read_only_root {
        read_only_everywhere()?;
    }
    for (mount, source) in ordered.iter().zip(&sources) {
        bind(mount, source)?;
    }
    Ok(())
}

fn at<T, E: Display>(what: impl Display, result: Result<T, E>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Unavailable(format!("cannot mount: {what}: {error}")))
}

fn normal(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && path.parent().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// What is mounted: a mount of its own that is in no place yet.
struct Source {
    tree: OwnedFd,
    directory: bool,
}

impl Source {
    fn open(mount: &MountPoint) -> Result<Self, Failure> {
        let place = open_source(mount)?;
        let stat = at("volume", rustix::fs::fstat(&place))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = at(mount.source.display(), rustix::mount::open_tree(&place, "", flags))?;
        Ok(Source { tree, directory: rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() })
    }
}

/// Finds what is mounted. A `subPath` is looked up without leaving the volume, whatever links it meets, and made when it
/// does not exist.
fn open_source(mount: &MountPoint) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(&mount.source, flags, Mode::empty())
        .map_err(|error| Failure::Unavailable(format!("volume directory {}: {error}", mount.source.display())))?;
    if mount.sub_path.as_os_str().is_empty() {
        return Ok(root);
    }
    let sub = &mount.sub_path;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = |flags| rustix::fs::openat2(&root, sub, flags, Mode::empty(), beneath);
    let refused = |error: rustix::io::Errno| {
        Failure::Refused(format!("subPath {} cannot be used: {error}: it must stay inside its volume", sub.display()))
    };
    match open(flags) {
        Ok(found) => Ok(found),
        Err(rustix::io::Errno::NOENT) => {
            make_below(&root, sub).map_err(refused)?;
            open(flags).map_err(refused)
        }
        Err(error) => Err(refused(error)),
    }
}

/// Makes the directories of a relative path one by one, each looked up beneath the root.
fn make_below(root: &OwnedFd, sub: &Path) -> rustix::io::Result<()> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut parent = PathBuf::from(".");
    for part in sub.components() {
        let Component::Normal(name) = part else { return Err(rustix::io::Errno::INVAL) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat2(root, &parent, flags, Mode::empty(), beneath)?;
        match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => parent.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn bind(mount: &MountPoint, source: &Source) -> Result<(), Failure> {
    let target = &mount.target;
    if !target.exists() {
        make_mount_point(target, source.directory)?;
    }
    if source.directory != target.is_dir() {
        let (what, other) = if target.is_dir() { ("file", "directory") } else { ("directory", "file") };
        return Err(Failure::Refused(format!(
            "mountPath {}: the volume is a {what} there, but the host has a {other}",
            target.display()
        )));
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    at(target.display(), rustix::mount::move_mount(&source.tree, "", CWD, target, flags))?;
    if mount.read_only {
        remount_read_only(target)?;
    }
    Ok(())
}

/// A mount point inside a volume or on a tmpfs of ours: the host is not touched.
fn make_mount_point(target: &Path, directory: bool) -> Result<(), Failure> {
    let made = if directory {
        fs::create_dir_all(target)
    } else {
        target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::File::create(target).map(|_| ()))
    };
    at(format!("mount point {}", target.display()), made)
}

/// Makes a missing mount point appear in this namespace only.
fn add_mount_point(target: &Path, directory: bool, scratch: &Path) -> Result<(), Failure> {
    let base = target.ancestors().find(|a| a.is_dir()).unwrap_or_else(|| Path::new("/"));
    if target.ancestors().skip(1).any(|a| a.exists() && !a.is_dir()) {
        return Err(Failure::Refused(format!("mountPath {}: a parent of it is a file on the host", target.display())));
    }
    // One of our own making can simply get one more entry.
    if !is_ours(base) {
        show_again(base, scratch)?;
    }
    make_mount_point(target, directory)
}

/// The name by which the tmpfs of [`show_again`] is known in the list of mounts.
const TMPFS_NAME: &str = "steersman-mount-points";

fn is_ours(dir: &Path) -> bool {
    mounts().into_iter().rev().find(|m| m.point == dir).is_some_and(|m| m.device == TMPFS_NAME)
}

/// Puts a tmpfs over a directory that shows every entry of it.
fn show_again(dir: &Path, scratch: &Path) -> Result<(), Failure> {
    let meta = at(dir.display(), fs::metadata(dir))?;
    let data = std::ffi::CString::new(format!(
        "mode={:o},uid={},gid={},size=1m",
        meta.permissions().mode() & 0o7777,
        meta.uid(),
        meta.gid()
    ))
    .unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    at("tmpfs", rustix::mount::mount(TMPFS_NAME, scratch, "tmpfs", flags, Some(data.as_c_str())))?;
    for (count, entry) in at(dir.display(), fs::read_dir(dir))?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(Failure::Refused(format!(
                "a mountPath below {} does not exist on the host, and that directory is too full to show again: create \
                 the mountPath on the host",
                dir.display()
            )));
        }
        let entry = at(dir.display(), entry)?;
        show_entry(&entry.path(), &scratch.join(entry.file_name()))?;
    }
    if dir != Path::new("/") {
        return at(dir.display(), rustix::mount::mount_move(scratch, dir));
    }
    // The new root replaces the old one as seen from here on; the old one stays reachable for nobody.
    at("new root", std::env::set_current_dir(scratch))?;
    at("new root", rustix::mount::mount_move(".", "/"))?;
    at("new root", rustix::process::chroot("."))?;
    at("new root", std::env::set_current_dir("/"))
}

fn show_entry(from: &Path, to: &Path) -> Result<(), Failure> {
    // Entries that vanish while we look, as temporary files do, are left out.
    let Ok(meta) = fs::symlink_metadata(from) else { return Ok(()) };
    if meta.is_symlink() {
        let Ok(link) = fs::read_link(from) else { return Ok(()) };
        return at(to.display(), std::os::unix::fs::symlink(link, to));
    }
    let made = if meta.is_dir() { fs::create_dir(to) } else { fs::File::create(to).map(|_| ()) };
    at(to.display(), made)?;
    match rustix::mount::mount_bind_recursive(from, to) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => at(from.display(), Err(error)),
    }
}

/// Makes every mount read-only except those that are interfaces to the kernel.
fn read_only_everywhere() -> Result<(), Failure> {
    for mount in mounts() {
        let interface = ["/proc", "/sys", "/dev"].iter().any(|i| mount.point.starts_with(i));
        if !interface && mount.point.exists() {
            remount_read_only(&mount.point)?;
        }
    }
    Ok(())
}

fn remount_read_only(point: &Path) -> Result<(), Failure> {
    // Flags that are set must stay set, or a locked mount refuses the change.
    let have = at(point.display(), rustix::fs::statvfs(point))?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (is, flag) in [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (rustix::fs::StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (rustix::fs::StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (rustix::fs::StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        flags.set(flag, have.contains(is));
    }
    at(format!("read-only {}", point.display()), rustix::mount::mount_remount(point, flags, ""))
}

struct Mounted {
    device: String,
    point: PathBuf,
}

/// The mounts of this namespace in order; spaces in paths are written as `\040`.
fn mounts() -> Vec<Mounted> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let device = fields.next()?.to_owned();
            let point = fields.next()?.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
            Some(Mounted { device, point: PathBuf::from(point) })
        })
        .collect()
}
