//! The HTTP requests of hooks, at a pod's own address.

use std::net::Ipv4Addr;
use std::time::Duration;
use steersman_domain::ports::RuntimeError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest head of an HTTP answer that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Sends one GET and answers the status; redirects are not followed.
pub(crate) async fn http_get(ip: Ipv4Addr, port: u16, path: &str, timeout: Duration) -> Result<u16, RuntimeError> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err(RuntimeError::Refused(format!("{path:?} cannot be the path of a request: it holds a space")));
    }
    let unavailable = |why: String| RuntimeError::Unavailable(format!("GET http://{ip}:{port}{path}: {why}"));
    match tokio::time::timeout(timeout, ask(ip, port, &path)).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(unavailable(error.to_string())),
        Err(_) => Err(unavailable(format!("no answer within {} ms", timeout.as_millis()))),
    }
}

async fn ask(ip: Ipv4Addr, port: u16, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect((ip, port)).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {ip}:{port}\r\nUser-Agent: steersman\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(bad("the connection closed before an HTTP answer"));
        }
        if let Some(status) = status(&mut head)? {
            return Ok(status);
        }
        if head.len() > MAX_HEAD {
            return Err(bad("the head of the answer is larger than 64 KiB"));
        }
    }
}

fn bad(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned())
}

/// The status of the first whole answer in the bytes; answers of the 100s only announce it, and are taken away.
fn status(head: &mut Vec<u8>) -> std::io::Result<Option<u16>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(head).map_err(|e| bad(&format!("no HTTP answer: {e}")))?;
        let (httparse::Status::Complete(length), Some(code)) = (parsed, response.code) else { return Ok(None) };
        if code >= 200 {
            return Ok(Some(code));
        }
        head.drain(..length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answer(text: &'static str) -> Result<u16, RuntimeError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        http_get(Ipv4Addr::LOCALHOST, port, "healthz?x=1", Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn the_status_of_an_answer_is_found() {
        assert_eq!(answer("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(204));
        assert_eq!(answer("HTTP/1.1 503 Busy\r\nA: b\r\n\r\nbody").await, Ok(503));
        let early = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let got = answer(early).await;
        assert!(got == Ok(200), "{got:?}");
        assert!(answer("SSH-2.0-x\r\n").await.unwrap_err().to_string().contains("no HTTP answer"));
        assert!(answer("HTTP/1.1 200").await.unwrap_err().to_string().contains("closed before"));
    }

    #[tokio::test]
    async fn a_path_cannot_smuggle_a_header() {
        let got = http_get(Ipv4Addr::LOCALHOST, 1, "/a HTTP/1.1\r\nX: y", Duration::from_secs(1)).await;
        assert!(matches!(got, Err(RuntimeError::Refused(_))), "{got:?}");
    }
}
