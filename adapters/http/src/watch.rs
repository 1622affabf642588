//! Watches: frames of JSON, one change each, in order of revision and without gaps. A frame carries the bytes that the
//! object is stored with, encoded once for all watchers. What a watcher hears is made when it can be sent: a watcher that does
//! not read holds a page of references and a few pieces of text, never the list.

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
use steersman_application::usecase::{Api, Page, PageQuery};
use steersman_domain::ports::{Change, WatchStream};
use steersman_domain::{Revision, Stored};

/// How often a watcher that allows it hears up to where it has seen everything.
const BOOKMARK: Duration = Duration::from_secs(60);
/// How long a watch without `timeoutSeconds` lasts at least; up to twice that, so that clients do not come back together.
const SHORTEST: Duration = Duration::from_secs(30 * 60);
/// Objects go out in pieces of at least this size where there are enough, so that most pieces fit a record of TLS.
const PIECE_BYTES: usize = 14 * 1024;
/// The room that a piece of many objects begins with.
const PIECE_ROOM: usize = 16 * 1024;
/// Existing objects are read in pages of so many: enough that a page costs little beside its sending, few enough that a slow
/// watcher keeps few old revisions alive.
const PAGE: usize = 1000;

/// What a watch begins with.
struct Beginning {
    existing: Existing,
    from: Revision,
    /// A bookmark says where the existing objects end.
    mark_end: bool,
}

/// The objects that are there when a watch begins, all as of one revision, page by page.
#[derive(Default)]
struct Existing {
    page: std::vec::IntoIter<Arc<Stored>>,
    /// What comes after the page; `None`: nothing.
    next: Option<(Selection, PageQuery)>,
}

impl Existing {
    fn of(page: Page, selection: Selection) -> Self {
        let revision = page.revision;
        let query = |after| PageQuery { after: Some(after), limit: PAGE, at: Some(revision) };
        Existing { next: page.next.map(|after| (selection, query(after))), page: page.items.into_iter() }
    }

    /// The next object.
    async fn next(&mut self, api: &Api) -> Result<Option<Arc<Stored>>, ApiError> {
        loop {
            if let Some(stored) = self.page.next() {
                return Ok(Some(stored));
            }
            let Some((selection, query)) = self.next.take() else { return Ok(None) };
            *self = Existing::of(api.list_page(&selection, &query).await?, selection);
        }
    }
}

impl Call<'_> {
    /// Streams the changes of an object or of a kind.
    pub(crate) async fn watch(&self, address: &Address) -> Result<Response<Body>, Failure> {
        let selection = self.selection(address)?;
        let bookmarks = self.query.flag("allowWatchBookmarks")?;
        let start = self.beginning(&selection, bookmarks).await?;
        // It remembers no more than where it is in the log.
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
            existing: start.existing,
            mark_end: start.mark_end.then_some(start.from),
            inner,
            changes: Vec::new().into_iter(),
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
        let first = PageQuery { limit: PAGE, ..PageQuery::default() };
        match (send, wanted.filter(|r| r.0 > 0)) {
            (Some(false), None) => {
                let from = self.api().head().await?.revision;
                Ok(Beginning { existing: Existing::default(), from, mark_end: false })
            }
            (None | Some(false), Some(from)) => Ok(Beginning { existing: Existing::default(), from, mark_end: false }),
            (Some(true), at) => {
                let page = self.api().list_page(selection, &first).await?;
                if let Some(at) = at.filter(|at| *at > page.revision) {
                    let message = format!("Too large resource version: {at}, current: {}", page.revision);
                    return Err(ApiError::BadRequest(message).into());
                }
                Ok(Beginning {
                    from: page.revision,
                    existing: Existing::of(page, selection.clone()),
                    mark_end: bookmarks,
                })
            }
            (None, None) => {
                let page = self.api().list_page(selection, &first).await?;
                Ok(Beginning { from: page.revision, existing: Existing::of(page, selection.clone()), mark_end: false })
            }
        }
    }
}

struct Watcher {
    service: ApiService,
    render: Renderer,
    existing: Existing,
    mark_end: Option<Revision>,
    inner: Box<dyn WatchStream>,
    /// Changes that were delivered and are not sent yet.
    changes: std::vec::IntoIter<Change>,
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
        match self.existing().await {
            Ok(None) => {}
            Ok(Some(piece)) => return Some((Ok(piece), self)),
            Err(error) => return Some((Ok(self.failed(error)), self)),
        }
        if let Some(revision) = self.mark_end.take() {
            let frame = frame("BOOKMARK", self.render.bookmark(revision, true).to_string().as_bytes());
            return Some((Ok(frame), self));
        }
        if let Some(piece) = self.changed() {
            return Some((Ok(piece), self));
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
            match changes {
                Ok(changes) => self.changes = changes.into_iter(),
                Err(error) => return Some((Ok(self.failed(error.into())), self)),
            }
            if let Some(piece) = self.changed() {
                return Some((Ok(piece), self));
            }
        }
    }

    /// The frame that tells why the watch is over.
    fn failed(&mut self, error: ApiError) -> Bytes {
        self.over = true;
        frame("ERROR", Failure::from(error).status().to_string().as_bytes())
    }

    /// The next piece of the objects that were there at the beginning.
    async fn existing(&mut self) -> Result<Option<Bytes>, ApiError> {
        let mut piece = BytesMut::with_capacity(PIECE_ROOM.min(self.existing.page.len() * 1024));
        while piece.len() < PIECE_BYTES {
            let Some(stored) = self.existing.next(self.service.api()).await? else { break };
            push(&mut piece, "ADDED", &self.render.next_object(&stored));
        }
        Ok((!piece.is_empty()).then(|| piece.freeze()))
    }

    /// The next piece of what has changed.
    fn changed(&mut self) -> Option<Bytes> {
        self.render.now = self.service.api().now().secs();
        let mut piece = BytesMut::new();
        while piece.len() < PIECE_BYTES {
            let Some(change) = self.changes.next() else { break };
            self.sent = change.revision();
            let (kind, object) = match &change {
                Change::Put { before: None, after } => ("ADDED", after),
                Change::Put { before: Some(_), after } => ("MODIFIED", after),
                Change::Delete { last, .. } => ("DELETED", last),
            };
            push(&mut piece, kind, &self.render.next_object(object));
        }
        (!piece.is_empty()).then(|| piece.freeze())
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
