//! A world of one API on a counted store in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steersman_application::client::{ApiError, Client as _, DeleteOptions, Part, Write, WriteOptions};
use steersman_application::usecase::logs::LogRegistry;
use steersman_application::usecase::{Api, ApiConfig, ApiPorts, ServiceCidr};
use steersman_domain::ports::{
    Committed, Head, ListPage, ListQuery, Rejected, Scope, Store, StoreError, Txn, WatchStream,
};
use steersman_domain::testing::{ManualClock, SeededEntropy};
use steersman_domain::{Key, Kind, Object, Resource, Revision, Stored, Time};
use steersman_http::pki::Authority;
use steersman_http::{ApiService, Body, LogRelay, ServiceConfig, TokenTable, User};
use steersman_store::MemoryStore;

/// Counts the groups that are sent to the store.
pub(crate) struct Counted {
    inner: MemoryStore,
    pub(crate) commits: AtomicUsize,
}

#[async_trait::async_trait]
impl Store for Counted {
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<Result<Committed, Rejected>>, StoreError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(txns).await
    }
    async fn get(&self, key: &Key, at: Option<Revision>) -> Result<Option<Arc<Stored>>, StoreError> {
        self.inner.get(key, at).await
    }
    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        self.inner.list(query).await
    }
    async fn watch(&self, scope: Scope, after: Revision) -> Result<Box<dyn WatchStream>, StoreError> {
        self.inner.watch(scope, after).await
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }
    async fn compact(&self, before: Revision) -> Result<Revision, StoreError> {
        self.inner.compact(before).await
    }
    async fn revision_at(&self, time: Time) -> Result<Revision, StoreError> {
        self.inner.revision_at(time).await
    }
    async fn time_of(&self, revision: Revision) -> Result<Time, StoreError> {
        self.inner.time_of(revision).await
    }
    async fn set_term(&self, term: u64) -> Result<(), StoreError> {
        self.inner.set_term(term).await
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<Counted>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) api: Arc<Api>,
    pub(crate) service: ApiService,
}

/// An answer of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {:?}", self.bytes))
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().filter_map(|v| v.to_str().ok()).collect()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(None).await
    }

    /// A world whose service signs the certificates of nodes.
    pub(crate) async fn with(authority: Option<Arc<Authority>>) -> Self {
        let store = Arc::new(Counted { inner: MemoryStore::new(), commits: AtomicUsize::new(0) });
        let (clock, logs) = (Arc::new(ManualClock::default()), Arc::new(LogRegistry::default()));
        let ports = ApiPorts {
            store: store.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(7)),
            logs: logs.clone(),
        };
        let service_cidr = ServiceCidr::parse("127.64.16.0/28").expect("a range");
        let api = Arc::new(Api::new(ports, ApiConfig { default_runtime: "process".into(), service_cidr }));
        api.bootstrap().await.expect("an empty store can be set up");
        let tokens = TokenTable::new([
            ("admin-token".to_owned(), User::master("admin")),
            ("eve-token".to_owned(), User::new("eve", &[])),
            ("node-token".to_owned(), User::new("system:node:n1", &["system:nodes"])),
        ]);
        let relay = Some(Arc::new(LogRelay::new(logs.clone())));
        let service = ApiService::new(api.clone(), ServiceConfig { tokens, authority, relay, messenger: None });
        World { store, clock, api, service }
    }

    pub(crate) async fn write(&self, writes: Vec<Write>) -> Vec<Result<Arc<Stored>, ApiError>> {
        self.api.write(writes, &WriteOptions::default()).await
    }

    pub(crate) async fn try_create(&self, kind: Kind, value: Value) -> Result<Arc<Stored>, ApiError> {
        self.api.create(object(kind, value), &WriteOptions::default()).await
    }

    #[track_caller]
    pub(crate) fn create(&self, kind: Kind, value: Value) -> impl Future<Output = Arc<Stored>> {
        let text = value.to_string();
        async move { self.try_create(kind, value).await.unwrap_or_else(|e| panic!("{text}: {e}")) }
    }

    pub(crate) async fn update<T: Resource>(
        &self,
        key: &Key,
        part: Part,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<Stored>, ApiError> {
        let stored = self.api.get(key).await?;
        let mut typed = (**stored.typed::<T>().expect("of this kind")).clone();
        change(&mut typed);
        self.api.update(T::into_object(Arc::new(typed)), part, &WriteOptions::default()).await
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.api.delete(key, &DeleteOptions::default()).await
    }

    pub(crate) async fn typed<T: Resource>(&self, key: &Key) -> Option<Arc<T>> {
        self.api.get(key).await.ok().and_then(|s| s.typed::<T>().cloned())
    }

    /// A node with room for pods and cpu in thousandths of a core.
    pub(crate) async fn node(&self, name: &str, cpu_milli: i64) {
        let room = json!({"cpu": format!("{cpu_milli}m"), "memory": "1Gi", "pods": "110"});
        self.create(Kind::Node, json!({"metadata": {"name": name}, "status": {"allocatable": room}})).await;
    }

    pub(crate) async fn pod(&self, name: &str, cpu_milli: i64) -> Key {
        self.create(Kind::Pod, pod(name, cpu_milli)).await.key.clone()
    }

    /// Sends a request as the admin.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, &[], bytes).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", "Bearer admin-token");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.service.call(request.body(Body::whole(body)).expect("a request")).await;
        let (parts, body) = response.into_parts();
        let bytes = tokio::time::timeout(Duration::from_secs(10), body.collect_all()).await;
        let bytes = bytes.expect("the answer ends").expect("the answer is whole");
        Answer { code: parts.status, headers: parts.headers, bytes }
    }

    /// Opens a watch; its frames are read one by one.
    pub(crate) async fn watch(&self, path: &str, accept: &str) -> Frames {
        let request = Request::builder()
            .uri(path)
            .header("authorization", "Bearer admin-token")
            .header("accept", accept)
            .body(Body::empty())
            .expect("a request");
        let response = self.service.call(request).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Frames { body: response.into_body(), read: Vec::new() }
    }
}

pub(crate) struct Frames {
    body: Body,
    read: Vec<u8>,
}

impl Frames {
    /// The next frame; `None` at the end of the watch.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a frame is JSON"));
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await;
            match frame.expect("a frame comes within ten seconds") {
                None => return None,
                Some(frame) => self.read.extend_from_slice(&frame.expect("readable").into_data().expect("data")),
            }
        }
    }

    /// The next frame as `TYPE name`.
    pub(crate) async fn line(&mut self) -> String {
        let frame = self.next().await.expect("the watch goes on");
        let name = frame["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", frame["type"].as_str().unwrap_or_default())
    }
}

#[track_caller]
pub(crate) fn object(kind: Kind, mut value: Value) -> Object {
    if kind.info().namespaced && value["metadata"]["namespace"].is_null() {
        value["metadata"]["namespace"] = json!("default");
    }
    Object::from_value(kind, value).expect("decodes")
}

pub(crate) fn pod(name: &str, cpu_milli: i64) -> Value {
    let requests = json!({"cpu": format!("{cpu_milli}m")});
    json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]}})
}

pub(crate) fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

pub(crate) fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, if kind.info().namespaced { "default" } else { "" }, name)
}
