//! Pods come and go: taking over those that exist, making a new one, removing one.

use super::Inner;
use super::pod::Pod;
use super::volumes;
use crate::process::cgroup;
use crate::process::claim;
use crate::process::layout;
use crate::process::record::{self, SandboxFile};
use crate::process::wire::Request;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use steersman_domain::Uid;
use steersman_domain::ports::{RuntimeError, SandboxSpec};
use tokio::time::Instant;

/// How long the end of a shim and of its groups is waited for before a removal answers that it must be tried again.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(10);

impl Inner {
    /// Takes over every pod of the data directory.
    pub(super) async fn adopt_all(self: &Arc<Self>) -> io::Result<()> {
        for entry in fs::read_dir(&self.pods_dir)? {
            let dir = entry?.path();
            let sandbox: SandboxFile = match record::read_json(&dir.join(layout::SANDBOX)) {
                Ok(Some(sandbox)) => sandbox,
                // A crash in the middle of making or removing a pod leaves a directory without the record.
                Ok(None) => {
                    volumes::unmount_all(&dir);
                    fs::remove_dir_all(&dir)?;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "a pod's record cannot be read; its directory is left alone");
                    continue;
                }
            };
            let released = sandbox.released;
            if !released {
                self.addresses.lock().take(sandbox.ip);
            }
            let pod = Arc::new(Pod::new(sandbox, dir));
            self.pods.lock().insert(pod.uid().clone(), pod.clone());
            if !released {
                self.adopt(&pod).await;
            }
        }
        Ok(())
    }

    async fn adopt(self: &Arc<Self>, pod: &Arc<Pod>) {
        match pod.link(self).await {
            Ok(_) => {}
            Err(error) if pod.shim().is_some_and(|shim| shim.is_alive()) => {
                tracing::warn!(pod = %pod.uid(), %error, "a shim runs but does not answer yet");
            }
            Err(_) => pod.shim_lost(self, "its shim ended while no agent ran (a restart of the host does that)"),
        }
    }

    /// Makes a pod, or answers the address of the one that exists. A pod whose shim is lost gets a new one.
    pub(super) async fn run_sandbox(self: &Arc<Self>, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError> {
        let dir = self.pod_dir(&spec.uid)?;
        let existing = self.pods.lock().get(&spec.uid).cloned();
        let pod = match existing {
            Some(pod) => pod,
            None => self.make_pod(spec, &dir)?,
        };
        self.ensure_shim(&pod).await?;
        Ok(pod.sandbox.ip)
    }

    fn make_pod(&self, spec: &SandboxSpec, dir: &Path) -> Result<Arc<Pod>, RuntimeError> {
        let mut pods = self.pods.lock();
        if let Some(pod) = pods.get(&spec.uid) {
            return Ok(pod.clone());
        }
        let ip = self.allocate()?;
        let sandbox = SandboxFile {
            spec: spec.clone(),
            ip,
            cgroups: self.detected.cgroups.clone(),
            log_max_bytes: self.config.log_max_bytes,
            log_max_files: self.config.log_max_files,
            released: false,
        };
        if let Err(error) = write_pod(dir, &sandbox) {
            let _stays = fs::remove_dir_all(dir);
            self.addresses.lock().free(ip);
            return Err(RuntimeError::Unavailable(format!("pod directory {}: {error}", dir.display())));
        }
        let pod = Arc::new(Pod::new(sandbox, dir.to_owned()));
        pods.insert(spec.uid.clone(), pod.clone());
        Ok(pod)
    }

    fn allocate(&self) -> Result<Ipv4Addr, RuntimeError> {
        let mut addresses = self.addresses.lock();
        // Pods of a cluster that crashed may be left in this range. Not knowing of them costs an error later, by the shim.
        let foreign = claim::claimed_addresses().unwrap_or_default();
        let ip = addresses.allocate(&foreign).ok_or_else(|| {
            RuntimeError::Unavailable(format!(
                "all 254 pod addresses of {}/24 are in use: remove pods or add a node",
                self.config.pod_subnet
            ))
        })?;
        // Only for the sake of fair turns: losing it costs nothing.
        if let Err(error) = fs::write(self.config.data_dir.join("next-address"), addresses.last().to_string()) {
            tracing::warn!(%error, "the last pod address cannot be remembered");
        }
        Ok(ip)
    }

    /// Connects to the pod's shim, and starts one when there is none.
    pub(super) async fn ensure_shim(self: &Arc<Self>, pod: &Arc<Pod>) -> Result<(), RuntimeError> {
        // Held so that two callers do not both start one.
        let _turn = pod.starting.lock().await;
        if pod.removing.load(Ordering::Acquire) {
            return Err(RuntimeError::Unavailable(format!("pod {} is being removed", pod.uid())));
        }
        if pod.released.load(Ordering::Acquire) {
            return Err(RuntimeError::Refused(format!("pod {} is over: nothing starts in it again", pod.uid())));
        }
        if pod.shim().is_some_and(|shim| shim.is_alive()) {
            return pod.link(self).await.map(|_| ());
        }
        pod.shim_lost(self, "its shim was lost");
        let mut command = self.shim_command().map_err(RuntimeError::Unavailable)?;
        let program = self.config.shim[0].to_string_lossy().into_owned();
        let output = command.arg("run").arg(&pod.dir).output().await;
        let output =
            output.map_err(|e| RuntimeError::Unavailable(format!("the shim {program} cannot be started: {e}")))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(RuntimeError::Unavailable(format!("the shim {program} did not start: {}", text.trim())));
        }
        pod.link(self).await.map(|_| ())
    }

    /// Ends and forgets a pod. Repeatable after any failure.
    pub(super) async fn remove_sandbox(self: &Arc<Self>, uid: &Uid) -> Result<(), RuntimeError> {
        let Some(pod) = self.pods.lock().get(uid).cloned() else { return Ok(()) };
        let _turn = pod.starting.lock().await;
        self.end_pod(&pod, "the pod was removed").await?;
        let dir = pod.dir.clone();
        let removed = tokio::task::spawn_blocking(move || {
            volumes::remove_links(&dir);
            volumes::unmount_all(&dir);
            // The record goes first: what is left without it is removed at the next start.
            match fs::remove_file(dir.join(layout::SANDBOX)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            }
        });
        let removed = removed.await.map_err(|e| RuntimeError::Unavailable(e.to_string()))?;
        removed.map_err(|e| RuntimeError::Unavailable(format!("pod directory {}: {e}", pod.dir.display())))?;
        self.pods.lock().remove(uid);
        if !pod.released.load(Ordering::Acquire) {
            self.addresses.lock().free(pod.sandbox.ip);
        }
        Ok(())
    }

    /// Ends the shim of a pod and all that it holds; directories stay. Repeatable after any failure.
    async fn end_pod(self: &Arc<Self>, pod: &Arc<Pod>, why: &str) -> Result<(), RuntimeError> {
        let uid = pod.uid();
        pod.removing.store(true, Ordering::Release);
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        let late = |what: &str| RuntimeError::Unavailable(format!("pod {uid}: {what} has not ended yet"));
        if let Some(shim) = pod.shim().filter(|shim| shim.is_alive()) {
            match tokio::time::timeout_at(deadline, pod.ask(self, Request::Shutdown)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(pod = %uid, %error, "a shim did not answer its end"),
                Err(_) => return Err(late("one of its processes")),
            }
            wait_until(deadline, || !shim.is_alive()).await.map_err(|()| late("its shim"))?;
        }
        pod.drop_link().await;
        pod.shim_lost(self, why);
        let groups = || cgroup::remove_groups(&pod.sandbox.cgroups, uid.as_str());
        wait_until(deadline, groups).await.map_err(|()| late("one of its control groups"))
    }

    /// Gives back what a pod holds that is over; its records and logs stay. Repeatable after any failure.
    pub(super) async fn release_sandbox(self: &Arc<Self>, uid: &Uid) -> Result<(), RuntimeError> {
        let Some(pod) = self.pods.lock().get(uid).cloned() else { return Ok(()) };
        let _turn = pod.starting.lock().await;
        if pod.released.load(Ordering::Acquire) {
            return Ok(());
        }
        self.end_pod(&pod, "the pod was over").await?;
        let (dir, sandbox) = (pod.dir.clone(), SandboxFile { released: true, ..pod.sandbox.clone() });
        let released = tokio::task::spawn_blocking(move || {
            volumes::remove_links(&dir);
            volumes::unmount_all(&dir);
            for part in [layout::VOLUMES, layout::WORK] {
                match fs::remove_dir_all(dir.join(part)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            // Durable before anybody else may have the address.
            record::write_json(&dir.join(layout::SANDBOX), &sandbox, true)
        });
        let released = released.await.map_err(|e| RuntimeError::Unavailable(e.to_string()))?;
        released.map_err(|e| RuntimeError::Unavailable(format!("pod directory {}: {e}", pod.dir.display())))?;
        pod.released.store(true, Ordering::Release);
        self.addresses.lock().free(pod.sandbox.ip);
        Ok(())
    }
}

/// Looks again until it is so. What is waited for here (the last steps of a process's end, the release of a group) has no
/// event, and takes a millisecond.
async fn wait_until(deadline: Instant, mut is_so: impl FnMut() -> bool) -> Result<(), ()> {
    let mut pause = Duration::from_millis(1);
    while !is_so() {
        if Instant::now() >= deadline {
            return Err(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

fn write_pod(dir: &Path, sandbox: &SandboxFile) -> io::Result<()> {
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    for part in ["", layout::CONTAINERS, layout::VOLUMES, layout::WORK, layout::MNT] {
        private.create(dir.join(part))?;
    }
    record::write_json(&dir.join(layout::SANDBOX), sandbox, true)
}
