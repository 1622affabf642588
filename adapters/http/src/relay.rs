//! Logs of pods on remote nodes. The agent opens one long request and is told on it, line by line, which logs are wanted;
//! it answers each with a request of its own whose body is the log. So agents listen on no port.

use crate::body::Body;
use crate::error::{Failure, json_response, success};
use crate::service::Call;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use steersman_application::client::ApiError;
use steersman_application::usecase::logs::{LogRegistry, LogSource};
use steersman_domain::ports::{LogQuery, LogStream, RuntimeError};
use steersman_domain::{Key, Kind, Time, Uid};
use tokio::sync::{mpsc, oneshot};

/// How long an agent may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wishes that wait for an agent at most; more are refused as unavailable.
const MOST_WISHES: usize = 64;
/// Pieces of a log on their way to a slow reader; the agent waits beyond that.
const PIECES: usize = 8;

type Pieces = mpsc::Receiver<Bytes>;
type Opened = Result<Pieces, ApiError>;

/// The logs of remote nodes, delivered into a registry while their agents are connected.
pub struct LogRelay {
    registry: Arc<LogRegistry>,
    next: AtomicU64,
    open: Mutex<BTreeMap<(String, String), oneshot::Sender<Opened>>>,
}

impl std::fmt::Debug for LogRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogRelay").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl LogRelay {
    /// A relay into the registry that the API reads.
    pub fn new(registry: Arc<LogRegistry>) -> Self {
        LogRelay { registry, next: AtomicU64::new(1), open: Mutex::default() }
    }

    fn wait_for(&self, node: &str, id: &str, answer: oneshot::Sender<Opened>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert((node.to_owned(), id.to_owned()), answer);
    }

    fn take(&self, node: &str, id: &str) -> Option<oneshot::Sender<Opened>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&(node.to_owned(), id.to_owned()))
    }
}

/// Forgets a wish when nobody waits for it any more, however the wait ended.
struct Waiting<'a> {
    relay: &'a LogRelay,
    node: &'a str,
    id: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.relay.take(self.node, self.id);
    }
}

/// One connected agent.
struct RemoteLogs {
    relay: Arc<LogRelay>,
    wishes: mpsc::Sender<Bytes>,
}

#[async_trait::async_trait]
impl LogSource for RemoteLogs {
    async fn logs(&self, node: &str, pod: &Key, query: LogQuery) -> Result<Box<dyn LogStream>, ApiError> {
        let id = self.relay.next.fetch_add(1, Ordering::Relaxed).to_string();
        let (answer, opened) = oneshot::channel();
        self.relay.wait_for(node, &id, answer);
        let _waiting = Waiting { relay: &self.relay, node, id: &id };
        let lost =
            || ApiError::Unavailable(format!("the agent of node {node} did not answer: its logs cannot be read now"));
        if self.wishes.try_send(wish(&id, pod, &query)).is_err() {
            return Err(lost());
        }
        match tokio::time::timeout(PATIENCE, opened).await {
            Ok(Ok(opened)) => Ok(Box::new(RemoteLog(opened?))),
            Ok(Err(_)) | Err(_) => Err(lost()),
        }
    }
}

struct RemoteLog(Pieces);

#[async_trait::async_trait]
impl LogStream for RemoteLog {
    async fn next(&mut self) -> Result<Option<Bytes>, RuntimeError> {
        Ok(self.0.recv().await)
    }
}

/// A wish as a line of JSON.
fn wish(id: &str, pod: &Key, query: &LogQuery) -> Bytes {
    let value = json!({"id": id, "namespace": pod.namespace, "name": pod.name, "uid": query.pod,
        "container": query.container, "attempt": query.attempt, "follow": query.follow, "tail": query.tail,
        "sinceMicros": query.since.map(Time::micros), "timestamps": query.timestamps, "limitBytes": query.limit_bytes});
    format!("{value}\n").into()
}

/// Reads a wish back: its id, the pod, and what is wanted.
pub(crate) fn read_wish(line: &[u8]) -> Option<(String, Key, LogQuery)> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |field: &str| value[field].as_str();
    let query = LogQuery {
        pod: Uid::from(text("uid")?),
        container: text("container")?.into(),
        attempt: value["attempt"].as_u64().and_then(|n| u32::try_from(n).ok()),
        follow: value["follow"].as_bool()?,
        tail: value["tail"].as_u64(),
        since: value["sinceMicros"].as_i64().map(Time::from_micros),
        timestamps: value["timestamps"].as_bool()?,
        limit_bytes: value["limitBytes"].as_u64(),
    };
    Some((text("id")?.to_owned(), Key::new(Kind::Pod, text("namespace")?, text("name")?), query))
}

/// Takes the agent out of the registry when its request ends, however it ends.
struct Connected {
    relay: Arc<LogRelay>,
    node: String,
    source: Arc<dyn LogSource>,
    wishes: mpsc::Receiver<Bytes>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.relay.registry.unregister(&self.node, &self.source);
    }
}

impl Call<'_> {
    /// An agent listens for wishes (`GET …/logs`), or answers one (`POST …/logs/ID`).
    pub(crate) async fn relay(self, node: &str, id: Option<&str>, body: Body) -> Result<Response<Body>, Failure> {
        if !self.user.is_master() && self.user.node() != Some(node) {
            let message = format!("User {:?} does not speak for node {node:?}", self.user.name);
            return Err(Failure::forbidden(message));
        }
        let Some(relay) = self.service.config().relay.clone() else {
            return Err(Failure::not_supported("this server takes no logs from remote agents"));
        };
        match (self.method, id) {
            (&Method::GET, None) => Ok(self.listen(relay, node)),
            (&Method::POST, Some(id)) => {
                let answer = relay.take(node, id).ok_or_else(Failure::no_such_path)?;
                let failed =
                    self.headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes() == b"application/json");
                deliver(body, failed, answer).await?;
                Ok(json_response(StatusCode::OK, &success(None)))
            }
            _ => Err(Failure::method_not_allowed()),
        }
    }

    fn listen(&self, relay: Arc<LogRelay>, node: &str) -> Response<Body> {
        let (sender, wishes) = mpsc::channel(MOST_WISHES);
        let source: Arc<dyn LogSource> = Arc::new(RemoteLogs { relay: relay.clone(), wishes: sender });
        relay.registry.register(node, source.clone());
        let connected = Connected { relay, node: node.to_owned(), source, wishes };
        let stopping = self.service.stopping();
        let lines = stream::unfold((connected, stopping), |(mut connected, mut stopping)| async move {
            let line = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return None,
                line = connected.wishes.recv() => line?,
            };
            Some((Ok(line), (connected, stopping)))
        });
        let mut response = Response::new(Body::stream(lines));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Passes an agent's answer on to who asked for the log; ends when the log does or nobody reads it any more.
async fn deliver(mut body: Body, failed: bool, answer: oneshot::Sender<Opened>) -> Result<(), Failure> {
    if failed {
        let bytes = body.read().await?;
        let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = status["message"].as_str().unwrap_or("the agent could not open the log").to_owned();
        let error = match status["code"].as_u64() {
            Some(400 | 404) => ApiError::BadRequest(message),
            _ => ApiError::Unavailable(message),
        };
        // Nobody waits any more when this fails, and then nobody needs the error.
        let _unread = answer.send(Err(error));
        return Ok(());
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    if answer.send(Ok(pieces)).is_err() {
        return Ok(());
    }
    loop {
        let frame = tokio::select! {
            biased;
            () = sender.closed() => return Ok(()),
            frame = body.frame() => frame,
        };
        match frame {
            None => return Ok(()),
            Some(Err(error)) => return Err(Failure::bad_request(format!("the log broke off: {error}"))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && sender.send(data).await.is_err()
                {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_as_it_was_written() {
        let query = LogQuery {
            pod: "u".into(),
            container: "c".into(),
            attempt: Some(2),
            follow: true,
            tail: Some(5),
            since: Some(Time::from_secs(7)),
            timestamps: true,
            limit_bytes: None,
        };
        let pod = Key::new(Kind::Pod, "d", "p");
        assert_eq!(read_wish(&wish("9", &pod, &query)), Some(("9".to_owned(), pod, query)));
        assert_eq!(read_wish(b"{}"), None);
    }
}
