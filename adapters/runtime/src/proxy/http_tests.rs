use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn asked(requests: &[&[u8]]) -> Exchange {
    let mut exchange = Exchange::default();
    for request in requests {
        assert_eq!(exchange.on_request(request), request.len());
    }
    exchange
}

/// Passes `data` in two pieces cut at every place and returns what reaches the client, which must not depend on the cut.
fn answer(requests: &[&[u8]], data: &[u8], draining: bool) -> (String, Exchange) {
    let mut results = (0..=data.len()).map(|cut| {
        let mut exchange = asked(requests);
        let (mut out, mut held) = (Vec::new(), Vec::new());
        for piece in [&data[..cut], &data[cut..]] {
            held.extend_from_slice(piece);
            let scan = exchange.on_response(&held, draining);
            out.extend_from_slice(scan.edited.as_deref().unwrap_or(&held[..scan.taken]));
            held.drain(..scan.taken);
        }
        out.extend_from_slice(&held);
        (String::from_utf8(out).unwrap(), exchange)
    });
    let (first, exchange) = results.next().unwrap();
    for (cut, (other, _)) in results.enumerate() {
        assert_eq!(other, first, "cut at {}", cut + 1);
    }
    (first, exchange)
}

#[test]
fn without_draining_every_byte_passes_untouched() {
    let (out, exchange) = answer(&[GET], OK, false);
    assert_eq!(out.as_bytes(), OK);
    assert!(exchange.is_idle() && !exchange.is_closing());
}

#[test]
fn draining_says_close_once_and_drops_keep_alive() {
    let head =
        b"HTTP/1.1 200 OK\r\nconnection: Keep-Alive, X-Hop\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nhi";
    let (out, exchange) = answer(&[GET], head, true);
    assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\n\r\nhi");
    assert!(exchange.is_idle() && exchange.is_closing());
}

#[test]
fn only_the_last_pipelined_answer_says_close() {
    let two = [OK, OK].concat();
    let (out, exchange) = answer(&[GET, GET], &two, true);
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    assert_eq!(out, expected);
    assert!(exchange.is_idle());
}

#[test]
fn bodies_end_by_the_rules_of_their_kind() {
    let head = b"HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n";
    let cases: [(&[u8], &[u8], bool); 7] = [
        (head, b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", true),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n", true),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", true),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", false),
        (GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the end", false),
        (GET, b"HTTP/1.1 100 Continue\r\n\r\n", false),
    ];
    for (request, response, idle) in cases {
        let (out, exchange) = answer(&[request], response, false);
        assert_eq!(out.as_bytes(), response);
        assert_eq!(exchange.is_idle(), idle, "{}", String::from_utf8_lossy(response));
        assert!(!exchange.opaque);
    }
}

#[test]
fn interim_answers_keep_the_request_open_and_unchanged() {
    let both = [b"HTTP/1.1 100 Continue\r\n\r\n", OK].concat();
    let (out, exchange) = answer(&[GET], &both, true);
    assert_eq!(out, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    assert!(exchange.is_idle());
}

#[test]
fn request_bodies_keep_the_exchange_busy() {
    let mut exchange = asked(&[b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab"]);
    assert_eq!(exchange.on_response(OK, true).taken, OK.len());
    assert!(!exchange.is_idle() && !exchange.is_closing(), "the rest of the body is still on its way");
    assert_eq!(exchange.on_request(b"cd"), 2);
    assert!(exchange.is_idle() && exchange.is_closing());
}

#[test]
fn a_partial_request_head_is_held_back_whole() {
    let mut exchange = Exchange::default();
    let begun = [GET, b"GET /next HT"].concat();
    assert_eq!(exchange.on_request(&begun), GET.len());
    assert_eq!(exchange.on_request(GET), GET.len());
    assert_eq!(exchange.unanswered.len(), 2);
}

#[test]
fn what_is_not_understood_passes_and_claims_nothing() {
    let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; MAX_HEAD_BYTES]].concat();
    let requests: [&[u8]; 6] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        &long,
    ];
    for request in requests {
        let mut exchange = asked(&[request]);
        assert!(exchange.opaque && !exchange.is_idle(), "{}", String::from_utf8_lossy(request));
        assert_eq!(exchange.on_response(OK, true), Scan { taken: OK.len(), edited: None });
    }
    let responses: [&[u8]; 3] = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
        b"garbage\r\n\r\n",
    ];
    for response in responses {
        let mut exchange = asked(&[GET]);
        assert_eq!(exchange.on_response(response, true), Scan { taken: response.len(), edited: None });
        assert!(exchange.opaque);
    }
    let mut unasked = Exchange::default();
    assert_eq!(unasked.on_response(b"220 hello", true).taken, 9);
    assert!(unasked.opaque);
}

#[test]
fn a_flood_of_pipelined_requests_is_not_followed() {
    let mut exchange = Exchange::default();
    let flood = GET.repeat(MAX_PIPELINED + 1);
    assert_eq!(exchange.on_request(&flood), flood.len());
    assert!(exchange.opaque);
}

#[test]
fn a_client_is_kept_until_one_side_speaks_of_the_end() {
    let keeps = |request: &[u8], head: &[u8]| {
        let (_, exchange) = answer(&[request], head, false);
        assert!(exchange.is_idle());
        exchange.keeps_client()
    };
    assert!(keeps(GET, OK));
    assert!(!keeps(b"GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n", OK));
    assert!(!keeps(GET, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"));
    assert!(!keeps(b"GET / HTTP/1.0\r\n\r\n", OK));
    assert!(!keeps(GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
    let kept = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    assert!(keeps(kept, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"));
    let (_, told) = answer(&[GET], OK, true);
    assert!(!told.keeps_client());
    assert!(!asked(&[GET]).keeps_client(), "an answer is due");
}
