//! A runtime in a temporary directory, with an address range of its own, whose pods end with the test.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use steersman_domain::ports::{
    ContainerRecord, ContainerSpec, ExitRecord, Identity, Limits, LogQuery, Runtime, RuntimeError, RuntimeEvent,
    SandboxSpec,
};
use steersman_domain::{Map, Uid};
use steersman_runtime::{ProcessConfig, ProcessRuntime};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU8 = AtomicU8::new(0);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    runtime: Option<ProcessRuntime>,
    pub(crate) config: ProcessConfig,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ProcessConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Test runs at the same time take ranges apart from each other by their process id.
        let third = NEXT.fetch_add(1, Ordering::Relaxed);
        let second = 80 + u8::try_from(std::process::id() % 160).unwrap();
        let shim = vec![shim().into(), "__shim".into()];
        let mut config = ProcessConfig::new(dir.path().join("node-0"), Ipv4Addr::new(127, second, third, 0), shim);
        config.cgroup_parent = format!("steersman-test-{}-{third}", std::process::id());
        change(&mut config);
        let runtime = ProcessRuntime::open(config.clone()).await.unwrap();
        World { dir, runtime: Some(runtime), config }
    }

    /// Forgets the runtime as a crash of the agent does, and opens it anew.
    pub(crate) async fn reopen(&mut self) {
        self.close();
        self.runtime = Some(ProcessRuntime::open(self.config.clone()).await.unwrap());
    }

    /// Ends the agent without a word to its pods.
    pub(crate) fn close(&mut self) {
        self.runtime = None;
    }

    pub(crate) fn runtime(&self) -> &ProcessRuntime {
        self.runtime.as_ref().unwrap()
    }

    pub(crate) async fn pod(&self, name: &str) -> Pod<'_> {
        let uid = Uid(format!("uid-{name}").into());
        let spec = sandbox(&uid, name);
        let ip = self.runtime().run_sandbox(&spec).await.unwrap();
        Pod { world: self, uid, ip }
    }

    pub(crate) fn pod_dir(&self, uid: &Uid) -> PathBuf {
        self.config.data_dir.join("pods").join(uid.as_str())
    }

    pub(crate) fn shim_pid(&self, uid: &Uid) -> u32 {
        let text = std::fs::read_to_string(self.pod_dir(uid).join("shim.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["pid"].as_u64().unwrap().try_into().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Shims end when their directory does; their groups go when they have.
        let pods = self.config.data_dir.join("pods");
        let shims: Vec<_> = std::fs::read_dir(&pods)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| std::fs::read(e.path().join("shim.json")).ok())
            .filter_map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok()?["pid"].as_u64())
            .collect();
        for entry in std::fs::read_dir(&pods).into_iter().flatten().flatten() {
            let _gone = std::fs::remove_file(entry.path().join("shim.json"));
        }
        let deadline = Instant::now() + PATIENCE;
        while shims.iter().any(|pid| runs(u32::try_from(*pid).unwrap())) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        remove_groups(&self.config.cgroup_parent);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for point in mounts.lines().filter_map(|l| l.split(' ').nth(1)).filter(|p| Path::new(p).starts_with(&pods)) {
            let _gone = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn remove_groups(parent: &str) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines().filter(|l| l.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup"))) {
        let root = Path::new(line.split(' ').nth(1).unwrap()).join(parent);
        for pod in std::fs::read_dir(&root).into_iter().flatten().flatten() {
            for group in std::fs::read_dir(pod.path()).into_iter().flatten().flatten() {
                let _busy = std::fs::remove_dir(group.path());
            }
            let _busy = std::fs::remove_dir(pod.path());
        }
        let _busy = std::fs::remove_dir(root);
    }
}

pub(crate) fn sandbox(uid: &Uid, name: &str) -> SandboxSpec {
    SandboxSpec {
        uid: uid.clone(),
        namespace: "default".into(),
        name: name.into(),
        fs_group: None,
        hostname: name.into(),
        service_account: "default".into(),
        labels: Map::new(),
        annotations: Map::new(),
        main_container: "app".into(),
    }
}

/// Whether a process runs; a zombie does not.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !matches!(stat.rsplit(") ").next().and_then(|s| s.chars().next()), Some('Z' | 'X')))
}

/// The program that pods run where a shell cannot do it; see `program.rs`.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("STEERSMAN_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_steersman-test-program").into()).into()
}

/// The shim that worlds start their pods under.
pub(crate) fn shim() -> PathBuf {
    std::env::var_os("STEERSMAN_TEST_SHIM").unwrap_or(env!("CARGO_BIN_EXE_steersman-shim").into()).into()
}

/// A directory of programs for other users, who may not be able to enter the directory of a build.
pub(crate) struct Shared(tempfile::TempDir);

impl Shared {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Shared(dir)
    }

    pub(crate) fn copy(&self, program: &Path) -> PathBuf {
        let copy = self.0.path().join(program.file_name().unwrap());
        std::fs::copy(program, &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        copy
    }
}

/// Waits until a predicate gives a value; shows the last state when it never does.
pub(crate) async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(state) => assert!(Instant::now() < deadline, "waited too long for {what}: {state}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Clone)]
pub(crate) struct Pod<'a> {
    pub(crate) world: &'a World,
    pub(crate) uid: Uid,
    pub(crate) ip: Ipv4Addr,
}

impl Pod<'_> {
    /// A container that runs a shell script.
    pub(crate) fn spec(&self, script: &str) -> ContainerSpec {
        ContainerSpec {
            pod: self.uid.clone(),
            name: "app".into(),
            attempt: 0,
            init: false,
            image: "".into(),
            command: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
            working_dir: None,
            identity: Identity::default(),
            limits: Limits::default(),
            mounts: Vec::new(),
        }
    }

    pub(crate) async fn start(&self, spec: &ContainerSpec) -> ContainerRecord {
        self.world.runtime().start_container(spec).await.unwrap()
    }

    /// Starts a container and waits for its end.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> ExitRecord {
        self.start(spec).await;
        self.exit(&spec.name).await
    }

    pub(crate) async fn exit(&self, name: &str) -> ExitRecord {
        until("the end of a container", || async {
            let record = self.record(name).await.ok_or("unknown")?;
            record.exit.clone().ok_or(format!("{record:?}"))
        })
        .await
    }

    pub(crate) async fn record(&self, name: &str) -> Option<ContainerRecord> {
        let all = self.world.runtime().sandboxes().await.unwrap();
        all.into_iter().find(|s| s.spec.uid == self.uid)?.containers.into_iter().find(|c| c.name == name)
    }

    pub(crate) async fn log(&self, query: LogQuery) -> Result<String, RuntimeError> {
        let container = if query.container.is_empty() { "app".into() } else { query.container.clone() };
        let mut log = self.world.runtime().logs(LogQuery { pod: self.uid.clone(), container, ..query }).await?;
        let mut text = Vec::new();
        while let Some(more) = log.next().await? {
            text.extend_from_slice(&more);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    /// Runs a script as a container of its own and answers what it printed.
    pub(crate) async fn output(&self, spec: &ContainerSpec) -> String {
        let exit = self.run(spec).await;
        let text = self.log(LogQuery { container: spec.name.clone(), ..LogQuery::default() }).await.unwrap();
        assert_eq!(exit.exit_code, 0, "{exit:?}: {text}");
        text
    }

    /// Waits until the log of a container holds a text; answers the whole log.
    pub(crate) async fn logged(&self, wanted: &str) -> String {
        until(wanted, || async {
            let text = self.log(LogQuery::default()).await.unwrap_or_default();
            if text.contains(wanted) { Ok(text) } else { Err(text) }
        })
        .await
    }

    pub(crate) async fn refused(&self, spec: &ContainerSpec) -> String {
        match self.world.runtime().start_container(spec).await {
            Err(RuntimeError::Refused(message)) => message,
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// The events of a runtime until one fits.
pub(crate) async fn event(
    events: &mut Box<dyn steersman_domain::ports::RuntimeEvents>,
    fits: impl Fn(&RuntimeEvent) -> bool,
) -> RuntimeEvent {
    let wait = async {
        loop {
            let event = events.next().await.unwrap();
            if fits(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("an event in time")
}
