//! The agent's side of the process runtime: addresses, volumes, limits, and the connections to the shims.

mod conditions;
mod launch;
mod link;
mod log_reader;
mod logs;
mod network;
mod pod;
mod runtime;
mod sandbox;
mod volumes;

use super::address::AddressPool;
use super::cgroup::{self, Detected};
use super::config::{OpenError, ProcessConfig};
use super::identity::Privileges;
use super::layout;
use parking_lot::Mutex;
use pod::Pod;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steersman_domain::Uid;
use steersman_domain::ports::{RuntimeError, RuntimeEvent};
use tokio::sync::{OnceCell, mpsc};

/// Runs pods as operating-system processes. Cheap to clone; all clones are one runtime. Dropping it leaves pods running.
#[derive(Clone)]
pub struct ProcessRuntime {
    inner: Arc<Inner>,
}

impl fmt::Debug for ProcessRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessRuntime").field("data_dir", &self.inner.config.data_dir).finish_non_exhaustive()
    }
}

/// What all parts of the agent's side share.
struct Inner {
    config: ProcessConfig,
    pods_dir: PathBuf,
    privileges: Privileges,
    detected: Detected,
    pods: Mutex<BTreeMap<Uid, Arc<Pod>>>,
    addresses: Mutex<AddressPool>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<RuntimeEvent>>>,
    /// Whether binds can be rewritten; tried once.
    rewriting: OnceCell<Result<(), String>>,
}

impl ProcessRuntime {
    /// Opens the runtime on its data directory, and takes over every pod that is there: connects to shims that live, and
    /// learns the exits of containers that ended meanwhile. Needs a tokio runtime with IO and time.
    ///
    /// Fails when the directory cannot be used or the configuration cannot work. A pod whose records are damaged is set
    /// aside with a warning, and does not keep the others from being taken over.
    pub async fn open(config: ProcessConfig) -> Result<Self, OpenError> {
        check(&config)?;
        let pods_dir = config.data_dir.join("pods");
        make_private_dir(&config.data_dir)?;
        make_private_dir(&pods_dir)?;
        let at = |source| OpenError::Directory { path: pods_dir.clone(), source };
        let pods_dir = fs::canonicalize(&pods_dir).map_err(at)?;
        let last = fs::read_to_string(config.data_dir.join("next-address")).ok();
        let last = last.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let inner = Arc::new(Inner {
            addresses: Mutex::new(AddressPool::new(config.pod_subnet, last)),
            detected: cgroup::detect(&config.cgroup_parent),
            privileges: Privileges::current(),
            pods: Mutex::default(),
            subscribers: Mutex::default(),
            rewriting: OnceCell::new(),
            pods_dir,
            config,
        });
        inner.adopt_all().await.map_err(|source| OpenError::Directory { path: inner.pods_dir.clone(), source })?;
        Ok(ProcessRuntime { inner })
    }
}

fn check(config: &ProcessConfig) -> Result<(), OpenError> {
    let invalid = |message: String| Err(OpenError::Invalid(message));
    if config.pod_subnet.octets()[0] != 127 {
        return invalid(format!("pod addresses must be loopback addresses (127.x.y.0), not {}", config.pod_subnet));
    }
    if config.shim.is_empty() {
        return invalid("no shim program is given: name the steer binary and `__shim`".to_owned());
    }
    let parts = Path::new(&config.cgroup_parent);
    if config.cgroup_parent.is_empty() || !parts.components().all(|c| matches!(c, std::path::Component::Normal(_))) {
        return invalid(format!("{:?} cannot name a control group", config.cgroup_parent));
    }
    Ok(())
}

fn make_private_dir(path: &Path) -> Result<(), OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| OpenError::Directory { path: path.to_owned(), source })
}

impl Inner {
    fn pod(&self, uid: &Uid) -> Result<Arc<Pod>, RuntimeError> {
        self.pods.lock().get(uid).cloned().ok_or_else(|| RuntimeError::NotFound(format!("pod {uid}")))
    }

    /// Tells every subscription. Queues have no bound of their own: there is one event for each start of a container, and
    /// starts are slower than any reader.
    fn publish(&self, event: &RuntimeEvent) {
        self.subscribers.lock().retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    /// Whether binds can be rewritten on this host, found out by trying it once.
    async fn rewriting(&self) -> &Result<(), String> {
        self.rewriting.get_or_init(|| self.try_rewriting()).await
    }

    async fn try_rewriting(&self) -> Result<(), String> {
        let mut command = self.shim_command()?;
        let output = command.arg("probe").output().await;
        let output = output.map_err(|e| format!("{}: {e}", self.config.shim[0].to_string_lossy()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// The shim program without anything of our environment.
    fn shim_command(&self) -> Result<tokio::process::Command, String> {
        let (program, args) = self.config.shim.split_first().ok_or("no shim program is given")?;
        let mut command = tokio::process::Command::new(program);
        command.args(args).env_clear().stdin(std::process::Stdio::null()).kill_on_drop(false);
        Ok(command)
    }

    fn pod_dir(&self, uid: &Uid) -> Result<PathBuf, RuntimeError> {
        if !layout::is_safe_name(uid.as_str()) {
            return Err(RuntimeError::Refused(format!("{uid:?} cannot be the uid of a pod: it is no plain name")));
        }
        Ok(self.pods_dir.join(uid.as_str()))
    }
}
