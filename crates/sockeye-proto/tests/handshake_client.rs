//! The client's side of the opening handshake (RFC 6455 section 4.1), through the public API.

use std::time::{Duration, Instant};

use sockeye_proto::handshake::{
    ClientHandshake, Extension, Offer, Parameter, Response, accept_key, random_key,
};
use sockeye_proto::{
    BytesMut, Config, HandshakeError, HandshakeMisuse, HeaderMap, HeaderName, HeaderValue, Refusal,
    StatusCode, header,
};

/// The nonce of RFC 6455 section 1.3.
const KEY: [u8; 16] = *b"the sample nonce";

/// RFC 6455 section 1.2
const RFC: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\
    \r\n";

fn offer() -> Offer {
    Offer {
        subprotocols: vec!["chat".into(), "superchat".into()],
        extensions: vec![extension("permessage-deflate")],
        headers: HeaderMap::new(),
    }
}

fn extension(name: &str) -> Extension {
    Extension { name: name.into(), parameters: Vec::new() }
}

fn start(offer: &Offer, config: &Config, now: Instant) -> ClientHandshake {
    let url = "ws://server.example.com/chat".parse().expect("a URL");
    ClientHandshake::new(&url, offer, KEY, config, now, &mut BytesMut::new()).expect("a valid offer")
}

fn request(url: &str, offer: &Offer) -> Result<String, HandshakeMisuse> {
    let mut output = BytesMut::new();
    match ClientHandshake::new(
        &url.parse().expect("a URL"),
        offer,
        KEY,
        &Config::default(),
        Instant::now(),
        &mut output,
    ) {
        Ok(_) => Ok(String::from_utf8(output.to_vec()).expect("ASCII")),
        Err(HandshakeError::Misuse(misuse)) => {
            assert!(output.is_empty(), "nothing is written");
            Err(misuse)
        }
        Err(error) => panic!("{error}"),
    }
}

/// The outcome, and what is left of the input after a response; if `ends`, the bytes end behind the pieces.
fn feed<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    ends: bool,
    config: &Config,
) -> Result<(Option<Response>, BytesMut), HandshakeError> {
    let now = Instant::now();
    let mut handshake = start(&offer(), config, now);
    let (mut input, mut response) = (BytesMut::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        if response.is_none() {
            response = handshake.receive(&mut input, now)?;
        }
    }
    if ends && response.is_none() {
        return Err(handshake.receive_end(&mut input));
    }
    Ok((response, input))
}

/// Reads the bytes whole, split in two everywhere, and byte by byte: the outcome must always be the same.
fn read_with(
    bytes: &[u8],
    ends: bool,
    config: &Config,
) -> Result<(Option<Response>, BytesMut), HandshakeError> {
    let whole = feed([bytes], ends, config);
    let expected = format!("{whole:?}");
    assert_eq!(format!("{:?}", feed(bytes.chunks(1), ends, config)), expected, "byte by byte");
    for at in 0..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(format!("{:?}", feed([left, right], ends, config)), expected, "split at {at}");
    }
    whole
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Response, HandshakeError> {
    let (response, _) = read_with(bytes.as_ref(), true, &Config::default())?;
    Ok(response.expect("a response, if the bytes end"))
}

/// What is refused: whether before the bytes end, and how.
fn refusal_with(bytes: &str, config: &Config) -> (bool, Refusal) {
    let (needs_end, error) = match read_with(bytes.as_bytes(), false, config) {
        Ok((None, _)) => (true, read_with(bytes.as_bytes(), true, config).expect_err("a refusal")),
        Ok(_) => panic!("a response"),
        Err(error) => (false, error),
    };
    let HandshakeError::Refused(refusal) = error else { panic!("{error}") };
    (needs_end, *refusal)
}

/// [`RFC`] with another first line, or without the fields of a name, or with other lines in their place.
fn rfc_with(name: &str, lines: &[&str]) -> String {
    let mut all: Vec<_> = RFC.trim_end().split("\r\n").filter(|line| !line.starts_with(name)).collect();
    if name.starts_with("HTTP") {
        all.splice(0..0, lines.iter().copied());
    } else {
        all.extend(lines);
    }
    format!("{}\r\n\r\n", all.join("\r\n"))
}

#[test]
fn keys() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_ne!(random_key(), random_key());
}

#[test]
fn the_request_of_rfc_6455_section_1_2() {
    let mut offer = Offer { extensions: Vec::new(), ..offer() };
    offer.headers.insert(header::ORIGIN, HeaderValue::from_static("http://example.com"));
    assert_eq!(
        request("ws://server.example.com/chat", &offer).unwrap(),
        "GET /chat HTTP/1.1\r\n\
         Host: server.example.com\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n\
         Origin: http://example.com\r\n\
         \r\n"
    );
}

#[test]
fn a_request_has_the_callers_headers() {
    let deflate = Extension {
        name: "permessage-deflate".into(),
        parameters: vec![
            Parameter { name: "client_max_window_bits".into(), value: None },
            Parameter { name: "server_max_window_bits".into(), value: Some("10".into()) },
        ],
    };
    let mut offer = Offer { extensions: vec![deflate, extension("x")], ..Offer::default() };
    for (name, value) in [
        (header::USER_AGENT, "sockeye"),
        (header::AUTHORIZATION, "Bearer x"),
        (header::COOKIE, "a=1; b=2"),
        (header::HOST, "other"),
    ] {
        offer.headers.append(name, HeaderValue::from_static(value));
    }
    offer.headers.append("x-name", HeaderValue::from_bytes(b"\xe9").unwrap());
    offer.headers.append("x-name", HeaderValue::from_static(""));
    let mut output = BytesMut::new();
    let url = "wss://[::1]:8443/?a".parse().unwrap();
    ClientHandshake::new(&url, &offer, KEY, &Config::default(), Instant::now(), &mut output).unwrap();
    assert_eq!(
        output,
        &b"GET /?a HTTP/1.1\r\n\
         Host: other\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10, x\r\n\
         User-Agent: sockeye\r\n\
         Authorization: Bearer x\r\n\
         Cookie: a=1; b=2\r\n\
         X-Name: \xe9\r\n\
         X-Name: \r\n\
         \r\n"[..]
    );
}

#[test]
fn an_offer_that_breaks_the_rules_is_refused() {
    let url = "ws://h/";
    for name in [
        "connection",
        "upgrade",
        "content-length",
        "transfer-encoding",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-whatever",
    ] {
        let name = HeaderName::from_static(name);
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
        let misuse = request(url, &Offer { headers, ..offer() }).unwrap_err();
        assert!(misuse.to_string().contains(name.as_str()), "{misuse}");
        assert_eq!(misuse, HandshakeMisuse::OwnedHeader(name));
    }
    let mut headers = HeaderMap::new();
    headers.append(header::HOST, HeaderValue::from_static("a"));
    headers.append(header::HOST, HeaderValue::from_static("b"));
    assert_eq!(request(url, &Offer { headers, ..offer() }), Err(HandshakeMisuse::HostTwice));

    for subprotocol in ["", "a b", "a,b", "a/b", "caf\u{e9}", "a\r\nX: y"] {
        let subprotocols = vec!["chat".into(), subprotocol.into()];
        let expected = HandshakeMisuse::SubprotocolSyntax(subprotocol.into());
        assert_eq!(request(url, &Offer { subprotocols, ..offer() }), Err(expected));
    }
    let subprotocols = vec!["chat".into(), "Chat".into(), "chat".into()];
    let expected = HandshakeMisuse::SubprotocolTwice("chat".into());
    assert_eq!(request(url, &Offer { subprotocols, ..offer() }), Err(expected));

    for name in ["", "a b", "a; b", "a\r\nX: y"] {
        let extensions = vec![extension(name)];
        let misuse = request(url, &Offer { extensions, ..offer() }).unwrap_err();
        assert_eq!(misuse, HandshakeMisuse::ExtensionSyntax(name.into()));
    }
}

#[test]
fn the_response_of_rfc_6455_section_1_2() {
    let response = read(RFC).unwrap();
    assert_eq!(response.status, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.subprotocol.as_deref(), Some("chat"));
    assert_eq!(response.extensions, []);
    assert_eq!(response.headers.len(), 4);
}

#[test]
fn the_response_of_the_websocket_org_tutorials() {
    let response = read(
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\n\
         Date: Fri, 10 Feb 2012 17:38:18 GMT\r\n\
         Connection: Upgrade\r\n\
         Server: Kaazing Gateway\r\n\
         Upgrade: WebSocket\r\n\
         Access-Control-Allow-Origin: http://websocket.org\r\n\
         Access-Control-Allow-Credentials: true\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Access-Control-Allow-Headers: content-type\r\n\
         \r\n",
    )
    .unwrap();
    assert_eq!(response.headers["server"], "Kaazing Gateway");
    assert_eq!((response.subprotocol, response.extensions), (None, vec![]));
}

#[test]
fn what_is_in_order() {
    for (rule, bytes) in [
        ("no reason", rfc_with("HTTP", &["HTTP/1.1 101"])),
        ("any reason", rfc_with("HTTP", &["HTTP/1.1 101 \u{e9} \t?"])),
        ("HTTP/1.2", rfc_with("HTTP", &["HTTP/1.2 101 x"])),
        ("Upgrade in any case", rfc_with("Upgrade", &["upgrade: WebSOCKET"])),
        ("Connection as a list", rfc_with("Connection", &["Connection: keep-alive, upgrade"])),
        ("two Connection fields", rfc_with("Connection", &["Connection: keep-alive", "Connection: UPGRADE"])),
        ("white space", RFC.replace(": ", ":\t ").replace("=\r\n", "= \t\r\n")),
        ("bare line feeds", RFC.replace("\r\n", "\n")),
        ("100 first", format!("HTTP/1.1 100 Continue\r\n\r\n{RFC}")),
        (
            "103 first, twice",
            format!("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 103\r\n\r\n{RFC}"),
        ),
        ("an extension", rfc_with("none", &["Sec-WebSocket-Extensions: permessage-deflate; x=\"1\""])),
        (
            "extensions in two fields",
            rfc_with(
                "none",
                &[
                    "Sec-WebSocket-Extensions: permessage-deflate",
                    "Sec-WebSocket-Extensions: permessage-deflate",
                ],
            ),
        ),
        ("the other subprotocol", rfc_with("Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: superchat"])),
        ("no subprotocol", rfc_with("Sec-WebSocket-Protocol", &[])),
    ] {
        read(bytes).unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
}

#[test]
fn what_is_not_in_order() {
    use HandshakeError as E;
    let accept = |found: &str| E::Accept { found: found.into() };
    for (rule, name, lines, error) in [
        ("HTTP/1.0", "HTTP", &["HTTP/1.0 101 x"][..], E::HttpVersion("HTTP/1.0".into())),
        ("HTTP/2", "HTTP", &["HTTP/2.0 101 x"], E::HttpVersion("HTTP/2.0".into())),
        ("no Upgrade", "Upgrade", &[], E::MissingHeader("Upgrade")),
        ("another Upgrade", "Upgrade", &["Upgrade: h2c"], E::Upgrade { found: "h2c".into() }),
        (
            "Upgrade as a list",
            "Upgrade",
            &["Upgrade: h2c, websocket"],
            E::Upgrade { found: "h2c, websocket".into() },
        ),
        (
            "two Upgrades",
            "none",
            &["Upgrade: websocket"],
            E::Upgrade { found: "websocket, websocket".into() },
        ),
        ("no Connection", "Connection", &[], E::MissingHeader("Connection")),
        ("another Connection", "Connection", &["Connection: close"], E::Connection { found: "close".into() }),
        ("no accept", "Sec-WebSocket-Accept", &[], E::MissingHeader("Sec-WebSocket-Accept")),
        ("an empty accept", "Sec-WebSocket-Accept", &["Sec-WebSocket-Accept:"], accept("")),
        (
            "another accept",
            "Sec-WebSocket-Accept",
            &["Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
            accept("S3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ),
        (
            "our key as accept",
            "Sec-WebSocket-Accept",
            &["Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ=="],
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
        ),
        (
            "two accepts",
            "none",
            &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
            E::DuplicateHeader("Sec-WebSocket-Accept"),
        ),
        (
            "two subprotocols",
            "none",
            &["Sec-WebSocket-Protocol: chat"],
            E::DuplicateHeader("Sec-WebSocket-Protocol"),
        ),
        (
            "a list of subprotocols",
            "Sec-WebSocket-Protocol",
            &["Sec-WebSocket-Protocol: chat, superchat"],
            E::SubprotocolNotOffered("chat, superchat".into()),
        ),
        (
            "a subprotocol in another case",
            "Sec-WebSocket-Protocol",
            &["Sec-WebSocket-Protocol: Chat"],
            E::SubprotocolNotOffered("Chat".into()),
        ),
        (
            "an empty subprotocol",
            "Sec-WebSocket-Protocol",
            &["Sec-WebSocket-Protocol:"],
            E::SubprotocolNotOffered(String::new()),
        ),
        (
            "another extension",
            "none",
            &["Sec-WebSocket-Extensions: permessage-deflate, x"],
            E::ExtensionNotOffered("x".into()),
        ),
        (
            "a broken extension",
            "none",
            &["Sec-WebSocket-Extensions: permessage-deflate;"],
            E::HeaderSyntax {
                name: "Sec-WebSocket-Extensions",
                expected: "a list of extensions with parameters",
                found: "permessage-deflate;".into(),
            },
        ),
    ] {
        assert_eq!(read(rfc_with(name, lines)).unwrap_err(), error, "{rule}");
    }
}

#[test]
fn what_is_not_http() {
    for (rule, bytes) in [
        ("an SSH server", "SSH-2.0-OpenSSH_9.6\r\n".to_owned()),
        ("a TLS alert", "\u{15}\u{3}\u{1}\0\u{2}\u{2}F".to_owned()),
        ("an empty line first", format!("\r\n{RFC}")),
        ("a folded line", rfc_with("none", &["X: a", "\tb"])),
        ("NUL", rfc_with("none", &["X: \0"])),
        ("a bare CR in the reason", RFC.replace("Switching ", "Switching\r")),
        ("a request", "GET / HTTP/1.1\r\n\r\n".to_owned()),
    ] {
        let (rule, error) = (rule, read(bytes).unwrap_err());
        assert!(matches!(error, HandshakeError::HttpSyntax(_)), "{rule}: {error}");
    }
}

#[test]
fn a_refusal_is_handed_over_with_its_body() {
    let chunks = "3\r\nnot\r\n0b;q=\"v\"\r\n now, dear\n\r\n0\r\nX: y\r\n\r\n";
    for (framing, head, body, kept) in [
        ("a length", "HTTP/1.1 403 Forbidden\r\nContent-Length: 3", "no!more", "no!"),
        ("a length of 0", "HTTP/1.1 403 x\r\nContent-Length: 0", "", ""),
        ("lengths that agree", "HTTP/1.1 403 x\r\nContent-Length: 2, 2\r\nContent-Length: 02", "no", "no"),
        ("HTTP/1.0", "HTTP/1.0 403 x\r\nContent-Length: 2", "no", "no"),
        ("100 first", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 403 x\r\nContent-Length: 1", "z", "z"),
        ("chunked", "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked", chunks, "not now, dear\n"),
        (
            "coded and chunked",
            "HTTP/1.1 403 x\r\nTransfer-Encoding: gzip, Chunked",
            chunks,
            "not now, dear\n",
        ),
        // RFC 9112 section 6.3: "the Transfer-Encoding overrides the Content-Length"
        (
            "chunked and a length",
            "HTTP/1.1 403 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            chunks,
            "not now, dear\n",
        ),
        ("until the end", "HTTP/1.1 403 x", "hello", "hello"),
        ("until the end, empty", "HTTP/1.1 403 x", "", ""),
        ("coded until the end", "HTTP/1.1 403 x\r\nTransfer-Encoding: gzip", "no", "no"),
    ] {
        let (needs_end, refusal) = refusal_with(&format!("{head}\r\n\r\n{body}"), &Config::default());
        assert_eq!(refusal.status, StatusCode::FORBIDDEN, "{framing}");
        assert_eq!((&refusal.body[..], refusal.truncated), (kept.as_bytes(), false), "{framing}");
        assert_eq!(needs_end, framing.contains("until the end"), "{framing}");
    }
    for status in [204, 304] {
        let (needs_end, refusal) =
            refusal_with(&format!("HTTP/1.1 {status} x\r\nContent-Length: 3\r\n\r\n"), &Config::default());
        assert_eq!((refusal.status.as_u16(), refusal.body.len()), (status, 0));
        assert!(!needs_end && !refusal.truncated);
    }
}

#[test]
fn a_refusal_is_handed_over_even_if_its_body_is_broken() {
    let long = format!("2;{}", "x".repeat(300));
    let too_long = format!("{long}\r\nno\r\n0\r\n\r\n");
    for (rule, framing, body, needs_end, kept) in [
        ("too short", "Content-Length: 9", "no", true, "no"),
        ("a huge length", "Content-Length: 18446744073709551615", "no", true, "no"),
        ("a length beyond all", "Content-Length: 18446744073709551616", "no", false, ""),
        ("a strange length", "Content-Length: +2", "no", false, ""),
        ("lengths that differ", "Content-Length: 2\r\nContent-Length: 3", "no", false, ""),
        ("a chunk too short", "Transfer-Encoding: chunked", "9\r\nno", true, "no"),
        ("no last chunk", "Transfer-Encoding: chunked", "2\r\nno\r\n", true, "no"),
        ("a broken chunk end", "Transfer-Encoding: chunked", "2\r\nnope", false, "no"),
        ("a broken size", "Transfer-Encoding: chunked", "2\r\nno\r\nz", false, "no"),
        ("no size", "Transfer-Encoding: chunked", "2\r\nno\r\n\r\n", false, "no"),
        ("a huge size", "Transfer-Encoding: chunked", "ffffffffffffffff\r\nno", true, "no"),
        ("a size beyond all", "Transfer-Encoding: chunked", "1ffffffffffffffff\r\nno", false, ""),
        ("a size line without end", "Transfer-Encoding: chunked", &long, false, ""),
        ("a size line too long", "Transfer-Encoding: chunked", &too_long, false, ""),
    ] {
        let bytes = format!("HTTP/1.1 403 x\r\n{framing}\r\n\r\n{body}");
        let (needed_end, refusal) = refusal_with(&bytes, &Config::default());
        assert_eq!(refusal.status, StatusCode::FORBIDDEN, "{rule}");
        assert_eq!((&refusal.body[..], refusal.truncated), (kept.as_bytes(), true), "{rule}");
        assert_eq!(needed_end, needs_end, "{rule}");
    }
}

#[test]
fn a_refusal_has_its_status_and_headers() {
    let bytes = "HTTP/1.1 301 x\r\nLocation: ws://b/\r\nContent-Length: 0\r\n\r\n";
    let (_, refusal) = refusal_with(bytes, &Config::default());
    assert_eq!(refusal.headers["location"], "ws://b/");
    let error = HandshakeError::Refused(Box::new(refusal));
    assert_eq!(error.status(), Some(StatusCode::MOVED_PERMANENTLY));
    assert!(error.to_string().contains("301 Moved Permanently"), "{error}");
    let mut output = BytesMut::new();
    error.respond(&mut output);
    assert!(output.is_empty());
}

#[test]
fn the_limit_on_a_refusals_body_holds_to_the_byte() {
    let mut config = Config::default();
    for (framing, bytes) in [
        ("Content-Length", "HTTP/1.1 403 x\r\nContent-Length: 4\r\n\r\nnope"),
        ("chunked", "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n2\r\npe\r\n0\r\n\r\n"),
        ("until the end", "HTTP/1.1 403 x\r\n\r\nnope"),
    ] {
        for (limit, body, truncated) in
            [(5, "nope", false), (4, "nope", false), (3, "nop", true), (0, "", true)]
        {
            config.max_refusal_body = limit;
            let (needs_end, refusal) = refusal_with(bytes, &config);
            assert_eq!(
                (&refusal.body[..], refusal.truncated),
                (body.as_bytes(), truncated),
                "{framing}, {limit}"
            );
            assert_eq!(needs_end, framing == "until the end" && !truncated, "{framing}, {limit}");
        }
    }
}

#[test]
fn the_limits_on_the_head_hold_to_the_byte() {
    let mut config = Config::default();
    let with_interim = format!("HTTP/1.1 100 Continue\r\n\r\n{RFC}");
    for bytes in [RFC, &with_interim] {
        config.max_header_block = bytes.len();
        assert!(read_with(bytes.as_bytes(), false, &config).unwrap().0.is_some());
        config.max_header_block -= 1;
        let error = read_with(bytes.as_bytes(), false, &config).unwrap_err();
        assert_eq!(error, HandshakeError::HeaderBlockTooLong { limit: bytes.len() - 1 });
    }
    let mut config = Config::default();
    config.max_headers = 4;
    assert!(read_with(with_interim.as_bytes(), false, &config).unwrap().0.is_some());
    config.max_headers = 3;
    let error = read_with(RFC.as_bytes(), false, &config).unwrap_err();
    assert_eq!(error, HandshakeError::TooManyHeaders { limit: 3 });
}

#[test]
fn bytes_behind_the_response_are_kept() {
    let frame = b"\x81\x05\x48\x65\x6c\x6c\x6f";
    let (response, rest) = read_with(&[RFC.as_bytes(), frame].concat(), false, &Config::default()).unwrap();
    assert!(response.is_some());
    assert_eq!(rest, &frame[..]);
}

#[test]
fn time_runs_out() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(10);
    let just_before = deadline.checked_sub(Duration::from_nanos(1)).unwrap();
    let mut handshake = start(&offer(), &Config::default(), now);
    assert_eq!(handshake.deadline(), Some(deadline));
    let mut input = BytesMut::from(&RFC[..20]);
    assert!(handshake.receive(&mut input, just_before).unwrap().is_none());
    assert_eq!(handshake.receive(&mut input, deadline).unwrap_err(), HandshakeError::TimedOut);
    // At the deadline one more look is taken.
    input.extend_from_slice(&RFC.as_bytes()[20..]);
    assert!(handshake.receive(&mut input, deadline).unwrap().is_some());

    // A refusal is told even if its body is late.
    let mut handshake = start(&offer(), &Config::default(), now);
    let mut input = BytesMut::from("HTTP/1.1 403 x\r\n\r\nno");
    assert!(handshake.receive(&mut input, just_before).unwrap().is_none());
    let HandshakeError::Refused(refusal) = handshake.receive(&mut input, deadline).unwrap_err() else {
        panic!()
    };
    assert_eq!((&refusal.body[..], refusal.truncated), (&b"no"[..], true));

    let mut config = Config::default();
    config.open_timeout = None;
    assert_eq!(start(&offer(), &config, now).deadline(), None);
    config.open_timeout = Some(Duration::MAX);
    assert_eq!(start(&offer(), &config, now).deadline(), None);
}

#[test]
fn the_server_hangs_up() {
    for bytes in ["", "HTTP/1.1 101", &RFC[..RFC.len() - 1], "HTTP/1.1 100 x\r\n\r\n"] {
        assert_eq!(read(bytes).unwrap_err(), HandshakeError::Truncated, "{bytes:?}");
    }
}
