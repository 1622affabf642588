//! The client of the API: HTTPS with the credentials of a kubeconfig, Kubernetes' wire protocol, errors as the server
//! words them. It knows paths and JSON, not kinds.

mod connect;
mod discovery;
mod flags;
mod kubeconfig;
mod objects;
mod target;

pub(crate) use discovery::{Discovery, Resource};
pub(crate) use flags::{ClientFlags, Scope, ScopeFlags, Target as TargetFlags};
pub(crate) use kubeconfig::default_state_dir;
pub(crate) use objects::items;
pub(crate) use target::{Target, one, resolve};

use anyhow::Context as _;
use bytes::Bytes;
use connect::Connector;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the head of an answer may take. Watches and logs answer their head at once; the slowest honest answer is a
/// commit on a busy disk.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest whole answer that is read, in bytes: a chunk of 500 objects of the largest size would be more, but no
/// server sends that.
const LONGEST_ANSWER: usize = 512 * 1024 * 1024;
/// The longest line of a watch, in bytes: an object of the largest size with its table row.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// The form of JSON merge patches.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
/// The form of strategic merge patches.
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
/// The form of JSON patches.
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
/// What asks for a table, and takes the plain object where there is none.
pub(crate) const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json";

/// A refusal by the server, as its `Status` says it.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) code: u16,
    /// Such as `NotFound`.
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "Error from server: {} (status {})", self.message, self.code)
        } else {
            write!(f, "Error from server ({}): {}", self.reason, self.message)
        }
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Reads what the server answered with an error status; a body that is no `Status` is shown as it is.
    fn read(code: StatusCode, body: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        let mut message = text("message");
        if message.is_empty() {
            let body = String::from_utf8_lossy(body);
            let body = body.trim();
            message = if body.is_empty() { code.to_string() } else { body.chars().take(500).collect() };
        }
        Self { code: code.as_u16(), reason: text("reason"), message }
    }

    /// From a `Status` object, as watches send it.
    pub(crate) fn from_status(status: &Value) -> Self {
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::read(code, status.to_string().as_bytes())
    }
}

/// Whether an error is the server's refusal with this HTTP status.
pub(crate) fn is_refused(error: &anyhow::Error, code: u16) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == code)
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    accept: &'static str,
    body: Option<(&'static str, Bytes)>,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), accept: "application/json", body: None }
    }

    /// Reads what is at a path.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Creates below a path.
    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new(Method::POST, path).body("application/json", body)
    }

    /// Patches what is at a path; `form` is the media type of the patch.
    pub(crate) fn patch(path: impl Into<String>, form: &'static str, body: &Value) -> Self {
        Self::new(Method::PATCH, path).body(form, body)
    }

    /// Deletes what is at a path, with `DeleteOptions`.
    pub(crate) fn delete(path: impl Into<String>, options: &Value) -> Self {
        Self::new(Method::DELETE, path).body("application/json", options)
    }

    fn body(mut self, form: &'static str, body: &Value) -> Self {
        self.body = Some((form, Bytes::from(body.to_string())));
        self
    }

    /// Adds a parameter; an empty value adds nothing.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.query.push((name, value));
        }
        self
    }

    /// Asks for another form of the answer.
    pub(crate) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            encode(value, &mut target);
        }
        target
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// A connection to a server, opened when first needed and kept while it is idle.
#[derive(Debug)]
pub(crate) struct Api {
    connector: Connector,
    /// The namespace when none is named.
    pub(crate) namespace: String,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
    warned: Mutex<BTreeSet<String>>,
}

impl Api {
    /// Reads the kubeconfig that the flags choose; connects to nothing yet.
    ///
    /// # Errors
    /// A kubeconfig that is missing, malformed, or asks for what is not supported; each says which file.
    pub(crate) fn new(flags: &ClientFlags) -> anyhow::Result<Self> {
        let access = kubeconfig::load(flags)?;
        let namespace = access.namespace.clone();
        let connector = Connector::new(access)?;
        Ok(Self { connector, namespace, idle: Mutex::default(), warned: Mutex::default() })
    }

    /// Where the server is, as the kubeconfig says it.
    pub(crate) fn server(&self) -> &str {
        &self.connector.server
    }

    /// Sends a request and gives the answer once its head has come.
    ///
    /// # Errors
    /// [`Refused`] for every error status; else why the server could not be reached.
    pub(crate) async fn send(&self, call: Call) -> anyhow::Result<Response<Incoming>> {
        let reach = || format!("cannot reach the server at {}", self.server());
        let mut sender = self.sender().await.with_context(reach)?;
        let mut request = hyper::Request::builder()
            .method(call.method.clone())
            .uri(call.target())
            .header(HOST, &self.connector.authority)
            .header(USER_AGENT, concat!("steer/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, call.accept);
        if let Some(token) = &self.connector.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some((form, _)) = &call.body {
            request = request.header(CONTENT_TYPE, *form);
        }
        let request = request.body(Full::new(call.body.map(|(_, body)| body).unwrap_or_default()))?;
        let answer = tokio::time::timeout(ANSWER, sender.send_request(request)).await;
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer within {} s", ANSWER.as_secs()));
        let answer = answer.with_context(reach)?.with_context(reach)?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.warn(&answer);
        let code = answer.status();
        if code.is_client_error() || code.is_server_error() {
            return Err(Refused::read(code, &whole(answer).await?).into());
        }
        Ok(answer)
    }

    /// The idle connection when it can carry a request now, else a new one.
    async fn sender(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        // The task that drives the connection learns only when it runs that the last answer was read whole.
        tokio::task::yield_now().await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        match idle {
            Some(sender) if sender.is_ready() => Ok(sender),
            _ => self.connector.connect().await,
        }
    }

    /// Prints the warnings of an answer, each text once.
    fn warn(&self, answer: &Response<Incoming>) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        for value in answer.headers().get_all("warning") {
            let value = value.to_str().unwrap_or_default();
            // `299 - "text"`, where the text escapes quotes and backslashes.
            let text = value.split_once('"').map_or(value, |(_, text)| text.trim_end().trim_end_matches('"'));
            let text = text.replace("\\\"", "\"").replace("\\\\", "\\");
            if warned.insert(text.clone()) {
                crate::out::note(format!("Warning: {text}"));
            }
        }
    }

    /// Sends a request and reads the JSON that is answered.
    ///
    /// # Errors
    /// As [`Api::send`], and for an answer that is no JSON.
    pub(crate) async fn json(&self, call: Call) -> anyhow::Result<Value> {
        let path = call.path.clone();
        let body = whole(self.send(call).await?).await?;
        serde_json::from_slice(&body).with_context(|| format!("what {} answered for {path} is no JSON", self.server()))
    }

    /// Like [`Api::json`], and nothing when there is nothing at the path.
    ///
    /// # Errors
    /// As [`Api::json`], `NotFound` aside.
    pub(crate) async fn find(&self, call: Call) -> anyhow::Result<Option<Value>> {
        match self.json(call).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_refused(&error, 404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and reads the answer line by line as it comes.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub(crate) async fn lines(&self, call: Call) -> anyhow::Result<Lines> {
        Ok(Lines { body: self.send(call).await?.into_body(), buffer: Vec::new(), ended: false })
    }
}

/// The whole body of an answer.
async fn whole(answer: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = http_body_util::Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
    Ok(body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes())
}

/// An answer that is read line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The next line without its end; nothing at the end of the answer. Cancelling loses nothing.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if self.ended {
                return Ok((!self.buffer.is_empty()).then(|| std::mem::take(&mut self.buffer)));
            }
            anyhow::ensure!(searched <= LONGEST_LINE, "a line of the answer is longer than {LONGEST_LINE} bytes");
            match self.body.frame().await {
                None => self.ended = true,
                Some(frame) => {
                    if let Ok(data) = frame.context("the answer broke off")?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "client/testing.rs"]
pub(crate) mod testing;
#[cfg(test)]
#[path = "client/tests.rs"]
mod tests;
