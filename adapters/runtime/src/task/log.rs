//! What a function logs: the last lines of one run, in memory, bounded. Lines that fall out are counted, and said to be
//! missing. They go with the pod; who wants to keep them reads them out.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use steersman_domain::ports::{LogQuery, LogStream, RuntimeError};
use steersman_domain::{MicroTime, Time};
use tokio::sync::watch;

/// One entry at most; longer lines are cut.
const LONGEST_LINE: usize = 16 * 1024;
/// What a line costs beside its text, about.
const LINE_COST: usize = 48;
/// As much as one read gives at most.
const PIECE: usize = 64 * 1024;

#[derive(Default)]
struct Lines {
    /// The number of the first line that is kept.
    first: u64,
    kept: VecDeque<(Time, Box<str>)>,
    bytes: usize,
}

/// The log of one run.
pub(crate) struct Log {
    lines: Mutex<Lines>,
    /// How many bytes are kept at most.
    limit: usize,
    /// Changes with every line; `true` once the run has ended.
    changed: watch::Sender<bool>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(limit: usize) -> Self {
        Log { lines: Mutex::default(), limit, changed: watch::Sender::new(false) }
    }

    /// Appends what may be several lines.
    pub(crate) fn write(&self, now: Time, text: &str) {
        {
            let mut lines = self.lines.lock();
            for line in text.trim_end_matches('\n').split('\n') {
                let end = (0..=line.len().min(LONGEST_LINE)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
                lines.bytes += end + LINE_COST;
                lines.kept.push_back((now, line[..end].into()));
            }
            while lines.bytes > self.limit
                && let Some((_, line)) = lines.kept.pop_front()
            {
                lines.bytes -= line.len() + LINE_COST;
                lines.first += 1;
            }
        }
        self.changed.send_modify(|_| {});
    }

    /// Nothing more will be written.
    pub(crate) fn close(&self) {
        self.changed.send_replace(true);
    }

    pub(crate) fn read(self: &Arc<Self>, query: &LogQuery) -> Box<dyn LogStream> {
        let next = {
            let lines = self.lines.lock();
            let kept = lines.kept.len();
            let tail = query.tail.map_or(kept, |n| usize::try_from(n).unwrap_or(usize::MAX).min(kept));
            lines.first + u64::try_from(kept - tail).unwrap_or(u64::MAX)
        };
        Box::new(Reader {
            changed: self.changed.subscribe(),
            log: Arc::clone(self),
            next,
            follow: query.follow,
            since: query.since,
            timestamps: query.timestamps,
            left: query.limit_bytes.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)),
        })
    }
}

struct Reader {
    log: Arc<Log>,
    changed: watch::Receiver<bool>,
    /// The number of the next line.
    next: u64,
    follow: bool,
    since: Option<Time>,
    timestamps: bool,
    left: usize,
}

impl Reader {
    fn piece(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let lines = self.log.lines.lock();
        if self.next < lines.first {
            let missing = lines.first - self.next;
            text.extend(format!("[{missing} earlier lines were dropped: the log is longer than it may be]\n").bytes());
            self.next = lines.first;
        }
        let skip = usize::try_from(self.next - lines.first).unwrap_or(usize::MAX);
        for (at, line) in lines.kept.iter().skip(skip) {
            if text.len() > PIECE {
                break;
            }
            self.next += 1;
            if self.since.is_some_and(|since| *at < since) {
                continue;
            }
            if self.timestamps {
                text.extend(format!("{} ", MicroTime(*at)).bytes());
            }
            text.extend(line.bytes());
            text.push(b'\n');
        }
        drop(lines);
        text.truncate(self.left);
        self.left -= text.len();
        text
    }
}

#[async_trait::async_trait]
impl LogStream for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, RuntimeError> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            // Looked at before the lines, so that one which comes between is seen in the next round.
            let over = *self.changed.borrow_and_update();
            let before = self.next;
            let text = self.piece();
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
            if self.next > before {
                continue;
            }
            // A sender that is gone means that the pod is.
            if over || !self.follow || self.changed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn poll(stream: &mut dyn LogStream) -> Poll<Option<String>> {
        let mut next = stream.next();
        let text = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        text.map(|text| text.expect("readable").map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn all(log: &Arc<Log>, query: &LogQuery) -> String {
        match poll(&mut *log.read(query)) {
            Poll::Ready(text) => text.unwrap_or_default(),
            Poll::Pending => panic!("waits without following"),
        }
    }

    #[test]
    fn the_last_lines_are_kept_within_the_bound() {
        let log = Arc::new(Log::new(10 * (LINE_COST + 1)));
        for n in 0..25 {
            log.write(Time::from_secs(n), &(n % 10).to_string());
        }
        assert_eq!(all(&log, &LogQuery::default()), "5\n6\n7\n8\n9\n0\n1\n2\n3\n4\n");
        assert_eq!(all(&log, &LogQuery { tail: Some(2), ..LogQuery::default() }), "3\n4\n");
        assert_eq!(all(&log, &LogQuery { since: Some(Time::from_secs(24)), ..LogQuery::default() }), "4\n");
        assert_eq!(all(&log, &LogQuery { limit_bytes: Some(3), ..LogQuery::default() }), "5\n6");
        let stamped = all(&log, &LogQuery { tail: Some(1), timestamps: true, ..LogQuery::default() });
        assert_eq!(stamped, "1970-01-01T00:00:24.000000Z 4\n");
    }

    #[test]
    fn a_follower_sees_what_comes_and_what_it_missed() {
        let log = Arc::new(Log::new(3 * (LINE_COST + 1)));
        let mut reader = log.read(&LogQuery { follow: true, ..LogQuery::default() });
        assert_eq!(poll(&mut *reader), Poll::Pending);
        log.write(Time::default(), "a\nb\n");
        assert_eq!(poll(&mut *reader), Poll::Ready(Some("a\nb\n".into())));
        log.write(Time::default(), "c\nd\ne\nf");
        let missed = poll(&mut *reader);
        assert!(
            matches!(&missed, Poll::Ready(Some(text)) if text.starts_with("[1 earlier") && text.ends_with("d\ne\nf\n")),
            "{missed:?}"
        );
        log.close();
        assert_eq!(poll(&mut *reader), Poll::Ready(None));
    }
}
