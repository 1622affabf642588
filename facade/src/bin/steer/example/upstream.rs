//! Asks another HTTP server one question over a connection of its own, so that a balancer chooses anew each time.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An upstream that has not answered by then is said to have failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes: a page of an example is a few hundred.
const LONGEST: usize = 64 * 1024;

/// The body that `GET /` of an upstream answers, as text without the white space around it.
///
/// # Errors
/// What went wrong, as a text for the page: no connection, a time-out, an error status, an answer that is no HTTP.
pub(super) async fn ask(upstream: &str) -> Result<String, String> {
    match tokio::time::timeout(TIMEOUT, exchange(upstream)).await {
        Err(_) => Err(format!("{upstream} did not answer within {} s", TIMEOUT.as_secs())),
        Ok(Err(error)) => Err(format!("{upstream}: {error}")),
        Ok(Ok(answer)) => read(&answer).map_err(|error| format!("{upstream}: {error}")),
    }
}

async fn exchange(upstream: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {upstream}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    (&mut stream).take(LONGEST as u64).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Reads status and body out of a whole answer.
fn read(answer: &[u8]) -> Result<String, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("the answer ended within its head")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).ok_or("the answer is no HTTP")?;
    let header = |wanted: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    let rest = &answer[end + 4..];
    let body = if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        unchunk(rest).ok_or("the answer ended within its body")?
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().map_err(|_| format!("Content-Length is {length:?}"))?;
        rest.get(..length).ok_or("the answer ended within its body")?.to_vec()
    } else {
        rest.to_vec()
    };
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    if code.starts_with('2') { Ok(text) } else { Err(format!("status {code}: {text}")) }
}

/// Joins the chunks of a body; nothing when it is cut short.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_by_length_by_chunks_and_to_the_end() {
        let ok = |text: &str| read(text.as_bytes());
        assert_eq!(ok("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd"), Ok("abc".to_owned()));
        assert_eq!(ok("HTTP/1.0 200 OK\r\n\r\nabcd\n"), Ok("abcd".to_owned()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(ok(chunked), Ok("abc".to_owned()));
    }

    #[test]
    fn a_bad_answer_is_an_error_with_its_reason() {
        let failed = |text: &str| read(text.as_bytes()).expect_err("bad");
        assert_eq!(failed("HTTP/1.1 200 OK\r\n"), "the answer ended within its head");
        assert_eq!(failed("SSH-2.0\r\n\r\n"), "the answer is no HTTP");
        assert_eq!(failed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), "the answer ended within its body");
        assert_eq!(failed("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy"), "status 503: busy");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab\r\n0\r\n\r\n";
        assert_eq!(failed(chunked), "the answer ended within its body");
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let error = ask("127.0.0.1:1").await.expect_err("refused");
        assert!(error.starts_with("127.0.0.1:1: "), "{error}");
    }
}
