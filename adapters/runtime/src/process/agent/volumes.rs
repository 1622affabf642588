//! The volumes of a pod as directories of the host.

use super::Inner;
use super::pod::Pod;
use crate::process::layout;
use crate::process::record::{self, VolumeFile};
use rustix::mount::{MountFlags, UnmountFlags};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use steersman_domain::ports::{RuntimeError, VolumeContent};

/// The link that names the files of now; replacing it replaces all of them in one step.
const CURRENT: &str = "..data";

/// What is wrong with a volume.
type Result<T> = std::result::Result<T, RuntimeError>;

fn unavailable(path: &Path, error: &io::Error) -> RuntimeError {
    RuntimeError::Unavailable(format!("volume {}: {error}", path.display()))
}

/// Makes or refreshes a volume.
pub(super) fn prepare(inner: &Inner, pod: &Pod, name: &str, content: &VolumeContent) -> Result<()> {
    if !layout::is_safe_name(name) {
        return Err(RuntimeError::Refused(format!("{name:?} cannot be the name of a volume")));
    }
    let dir = pod.dir.join(layout::VOLUMES).join(name);
    let data = dir.join(layout::VOLUME_DATA);
    fs::create_dir_all(&dir).map_err(|e| unavailable(&dir, &e))?;
    let file = match content {
        VolumeContent::Empty { limit_bytes, memory } => {
            let kind = Kind { mode: 0o777, limit_bytes: *limit_bytes, memory: *memory && inner.privileges.can_mount() };
            make(&data, &kind)?;
            if let Some(group) = pod.sandbox.spec.fs_group {
                give(&data, group, ROOM)?;
            }
            VolumeFile::Own { files: false }
        }
        VolumeContent::Files { files, secret } => {
            // The directory of the volume is 0700; the one within, which containers see, must let any user of theirs in.
            // Secrets stay off the disk where that can be had.
            let kind = Kind { mode: 0o755, limit_bytes: 0, memory: *secret && inner.privileges.can_mount() };
            make(&data, &kind)?;
            write_files(&data, files, pod.sandbox.spec.fs_group)?;
            VolumeFile::Own { files: true }
        }
        VolumeContent::Host { path, create } => {
            host(path, *create)?;
            VolumeFile::Host { path: path.clone() }
        }
    };
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(|e| unavailable(&dir, &e))?;
    record::write_json(&dir.join(layout::VOLUME), &file, false).map_err(|e| unavailable(&dir, &e))
}

/// Where a volume is, and what it is.
pub(super) fn find(pod: &Path, name: &str) -> Result<(PathBuf, VolumeFile)> {
    let unknown = || RuntimeError::Unavailable(format!("volume {name} has not been prepared"));
    if !layout::is_safe_name(name) {
        return Err(unknown());
    }
    let dir = pod.join(layout::VOLUMES).join(name);
    let file: Option<VolumeFile> = record::read_json(&dir.join(layout::VOLUME)).map_err(|e| unavailable(&dir, &e))?;
    let file = file.ok_or_else(unknown)?;
    let path = match &file {
        VolumeFile::Own { .. } => dir.join(layout::VOLUME_DATA),
        VolumeFile::Host { path } => path.clone(),
    };
    Ok((path, file))
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|e| unavailable(path, &e))
}

/// What kind of directory a volume is.
struct Kind {
    mode: u32,
    /// 0: none. Counts in memory only.
    limit_bytes: i64,
    memory: bool,
}

/// What a group may do in directories that it fills, and in directories and with files that it only reads, as in Kubernetes
/// (`pkg/volume/volume_linux.go`). What is made in such a directory belongs to the group too.
const ROOM: u32 = 0o2770;
const SHELF: u32 = 0o2550;
const BOOK: u32 = 0o440;

/// Gives a file or directory to the group of the pod, with these rights beside those that it has.
fn give(path: &Path, group: u32, rights: u32) -> Result<()> {
    let given = std::os::unix::fs::chown(path, None, Some(group)).and_then(|()| {
        let mode = fs::metadata(path)?.permissions().mode();
        fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | rights))
    });
    given.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => RuntimeError::Refused(format!(
            "fsGroup {group} needs steer to run as root, or as a member of that group: run it so, or leave fsGroup out"
        )),
        _ => unavailable(path, &error),
    })
}

/// Gives all that is in a directory of files to the group of the pod.
fn give_all(dir: &Path, group: u32) -> Result<()> {
    give(dir, group, SHELF)?;
    for entry in fs::read_dir(dir).map_err(|e| unavailable(dir, &e))?.flatten() {
        let path = entry.path();
        if path.is_dir() { give_all(&path, group)? } else { give(&path, group, BOOK)? }
    }
    Ok(())
}

/// Makes the directory of a volume; one that exists is kept as it is.
fn make(data: &Path, kind: &Kind) -> Result<()> {
    if data.exists() && (!kind.memory || is_mounted(data)) {
        return Ok(());
    }
    make_dir(data, kind.mode)?;
    if kind.memory {
        let size = if kind.limit_bytes > 0 { format!(",size={}", kind.limit_bytes) } else { String::new() };
        let options = std::ffi::CString::new(format!("mode={:o}{size}", kind.mode)).unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("steersman-volume", data, "tmpfs", flags, Some(options.as_c_str()))
            .map_err(|e| unavailable(data, &e.into()))?;
    }
    Ok(())
}

fn host(path: &Path, create: bool) -> Result<()> {
    if !path.is_absolute() {
        return Err(RuntimeError::Refused(format!("hostPath {}: must be absolute", path.display())));
    }
    if path.exists() {
        return Ok(());
    }
    if !create {
        return Err(RuntimeError::Unavailable(format!(
            "hostPath {}: does not exist: create it, or set type DirectoryOrCreate",
            path.display()
        )));
    }
    fs::create_dir_all(path).map_err(|e| unavailable(path, &e))
}

/// Writes all files into a new directory and turns the link over to it, so that readers see all old or all new.
fn write_files(data: &Path, files: &[(PathBuf, Vec<u8>, u32)], group: Option<u32>) -> Result<()> {
    let at = |e: io::Error| unavailable(data, &e);
    for (path, ..) in files {
        let plain = !path.as_os_str().is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)));
        if !plain || path.to_string_lossy().starts_with("..") {
            return Err(RuntimeError::Refused(format!("{} cannot be a file of a volume", path.display())));
        }
    }
    let old = fs::read_link(data.join(CURRENT)).ok();
    let number = (0_u64..).map(|n| format!("..{}-{n}", record::now_micros())).find(|n| !data.join(n).exists());
    let name = number.unwrap_or_default();
    let fresh = data.join(&name);
    make_dir(&fresh, 0o755)?;
    for (path, bytes, mode) in files {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(at)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target).map_err(at)?;
        file.write_all(bytes).map_err(at)?;
        // Set afterwards: the mode given at creation is cut by the umask.
        file.set_permissions(Permissions::from_mode(mode & 0o7777)).map_err(at)?;
    }
    if let Some(group) = group {
        give_all(&fresh, group)?;
        give(data, group, SHELF)?;
    }
    let temporary = data.join("..data.tmp");
    let _none = fs::remove_file(&temporary);
    std::os::unix::fs::symlink(&name, &temporary).map_err(at)?;
    fs::rename(&temporary, data.join(CURRENT)).map_err(at)?;
    link_names(data, files).map_err(at)?;
    if let Some(old) = old.filter(|old| old.as_os_str() != name.as_str()) {
        let _stays = fs::remove_dir_all(data.join(old));
    }
    Ok(())
}

/// One link for each first part of a path, through the link that is turned over; links to what is gone are removed.
fn link_names(data: &Path, files: &[(PathBuf, Vec<u8>, u32)]) -> io::Result<()> {
    let names: std::collections::BTreeSet<_> =
        files.iter().filter_map(|(path, ..)| path.components().next()).map(|c| c.as_os_str().to_owned()).collect();
    for name in &names {
        let link = data.join(name);
        if fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink(Path::new(CURRENT).join(name), link)?;
        }
    }
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_symlink() && name != CURRENT && !names.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_mounted(path: &Path) -> bool {
    let parent = path.parent().and_then(|p| rustix::fs::stat(p).ok());
    rustix::fs::stat(path).ok().zip(parent).is_some_and(|(own, above)| own.st_dev != above.st_dev)
}

/// Unmounts the memory volumes of a pod.
pub(super) fn unmount_all(pod: &Path) {
    for entry in fs::read_dir(pod.join(layout::VOLUMES)).into_iter().flatten().flatten() {
        let data = entry.path().join(layout::VOLUME_DATA);
        if is_mounted(&data)
            && let Err(error) = rustix::mount::unmount(&data, UnmountFlags::DETACH)
        {
            tracing::warn!(volume = %data.display(), %error, "a memory volume cannot be unmounted");
        }
    }
}

/// Puts a link to a volume where a container without mounts of its own looks for it, and remembers the link.
pub(super) fn link(pod: &Path, source: &Path, target: &Path) -> Result<()> {
    let refused = |why: String| RuntimeError::Refused(format!("mountPath {}: {why}", target.display()));
    match fs::read_link(target) {
        Ok(present) if present == source => return Ok(()),
        Ok(present) if present.starts_with(pod) => fs::remove_file(target).map_err(|e| unavailable(target, &e))?,
        Ok(_) => return Err(refused("a link is in its place; without root a volume is only linked".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return Err(refused("something is in its place; without root a volume is only linked".to_owned())),
    }
    let record_path = pod.join(layout::LINKS);
    let mut links: Vec<PathBuf> =
        record::read_json(&record_path).map_err(|e| unavailable(&record_path, &e))?.unwrap_or_default();
    links.push(target.to_owned());
    record::write_json(&record_path, &links, false).map_err(|e| unavailable(&record_path, &e))?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|e| refused(e.to_string()))?;
    }
    std::os::unix::fs::symlink(source, target).map_err(|e| refused(e.to_string()))
}

/// Removes the links that [`link`] made, as far as they still lead to volumes of the pod.
pub(super) fn remove_links(pod: &Path) {
    let links: Option<Vec<PathBuf>> = record::read_json(&pod.join(layout::LINKS)).ok().flatten();
    for target in links.unwrap_or_default() {
        if fs::read_link(&target).is_ok_and(|to| to.starts_with(pod)) {
            let _stays = fs::remove_file(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, mode: u32) -> (PathBuf, Vec<u8>, u32) {
        (path.into(), text.into(), mode)
    }

    #[test]
    fn files_are_replaced_all_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        write_files(data, &[file("a", "1", 0o640), file("sub/b", "2", 0o444)], None).unwrap();
        assert_eq!(fs::read_to_string(data.join("sub/b")).unwrap(), "2");
        assert_eq!(fs::metadata(data.join("a")).unwrap().permissions().mode() & 0o7777, 0o640);
        let held = fs::read_link(data.join(CURRENT)).unwrap();
        write_files(data, &[file("a", "3", 0o600)], None).unwrap();
        assert_eq!(fs::read_to_string(data.join("a")).unwrap(), "3");
        assert!(fs::symlink_metadata(data.join("sub")).is_err(), "the link to a file that is gone is gone");
        assert!(!data.join(held).exists(), "the old files are gone");
    }

    #[test]
    fn files_cannot_leave_their_volume() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["../x", "/x", "", "..data", "a/../../x"] {
            let error = write_files(dir.path(), &[file(bad, "", 0o644)], None).unwrap_err();
            assert!(matches!(error, RuntimeError::Refused(_)), "{bad}: {error:?}");
        }
    }

    #[test]
    fn links_replace_nothing_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let (pod, work) = (dir.path().join("pod"), dir.path().join("work"));
        fs::create_dir_all(&pod).unwrap();
        fs::create_dir_all(work.join("taken")).unwrap();
        link(&pod, &pod.join("v"), &work.join("deep/conf")).unwrap();
        link(&pod, &pod.join("v"), &work.join("deep/conf")).unwrap();
        link(&pod, &pod.join("w"), &work.join("deep/conf")).unwrap();
        assert_eq!(fs::read_link(work.join("deep/conf")).unwrap(), pod.join("w"));
        let error = link(&pod, &pod.join("v"), &work.join("taken")).unwrap_err();
        assert!(error.to_string().contains("something is in its place"), "{error}");
        remove_links(&pod);
        assert!(fs::symlink_metadata(work.join("deep/conf")).is_err());
        assert!(work.join("taken").exists());
    }
}
