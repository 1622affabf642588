//! Watches: frames of JSON, one change each, in order of revision and without gaps. A frame carries the bytes that the
//! object is stored with, encoded once for all watchers.

use crate::body::{Body, BoxError};
use crate::error::Failure;
use crate::render::Renderer;
use crate::route::Address;
use crate::service::{ApiService, Call};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, Response, header};
use std::sync::Arc;
use std::time::Duration;
use steersman_application::client::{ApiError, Client as _, Selection};
use steersman_application::usecase::PageQuery;
use steersman_domain::ports::{Change, WatchStream};
use steersman_domain::{Revision, Stored};

/// How often a watcher that allows it hears up to where it has seen everything.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long a watch without `timeoutSeconds` lasts at least; up to twice that, so that clients do not come back together.
const SHORTEST: Duration = Duration::from_secs(30 * 60);
/// Existing objects go out in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// What a watch begins with.
struct Beginning {
    initial: Vec<Arc<Stored>>,
    from: Revision,
    /// A bookmark says where the existing objects end.
    mark_end: bool,
}

impl Call<'_> {
    /// Streams the changes of an object or of a kind.
    pub(crate) async fn watch(&self, address: &Address) -> Result<Response<Body>, Failure> {
        let selection = self.selection(address)?;
        let bookmarks = self.query.flag("allowWatchBookmarks")?;
        let start = self.beginning(&selection, bookmarks).await?;
        let inner = self.api().watch(&selection, start.from).await?;
        let clock = self.api().clock();
        let lasts = match self.query.number("timeoutSeconds")? {
            Some(secs) if secs > 0 => Duration::from_secs(secs.unsigned_abs()),
            _ => SHORTEST + Duration::from_secs(self.api().entropy().random() % SHORTEST.as_secs()),
        };
        let now = clock.monotonic();
        let watcher = Watcher {
            service: self.service.clone(),
            render: self.renderer(address),
            initial: start.initial.into_iter(),
            mark_end: start.mark_end.then_some(start.from),
            inner,
            ends: now.saturating_add(lasts),
            bookmark: bookmarks.then_some(now + BOOKMARK),
            sent: start.from,
            over: false,
        };
        let mut response = Response::new(Body::stream(stream::unfold(watcher, Watcher::step)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// Where a watch starts, by the table of Kubernetes' "API concepts".
    async fn beginning(&self, selection: &Selection, bookmarks: bool) -> Result<Beginning, Failure> {
        let wanted = self.revision()?;
        let send = self.query.choice("sendInitialEvents")?;
        let matching = self.query.get("resourceVersionMatch");
        if send.is_some() && matching != "NotOlderThan" {
            let why = "resourceVersionMatch=NotOlderThan is required when sendInitialEvents is given";
            return Err(Failure::invalid_parameter("resourceVersionMatch", why));
        }
        if send.is_none() && !matching.is_empty() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(Failure::invalid_parameter("resourceVersionMatch", why));
        }
        match (send, wanted.filter(|r| r.0 > 0)) {
            (Some(false), None) => {
                let from = self.api().head().await?.revision;
                Ok(Beginning { initial: Vec::new(), from, mark_end: false })
            }
            (None | Some(false), Some(from)) => Ok(Beginning { initial: Vec::new(), from, mark_end: false }),
            (Some(true), at) => {
                let page = self.api().list_page(selection, &PageQuery::default()).await?;
                if let Some(at) = at.filter(|at| *at > page.revision) {
                    let message = format!("Too large resource version: {at}, current: {}", page.revision);
                    return Err(ApiError::BadRequest(message).into());
                }
                Ok(Beginning { initial: page.items, from: page.revision, mark_end: bookmarks })
            }
            (None, None) => {
                let page = self.api().list_page(selection, &PageQuery::default()).await?;
                Ok(Beginning { initial: page.items, from: page.revision, mark_end: false })
            }
        }
    }
}

struct Watcher {
    service: ApiService,
    render: Renderer,
    initial: std::vec::IntoIter<Arc<Stored>>,
    mark_end: Option<Revision>,
    inner: Box<dyn WatchStream>,
    /// Monotonic time at which the watch ends.
    ends: Duration,
    bookmark: Option<Duration>,
    /// The last revision that the client was told of.
    sent: Revision,
    over: bool,
}

impl Watcher {
    /// The next piece of the answer.
    async fn step(mut self) -> Option<(Result<Bytes, BoxError>, Watcher)> {
        if self.over {
            return None;
        }
        if let Some(piece) = self.existing() {
            return Some((Ok(piece), self));
        }
        if let Some(revision) = self.mark_end.take() {
            let frame = frame("BOOKMARK", self.render.bookmark(revision, true).to_string().as_bytes());
            return Some((Ok(frame), self));
        }
        let mut stopping = self.service.stopping();
        let clock = self.service.api().clock().clone();
        loop {
            let wake = self.bookmark.map_or(self.ends, |b| b.min(self.ends));
            let pause = wake.saturating_sub(clock.monotonic());
            let changes = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return None,
                changes = self.inner.next() => changes,
                () = clock.sleep(pause) => {
                    let now = clock.monotonic();
                    if now >= self.ends {
                        return None;
                    }
                    match self.tick(now) {
                        Some(frame) => return Some((Ok(frame), self)),
                        None => continue,
                    }
                }
            };
            return match changes {
                Ok(changes) => Some((Ok(self.changed(&changes)), self)),
                Err(error) => {
                    self.over = true;
                    let status = Failure::from(ApiError::from(error)).status();
                    Some((Ok(frame("ERROR", status.to_string().as_bytes())), self))
                }
            };
        }
    }

    fn existing(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        while piece.len() < PIECE_BYTES {
            let Some(stored) = self.initial.next() else { break };
            push(&mut piece, "ADDED", &self.render.next_object(&stored));
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }

    fn changed(&mut self, changes: &[Change]) -> Bytes {
        self.render.now = self.service.api().now().secs();
        let mut piece = BytesMut::new();
        for change in changes {
            self.sent = change.revision();
            match change {
                Change::Put { before: None, after } => push(&mut piece, "ADDED", &self.render.next_object(after)),
                Change::Put { before: Some(_), after } => push(&mut piece, "MODIFIED", &self.render.next_object(after)),
                Change::Delete { last, .. } => push(&mut piece, "DELETED", &self.render.next_object(last)),
            }
        }
        piece.freeze()
    }

    /// A bookmark, when one is due and says something new.
    fn tick(&mut self, now: Duration) -> Option<Bytes> {
        self.bookmark = self.bookmark.filter(|b| *b > now).or_else(|| self.bookmark.map(|_| now + BOOKMARK));
        let seen = self.inner.progress();
        if seen <= self.sent {
            return None;
        }
        self.sent = seen;
        Some(frame("BOOKMARK", self.render.bookmark(seen, false).to_string().as_bytes()))
    }
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut piece = BytesMut::with_capacity(object.len() + 40);
    push(&mut piece, kind, object);
    piece.freeze()
}

fn push(piece: &mut BytesMut, kind: &str, object: &[u8]) {
    piece.reserve(object.len() + 40);
    piece.put_slice(b"{\"type\":\"");
    piece.put_slice(kind.as_bytes());
    piece.put_slice(b"\",\"object\":");
    piece.put_slice(object);
    piece.put_slice(b"}\n");
}
