//! The runtime: what runs the containers of pods on a node. One port for functions, processes and OCI containers.

use super::{HealthMonitor, MetricsSource};
use crate::{Condition, Map, Str, Time, Uid};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// A pod as a runtime sees it: the frame in which its containers run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    /// The uid of the pod.
    pub uid: Uid,
    /// The namespace of the pod.
    pub namespace: Str,
    /// The name of the pod.
    pub name: Str,
    /// What the containers' host is called, where the runtime can give it a name of its own.
    pub hostname: Str,
    /// The group that volumes made for the pod belong to.
    #[serde(default)]
    pub fs_group: Option<u32>,
    /// The service account of the pod.
    pub service_account: Str,
    /// The pod's labels when the frame was made.
    #[serde(default)]
    pub labels: Map<Str>,
    /// Those of the pod's annotations that begin with [`OWN_PREFIX`].
    #[serde(default)]
    pub annotations: Map<Str>,
    /// The container that is meant where none is named: the one of the annotation `kubectl.kubernetes.io/default-container`,
    /// else the first that is not an init container.
    #[serde(default)]
    pub main_container: Str,
}

/// What the keys of Steersman's own labels and annotations begin with.
pub const OWN_PREFIX: &str = "steersman.io/";

/// Who a container runs as. `None`: as the runtime decides (for processes: as the host program).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The user id.
    pub user: Option<u32>,
    /// The group id.
    pub group: Option<u32>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// Refuse to start as user 0.
    pub non_root: bool,
    /// Capabilities to keep beyond none, without `CAP_`; `ALL` keeps all.
    pub add_capabilities: Vec<Str>,
    /// Capabilities to drop, by name without `CAP_`; `ALL` for all.
    pub drop_capabilities: Vec<Str>,
    /// It may do what the runtime itself may.
    pub privileged: bool,
    /// It must not write outside its volumes.
    pub read_only_root: bool,
    /// `false` (the default here) sets no_new_privs.
    pub allow_privilege_escalation: bool,
}

/// What a container may use. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Share of cpu under contention, thousandths of a core.
    pub cpu_request_milli: i64,
    /// Hard limit, thousandths of a core.
    pub cpu_limit_milli: i64,
    /// Bytes.
    pub memory_limit_bytes: i64,
    /// Processes and threads.
    pub pids_limit: i64,
}

/// A directory, prepared by the runtime's `prepare_volume`, that appears at a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// The name of the volume.
    pub volume: Str,
    /// Where the container sees it.
    pub path: PathBuf,
    /// The part of the volume that is mounted; empty: all of it.
    pub sub_path: PathBuf,
    /// It must not be written.
    pub read_only: bool,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum VolumeContent {
    /// An empty directory that lives as long as the pod. `limit_bytes` 0: none; `memory`: a tmpfs.
    Empty {
        /// How much it may hold; 0: as much as there is.
        limit_bytes: i64,
        /// It is kept in memory.
        memory: bool,
    },
    /// Files by relative path, with their mode; replaced as a whole, atomically, when prepared again.
    Files {
        /// Path, content and mode of each.
        files: Vec<(PathBuf, Vec<u8>, u32)>,
        /// Only the pod may read them.
        secret: bool,
    },
    /// A directory of the host.
    Host {
        /// The directory.
        path: PathBuf,
        /// It is made if it is not there.
        create: bool,
    },
}

/// One container to start. All expansion is done: arguments and environment are final.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    /// The uid of the pod.
    pub pod: Uid,
    /// The name of the container.
    pub name: Str,
    /// Counts starts of this container in this pod, from 0.
    pub attempt: u32,
    /// It has to end well before the others of the pod start.
    pub init: bool,
    /// The image, or the name of a function.
    pub image: Str,
    /// Program and arguments. Empty: the image's own, where the runtime has images; else refused.
    pub command: Vec<String>,
    /// The whole environment, in order; never the host's.
    pub env: Vec<(String, String)>,
    /// The working directory; `None`: as the runtime decides.
    pub working_dir: Option<PathBuf>,
    /// Who it runs as.
    pub identity: Identity,
    /// What it may use.
    pub limits: Limits,
    /// What it sees of the volumes.
    pub mounts: Vec<Mount>,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExitRecord {
    /// The exit code; 128 + n when signal n ended it.
    pub exit_code: i32,
    /// The signal that ended it; 0: none.
    pub signal: i32,
    /// The kernel killed it for its memory limit.
    pub oom_killed: bool,
    /// When it was started, in microseconds since 1970.
    pub started_at_micros: i64,
    /// When it ended, in microseconds since 1970.
    pub finished_at_micros: i64,
    /// What went wrong where the runtime itself failed (the record of an exit was lost, say).
    pub message: Str,
}

/// A container as the runtime knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// The name of the container.
    pub name: Str,
    /// Counts starts of the container in its pod, from 0.
    pub attempt: u32,
    /// The id, as `containerID` shows it after `handler://`.
    pub id: Str,
    /// Process id, where there is one.
    pub pid: Option<u32>,
    /// When it was started.
    pub started_at: Time,
    /// `None`: running.
    pub exit: Option<ExitRecord>,
}

/// A sandbox as the runtime knows it: what an agent adopts after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxRecord {
    /// What it was made of.
    pub spec: SandboxSpec,
    /// The address of the pod.
    pub ip: Ipv4Addr,
    /// Its address was given back: the pod is over, and only records and logs are left.
    pub released: bool,
    /// Every container with its latest attempt, in order of first start.
    pub containers: Vec<ContainerRecord>,
}

/// Something that happened in a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container ended. Delivered once for each attempt to every open subscription.
    Exited {
        /// The uid of the pod.
        pod: Uid,
        /// The container as it ended.
        container: ContainerRecord,
    },
    /// The sandbox itself is lost (its shim was killed): its containers are gone or no longer known.
    SandboxLost {
        /// The uid of the pod.
        pod: Uid,
        /// What became of it.
        message: String,
    },
    /// Something that people should know about a container which runs on: `reason` as Events have it.
    Warned {
        /// The uid of the pod.
        pod: Uid,
        /// The name of the container.
        container: Str,
        /// The reason, in one word.
        reason: &'static str,
        /// What there is to know.
        message: String,
    },
}

/// Which log lines to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The uid of the pod.
    pub pod: Uid,
    /// The name of the container.
    pub container: Str,
    /// `None`: the latest attempt.
    pub attempt: Option<u32>,
    /// Go on with what is yet to be written, until the container ends.
    pub follow: bool,
    /// Only the last n lines.
    pub tail: Option<u64>,
    /// Only lines written at or after.
    pub since: Option<Time>,
    /// Put the time (RFC 3339 with nanoseconds) before each line.
    pub timestamps: bool,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why a runtime did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The pod can never run like this here: a setting that cannot be honoured. Says which and how to mend it.
    #[error("{0}")]
    Refused(String),
    /// The program could not be started: it does not exist, may not run, its directory is missing.
    #[error("{message}")]
    CannotRun {
        /// The reason, in one word.
        reason: &'static str,
        /// What is wrong.
        message: String,
        /// The exit code that stands for it, as shells have them.
        exit_code: i32,
    },
    /// The runtime knows no such pod or container.
    #[error("{0} is not known to the runtime")]
    NotFound(String),
    /// May work later.
    #[error("{0}")]
    Unavailable(String),
}

/// Events of a runtime, from the moment of subscription.
#[async_trait::async_trait]
pub trait RuntimeEvents: Send {
    /// The next event; `None` when the runtime is gone. Cancel-safe.
    async fn next(&mut self) -> Option<RuntimeEvent>;
}

/// Log text as it is read.
#[async_trait::async_trait]
pub trait LogStream: Send {
    /// The next piece, whole lines where possible; `None` at the end (never while following a running container).
    async fn next(&mut self) -> Result<Option<bytes::Bytes>, RuntimeError>;
}

/// What a command run inside a container answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// How the command ended.
    pub exit_code: i32,
    /// The first 10 kB of both streams.
    pub output: Vec<u8>,
}

/// A runtime of pods on one node.
///
/// Every call is idempotent by pod uid, container name and attempt, so that an agent which lost an answer repeats the call.
/// Dropping a future leaves the outcome unknown; `sandboxes` then tells. Containers outlive the agent unless the runtime
/// cannot keep them (then `sandboxes` does not list them). It looks at its own containers and measures
/// them, as nobody else can tell how.
#[async_trait::async_trait]
pub trait Runtime: HealthMonitor + MetricsSource {
    /// The handler by which runtime classes name it.
    fn handler(&self) -> &'static str;

    /// What the node should say about the runtime (mechanisms that are missing, and what follows).
    async fn conditions(&self) -> Vec<Condition>;

    /// Makes the pod's frame: its address, directories and limits. Answers the address.
    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<Ipv4Addr, RuntimeError>;

    /// Every sandbox that exists, dead or alive.
    async fn sandboxes(&self) -> Result<Vec<SandboxRecord>, RuntimeError>;

    /// Makes or refreshes a volume of the pod.
    async fn prepare_volume(&self, pod: &Uid, name: &str, content: &VolumeContent) -> Result<(), RuntimeError>;

    /// Starts a container; answers once the program runs (its `exec` succeeded).
    async fn start_container(&self, spec: &ContainerSpec) -> Result<ContainerRecord, RuntimeError>;

    /// Ends a container: SIGTERM now, SIGKILL to everything it started after `grace` (at once when zero). Answers how it
    /// ended, when nothing of it is left. A second call with a shorter grace brings the deadline forward.
    async fn stop_container(&self, pod: &Uid, name: &str, grace: Duration) -> Result<ExitRecord, RuntimeError>;

    /// Runs a command with the environment, identity and limits of a running container.
    async fn exec(
        &self,
        pod: &Uid,
        name: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, RuntimeError>;

    /// Answers when every TCP port accepts connections at the pod's address. Waits for ever; cancel-safe.
    async fn ports_open(&self, pod: &Uid, ports: &[u16]) -> Result<(), RuntimeError>;

    /// Reads a container's log.
    async fn logs(&self, query: LogQuery) -> Result<Box<dyn LogStream>, RuntimeError>;

    /// The pod is over: kills what is left of it and frees its address and its volumes. What it ran is still told by
    /// `sandboxes`, and its logs can be read, until it is removed. Nothing can be started in it any more. Unknown pods are
    /// fine.
    async fn release_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError>;

    /// Kills what is left, removes directories and limits, frees the address. Unknown pods are fine.
    async fn remove_sandbox(&self, pod: &Uid) -> Result<(), RuntimeError>;

    /// Events from now on.
    async fn events(&self) -> Box<dyn RuntimeEvents>;
}
