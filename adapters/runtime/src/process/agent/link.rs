//! A connection to a shim: requests that are answered in any order, and events.

use crate::process::layout;
use crate::process::wire::{self, Reply, Request};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use steersman_domain::ports::RuntimeError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Requests that wait for an answer; `None` when the shim has hung up.
type Pending = Arc<Mutex<Option<BTreeMap<u64, oneshot::Sender<Reply>>>>>;

pub(super) struct Link {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    pending: Pending,
    last_id: AtomicU64,
    reader: JoinHandle<()>,
}

impl Link {
    /// Connects to the shim of a pod's directory. `on_event` is called in the order of events, `on_close` once when the
    /// shim hangs up.
    pub(super) async fn connect(
        dir: &Path,
        on_event: impl Fn(Reply) + Send + 'static,
        on_close: impl FnOnce() + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        // The address of a Unix socket holds 108 bytes, which the path of a pod may exceed; this one is short.
        let directory = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), layout::SOCKET);
        let stream = UnixStream::connect(path).await?;
        let (read, write) = stream.into_split();
        let pending: Pending = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let answers = pending.clone();
        let reader = tokio::spawn(async move {
            if let Err(error) = read_all(read, &answers, on_event).await {
                tracing::debug!(%error, "a shim's connection ended");
            }
            answers.lock().take();
            on_close();
        });
        let writer = tokio::sync::Mutex::new(write);
        Ok(Arc::new(Link { writer, pending, last_id: AtomicU64::new(0), reader }))
    }

    pub(super) fn is_open(&self) -> bool {
        self.pending.lock().is_some()
    }

    /// Sends a request and waits for its answer. Dropping the future leaves the outcome unknown.
    pub(super) async fn request(&self, request: Request) -> Result<Reply, RuntimeError> {
        let lost = || RuntimeError::Unavailable("the connection to the pod's shim broke: try again".to_owned());
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let frame = wire::encode(id, request).map_err(|e| RuntimeError::Refused(e.to_string()))?;
        let (answer, answered) = oneshot::channel();
        self.pending.lock().as_mut().ok_or_else(lost)?.insert(id, answer);
        self.send(frame).await.map_err(|_| lost())?;
        answered.await.map_err(|_| lost())
    }

    /// Sends a whole frame even when the caller is dropped in the middle: half a frame would spoil the connection.
    async fn send(&self, frame: Vec<u8>) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        let mut sent = 0;
        // One frame nearly always fits the socket's buffer; when a write is cut short and we are dropped, the guard
        // closes the connection.
        let mut guard = HalfSent { link: self, armed: false };
        while sent < frame.len() {
            sent += writer.write(&frame[sent..]).await?;
            guard.armed = sent < frame.len();
        }
        Ok(())
    }
}

/// Closes a connection on which half a frame was sent.
struct HalfSent<'a> {
    link: &'a Link,
    armed: bool,
}

impl Drop for HalfSent<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.link.pending.lock().take();
            self.link.reader.abort();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_all(mut stream: OwnedReadHalf, pending: &Pending, on_event: impl Fn(Reply)) -> io::Result<()> {
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await? > 0 {
        while let Some(frame) = wire::decode::<Reply>(&mut buffer)? {
            if frame.id == 0 {
                on_event(frame.body);
            } else if let Some(answer) = pending.lock().as_mut().and_then(|p| p.remove(&frame.id)) {
                // A caller that was dropped does not want it any more.
                let _dropped = answer.send(frame.body);
            }
        }
    }
    Ok(())
}
