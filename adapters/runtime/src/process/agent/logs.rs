//! Log queries: one start of a container, read to its end or followed until the container has ended.

use super::log_reader::{LogReader, Show, Step};
use crate::process::layout;
use crate::process::log_format;
use crate::process::sys::readable::readable;
use async_trait::async_trait;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steersman_domain::ports::{LogQuery, LogStream, RuntimeError};
use tokio::io::unix::AsyncFd;

/// How often a followed log is looked at where the host has no more inotify instances to give.
const FALLBACK_PAUSE: Duration = Duration::from_millis(250);

fn unavailable(error: &io::Error) -> RuntimeError {
    RuntimeError::Unavailable(format!("the log cannot be read: {error}"))
}

/// Opens the log a query names.
pub(super) fn open(pod: &Path, query: &LogQuery) -> Result<Log, RuntimeError> {
    if !layout::is_safe_name(&query.container) {
        return Err(RuntimeError::NotFound(format!("container {}", query.container)));
    }
    let attempts = layout::attempts(pod, &query.container);
    let attempt = match query.attempt {
        Some(attempt) => Some(attempt).filter(|a| attempts.contains(a)),
        None => attempts.last().copied(),
    };
    let Some(attempt) = attempt else {
        let which = query.attempt.map_or_else(String::new, |a| format!("attempt {a} of "));
        return Err(RuntimeError::NotFound(format!("the log of {which}container {}", query.container)));
    };
    let dir = layout::attempt_dir(pod, &query.container, attempt);
    // The watch begins before the first read, so nothing falls between.
    let watch = if query.follow { Some(Watch::new(&dir)) } else { None };
    let show = Show {
        tail: query.tail,
        since: query.since.map(|t| log_format::format_time(i128::from(t.micros()) * 1000)),
        timestamps: query.timestamps,
        limit_bytes: query.limit_bytes,
    };
    let reader = LogReader::open(&dir, show).map_err(|e| unavailable(&e))?;
    Ok(Log { reader: Some(reader), watch, dir })
}

/// The text of a log.
pub(super) struct Log {
    /// `None`: the end was reached.
    reader: Option<LogReader>,
    watch: Option<Watch>,
    dir: PathBuf,
}

#[async_trait]
impl LogStream for Log {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>, RuntimeError> {
        loop {
            let Some(reader) = self.reader.as_mut() else { return Ok(None) };
            // The log is complete before the record of the exit appears, so the order of these two matters.
            let ended = self.watch.is_none() || self.dir.join(layout::EXIT).exists() || !self.dir.exists();
            // One step reads 64 KiB that are nearly always in memory, which is not worth another thread.
            match reader.step() {
                // Much may be passed over without a word; others want to run meanwhile.
                Ok(Step::Text(text)) if text.is_empty() => tokio::task::yield_now().await,
                Ok(Step::Text(text)) => return Ok(Some(text.into())),
                Ok(Step::Full) => self.reader = None,
                Ok(Step::CaughtUp) if ended => self.reader = None,
                Ok(Step::CaughtUp) => {
                    if let Some(watch) = &self.watch {
                        watch.changed().await;
                    }
                }
                // A pod that is removed takes its logs along.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.reader = None,
                Err(error) => return Err(unavailable(&error)),
            }
        }
    }
}

/// Tells when something changes in a directory.
struct Watch(Option<AsyncFd<OwnedFd>>);

impl Watch {
    fn new(dir: &Path) -> Self {
        let make = || -> io::Result<AsyncFd<OwnedFd>> {
            let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
            inotify::add_watch(&fd, dir, flags)?;
            readable(fd)
        };
        Watch(make().ok())
    }

    async fn changed(&self) {
        let Some(fd) = &self.0 else { return tokio::time::sleep(FALLBACK_PAUSE).await };
        let Ok(mut ready) = fd.readable().await else { return tokio::time::sleep(FALLBACK_PAUSE).await };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(fd.get_ref(), &mut space);
        while reader.next().is_ok() {}
        ready.clear_ready();
    }
}
