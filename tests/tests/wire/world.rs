//! A cluster without controllers, nodes or sockets, and words to ask it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use steersman_application::client::ApiError;
use steersman_application::usecase::logs::LogSource;
use steersman_application::usecase::{Api, ApiConfig, ApiPorts, ServiceCidr};
use steersman_domain::Key;
use steersman_domain::ports::{LogQuery, LogStream, RuntimeError};
use steersman_domain::testing::{ManualClock, SeededEntropy};
use steersman_http::{ApiService, Body, ServiceConfig, TokenTable, User};
use steersman_store::MemoryStore;

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
/// A bearer token that the service knows as a member of `system:masters`.
pub(crate) const TOKEN: &str = "good-token";

/// The service and what it stands on.
pub(crate) struct World {
    pub(crate) service: ApiService,
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<ManualClock>,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The body, once the code is the expected one.
    #[track_caller]
    pub(crate) fn expect(&self, code: u16) -> Value {
        let body = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.code.as_u16(), code, "{body}");
        self.json()
    }

    /// The message of a `Status` with this code and reason.
    #[track_caller]
    pub(crate) fn refusal(&self, code: u16, reason: &str) -> String {
        let status = self.expect(code);
        assert_eq!(
            (&status["kind"], &status["apiVersion"], &status["status"]),
            (&json!("Status"), &json!("v1"), &json!("Failure")),
            "{status}"
        );
        assert_eq!((&status["reason"], &status["code"]), (&json!(reason), &json!(code)), "{status}");
        status["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The texts of the `Warning` headers.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let values = self.headers.get_all(header::WARNING).iter();
        values.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect()
    }
}

/// One request in the making.
pub(crate) struct Ask<'a> {
    world: &'a World,
    request: http::request::Builder,
    body: Body,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// With a body as it is, of this media type; empty: none is named.
    pub(crate) fn body(mut self, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        self.body = Body::whole(bytes);
        if media_type.is_empty() { self } else { self.header(header::CONTENT_TYPE, media_type) }
    }

    pub(crate) async fn open(self) -> Response<Body> {
        self.world.service.call(self.request.body(self.body).expect("a request")).await
    }

    pub(crate) async fn send(self) -> Answer {
        let (parts, body) = self.open().await.into_parts();
        let bytes = body.collect_all().await.expect("the body ends in order");
        Answer { code: parts.status, headers: parts.headers, bytes }
    }
}

impl World {
    /// A cluster with the namespaces that every cluster has.
    pub(crate) async fn new() -> Self {
        let (store, clock) = (MemoryStore::new(), Arc::new(ManualClock::default()));
        let ports = ApiPorts {
            store: Arc::new(store.clone()),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(7)),
            logs: Arc::new(TwoLines),
        };
        let config = ApiConfig {
            default_runtime: "process".into(),
            service_cidr: ServiceCidr::parse("127.64.0.0/20").expect("a range"),
        };
        let api = Arc::new(Api::new(ports, config));
        api.bootstrap().await.expect("the store is there");
        let tokens = TokenTable::new([(TOKEN.to_owned(), User::master("token-bearer"))]);
        let service = ApiService::new(api, ServiceConfig { tokens, ..ServiceConfig::default() });
        World { service, store, clock }
    }

    /// A request of nobody.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { world: self, request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    /// A request of a user.
    pub(crate) fn ask_as(&self, user: User, method: Method, path: &str) -> Ask<'_> {
        let mut ask = self.anonymous(method, path);
        ask.request = ask.request.extension(user);
        ask
    }

    /// A request of the administrator.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        self.ask_as(User::master("admin"), method, path)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path).send().await
    }

    pub(crate) async fn post(&self, path: &str, value: &Value) -> Answer {
        self.ask(Method::POST, path).body("application/json", value.to_string()).send().await
    }

    pub(crate) async fn put(&self, path: &str, value: &Value) -> Answer {
        self.ask(Method::PUT, path).body("application/json", value.to_string()).send().await
    }

    /// A patch; `form` is `json`, `merge`, `strategic-merge`.
    pub(crate) async fn patch(&self, path: &str, form: &str, value: &Value) -> Answer {
        self.ask(Method::PATCH, path).body(&format!("application/{form}-patch+json"), value.to_string()).send().await
    }

    /// Creates a config map with one label; answers it.
    pub(crate) async fn config_map(&self, name: &str, app: &str) -> Value {
        let value = json!({"metadata": {"name": name, "labels": {"app": app}}, "data": {"k": "v"}});
        self.post(CONFIG_MAPS, &value).await.expect(201)
    }

    /// The frames of a watch.
    pub(crate) async fn watch(&self, path: &str) -> Frames {
        let (parts, body) = self.ask(Method::GET, path).open().await.into_parts();
        if parts.status != StatusCode::OK {
            let bytes = body.collect_all().await.unwrap_or_default();
            panic!("{path}: {} {}", parts.status, String::from_utf8_lossy(&bytes));
        }
        Frames { body, pending: Vec::new() }
    }
}

/// The frames of a watch as they come.
pub(crate) struct Frames {
    body: Body,
    pending: Vec<u8>,
}

impl Frames {
    /// The next frame; `None`: the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a frame is one line of JSON"));
            }
            let frame = self.body.frame().await?.expect("the watch ends in order");
            self.pending.extend_from_slice(&frame.into_data().expect("watches have no trailers"));
        }
    }

    /// The next frame, which must be there already.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> Value {
        self.poll().expect("a frame is there").expect("the watch goes on")
    }

    /// What there is without waiting: nothing yet, the end, or a frame.
    pub(crate) fn poll(&mut self) -> Option<Option<Value>> {
        match pin!(self.next()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => None,
        }
    }

    /// Type and name of the next frame, which must be there already.
    #[track_caller]
    pub(crate) fn short(&mut self) -> (String, String) {
        let frame = self.ready();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        (text(&frame["type"]), text(&frame["object"]["metadata"]["name"]))
    }
}

/// Logs of two lines that tell what was asked.
struct TwoLines;

#[async_trait::async_trait]
impl LogSource for TwoLines {
    async fn logs(&self, node: &str, _: &Key, query: LogQuery) -> Result<Box<dyn LogStream>, ApiError> {
        let asked = format!(
            "{node} {} tail={:?} since={:?} timestamps={} limit={:?}\n",
            query.container,
            query.tail,
            query.since.map(|t| t.to_string()),
            query.timestamps,
            query.limit_bytes
        );
        Ok(Box::new(Lines { lines: vec!["second\n".into(), asked], follow: query.follow }))
    }
}

struct Lines {
    lines: Vec<String>,
    follow: bool,
}

#[async_trait::async_trait]
impl LogStream for Lines {
    async fn next(&mut self) -> Result<Option<Bytes>, RuntimeError> {
        match self.lines.pop() {
            Some(line) => Ok(Some(line.into())),
            None if self.follow => std::future::pending().await,
            None => Ok(None),
        }
    }
}

/// A deployment of three replicas.
pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "one"}, {"name": "side", "image": "two"}]},
        }},
    })
}

/// A pod of one container.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "one"}]},
    })
}

/// A node with room.
pub(crate) fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    })
}
