//! The API as one function from request to answer, for connections and for callers in the same process alike.

use crate::access::{self, References, TokenTable, User};
use crate::body::Body;
use crate::discovery;
use crate::error::{Failure, bytes_response, json_response};
use crate::negotiate::{self, Form};
use crate::pki::{Authority, Peer};
use crate::query::Query;
use crate::relay::LogRelay;
use crate::route::{Address, Target, route};
use crate::serve::Handler;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use steersman_application::usecase::Api;
use steersman_domain::ports::Messenger;
use tokio::sync::watch;

/// As many warnings as go with an answer, and how many characters each may have: clients refuse heads beyond 16 to 64 kB.
const MOST_WARNINGS: usize = 20;
const LONGEST_WARNING: usize = 256;

/// What an installation decides about its service.
#[derive(Clone, Debug, Default)]
pub struct ServiceConfig {
    /// Who may come with a bearer token.
    pub tokens: TokenTable,
    /// Signs the certificates of joining nodes; without one, joining is refused.
    pub authority: Option<Arc<Authority>>,
    /// Where remote agents deliver logs; without one, only in-process agents have logs.
    pub relay: Option<Arc<LogRelay>>,
    /// Delivers messages to functions; without one, they are refused.
    pub messenger: Option<Arc<dyn Messenger>>,
}

/// The Kubernetes API over one [`Api`]. Clones share everything.
#[derive(Clone)]
pub struct ApiService(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) api: Arc<Api>,
    pub(crate) config: ServiceConfig,
    ready: AtomicBool,
    stop: watch::Sender<bool>,
    references: References,
}

impl std::fmt::Debug for ApiService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiService").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl ApiService {
    /// A service that is ready at once; see [`ApiService::set_ready`].
    pub fn new(api: Arc<Api>, config: ServiceConfig) -> Self {
        let (stop, _) = watch::channel(false);
        let references = References::default();
        ApiService(Arc::new(Shared { api, config, ready: AtomicBool::new(true), stop, references }))
    }

    /// What `/readyz` answers from now on.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Ends every watch and every followed log, and answers `/readyz` with no, so that connections can be closed.
    pub fn stop(&self) {
        self.set_ready(false);
        self.0.stop.send_replace(true);
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.0.api
    }

    pub(crate) fn config(&self) -> &ServiceConfig {
        &self.0.config
    }

    /// What the pods of each node refer to.
    pub(crate) fn references(&self) -> &References {
        &self.0.references
    }

    /// Resolves once the service stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stop.subscribe()
    }

    /// Answers a request. Who asks is told by a [`User`] among the request's extensions, which only code in this process
    /// can put there, or by a bearer token.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut warnings = Vec::new();
        let mut response = match Box::pin(self.answer(&parts, body, &mut warnings)).await {
            Ok(response) => response,
            Err(failure) => failure.response(),
        };
        let mut told = BTreeSet::new();
        for warning in warnings.iter().filter(|w| told.insert(w.as_str())).take(MOST_WARNINGS) {
            if let Some(value) = warning_header(warning) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn answer(&self, parts: &Parts, body: Body, warnings: &mut Vec<String>) -> Result<Response<Body>, Failure> {
        let target = route(parts.uri.path());
        if target == Some(Target::Health) {
            return only_get(parts).map(|()| self.health(parts.uri.path()));
        }
        if target == Some(Target::Join) {
            return self.join(parts, body).await;
        }
        let user = match parts.extensions.get::<User>() {
            Some(user) => user.clone(),
            None => access::bearer(&parts.headers, &self.0.config.tokens)?.ok_or_else(Failure::unauthorized)?,
        };
        let form = negotiate::form(&parts.headers);
        let call = Call {
            service: self,
            user: &user,
            method: &parts.method,
            headers: &parts.headers,
            query: Query::parse(parts.uri.query()),
            form: form.unwrap_or(Form::Json),
            warnings,
        };
        match target {
            None => Err(Failure::no_such_path()),
            Some(Target::Resource(address)) => {
                if form.is_none() && address.sub != "log" {
                    return Err(Failure::not_acceptable());
                }
                call.resource(&address, body).await
            }
            Some(Target::Bindings(namespace)) => call.bindings(&namespace, body).await,
            Some(Target::Metrics(path)) => call.metrics(&path).await,
            Some(Target::Review(review)) => call.review(review, body).await,
            Some(Target::Renew) => self.renew(&user, parts, body).await,
            Some(Target::JoinTokens) => self.new_token(&user, parts, body).await,
            Some(Target::Relay { node, id }) => call.relay(&node, id.as_deref(), body).await,
            Some(other) => {
                only_get(parts)?;
                discovery::answer(&other, form, &parts.headers)
            }
        }
    }

    fn health(&self, path: &str) -> Response<Body> {
        if path.starts_with("/readyz") && !self.0.ready.load(Ordering::Acquire) {
            return bytes_response(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "not ready");
        }
        bytes_response(StatusCode::OK, "text/plain; charset=utf-8", "ok")
    }
}

fn only_get(parts: &Parts) -> Result<(), Failure> {
    if matches!(parts.method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Failure::method_not_allowed()) }
}

/// `299 - "text"`, with what may not stand in a header left out.
fn warning_header(text: &str) -> Option<HeaderValue> {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push_str("299 - \"");
    for c in text.chars().take(LONGEST_WARNING) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {}
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    HeaderValue::from_bytes(quoted.as_bytes()).ok()
}

impl Handler for ApiService {
    type Body = Body;

    async fn handle(&self, peer: Option<Arc<Peer>>, request: Request<Incoming>) -> Response<Body> {
        let mut request = request.map(Body::from);
        if let Some(peer) = peer {
            request.extensions_mut().insert(User::from(&*peer));
        }
        self.call(request).await
    }
}

/// One request by one user, once its path is known.
pub(crate) struct Call<'a> {
    pub(crate) service: &'a ApiService,
    pub(crate) user: &'a User,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Query<'a>,
    pub(crate) form: Form,
    pub(crate) warnings: &'a mut Vec<String>,
}

impl Call<'_> {
    pub(crate) fn api(&self) -> &Arc<Api> {
        self.service.api()
    }

    async fn resource(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let verb = access::verb(self.method, address.name.is_some(), self.query.flag("watch")?);
        self.authorize(verb, address).await?;
        if address.sub.is_empty() {
            return self.whole(address, body).await;
        }
        let offered = address.wire.subresources.iter().any(|s| s.name == address.sub);
        match (address.sub.as_str(), self.method) {
            ("status" | "finalize", &Method::GET | &Method::HEAD) if offered => self.get(address).await,
            ("status" | "finalize", &Method::PUT) if offered => self.update(address, body).await,
            ("status", &Method::PATCH) if offered => self.patch(address, body).await,
            ("scale", _) if offered => self.scale(address, body).await,
            ("binding", &Method::POST) if offered => self.bind(address, body).await,
            ("eviction", &Method::POST) if offered => self.evict(address, body).await,
            ("log", &Method::GET) if offered => self.log(address).await,
            ("explain", &Method::GET) => self.explain(address).await,
            ("ask" | "send", &Method::POST) if matches!(address.wire.plural, "pods" | "services") => {
                self.message(address, body).await
            }
            (sub @ ("exec" | "attach" | "portforward"), _) if address.wire.plural == "pods" => {
                Err(Failure::not_supported(format!(
                    "pods/{sub} is not supported: this server does not open streams into pods yet; use `kubectl logs` to \
                     see what a container writes"
                )))
            }
            ("ephemeralcontainers", _) if address.wire.plural == "pods" => Err(Failure::not_supported(
                "pods/ephemeralcontainers is not supported: containers cannot be added to a pod that is there; run a pod \
                 of its own beside it",
            )),
            (sub, _) if sub == "proxy" || sub.starts_with("proxy/") => Err(Failure::not_supported(
                "proxying to workloads is not supported: connect to the service's cluster address instead",
            )),
            _ if offered => Err(Failure::method_not_allowed()),
            _ => Err(Failure::no_such_path()),
        }
    }

    /// The object itself, or all of its kind.
    async fn whole(self, address: &Address, body: Body) -> Result<Response<Body>, Failure> {
        let named = address.name.is_some();
        match *self.method {
            Method::GET | Method::HEAD if self.query.flag("watch")? => self.watch(address).await,
            Method::GET | Method::HEAD if named => self.get(address).await,
            Method::GET | Method::HEAD => self.list(address).await,
            Method::POST if !named => self.create(address, body).await,
            Method::PUT if named => self.update(address, body).await,
            Method::PATCH if named => self.patch(address, body).await,
            Method::DELETE if named => self.delete(address, body).await,
            Method::DELETE => self.delete_collection(address, body).await,
            _ => Err(Failure::method_not_allowed()),
        }
    }

    pub(crate) fn json(&self, code: StatusCode, value: &serde_json::Value) -> Response<Body> {
        json_response(code, value)
    }
}
