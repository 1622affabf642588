//! The API over a connection, for agents and tools: one HTTP/2 connection with mutual TLS, opened when it is needed and
//! again after it broke. Requests that were under way then fail as `Unavailable`; to repeat them, and to reopen watches,
//! is the caller's decision.

mod connection;
mod join;
mod paths;
mod renew;
mod status;
mod watch;

pub use join::join_cluster;
pub use renew::keep_renewed;

use crate::body::Body;
use crate::pki::Identity;
use crate::relay::read_wish;
use bytes::{Bytes, BytesMut};
use connection::Connection;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::{
    ApiError, Client, DeleteOptions, Part, Propagation, Selection, Write, WriteOptions,
};
use steersman_application::usecase::logs::LogSource;
use steersman_domain::ports::{ListPage, LogStream, WatchStream};
use steersman_domain::{Key, Object, Revision, Stored};

/// How long a request other than a watch may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the API is and how to prove who asks.
#[derive(Clone)]
pub struct RemoteConfig {
    /// `https://HOST:PORT`
    pub server: String,
    /// The authority that signed the server's certificate, as PEM.
    pub authority: String,
    /// The client certificate; `None`: a token, or nothing.
    pub identity: Option<Identity>,
    /// A bearer token.
    pub token: Option<String>,
}

impl std::fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteConfig").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Why a client cannot work at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// This is no address of a server.
    #[error("{0:?} is not the address of a server: write https://HOST:PORT")]
    Address(String),
    /// Keys or certificates cannot be used.
    #[error("keys and certificates: {0}")]
    Tls(String),
    /// The server has refused.
    #[error("{0}")]
    Refused(String),
    /// The server was not reached.
    #[error("{0}")]
    Unreachable(String),
}

/// The API over a connection. Clones share it.
#[derive(Clone, Debug)]
pub struct RemoteClient(Arc<Connection>);

impl RemoteClient {
    /// A client; connects at the first request.
    ///
    /// # Errors
    /// When the address or the certificates make no sense.
    pub fn new(config: &RemoteConfig) -> Result<Self, ClientError> {
        Connection::new(config).map(|connection| RemoteClient(Arc::new(connection)))
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Response<Incoming>, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(self.0.uri(path))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            // Deletions answer with what was deleted.
            .header("prefer", "return=representation")
            .body(body)
            .map_err(|e| ApiError::BadRequest(format!("{path}: {e}")))?;
        self.0.send(request).await
    }

    /// Sends a request and reads the whole answer.
    async fn exchange(&self, method: Method, path: &str, body: Bytes, key: &Key) -> Result<Bytes, ApiError> {
        let exchange = async {
            let response = self.send(method, path, Body::whole(body)).await?;
            let code = response.status();
            let bytes = response.into_body().collect().await.map_err(connection::broken)?.to_bytes();
            if code.is_success() { Ok(bytes) } else { Err(status::error(code, &bytes, key)) }
        };
        let late = || ApiError::Unavailable(format!("the server did not answer within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    async fn object(&self, method: Method, path: &str, body: Bytes, key: &Key) -> Result<Arc<Stored>, ApiError> {
        let bytes = self.exchange(method, path, body, key).await?;
        stored(key, &bytes).map(Arc::new)
    }

    async fn perform(&self, write: Write, options: &WriteOptions) -> Result<Arc<Stored>, ApiError> {
        match write {
            Write::Create(object) => {
                let key = paths::key_of(&object);
                let path = format!("{}?{}", paths::collection(key.kind, &key.namespace), paths::options(options));
                self.object(Method::POST, &path, object.encode().into(), &key).await
            }
            Write::Update(object, part) => {
                let key = paths::key_of(&object);
                let sub = match part {
                    Part::Main => "",
                    Part::Status => "/status",
                    Part::Finalize => "/finalize",
                };
                let path = format!("{}{sub}?{}", paths::object(&key), paths::options(options));
                self.object(Method::PUT, &path, object.encode().into(), &key).await
            }
            Write::Delete(key, how) => {
                let body = delete_body(&how, options.dry_run).to_string();
                self.object(Method::DELETE, &paths::object(&key), body.into(), &key).await
            }
            Write::Bind { pod, uid, node } => {
                let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name, "uid": uid},
                    "target": {"kind": "Node", "name": node}});
                let path = format!("{}/binding?{}", paths::object(&pod), paths::options(options));
                self.exchange(Method::POST, &path, body.to_string().into(), &pod).await?;
                self.get(&pod).await
            }
        }
    }

    /// Answers the server's wishes for logs of a node's pods out of `source`, until the connection breaks; then says why.
    /// Every log is read by a task of its own.
    pub async fn serve_logs(&self, node: &str, source: Arc<dyn LogSource>) -> ApiError {
        let path = format!("/apis/steersman.io/v1/nodes/{node}/logs");
        let mut body = match self.send(Method::GET, &path, Body::empty()).await {
            Ok(response) if response.status() == StatusCode::OK => response.into_body(),
            Ok(response) => return ApiError::Unavailable(format!("the server takes no logs: {}", response.status())),
            Err(error) => return error,
        };
        let mut read = BytesMut::new();
        loop {
            match body.frame().await {
                None => return ApiError::Unavailable("the server ended the wait for log requests".into()),
                Some(Err(error)) => return connection::broken(error),
                Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map_or(&[], |d| d)),
            }
            while let Some(end) = read.iter().position(|b| *b == b'\n') {
                let line = read.split_to(end + 1);
                let (client, source, node, path) = (self.clone(), source.clone(), node.to_owned(), path.clone());
                tokio::spawn(async move { client.answer_wish(&line, &*source, &node, &path).await });
            }
        }
    }

    async fn answer_wish(&self, line: &[u8], source: &dyn LogSource, node: &str, path: &str) {
        let Some((id, pod, query)) = read_wish(line) else { return };
        let request = Request::builder().method(Method::POST).uri(self.0.uri(&format!("{path}/{id}")));
        let request = match source.logs(node, &pod, query).await {
            Ok(log) => request.header(header::CONTENT_TYPE, "application/octet-stream").body(log_body(log)),
            Err(error) => {
                let code = if matches!(error, ApiError::Unavailable(_)) { 503 } else { 400 };
                let status = json!({"message": error.to_string(), "code": code}).to_string();
                request.header(header::CONTENT_TYPE, "application/json").body(Body::whole(status))
            }
        };
        let Ok(request) = request else { return };
        if let Err(error) = self.0.send(request).await {
            tracing::debug!(%error, pod = %pod, "a log could not be delivered");
        }
    }
}

fn log_body(log: Box<dyn LogStream>) -> Body {
    Body::stream(stream::unfold(log, |mut log| async move {
        match log.next().await {
            Ok(Some(piece)) => Some((Ok(piece), log)),
            Ok(None) => None,
            Err(error) => Some((Err(error.into()), log)),
        }
    }))
}

fn delete_body(how: &DeleteOptions, dry_run: bool) -> Value {
    let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    if let Some(secs) = how.grace_period_seconds {
        body["gracePeriodSeconds"] = json!(secs);
    }
    if let Some(policy) = how.propagation {
        body["propagationPolicy"] = json!(match policy {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        });
    }
    if let Some(uid) = &how.uid {
        body["preconditions"]["uid"] = json!(uid);
    }
    if let Some(revision) = how.resource_version {
        body["preconditions"]["resourceVersion"] = json!(revision);
    }
    if how.dry_run || dry_run {
        body["dryRun"] = json!(["All"]);
    }
    body
}

/// An object of the wire.
fn stored(key: &Key, json: &[u8]) -> Result<Stored, ApiError> {
    let object = Object::decode(key.kind, json)
        .map_err(|e| ApiError::Unavailable(format!("the server's answer is not a {}: {e}", key.kind)))?;
    let revision = object.meta().resource_version;
    Ok(Stored::new(paths::key_of(&object), revision, object))
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: Revision,
}

#[async_trait::async_trait]
impl Client for RemoteClient {
    async fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.object(Method::GET, &paths::object(key), Bytes::new(), key).await
    }

    async fn list(&self, selection: &Selection) -> Result<ListPage, ApiError> {
        let (kind, path) = paths::selection(selection)?;
        let key = Key::new(kind, selection.scope.namespace.as_deref().unwrap_or_default(), "");
        let bytes = self.exchange(Method::GET, &path, Bytes::new(), &key).await?;
        let list: List<'_> = serde_json::from_slice(&bytes)
            .map_err(|e| ApiError::Unavailable(format!("the server's answer is not a list: {e}")))?;
        let items: Result<_, ApiError> =
            list.items.iter().map(|raw| stored(&key, raw.get().as_bytes()).map(Arc::new)).collect();
        Ok(ListPage { items: items?, revision: list.metadata.resource_version, remaining: 0 })
    }

    async fn watch(&self, selection: &Selection, after: Revision) -> Result<Box<dyn WatchStream>, ApiError> {
        let (kind, path) = paths::selection(selection)?;
        let query = format!("watch=1&allowWatchBookmarks=true&resourceVersion={after}");
        let path = if path.contains('?') { format!("{path}&{query}") } else { format!("{path}?{query}") };
        let begin = async {
            let response = self.send(Method::GET, &path, Body::empty()).await?;
            let code = response.status();
            if code == StatusCode::OK {
                return Ok(response.into_body());
            }
            let bytes = response.into_body().collect().await.map_err(connection::broken)?.to_bytes();
            Err(status::error(code, &bytes, &Key::new(kind, "", "")))
        };
        let late = || ApiError::Unavailable(format!("the server did not answer within {} s", PATIENCE.as_secs()));
        let body = tokio::time::timeout(PATIENCE, begin).await.unwrap_or_else(|_| Err(late()))?;
        Ok(Box::new(watch::RemoteWatch::new(kind, body, after)))
    }

    async fn write(&self, writes: Vec<Write>, options: &WriteOptions) -> Vec<Result<Arc<Stored>, ApiError>> {
        if options.atomic {
            let only =
                "writes are done together only in the process of the cluster; over the network, send them one by one";
            return writes.iter().map(|_| Err(ApiError::NotSupported(only.into()))).collect();
        }
        let mut answers = Vec::with_capacity(writes.len());
        let (mut wave, mut touched) = (Vec::new(), BTreeSet::new());
        for write in writes {
            // Writes about different objects share the connection; those about one object follow each other.
            if !touched.insert(paths::key_of_write(&write)) {
                answers.extend(join_all(std::mem::take(&mut wave)).await);
                touched = BTreeSet::from([paths::key_of_write(&write)]);
            }
            wave.push(self.perform(write, options));
        }
        answers.extend(join_all(wave).await);
        answers
    }
}
