//! A client that asks over and over and counts what it was not answered.
//!
//! It speaks HTTP/1.1 on plain TCP by hand, because a library's client would retry, pool and hide exactly what is
//! counted here: in which part of an exchange a request was lost. It reads bodies by `Content-Length`, in chunks, or up
//! to the end of the connection, and nothing else of HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// How long one exchange may take. Longer than any drain or restart in these tests: a request that waited is not lost.
const EXCHANGE: Duration = Duration::from_secs(15);
/// The longest head or chunk size line that is read; the servers under test send a few hundred bytes.
const MAX_LINE: usize = 16 * 1024;

/// How a [`Load`] asks.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Clients that ask at the same time.
    pub clients: usize,
    /// Whether a client keeps its connection; else each request has its own.
    pub keep_alive: bool,
    /// Pause of a client between two requests.
    pub pause: Duration,
}

impl Default for Shape {
    /// Eight clients, each request on its own connection, about 1,000 requests a second together.
    fn default() -> Self {
        Self { clients: 8, keep_alive: false, pause: Duration::from_millis(8) }
    }
}

/// The part of an exchange in which a request was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No connection came about.
    Connect,
    /// The request could not be sent.
    Send,
    /// The request was sent, and no whole answer came.
    Answer,
    /// A whole answer came, and it was not 200.
    Refused,
}

/// A request that was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// When the request began, since the load did.
    pub at: Duration,
    /// Where it got to.
    pub phase: Phase,
    /// What went wrong.
    pub why: String,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Requests that were answered with 200.
    pub answered: u64,
    /// Requests that were not, in no order.
    pub lost: Vec<Lost>,
    /// How often each first line of a body came.
    pub lines: BTreeMap<String, u64>,
}

impl Report {
    /// Lost requests of one phase.
    #[must_use]
    pub fn lost_in(&self, phase: Phase) -> usize {
        self.lost.iter().filter(|lost| lost.phase == phase).count()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} answered, {} lost; answers: {:?}", self.answered, self.lost.len(), self.lines)?;
        // Twenty show the pattern; a thousand hide it.
        for lost in self.lost.iter().take(20) {
            write!(to, "\n  at {:.3} s in {:?}: {}", lost.at.as_secs_f64(), lost.phase, lost.why)?;
        }
        Ok(())
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    report: Arc<Mutex<Report>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    /// Starts to ask for `/` at this address.
    ///
    /// # Panics
    /// When no runtime can be made.
    #[must_use]
    pub fn start(address: SocketAddr, shape: Shape) -> Self {
        let (stop, answered, report) = (Arc::default(), Arc::default(), Arc::default());
        let client = Client { address, shape, start: Instant::now(), stop, answered, report };
        let (stop, answered, report) =
            (Arc::clone(&client.stop), Arc::clone(&client.answered), Arc::clone(&client.report));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let clients: Vec<_> = (0..shape.clients).map(|_| tokio::spawn(client.clone().ask_on())).collect();
                for client in clients {
                    client.await.expect("a client does not panic");
                }
            });
        });
        Self { stop, answered, report, thread: Some(thread) }
    }

    /// Requests answered until now; to wait for, so that a test acts under load and not before it.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How often an answer began with each line until now.
    #[must_use]
    pub fn lines(&self) -> BTreeMap<String, u64> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// Lets every client end its exchange and reports.
    ///
    /// # Panics
    /// When a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.halt().expect("no client panics");
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn halt(&mut self) -> std::thread::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), std::thread::JoinHandle::join)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A client that panicked has said so on standard error.
        let _ended = self.halt();
    }
}

/// Asks once, on a connection of its own, and returns the body.
///
/// # Errors
/// Why there was no answer of 200, and how far the exchange came.
pub fn ask(address: SocketAddr) -> Result<String, (Phase, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (Phase::Connect, error.to_string()))?;
    runtime.block_on(async {
        let mut connection = None;
        exchange(address, &mut connection, false).await
    })
}

/// One client of a load.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    shape: Shape,
    start: Instant,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    report: Arc<Mutex<Report>>,
}

impl Client {
    async fn ask_on(self) {
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.start.elapsed();
            let outcome = exchange(self.address, &mut connection, self.shape.keep_alive).await;
            self.count(at, outcome);
            tokio::time::sleep(self.shape.pause).await;
        }
    }

    fn count(&self, at: Duration, outcome: Result<String, (Phase, String)>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(body) => {
                report.answered += 1;
                self.answered.fetch_add(1, Ordering::Relaxed);
                let line = body.lines().next().unwrap_or_default().to_owned();
                *report.lines.entry(line).or_default() += 1;
            }
            Err((phase, why)) => report.lost.push(Lost { at, phase, why }),
        }
    }
}

type Connection = BufReader<TcpStream>;

/// One request and its answer. A kept connection that the server closed between two requests was no loss of any: it is
/// replaced, once, before a byte of this request has been answered.
async fn exchange(
    address: SocketAddr,
    connection: &mut Option<Connection>,
    keep_alive: bool,
) -> Result<String, (Phase, String)> {
    let deadline = tokio::time::sleep(EXCHANGE);
    let mut phase = Phase::Connect;
    let result = {
        let work = attempt(address, connection, keep_alive, &mut phase);
        tokio::select! {
            biased;
            result = work => result,
            () = deadline => Err(format!("no answer within {} s", EXCHANGE.as_secs())),
        }
    };
    if result.is_err() || !keep_alive {
        *connection = None;
    }
    result.map_err(|why| (phase, why))
}

async fn attempt(
    address: SocketAddr,
    connection: &mut Option<Connection>,
    keep_alive: bool,
    phase: &mut Phase,
) -> Result<String, String> {
    if connection.as_mut().is_some_and(closed) {
        *connection = None;
    }
    let stream = match connection.take() {
        Some(kept) => kept,
        None => BufReader::new(TcpStream::connect(address).await.map_err(|error| error.to_string())?),
    };
    let stream = connection.insert(stream);
    *phase = Phase::Send;
    let keep = if keep_alive { "keep-alive" } else { "close" };
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: {keep}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    *phase = Phase::Answer;
    let answer = read_answer(stream).await?;
    if answer.closes {
        *connection = None;
    }
    if answer.status != 200 {
        *phase = Phase::Refused;
        return Err(format!("status {}: {}", answer.status, answer.body.trim_end()));
    }
    Ok(answer.body)
}

/// Whether the server has closed a kept connection, or said something nobody asked for.
fn closed(connection: &mut Connection) -> bool {
    let mut byte = [0];
    match connection.get_ref().try_read(&mut byte) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// One answer, as far as it is looked at.
struct Answer {
    status: u16,
    closes: bool,
    body: String,
}

async fn read_answer(stream: &mut Connection) -> Result<Answer, String> {
    let head = read_line(stream).await?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status line: {head:?}"))?;
    let (mut length, mut chunked, mut closes) = (None, false, head.starts_with("HTTP/1.0"));
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { return Err(format!("no header: {line:?}")) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.parse::<usize>().map_err(|_| format!("no length: {value:?}"))?),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let body = match length {
        _ if chunked => read_chunks(stream).await?,
        Some(length) => read_exactly(stream, length).await?,
        None => {
            closes = true;
            let mut body = Vec::new();
            stream.read_to_end(&mut body).await.map_err(|error| error.to_string())?;
            body
        }
    };
    Ok(Answer { status, closes, body: String::from_utf8_lossy(&body).into_owned() })
}

async fn read_chunks(stream: &mut Connection) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("no size of a chunk: {line:?}"))?;
        body.extend(read_exactly(stream, size).await?);
        if size == 0 {
            // Trailers, of which there are none here, would stand before the empty line that ends it all.
            while !read_line(stream).await?.is_empty() {}
            return Ok(body);
        }
        read_line(stream).await?;
    }
}

async fn read_exactly(stream: &mut Connection, length: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut body).await.map_err(|error| error.to_string())?;
    if read == length { Ok(body) } else { Err(format!("closed after {read} of {length} bytes of the body")) }
}

/// A line without its end.
async fn read_line(stream: &mut Connection) -> Result<String, String> {
    let mut line = Vec::new();
    let mut limited = stream.take(MAX_LINE as u64);
    limited.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    let Some(line) = line.strip_suffix(b"\n") else {
        return Err(format!("closed in the head of the answer, after {:?}", String::from_utf8_lossy(&line)));
    };
    Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())
}

#[cfg(test)]
mod tests;
