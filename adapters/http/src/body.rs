//! Bodies of requests and answers: nothing, bytes, the joined bytes of many stored objects, a stream, or what a connection
//! receives.

use crate::error::Failure;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use steersman_domain::Stored;

/// What can go wrong while a body is read.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The largest request body, as in Kubernetes' API server.
const MOST_BYTES: usize = 3 * 1024 * 1024;

/// How long a request body may take to arrive, so that slow senders do not pile up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists go out in pieces of about this size: large enough to be cheap, small enough that a long list is never in memory
/// twice.
const PIECE_BYTES: usize = 64 * 1024;

/// The body of a request or an answer.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Whole(Bytes),
    Objects(Box<Objects>),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
    Incoming(Incoming),
}

/// The items of a list between its head and its tail.
struct Objects {
    head: Option<Bytes>,
    items: std::vec::IntoIter<Arc<Stored>>,
    first: bool,
    ended: bool,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Empty => "Body::Empty",
            Inner::Whole(_) => "Body::Whole",
            Inner::Objects(_) => "Body::Objects",
            Inner::Stream(_) => "Body::Stream",
            Inner::Incoming(_) => "Body::Incoming",
        })
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Body::default()
    }

    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Body(Inner::Whole(bytes.into()))
    }

    /// Pieces as they come.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Body(Inner::Stream(Box::pin(stream)))
    }

    /// `head`, the stored bytes of the objects joined by commas, `]}`.
    pub(crate) fn objects(head: String, items: Vec<Arc<Stored>>) -> Self {
        let objects = Objects { head: Some(head.into()), items: items.into_iter(), first: true, ended: false };
        Body(Inner::Objects(Box::new(objects)))
    }

    /// The whole body, unless it is larger than a request may be.
    pub(crate) async fn read(self) -> Result<Bytes, Failure> {
        if let Inner::Whole(bytes) = &self.0 {
            return if bytes.len() > MOST_BYTES { Err(Failure::too_large(MOST_BYTES)) } else { Ok(bytes.clone()) };
        }
        if let Inner::Empty = &self.0 {
            return Ok(Bytes::new());
        }
        match tokio::time::timeout(PATIENCE, Limited::new(self, MOST_BYTES).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::too_large(MOST_BYTES)),
            Ok(Err(error)) => Err(Failure::bad_request(format!("the request body could not be read: {error}"))),
            Err(_) => Err(Failure::too_slow(PATIENCE)),
        }
    }

    /// The whole body whatever its size, as callers in the same process read answers.
    ///
    /// # Errors
    /// What the stream behind the body says.
    pub async fn collect_all(self) -> Result<Bytes, BoxError> {
        Ok(self.collect().await?.to_bytes())
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Body(Inner::Incoming(incoming))
    }
}

impl Objects {
    fn piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES + 4096);
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(&head);
        }
        while piece.len() < PIECE_BYTES {
            let Some(stored) = self.items.next() else {
                self.ended = true;
                piece.extend_from_slice(b"]}");
                break;
            };
            if !std::mem::take(&mut self.first) {
                piece.extend_from_slice(b",");
            }
            piece.extend_from_slice(&stored.json());
        }
        Some(piece.freeze())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Inner::Objects(objects) => Poll::Ready(objects.piece().map(|piece| Ok(Frame::data(piece)))),
            Inner::Stream(stream) => stream.as_mut().poll_next(cx).map(|item| item.map(|r| r.map(Frame::data))),
            Inner::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Objects(objects) => objects.ended,
            Inner::Stream(_) => false,
            Inner::Incoming(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Objects(_) | Inner::Stream(_) => SizeHint::default(),
            Inner::Incoming(incoming) => incoming.size_hint(),
        }
    }
}
