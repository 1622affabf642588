//! One call of `grpc.health.v1.Health/Check`. The two messages have one field each, so they are written and read here.
//! Source: the gRPC Health Checking Protocol, and gRPC over HTTP/2.

use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const MOST: usize = 4096;
/// The state of a service that is well.
const SERVING: u8 = 1;
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

pub(super) async fn check(stream: TcpStream, service: &str) -> Result<(), String> {
    let authority = stream.peer_addr().map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| format!("no HTTP/2: {error}"))?;
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, concat!("grpc-steersman/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(bytes::Bytes::from(question(service))))
        .map_err(|error| error.to_string())?;
    let call = async {
        let answer = sender.send_request(request).await.map_err(|error| format!("no gRPC answer: {error}"))?;
        let (head, body) = answer.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(format!("no gRPC answer: HTTP status {}", head.status.as_u16()));
        }
        failure(&head.headers)?;
        let body = Limited::new(body, MOST).collect().await.map_err(|error| format!("no gRPC answer: {error}"))?;
        if let Some(trailers) = body.trailers() {
            failure(trailers)?;
        }
        state(&body.to_bytes())
    };
    tokio::select! {
        biased;
        outcome = call => outcome,
        _ = connection => Err("the connection closed before a gRPC answer".to_owned()),
    }
}

/// `HealthCheckRequest {string service = 1}`, in a frame.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

fn failure(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some("12") => Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()),
        Some(code) => Err(format!("gRPC status {code}: {}", text("grpc-message").unwrap_or("no message"))),
    }
}

/// `HealthCheckResponse {ServingStatus status = 1}`, in a frame.
fn state(frame: &[u8]) -> Result<(), String> {
    let state = match frame {
        [0, 0, 0, 0, 0, ..] => 0,
        [0, 0, 0, 0, 2, 0x08, state, ..] => *state,
        _ => return Err("the answer is no grpc.health.v1.HealthCheckResponse".to_owned()),
    };
    if state == SERVING {
        return Ok(());
    }
    let name = STATES.get(usize::from(state)).copied().unwrap_or("unknown");
    Err(format!("service unhealthy (responded with {name:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Response};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    type Answer = Response<http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>>;

    fn answer(frame: &'static [u8], status: &'static str) -> Answer {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        let body = Full::new(bytes::Bytes::from_static(frame)).with_trailers(async move { Some(Ok(trailers)) });
        Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
    }

    /// A server that knows one service, which is well, and another that is not.
    async fn ask(service: &str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = service_fn(async |request: Request<Incoming>| {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let question = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, std::convert::Infallible>(match &question[5..] {
                    [] => answer(&[0, 0, 0, 0, 2, 8, 1], "0"),
                    [0x0a, 3, b's', b'i', b'c'] => answer(&[0, 0, 0, 0, 2, 8, 2], "0"),
                    [0x0a, 3, b'o', b'l', b'd'] => answer(&[], "12"),
                    _ => answer(&[], "5"),
                })
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _closed = server.serve_connection(TokioIo::new(stream), serve).await;
        });
        check(TcpStream::connect(address).await.unwrap(), service).await
    }

    #[tokio::test]
    async fn the_state_of_the_service_decides() {
        assert_eq!(ask("").await, Ok(()));
        assert_eq!(ask("sic").await, Err("service unhealthy (responded with \"NOT_SERVING\")".into()));
        assert_eq!(ask("none").await, Err("gRPC status 5: no message".into()));
        assert!(ask("old").await.unwrap_err().contains("does not implement the grpc health protocol"));
    }

    #[test]
    fn long_names_are_written_whole() {
        let frame = question(&"x".repeat(300));
        assert_eq!((&frame[..8], frame.len()), (&[0, 0, 0, 1, 47, 0x0a, 0xac, 2][..], 308));
    }
}
