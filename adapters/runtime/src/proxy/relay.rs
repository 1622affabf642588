//! Moves bytes between a client and an endpoint. Both directions run in one task and share a scratch buffer per worker
//! thread: a connection holds memory of its own only for bytes that the other side does not take yet.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One read moves at most this much; the largest UDP datagram fits as well.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// Lends this thread's scratch buffer. `f` must not call back into this function.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| f(scratch))
}

/// One direction: bytes that were read but not yet taken by the destination, and how far the end has come.
#[derive(Debug, Default)]
pub(super) struct Flow {
    unsent: Vec<u8>,
    sent: usize,
    pub(super) ended: bool,
    shut: bool,
}

impl Flow {
    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Writes what is left over; ready when nothing is.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.unsent[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        if !self.unsent.is_empty() {
            // The memory goes back: an idle connection holds none.
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `data` after a completed flush, keeping what the destination does not take.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
        data: &[u8],
    ) -> io::Result<()> {
        let mut at = 0;
        while at < data.len() {
            match Pin::new(&mut *to).poll_write(cx, &data[at..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => at += written,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if at < data.len() {
            self.unsent = data[at..].to_vec();
        }
        Ok(())
    }

    /// Passes the end of the stream on; ready when it is passed.
    pub(super) fn poll_shut(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        if !self.shut {
            match ready!(Pin::new(to).poll_shutdown(cx)) {
                // A peer that already left needs no farewell.
                Err(error) if error.kind() != io::ErrorKind::NotConnected => return Poll::Ready(Err(error)),
                Ok(()) | Err(_) => self.shut = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Copies from one side to the other until neither end moves; ready when the stream has ended and that is passed.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx, to))?;
            if self.ended {
                return self.poll_shut(cx, to);
            }
            ready!(with_scratch(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
                self.ended = buffer.filled().is_empty();
                Poll::Ready(self.send(cx, to, buffer.filled()))
            }))?;
        }
    }
}

/// Copies both ways until both directions have ended, each half closing on its own.
///
/// # Errors
/// The first failure of either side; the connection cannot go on.
pub(super) async fn copy<C, E>(client: &mut C, endpoint: &mut E) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Flow::default(), Flow::default());
    poll_fn(|cx| {
        let up = up.poll_copy(cx, client, endpoint)?;
        let down = down.poll_copy(cx, endpoint, client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
