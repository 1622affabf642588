//! A small HTTP/1.1 server that answers with the name of its pod and a version: what the examples are made of.
//!
//! It ends without losing a request: at SIGTERM it takes the connections that already wait in the backlog, stops
//! listening, finishes what it is answering, and for a short while still answers a request that was on its way over an
//! idle connection, each time with `Connection: close`.

use super::upstream;
use anyhow::Context as _;
use clap::Args;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest request head, in bytes; browsers send under a tenth of it.
const LONGEST_HEAD: usize = 16 * 1024;
/// Connections at a time: well under the usual limit of open files, each may hold a second one to the upstream.
const MOST_CONNECTIONS: usize = 400;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(75);
/// How long, while ending, an idle connection is still answered: a request may be on its way.
const LINGER: Duration = Duration::from_millis(300);

/// The arguments of `http`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The port to listen on, on all addresses; 0 takes a free one
    #[arg(long, env = "PORT")]
    port: u16,
    /// The version to answer with
    #[arg(long, default_value = "v1")]
    version: String,
    /// Another server that is asked for the second line of every answer
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    upstream: Option<String>,
    /// Milliseconds before each answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Log every request
    #[arg(long)]
    verbose: bool,
}

/// What is answered.
#[derive(Debug)]
struct Page {
    /// The pod's name.
    name: String,
    serve: Serve,
}

fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("write it as HOST:PORT")?;
    if host.is_empty() || host.starts_with("$(") {
        return Err("the host is missing; a service must exist before the pod that names its variables".to_owned());
    }
    port.parse::<u16>().map_err(|_| format!("{port:?} is no port"))?;
    Ok(text.to_owned())
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, serve.port))
            .await
            .with_context(|| format!("cannot listen on port {}", serve.port))?;
        let name = ["POD_NAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let page = Page { name: name.unwrap_or_else(|| "localhost".to_owned()), serve };
        let address = listener.local_addr()?;
        writeln!(io::stdout(), "{} {} listens on {address}", page.name, page.serve.version)?;
        let (stop, stopped) = watch::channel(false);
        let serving = serve_all(listener, Arc::new(page), stopped);
        let asked = async move {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            // Nobody listening means that the serving has ended by itself.
            let _told = stop.send(true);
        };
        let ((), ()) = tokio::join!(serving, asked);
        Ok(ExitCode::SUCCESS)
    })
}

/// Accepts and serves connections until `stopped` says so, then ends in order.
async fn serve_all(listener: TcpListener, page: Arc<Page>, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let ending = *stopped.borrow();
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop), if !ending => continue,
            // While ending, only those that wait already; the time is for the reactor to see them.
            accepted = timeout(if ending { Duration::from_millis(20) } else { IDLE }, listener.accept()) => accepted,
        };
        match accepted {
            Err(_) if ending => break,
            Err(_) => {}
            Ok(Ok((stream, _))) => {
                let (page, stopped) = (Arc::clone(&page), stopped.clone());
                connections.spawn(async move {
                    let _place = place;
                    // A client that breaks off is no news.
                    let _ended = Connection { stream, page, stopped, buffer: Vec::new() }.run().await;
                });
            }
            // Out of descriptors, say: the next try must not spin.
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection and what has been read from it but not used.
struct Connection {
    stream: TcpStream,
    page: Arc<Page>,
    stopped: watch::Receiver<bool>,
    buffer: Vec<u8>,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    /// Bytes of the body that follows.
    length: u64,
    /// Whether the client wants to ask again.
    keep: bool,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut stopped = self.stopped.clone();
        loop {
            let ending = async {
                // An error means that the server is gone, which is the end as well.
                drop(stopped.wait_for(|stop| *stop).await);
                tokio::time::sleep(LINGER).await;
            };
            let head = tokio::select! {
                biased;
                head = timeout(IDLE, self.head()) => head,
                () = ending => break,
            };
            let head = match head {
                Err(_) | Ok(Ok(None)) => break,
                Ok(Ok(Some(head))) => head,
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    self.answer("431 Request Header Fields Too Large", "the head is too long\n", false, true).await?;
                    break;
                }
                Ok(Err(error)) => return Err(error),
            };
            let request = match request(&head) {
                Ok(request) => request,
                Err(status) => {
                    self.answer(status, &format!("{status}\n"), false, true).await?;
                    break;
                }
            };
            self.skip(request.length).await?;
            let (status, text) = respond(&self.page, &request).await;
            let close = !request.keep || *self.stopped.borrow();
            self.answer(status, &text, request.method == "HEAD", close).await?;
            if close {
                break;
            }
        }
        self.stream.shutdown().await
    }

    /// The bytes of the next request head; nothing when the client has closed.
    async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.buffer.split_off(at + 4);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads a body away.
    async fn skip(&mut self, length: u64) -> io::Result<()> {
        let buffered = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.drain(..buffered);
        let left = length - buffered as u64;
        let copied = tokio::io::copy(&mut (&mut self.stream).take(left), &mut tokio::io::sink()).await?;
        if copied < left { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    async fn answer(&mut self, status: &str, text: &str, head_only: bool, close: bool) -> io::Result<()> {
        let connection = if close { "close" } else { "keep-alive" };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            text.len()
        );
        if !head_only {
            answer.push_str(text);
        }
        self.stream.write_all(answer.as_bytes()).await
    }
}

/// Status and text for a request.
async fn respond(page: &Page, request: &Request) -> (&'static str, String) {
    if request.path == "/healthz" {
        return ("200 OK", "ok\n".to_owned());
    }
    if page.serve.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(page.serve.delay_ms)).await;
    }
    let first = format!("{} {}\n", page.name, page.serve.version);
    let (status, text) = match &page.serve.upstream {
        None => ("200 OK", first),
        Some(upstream) => match upstream::ask(upstream).await {
            Ok(second) => ("200 OK", format!("{first}{second}\n")),
            Err(error) => ("502 Bad Gateway", format!("{first}upstream error: {error}\n")),
        },
    };
    if page.serve.verbose {
        // A log that nobody reads any more is no reason to stop serving.
        let _written = writeln!(io::stdout(), "{} {} {status}", request.method, request.path);
    }
    (status, text)
}

/// Reads a request head.
///
/// # Errors
/// The status to refuse it with.
fn request(head: &[u8]) -> Result<Request, &'static str> {
    const BAD: &str = "400 Bad Request";
    let head = std::str::from_utf8(head).map_err(|_| BAD)?;
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    let minor = version.strip_prefix("HTTP/1.").ok_or("505 HTTP Version Not Supported")?;
    let path = target.split('?').next().unwrap_or_default();
    let mut read = Request { method: method.to_owned(), path: path.to_owned(), length: 0, keep: minor != "0" };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => read.length = value.parse().map_err(|_| BAD)?,
            "transfer-encoding" => return Err("411 Length Required"),
            "connection" => {
                let has = |wanted: &str| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted));
                read.keep = if read.keep { !has("close") } else { has("keep-alive") };
            }
            _ => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
