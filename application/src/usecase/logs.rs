//! Reading the logs of pods: the port to the agents, and the check of what is asked.

use super::Api;
use crate::client::{ApiError, Client};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use steersman_domain::ports::{LogQuery, LogStream};
use steersman_domain::{Container, ContainerStatus, Key, Pod, Shared, Str, Time};

/// Where the logs of pods on a node are read.
#[async_trait::async_trait]
pub trait LogSource: Send + Sync + 'static {
    /// Opens a log. The pod, its container and the attempt have been checked; `Unavailable` when the node's agent cannot
    /// be reached. Dropping the stream ends the reading.
    async fn logs(&self, node: &str, pod: &Key, query: LogQuery) -> Result<Box<dyn LogStream>, ApiError>;
}

/// Log sources by node: in-process agents enter themselves here, and so does whoever speaks for remote ones.
#[derive(Default)]
pub struct LogRegistry {
    sources: RwLock<BTreeMap<Str, Arc<dyn LogSource>>>,
}

impl std::fmt::Debug for LogRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("LogRegistry").field("nodes", &sources.keys().collect::<Vec<_>>()).finish()
    }
}

impl LogRegistry {
    /// Enters the source of a node, replacing an earlier one.
    pub fn register(&self, node: &str, source: Arc<dyn LogSource>) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).insert(node.into(), source);
    }

    /// Takes the source of a node out, if it is still this one.
    pub fn unregister(&self, node: &str, source: &Arc<dyn LogSource>) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if sources.get(node).is_some_and(|s| Arc::ptr_eq(s, source)) {
            sources.remove(node);
        }
    }
}

#[async_trait::async_trait]
impl LogSource for LogRegistry {
    async fn logs(&self, node: &str, pod: &Key, query: LogQuery) -> Result<Box<dyn LogStream>, ApiError> {
        let source = self.sources.read().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        match source {
            Some(source) => source.logs(node, pod, query).await,
            None => Err(ApiError::Unavailable(format!(
                "the agent of node {node} is not connected: its logs cannot be read now"
            ))),
        }
    }
}

/// What a reader asks of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Empty: the only container, or the one named by the annotation `kubectl.kubernetes.io/default-container`.
    pub container: Str,
    /// Go on with what is yet to be written.
    pub follow: bool,
    /// The attempt before the latest.
    pub previous: bool,
    /// Only the last n lines.
    pub tail: Option<u64>,
    /// Only what was written from then on.
    pub since: Option<Time>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

impl Api {
    /// Opens the log of a pod's container.
    pub async fn logs(&self, key: &Key, request: &LogRequest) -> Result<Box<dyn LogStream>, ApiError> {
        let stored = self.get(key).await?;
        let pod = stored.typed::<Pod>().ok_or_else(|| ApiError::BadRequest(format!("{key} has no logs")))?;
        let container = chosen(pod, &request.container)?;
        let status = status_of(pod, container);
        let attempt = attempt(pod, container, status, request.previous)?;
        let query = LogQuery {
            pod: pod.metadata.uid.clone(),
            container: container.clone(),
            attempt,
            follow: request.follow,
            tail: request.tail,
            since: request.since,
            timestamps: request.timestamps,
            limit_bytes: request.limit_bytes,
        };
        self.logs.logs(&pod.spec.node_name, key, query).await
    }
}

/// The container that is meant, by Kubernetes' rules.
fn chosen<'a>(pod: &'a Pod, asked: &str) -> Result<&'a Str, ApiError> {
    let all = || pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let names = |list: &[Shared<Container>]| list.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ");
    let name = &pod.metadata.name;
    let default = pod.metadata.annotations.get("kubectl.kubernetes.io/default-container").map_or("", |s| s.as_str());
    let wanted = if asked.is_empty() { default } else { asked };
    if !wanted.is_empty() {
        let found = all().find(|c| c.name == wanted).map(|c| &c.name);
        return found.ok_or_else(|| ApiError::BadRequest(format!("container {wanted} is not valid for pod {name}")));
    }
    match pod.spec.containers.as_slice() {
        [one] => Ok(&one.name),
        many if pod.spec.init_containers.is_empty() => Err(ApiError::BadRequest(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names(many)
        ))),
        many => Err(ApiError::BadRequest(format!(
            "a container name must be specified for pod {name}, choose one of: [{}] or one of the init containers: [{}]",
            names(many),
            names(&pod.spec.init_containers)
        ))),
    }
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses).find(|s| s.name == container)
}

/// Which attempt to read; refuses what has not started or has no predecessor.
fn attempt(
    pod: &Pod,
    container: &str,
    status: Option<&ContainerStatus>,
    previous: bool,
) -> Result<Option<u32>, ApiError> {
    let name = &pod.metadata.name;
    if pod.spec.node_name.is_empty() {
        return Err(ApiError::BadRequest(format!("pod {name} does not have a host assigned")));
    }
    if previous {
        return status.and_then(last_ended).map(Some).ok_or_else(|| {
            ApiError::BadRequest(format!("previous terminated container {container:?} in pod {name:?} not found"))
        });
    }
    let never_started = status.is_none_or(|s| {
        s.restart_count.0 == 0
            && s.state.running.is_none()
            && s.state.terminated.is_none()
            && s.last_state.terminated.is_none()
    });
    if never_started {
        let why = status.and_then(|s| s.state.waiting.as_ref()).map_or("ContainerCreating", |w| w.reason.as_str());
        return Err(ApiError::BadRequest(format!(
            "container {container:?} in pod {name:?} is waiting to start: {why}"
        )));
    }
    Ok(None)
}

/// The attempt that the last state tells of: the one before the latest start, or the latest itself while the container
/// waits for its next start. Source: Kubernetes' node agent, which reads the log of `lastState.terminated`.
fn last_ended(status: &ContainerStatus) -> Option<u32> {
    let starts = u32::try_from(status.restart_count.0).ok()?;
    if status.state.waiting.is_some() {
        return status.last_state.terminated.is_some().then_some(starts);
    }
    starts.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::{
        AlwaysI32, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    };

    /// The attempt before, of a container in this state after this many restarts. `ended`: whether a last state is told.
    fn before(state: ContainerState, restarts: i32, ended: bool) -> Option<u32> {
        let terminated = ended.then(ContainerStateTerminated::default);
        last_ended(&ContainerStatus {
            state,
            last_state: ContainerState { terminated, ..ContainerState::default() },
            restart_count: AlwaysI32(restarts),
            ..ContainerStatus::default()
        })
    }

    #[test]
    fn the_run_before_is_the_last_that_ended() {
        let running =
            || ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() };
        let waiting =
            || ContainerState { waiting: Some(ContainerStateWaiting::default()), ..ContainerState::default() };
        let ended =
            || ContainerState { terminated: Some(ContainerStateTerminated::default()), ..ContainerState::default() };
        assert_eq!(before(running(), 0, false), None);
        assert_eq!(before(running(), 2, true), Some(1));
        assert_eq!(before(waiting(), 0, false), None, "nothing was started yet");
        assert_eq!(before(waiting(), 0, true), Some(0), "the first run ended, the second waits");
        assert_eq!(before(waiting(), 2, true), Some(2), "the third run is the last that ended");
        assert_eq!(before(ended(), 1, true), Some(0));
        assert_eq!(before(ended(), 0, false), None);
    }
}
