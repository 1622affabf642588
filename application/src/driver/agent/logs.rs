//! Reading the logs of this node's pods.

use super::shared::{Shared, View};
use crate::client::ApiError;
use crate::usecase::logs::LogSource;
use std::sync::Arc;
use steersman_domain::ports::{LogQuery, LogStream, RuntimeError};
use steersman_domain::{ContainerStatus, Key};

/// The logs of one agent's pods, for the log registry of the API.
#[derive(Clone)]
pub struct AgentLogs {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for AgentLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentLogs").field("node", &self.shared.config.node_name).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl LogSource for AgentLogs {
    async fn logs(&self, node: &str, pod: &Key, query: LogQuery) -> Result<Box<dyn LogStream>, ApiError> {
        let not_here = || ApiError::NotFound(pod.clone());
        let view = self.shared.registry.view(&query.pod).ok_or_else(not_here)?;
        let runtime = match view.handler.map(|h| self.shared.runtimes.get(h)) {
            Some(Some(runtime)) => Arc::clone(runtime),
            Some(None) | None => return Err(ApiError::BadRequest(waiting(&view, &query))),
        };
        let Some(status) = status_of(&view, &query) else {
            let (container, pod) = (&query.container, &pod.name);
            return Err(ApiError::BadRequest(format!("container {container:?} in pod {pod:?} is not available")));
        };
        if !ever_started(status) {
            return Err(ApiError::BadRequest(waiting(&view, &query)));
        }
        let (container, previous) = (query.container.clone(), query.attempt.is_some());
        match runtime.logs(query).await {
            Ok(stream) => Ok(stream),
            Err(RuntimeError::NotFound(_)) if previous => Err(ApiError::BadRequest(format!(
                "previous terminated container {container:?} in pod {:?} not found",
                pod.name
            ))),
            Err(RuntimeError::NotFound(what)) => Err(ApiError::BadRequest(format!(
                "the log of container {container:?} is gone: {what} is not known to the runtime"
            ))),
            Err(error @ (RuntimeError::Refused(_) | RuntimeError::CannotRun { .. })) => {
                Err(ApiError::BadRequest(error.to_string()))
            }
            Err(RuntimeError::Unavailable(message)) => {
                Err(ApiError::Unavailable(format!("node {node} cannot read the log: {message}")))
            }
        }
    }
}

fn status_of<'a>(view: &'a View, query: &LogQuery) -> Option<&'a ContainerStatus> {
    let status = &view.status;
    status.container_statuses.iter().chain(&status.init_container_statuses).find(|s| s.name == query.container)
}

fn ever_started(status: &ContainerStatus) -> bool {
    status.state.waiting.is_none() || status.last_state.terminated.is_some()
}

fn waiting(view: &View, query: &LogQuery) -> String {
    let status = status_of(view, query);
    let reason = status.and_then(|s| s.state.waiting.as_ref()).map_or("ContainerCreating", |w| w.reason.as_str());
    format!(
        "container {:?} in pod {:?} is waiting to start: {reason}",
        query.container.as_str(),
        view.pod.metadata.name.as_str()
    )
}
