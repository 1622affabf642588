//! Follows the framing of HTTP/1.x messages (RFC 9112) as they pass, to know two things: whether a request is
//! unanswered, and where a response head is, so that it can be given `Connection: close`. Bodies are counted, never
//! kept. Whatever is not understood makes the exchange *opaque*: from there on bytes pass untouched and nothing more is
//! claimed about them, which is always safe.

use std::collections::VecDeque;

use super::http_body::Body;

/// Heads longer than this are not followed. Servers commonly refuse them well before.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Header lines beyond this number make the exchange opaque.
const MAX_HEADERS: usize = 128;
/// Unanswered pipelined requests beyond this number make the exchange opaque.
const MAX_PIPELINED: usize = 64;

/// The state of one client's connection to one endpoint.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Requests not yet answered, oldest first.
    unanswered: VecDeque<Asked>,
    request: Option<Body>,
    response: Option<Body>,
    opaque: bool,
    closing: bool,
    /// One of both sides said that this connection ends after the answer.
    last: bool,
}

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// A HEAD, whose response has no body.
    head_only: bool,
    /// The client wants no other answer on this connection.
    last: bool,
}

/// What to do with bytes from the endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// This many bytes were understood; the rest is the beginning of a head.
    pub(super) taken: usize,
    /// Send this in their place.
    pub(super) edited: Option<Vec<u8>>,
}

/// Not followed any further.
struct Opaque;

impl Exchange {
    /// No request is open and every answer has passed whole.
    pub(super) fn is_idle(&self) -> bool {
        !self.opaque && self.unanswered.is_empty() && self.request.is_none() && self.response.is_none()
    }

    /// The bytes are not followed any more.
    pub(super) fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// The client was told that the connection closes: no further request is taken from it.
    pub(super) fn is_closing(&self) -> bool {
        self.closing && self.request.is_none()
    }

    /// The client counts on asking again over this connection: every answer has passed whole, and nobody spoke of an end.
    pub(super) fn keeps_client(&self) -> bool {
        self.is_idle() && !self.closing && !self.last
    }

    /// Follows bytes from the client. Returns how many may pass; the rest is the beginning of a head.
    pub(super) fn on_request(&mut self, data: &[u8]) -> usize {
        let mut at = 0;
        while at < data.len() && !self.opaque {
            let step = match self.request.take() {
                Some(body) => self.request_body(body, &data[at..]),
                None => self.request_head(&data[at..]),
            };
            match step {
                Ok(0) => return at,
                Ok(taken) => at += taken,
                Err(Opaque) => self.opaque = true,
            }
        }
        data.len()
    }

    /// Follows bytes from the endpoint. With `draining`, the head that answers the last open request is given
    /// `Connection: close`.
    pub(super) fn on_response(&mut self, data: &[u8], draining: bool) -> Scan {
        let (mut at, mut edited): (usize, Option<Vec<u8>>) = (0, None);
        while at < data.len() && !self.opaque {
            let rest = &data[at..];
            let step = match self.response.take() {
                Some(body) => self.response_body(body, rest).map(|taken| (taken, None)),
                None => self.response_head(rest, draining),
            };
            match step {
                Ok((0, _)) => return Scan { taken: at, edited },
                Ok((taken, None)) => {
                    if let Some(out) = &mut edited {
                        out.extend_from_slice(&rest[..taken]);
                    }
                    at += taken;
                }
                Ok((taken, Some(head))) => {
                    edited.get_or_insert_with(|| data[..at].to_vec()).extend_from_slice(&head);
                    at += taken;
                }
                Err(Opaque) => self.opaque = true,
            }
        }
        if let Some(out) = &mut edited {
            out.extend_from_slice(&data[at..]);
        }
        Scan { taken: data.len(), edited }
    }

    fn request_body(&mut self, mut body: Body, data: &[u8]) -> Result<usize, Opaque> {
        let taken = body.advance(data).ok_or(Opaque)?;
        self.request = (!body.is_done()).then_some(body);
        Ok(taken)
    }

    fn response_body(&mut self, mut body: Body, data: &[u8]) -> Result<usize, Opaque> {
        let taken = body.advance(data).ok_or(Opaque)?;
        self.response = (!body.is_done()).then_some(body);
        Ok(taken)
    }

    fn request_head(&mut self, data: &[u8]) -> Result<usize, Opaque> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let Some(length) = head_length(request.parse(data), data)? else { return Ok(0) };
        let method = request.method.ok_or(Opaque)?;
        if method == "CONNECT" || self.unanswered.len() >= MAX_PIPELINED {
            return Err(Opaque);
        }
        self.request = match framing(request.headers)? {
            Framing::None => None,
            Framing::Length(length) => Body::of_length(length),
            Framing::Chunked => Some(Body::chunked()),
            // RFC 9112, 6.3: such a request has no reliable length.
            Framing::OtherCoding => return Err(Opaque),
        };
        let last = ends_connection(request.version, request.headers);
        self.unanswered.push_back(Asked { head_only: method == "HEAD", last });
        Ok(length)
    }

    fn response_head(&mut self, data: &[u8], draining: bool) -> Result<(usize, Option<Vec<u8>>), Opaque> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        // Nothing was asked: a greeting or a timeout notice, in any case not an answer.
        let asked = *self.unanswered.front().ok_or(Opaque)?;
        let Some(length) = head_length(response.parse(data), data)? else { return Ok((0, None)) };
        let status = response.code.ok_or(Opaque)?;
        if status == 101 {
            return Err(Opaque);
        }
        if status < 200 {
            return Ok((length, None));
        }
        let framing = framing(response.headers)?;
        self.unanswered.pop_front();
        self.last |= asked.last || ends_connection(response.version, response.headers);
        self.response = if asked.head_only || status == 204 || status == 304 {
            None
        } else {
            match framing {
                Framing::Length(length) => Body::of_length(length),
                Framing::Chunked => Some(Body::chunked()),
                Framing::None | Framing::OtherCoding => Some(Body::until_close()),
            }
        };
        // Requests already sent behind this one are still answered, so only the last answer says good-bye.
        if !draining || !self.unanswered.is_empty() {
            return Ok((length, None));
        }
        self.closing = true;
        Ok((length, Some(with_connection_close(&data[..length], response.headers))))
    }
}

fn head_length(parsed: httparse::Result<usize>, data: &[u8]) -> Result<Option<usize>, Opaque> {
    match parsed {
        Ok(httparse::Status::Complete(length)) => Ok(Some(length)),
        Ok(httparse::Status::Partial) if data.len() < MAX_HEAD_BYTES => Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => Err(Opaque),
    }
}

/// Whether a message is the last of its sender's on this connection (RFC 9112, 9.3). HTTP/1.0 is taken at its word, which
/// is that it ends, unless it says otherwise.
fn ends_connection(version: Option<u8>, headers: &[httparse::Header<'_>]) -> bool {
    let says = |wanted: &[u8]| connection_options(headers).any(|option| option.eq_ignore_ascii_case(wanted));
    says(b"close") || (version == Some(0) && !says(b"keep-alive"))
}

enum Framing {
    None,
    Length(u64),
    Chunked,
    OtherCoding,
}

/// Message length by RFC 9112, 6.3; contradictions are not interpreted.
fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, Opaque> {
    let mut found = Framing::None;
    for header in headers {
        let next = if header.name.eq_ignore_ascii_case("content-length") {
            Framing::Length(decimal(header.value).ok_or(Opaque)?)
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let chunked = header.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if chunked { Framing::Chunked } else { Framing::OtherCoding }
        } else {
            continue;
        };
        if !matches!(found, Framing::None) {
            return Err(Opaque);
        }
        found = next;
    }
    Ok(found)
}

fn decimal(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The head with its `Connection` and `Keep-Alive` lines replaced by one `Connection: close`. Other connection options
/// are kept, as they say which headers concern this hop only.
fn with_connection_close(head: &[u8], headers: &[httparse::Header<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 24);
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let dropped = name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive");
        if lines.peek().is_none() {
            out.extend_from_slice(b"Connection: close");
            let replaced = |option: &[u8]| {
                option.is_empty() || option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
            };
            for option in connection_options(headers).filter(|option| !replaced(option)) {
                out.extend_from_slice(b", ");
                out.extend_from_slice(option);
            }
            out.extend_from_slice(b"\r\n");
        }
        if !dropped {
            out.extend_from_slice(line);
        }
    }
    out
}

fn connection_options<'a>(headers: &'a [httparse::Header<'a>]) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
    lines.flat_map(|header| header.value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
