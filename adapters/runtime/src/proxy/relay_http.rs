//! The relay of HTTP ports: as [`relay`](super::relay), but it follows the messages, says `Connection: close` in the
//! answers of a draining endpoint, and leaves it as soon as no request is open.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::backend::Backend;
use super::http::{Exchange, Scan};
use super::relay::{Flow, with_scratch};
use super::tunnel::Upstream;

/// One direction, and the beginning of a head that waits for its rest.
#[derive(Debug, Default)]
struct Side {
    flow: Flow,
    partial: Vec<u8>,
}

impl Side {
    fn is_empty(&self) -> bool {
        self.partial.is_empty() && !self.flow.has_unsent()
    }

    /// Reads behind the held beginning, lets `scan` look at both, and sends what it passes.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        scan: impl FnOnce(&[u8]) -> Scan,
    ) -> Poll<io::Result<()>> {
        with_scratch(|scratch| {
            let held = self.partial.len();
            scratch[..held].copy_from_slice(&self.partial);
            let mut buffer = ReadBuf::new(scratch);
            buffer.set_filled(held);
            ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
            let data = buffer.filled();
            if data.len() == held {
                // The end: what looked like the beginning of a head passes as it is.
                self.flow.ended = true;
                self.partial = Vec::new();
                return Poll::Ready(self.flow.send(cx, to, data));
            }
            let scan = scan(data);
            if held > 0 || scan.taken < data.len() {
                self.partial = data[scan.taken..].to_vec();
            }
            Poll::Ready(self.flow.send(cx, to, scan.edited.as_deref().unwrap_or(&data[..scan.taken])))
        })
    }
}

#[derive(Debug, Default)]
struct Relay {
    exchange: Exchange,
    up: Side,
    down: Side,
}

impl Relay {
    fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.up.flow.poll_flush(cx, to))?;
            if self.up.flow.ended {
                return self.up.flow.poll_shut(cx, to);
            }
            if self.exchange.is_closing() {
                return Poll::Pending;
            }
            let exchange = &mut self.exchange;
            ready!(self.up.poll_step(cx, from, to, |data| Scan { taken: exchange.on_request(data), edited: None }))?;
        }
    }

    fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        backend: &Backend,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.down.flow.poll_flush(cx, to))?;
            if self.down.flow.ended {
                return self.down.flow.poll_shut(cx, to);
            }
            let exchange = &mut self.exchange;
            ready!(self.down.poll_step(cx, from, to, |data| exchange.on_response(data, backend.is_draining())))?;
        }
    }

    /// No request is open in either direction and nothing waits to be sent.
    fn is_idle(&self) -> bool {
        self.exchange.is_idle() && self.up.is_empty() && self.down.is_empty()
    }
}

/// How an exchange with an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client expects no further answer.
    Closed,
    /// The endpoint drains between two requests. The client knows nothing of it: closing now could cross its next request,
    /// which would be lost, so that request belongs to another endpoint.
    Between,
}

/// Copies both ways until the exchange is over: the endpoint closed, or it drains and no request is open.
///
/// # Errors
/// The first failure of either socket; the connection cannot go on.
pub(super) async fn copy(client: &mut TcpStream, endpoint: &mut Upstream, backend: &Backend) -> io::Result<End> {
    let mut relay = Relay::default();
    let mut changed = pin!(backend.pod.changed.notified());
    poll_fn(|cx| {
        // Registered before the draining flag is read, so that no change is missed.
        while changed.as_mut().poll(cx).is_ready() {
            changed.set(backend.pod.changed.notified());
        }
        let down = relay.poll_down(cx, endpoint, client, backend)?;
        let up = relay.poll_up(cx, client, endpoint)?;
        let end = match down {
            // A protocol that is not followed may close one half and go on; HTTP servers never do.
            Poll::Ready(()) => (up.is_ready() || !relay.exchange.is_opaque()).then_some(End::Closed),
            Poll::Pending if !relay.is_idle() => None,
            Poll::Pending if relay.exchange.is_closing() => Some(End::Closed),
            Poll::Pending if !backend.is_draining() => None,
            Poll::Pending if up.is_pending() && relay.exchange.keeps_client() => Some(End::Between),
            Poll::Pending => (!has_bytes(client)).then_some(End::Closed),
        };
        end.map_or(Poll::Pending, |end| Poll::Ready(Ok(end)))
    })
    .await
}

/// Whether a request has arrived that was not read yet. Asks the socket itself: the reactor may not know yet.
fn has_bytes(client: &TcpStream) -> bool {
    matches!(SockRef::from(client).peek(&mut [MaybeUninit::uninit()]), Ok(1..))
}
