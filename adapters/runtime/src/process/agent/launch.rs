//! Turns the spec of a container into what the shim starts, and refuses what cannot be honoured here.

use super::Inner;
use super::pod::Pod;
use super::volumes;
use crate::process::cgroup::Controller;
use crate::process::identity;
use crate::process::layout;
use crate::process::record::VolumeFile;
use crate::process::wire::{Launch, MountPoint};
use std::path::{Component, Path};
use steersman_domain::ports::{ContainerSpec, Mount, RuntimeError};

/// Where programs are looked up when a container brings no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn refuse<T>(message: String) -> Result<T, RuntimeError> {
    Err(RuntimeError::Refused(message))
}

/// Decides everything that can be decided before the program is started. `rewrite_binds`: the host can.
pub(super) fn prepare(
    inner: &Inner,
    pod: &Pod,
    spec: &ContainerSpec,
    rewrite_binds: bool,
) -> Result<Launch, RuntimeError> {
    if !layout::is_safe_name(&spec.name) {
        return refuse(format!("{:?} cannot be the name of a container", spec.name));
    }
    if spec.command.first().is_none_or(String::is_empty) {
        return refuse(format!(
            "container {}: a process has no image to take its command from: set `command`",
            spec.name
        ));
    }
    if let Some(dir) = spec.working_dir.as_ref().filter(|d| !d.is_absolute()) {
        return refuse(format!("container {}: workingDir {} must be absolute", spec.name, dir.display()));
    }
    if let Some((name, _)) = spec.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        return refuse(format!("container {}: {name:?} cannot be the name of an environment variable", spec.name));
    }
    let credentials = identity::resolve(&spec.identity, &inner.privileges, identity::primary_group)?;
    // Without the privilege to look into another user's process its binds go as they are; the node's condition says so.
    let rewrite_binds = rewrite_binds && (credentials.user.is_none() || inner.privileges.can_trace_others());
    if rewrite_binds && !credentials.no_new_privs && !inner.privileges.can_mount() {
        return refuse(format!(
            "container {}: allowPrivilegeEscalation needs steer to run as root (its binds could not be rewritten \
             otherwise): run steer as root, or leave it out",
            spec.name
        ));
    }
    if spec.identity.read_only_root && !inner.privileges.can_mount() {
        return refuse(format!(
            "container {}: readOnlyRootFilesystem needs steer to run as root: run steer as root, or leave it out",
            spec.name
        ));
    }
    for controller in missing_controllers(inner, spec) {
        tracing::warn!(pod = %pod.uid(), container = %spec.name, %controller, "a limit is not enforced on this node");
    }
    let mut env: Vec<(String, String)> = Vec::with_capacity(spec.env.len() + 1);
    for (name, value) in &spec.env {
        // Of a name given twice the later value counts; programs themselves disagree on which they read.
        match env.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1.clone_from(value),
            None => env.push((name.clone(), value.clone())),
        }
    }
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".to_owned(), default_path(inner.config.path_prefix.as_deref())));
    }
    Ok(Launch {
        name: spec.name.clone(),
        attempt: spec.attempt,
        id: container_id(pod, spec),
        command: spec.command.clone(),
        env,
        working_dir: spec.working_dir.clone(),
        credentials,
        limits: spec.limits,
        mounts: mounts(inner, pod, spec)?,
        read_only_root: spec.identity.read_only_root,
        hostname: inner.privileges.can_mount().then(|| pod.sandbox.spec.hostname.to_string()).filter(|n| !n.is_empty()),
        rewrite_binds,
    })
}

fn default_path(prefix: Option<&Path>) -> String {
    match prefix {
        Some(dir) => format!("{}:{DEFAULT_PATH}", dir.display()),
        None => DEFAULT_PATH.to_owned(),
    }
}

fn container_id(pod: &Pod, spec: &ContainerSpec) -> steersman_domain::Str {
    format!("{}.{}.{}", pod.uid(), spec.name, spec.attempt).into()
}

/// The controllers that a container's limits need and the host lacks.
fn missing_controllers(inner: &Inner, spec: &ContainerSpec) -> Vec<Controller> {
    let limits = &spec.limits;
    let needs = |controller: &Controller| match controller {
        Controller::Cpu => limits.cpu_limit_milli > 0,
        Controller::Memory => limits.memory_limit_bytes > 0,
        Controller::Pids => limits.pids_limit > 0,
    };
    Controller::ALL.into_iter().filter(needs).filter(|c| !inner.detected.cgroups.limits(*c)).collect()
}

/// With root: mounts of the container's own. Without: links below its working directory.
fn mounts(inner: &Inner, pod: &Pod, spec: &ContainerSpec) -> Result<Vec<MountPoint>, RuntimeError> {
    let mut found = Vec::new();
    for mount in &spec.mounts {
        if mount.sub_path.is_absolute() || mount.sub_path.components().any(|c| c == Component::ParentDir) {
            return refuse(format!("subPath {} must be relative, without `..`", mount.sub_path.display()));
        }
        let (source, kind) = volumes::find(&pod.dir, &mount.volume)?;
        if inner.privileges.can_mount() {
            found.push(MountPoint {
                source,
                sub_path: mount.sub_path.clone(),
                target: mount.path.clone(),
                read_only: mount.read_only,
            });
        } else {
            link(pod, spec, mount, (&source, &kind))?;
        }
    }
    Ok(found)
}

fn link(
    pod: &Pod,
    spec: &ContainerSpec,
    mount: &Mount,
    (source, kind): (&Path, &VolumeFile),
) -> Result<(), RuntimeError> {
    let shown = mount.path.display();
    let below = spec.working_dir.as_ref().is_some_and(|dir| mount.path.starts_with(dir) && mount.path != *dir);
    if !below || mount.path.components().any(|c| c == Component::ParentDir) {
        return refuse(format!(
            "mountPath {shown}: without root a volume can appear only below the container's workingDir (as a link): run \
             steer as root, set workingDir to a directory above it, or change mountPath"
        ));
    }
    // Nobody but the runtime has a reason to write to a volume of files; any other must be kept from being written.
    if mount.read_only && !matches!(kind, VolumeFile::Own { files: true }) {
        return refuse(format!(
            "mountPath {shown}: readOnly needs steer to run as root: run it as root, or leave it out"
        ));
    }
    volumes::link(&pod.dir, &source.join(&mount.sub_path), &mount.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_path_begins_with_the_directory_of_steer() {
        assert_eq!(default_path(Some(Path::new("/opt/steer"))), format!("/opt/steer:{DEFAULT_PATH}"));
        assert_eq!(default_path(None), DEFAULT_PATH);
    }
}
