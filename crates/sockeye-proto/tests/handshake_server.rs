//! The server's side of the opening handshake (RFC 6455 section 4.2), through the public API.

use std::time::{Duration, Instant};

use sockeye_proto::handshake::{Answer, Extension, Head, Parameter, Request, ServerHandshake, reject};
use sockeye_proto::{
    BytesMut, Config, HandshakeError, HandshakeMisuse, HeaderMap, HeaderName, HeaderValue, Method,
    StatusCode, Version, header,
};

/// RFC 6455 section 1.2
const RFC: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\
    \r\n";

fn feed<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    config: &Config,
) -> Result<(Option<Head>, BytesMut), HandshakeError> {
    let now = Instant::now();
    let mut handshake = ServerHandshake::new(config, now);
    let (mut input, mut head) = (BytesMut::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        if head.is_none() {
            head = handshake.receive(&mut input, now)?;
        }
    }
    Ok((head, input))
}

/// Reads the bytes whole, split in two everywhere, and byte by byte: the outcome must always be the same.
fn read_with(bytes: &[u8], config: &Config) -> Result<(Option<Head>, BytesMut), HandshakeError> {
    let whole = feed([bytes], config);
    let expected = format!("{whole:?}");
    assert_eq!(format!("{:?}", feed(bytes.chunks(1), config)), expected, "byte by byte");
    for at in 0..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(format!("{:?}", feed([left, right], config)), expected, "split at {at}");
    }
    whole
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Head, HandshakeError> {
    let (head, rest) = read_with(bytes.as_ref(), &Config::default())?;
    let head = head.expect("a whole head");
    assert_eq!([&head.bytes[..], &rest].concat(), bytes.as_ref(), "no byte is lost");
    Ok(head)
}

fn request(bytes: impl AsRef<[u8]>) -> Result<Request, HandshakeError> {
    read(bytes).and_then(Request::new)
}

/// [`RFC`] with another first line, or without the fields of a name, or with other lines in their place.
fn rfc_with(name: &str, lines: &[&str]) -> String {
    let mut all: Vec<_> = RFC.trim_end().split("\r\n").filter(|line| !line.starts_with(name)).collect();
    if name == "GET" {
        all.splice(0..0, lines.iter().copied());
    } else {
        all.extend(lines);
    }
    format!("{}\r\n\r\n", all.join("\r\n"))
}

fn extension(name: &str) -> Extension {
    Extension { name: name.into(), parameters: Vec::new() }
}

#[test]
fn rfc_6455_section_1_2() {
    let head = read(RFC).unwrap();
    assert_eq!((&head.method, &head.target[..]), (&Method::GET, "/chat"));
    assert!(head.asks_for_websocket());
    let request = Request::new(head).unwrap();
    assert_eq!((request.path(), request.query()), ("/chat", None));
    assert_eq!(request.host(), "server.example.com");
    assert_eq!(request.origin(), Some("http://example.com"));
    assert_eq!(request.subprotocols(), ["chat", "superchat"]);
    assert_eq!(request.extensions(), []);
    assert_eq!(request.headers()["sec-websocket-version"], "13");

    let mut output = BytesMut::new();
    let answer = Answer { subprotocol: Some("chat".into()), ..Answer::default() };
    request.accept(&answer, &mut output).unwrap();
    assert_eq!(
        output,
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: chat\r\n\
         \r\n"
    );
}

#[test]
fn the_request_of_the_websocket_org_tutorials() {
    let request = request(
        "GET ws://echo.websocket.org/?encoding=text HTTP/1.1\r\n\
         Origin: http://websocket.org\r\n\
         Cookie: __utma=99as; theme=dark=er; broken; =x;y=\r\n\
         Connection: Upgrade\r\n\
         Host: echo.websocket.org\r\n\
         Sec-WebSocket-Key: uRovscZjNol/umbTt5uKmw==\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         \r\n",
    )
    .unwrap();
    assert_eq!((request.path(), request.query()), ("/", Some("encoding=text")));
    assert_eq!(request.host(), "echo.websocket.org");
    assert_eq!(request.origin(), Some("http://websocket.org"));
    let cookies: Vec<_> = request.cookies().collect();
    assert_eq!(cookies, [("__utma", "99as"), ("theme", "dark=er"), ("", "x"), ("y", "")]);
    let mut output = BytesMut::new();
    request.accept(&Answer::default(), &mut output).unwrap();
    let text = String::from_utf8(output.to_vec()).unwrap();
    assert!(text.contains("\r\nSec-WebSocket-Accept: rLHCkw/SKsO9GAH/ZSFhBATDKrU=\r\n"), "{text}");
    assert!(!text.contains("Sec-WebSocket-Protocol") && !text.contains("Sec-WebSocket-Extensions"), "{text}");
}

#[test]
fn a_request_without_key_and_version() {
    let error = request(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Origin: http://example.com\r\n\r\n",
    )
    .unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
}

#[test]
fn a_firefox_request() {
    let request = request(
        "GET /a%20b?x=1&y HTTP/1.1\r\nHost: localhost:9000\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\
         Sec-WebSocket-Version: 13\r\nOrigin: null\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Sec-WebSocket-Key: 9kY1C6tV0mJ8b2V5d3x0Zw==\r\nConnection: keep-alive, Upgrade\r\n\
         Cookie: a=1\r\ncookie: b=2\r\nPragma: no-cache\r\nUpgrade: websocket\r\n\r\n",
    )
    .unwrap();
    assert_eq!((request.path(), request.query()), ("/a%20b", Some("x=1&y")));
    assert_eq!((request.host(), request.origin()), ("localhost:9000", Some("null")));
    assert_eq!(request.extensions(), [extension("permessage-deflate")]);
    assert_eq!(request.cookies().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
}

#[test]
fn what_is_in_order() {
    for (rule, bytes) in [
        ("no subprotocols, no origin", rfc_with("Sec-WebSocket-Protocol", &[]).replace("Origin", "X-Origin")),
        ("HTTP/1.2", rfc_with("GET", &["GET /chat HTTP/1.2"])),
        ("Upgrade in capitals", rfc_with("Upgrade", &["UPGRADE: WebSocket"])),
        ("Upgrade as a list", rfc_with("Upgrade", &["Upgrade: h2c, websocket"])),
        ("two Upgrade fields", rfc_with("Upgrade", &["Upgrade: h2c", "Upgrade: websocket"])),
        ("Connection as a list", rfc_with("Connection", &["Connection: keep-alive, Upgrade"])),
        ("two Connection fields", rfc_with("Connection", &["Connection: keep-alive", "Connection: upgrade"])),
        ("white space around values", rfc_with("Upgrade", &["Upgrade: \t websocket \t "])),
        ("no space before a value", rfc_with("Upgrade", &["Upgrade:websocket"])),
        ("Content-Length of 0", rfc_with("none", &["Content-Length: 0"])),
        (
            "RFC 6455's other key",
            rfc_with("Sec-WebSocket-Key", &["Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="]),
        ),
        ("values beyond ASCII", rfc_with("none", &["X-Name: \u{e9}\u{1f41f}", "Cookie: a=\u{e9}"])),
        ("an empty value", rfc_with("none", &["X-Empty:"])),
        ("empty lines first", format!("\r\n\n\r\n{RFC}")),
        // RFC 9112 section 2.2: "a recipient MAY recognize a single LF as a line terminator"
        ("bare line feeds", RFC.replace("\r\n", "\n")),
        ("an IPv6 host", rfc_with("Host", &["Host: [::1]:8080"])),
        (
            "empty list elements",
            rfc_with("Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: ,chat,, superchat"]),
        ),
    ] {
        let request = request(&bytes).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(request.path(), "/chat", "{rule}");
    }
}

#[test]
fn targets() {
    for (target, host, path, query) in [
        ("/", "server.example.com", "/", None),
        ("/?", "server.example.com", "/", Some("")),
        ("/a/b?c?d=/", "server.example.com", "/a/b", Some("c?d=/")),
        ("//a", "server.example.com", "//a", None),
        ("/http://h/", "server.example.com", "/http://h/", None),
        ("http://other.example", "other.example", "/", None),
        ("HTTPS://other.example:8443/a?b", "other.example:8443", "/a", Some("b")),
        ("ws://[::1]:80?q", "[::1]:80", "/", Some("q")),
        ("wss://other.example/", "other.example", "/", None),
    ] {
        let request = request(rfc_with("GET", &[&format!("GET {target} HTTP/1.1")])).unwrap();
        assert_eq!((request.host(), request.path(), request.query()), (host, path, query), "{target}");
    }
    for target in [
        "*",
        "chat",
        "h:80",
        "/chat#",
        "/#a",
        "ftp://h/",
        "http://",
        "http:///a",
        "http://me@h/",
        "http:/a",
        "http://h:x/",
    ] {
        let error = request(rfc_with("GET", &[&format!("GET {target} HTTP/1.1")])).unwrap_err();
        assert_eq!(error, HandshakeError::Target(target.into()));
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST), "{target}");
    }
}

/// A rule, the change to [`RFC`] that breaks it, the error and its status.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], HandshakeError, u16);

fn check_refused(cases: &[Case]) {
    for (rule, name, lines, error, status) in cases {
        let found = request(rfc_with(name, lines)).expect_err(rule);
        assert_eq!(found, *error, "{rule}");
        assert_eq!(found.status().map(|status| status.as_u16()), Some(*status), "{rule}");
    }
}

fn syntax(name: &'static str, expected: &'static str, found: &str) -> HandshakeError {
    HandshakeError::HeaderSyntax { name, expected, found: found.into() }
}

#[test]
fn what_breaks_the_rules_of_http() {
    use HandshakeError as E;
    let host = |found| syntax("Host", "a host and possibly a port", found);
    check_refused(&[
        ("method", "GET", &["POST /chat HTTP/1.1"], E::Method(Method::POST), 405),
        ("method in lower case", "GET", &["get /chat HTTP/1.1"], E::Method("get".parse().unwrap()), 405),
        ("HTTP/1.0", "GET", &["GET /chat HTTP/1.0"], E::HttpVersion("HTTP/1.0".into()), 400),
        ("HTTP/2", "GET", &["PRI * HTTP/2.0"], E::HttpVersion("HTTP/2.0".into()), 505),
        ("Content-Length", "none", &["Content-Length: 1"], E::Body, 400),
        ("one of two Content-Lengths", "none", &["Content-Length: 0", "Content-Length: 1"], E::Body, 400),
        ("a strange Content-Length", "none", &["Content-Length: x"], E::Body, 400),
        ("an empty Content-Length", "none", &["Content-Length:"], E::Body, 400),
        ("Transfer-Encoding", "none", &["Transfer-Encoding: chunked"], E::Body, 400),
        ("no Host", "Host", &[], E::MissingHeader("Host"), 400),
        ("two Hosts", "none", &["Host: server.example.com"], E::DuplicateHeader("Host"), 400),
        ("an empty Host", "Host", &["Host:"], host(""), 400),
        ("a path in Host", "Host", &["Host: h/x"], host("h/x"), 400),
        ("a Host beyond ASCII", "Host", &["Host: \u{fc}"], host("\u{fc}"), 400),
    ]);
}

#[test]
fn what_breaks_the_rules_of_the_upgrade() {
    use HandshakeError as E;
    let upgrade = |found: &str| E::Upgrade { found: found.into() };
    let connection = |found: &str| E::Connection { found: found.into() };
    let origin = |found| syntax("Origin", "ASCII", found);
    check_refused(&[
        ("no Upgrade", "Upgrade", &[], E::MissingHeader("Upgrade"), 426),
        ("another Upgrade", "Upgrade", &["Upgrade: h2c"], upgrade("h2c"), 426),
        ("an Upgrade to a version", "Upgrade", &["Upgrade: websocket/13"], upgrade("websocket/13"), 426),
        ("no Connection", "Connection", &[], E::MissingHeader("Connection"), 400),
        (
            "another Connection",
            "Connection",
            &["Connection: close", "Connection: x"],
            connection("close, x"),
            400,
        ),
        ("a longer Connection", "Connection", &["Connection: Upgraded"], connection("Upgraded"), 400),
        ("two Origins", "none", &["Origin: http://evil.example"], E::DuplicateHeader("Origin"), 400),
        ("an Origin beyond ASCII", "Origin", &["Origin: http://\u{fc}"], origin("http://\u{fc}"), 400),
    ]);
}

#[test]
fn what_breaks_the_rules_of_websocket() {
    use HandshakeError as E;
    const VERSION: &str = "Sec-WebSocket-Version";
    const KEY: &str = "Sec-WebSocket-Key";
    const PROTOCOL: &str = "Sec-WebSocket-Protocol";
    let version = |found: &str| E::WebSocketVersion(found.into());
    let key = |found| syntax(KEY, "16 bytes in base64", found);
    let extensions =
        |found| syntax("Sec-WebSocket-Extensions", "a list of extensions with parameters", found);
    let twice = || syntax(PROTOCOL, "a list of tokens, each of them once", "chat");
    check_refused(&[
        ("no version", VERSION, &[], E::MissingHeader(VERSION), 400),
        ("version 8", VERSION, &["Sec-WebSocket-Version: 8"], version("8"), 426),
        ("version 013", VERSION, &["Sec-WebSocket-Version: 013"], version("013"), 426),
        ("versions", VERSION, &["Sec-WebSocket-Version: 13, 8"], version("13, 8"), 426),
        ("two versions", "none", &["Sec-WebSocket-Version: 13"], E::DuplicateHeader(VERSION), 400),
        ("no key", KEY, &[], E::MissingHeader(KEY), 400),
        ("two keys", "none", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], E::DuplicateHeader(KEY), 400),
        ("an empty key", KEY, &["Sec-WebSocket-Key:"], key(""), 400),
        ("15 bytes", KEY, &["Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4P"], key("AQIDBAUGBwgJCgsMDQ4P"), 400),
        (
            "17 bytes",
            KEY,
            &["Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEBE="],
            key("AQIDBAUGBwgJCgsMDQ4PEBE="),
            400,
        ),
        (
            "no padding",
            KEY,
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"],
            key("dGhlIHNhbXBsZSBub25jZQ"),
            400,
        ),
        (
            "not base64",
            KEY,
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="],
            key("dGhlIHNhbXBsZSBub25j*Q=="),
            400,
        ),
        ("a subprotocol twice", "none", &["Sec-WebSocket-Protocol: chat"], twice(), 400),
        (
            "no token",
            "none",
            &["Sec-WebSocket-Protocol: a/b"],
            syntax(PROTOCOL, "a list of tokens", "a/b"),
            400,
        ),
        ("no extension", "none", &["Sec-WebSocket-Extensions:"], extensions(""), 400),
        ("a broken extension", "none", &["Sec-WebSocket-Extensions: a;"], extensions("a;"), 400),
    ]);
}

#[test]
fn what_is_not_http() {
    for (rule, bytes) in [
        ("a folded line", rfc_with("none", &["X: a", " b"]).into_bytes()),
        ("a space before the first field", RFC.replace("\r\nHost", "\r\n Host").into_bytes()),
        ("a space before the colon", rfc_with("none", &["X : a"]).into_bytes()),
        ("no colon", rfc_with("none", &["X"]).into_bytes()),
        ("no name", rfc_with("none", &[": a"]).into_bytes()),
        ("a strange name", rfc_with("none", &["X(: a"]).into_bytes()),
        ("a name beyond ASCII", rfc_with("none", &["\u{e9}: a"]).into_bytes()),
        ("NUL in a value", rfc_with("none", &["X: a\0"]).into_bytes()),
        ("NUL in a name", rfc_with("none", &["X\0: a"]).into_bytes()),
        ("DEL in a value", rfc_with("none", &["X: a\u{7f}"]).into_bytes()),
        ("a bare CR in a value", rfc_with("none", &["X: a\rb"]).into_bytes()),
        ("a CR too many", RFC.replace("chat HTTP/1.1\r", "chat HTTP/1.1\r\r").into_bytes()),
        ("no version", rfc_with("GET", &["GET /chat"]).into_bytes()),
        ("nonsense", b"\x00\x01\x02".to_vec()),
        ("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("an SSH client", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("a response", b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec()),
    ] {
        let error = read(bytes).expect_err(rule);
        assert!(matches!(error, HandshakeError::HttpSyntax(_)), "{rule}: {error}");
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST), "{rule}");
    }
}

#[test]
fn an_answer_holds_what_was_offered() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-a; b=\"c\"";
    let request = request(rfc_with("none", &[offer])).unwrap();
    let deflate = Extension {
        name: "permessage-deflate".into(),
        parameters: vec![
            Parameter { name: "server_no_context_takeover".into(), value: None },
            Parameter { name: "client_max_window_bits".into(), value: Some("12".into()) },
        ],
    };
    let mut headers = HeaderMap::new();
    headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1"));
    headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2"));
    let mut answer = Answer {
        subprotocol: Some("superchat".into()),
        extensions: vec![deflate, extension("x-a")],
        headers,
    };
    let mut output = BytesMut::new();
    request.accept(&answer, &mut output).unwrap();
    assert_eq!(
        output,
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: superchat\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits=12, x-a\r\n\
         Set-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\n\
         \r\n"
    );

    output.clear();
    let mut refuse = |answer: &Answer| {
        let error = request.accept(answer, &mut output).unwrap_err();
        assert!(output.is_empty(), "nothing is written");
        assert_eq!(error.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        let HandshakeError::Misuse(misuse) = error else { panic!("{error}") };
        misuse
    };
    for name in ["connection", "upgrade", "content-length", "transfer-encoding", "sec-websocket-accept"] {
        let name = HeaderName::from_static(name);
        answer.headers.insert(&name, HeaderValue::from_static("x"));
        assert_eq!(refuse(&answer), HandshakeMisuse::OwnedHeader(name.clone()));
        answer.headers.remove(&name);
    }
    for subprotocol in ["Chat", "", "chat, superchat", "chat\r\nX: y"] {
        let answer = Answer { subprotocol: Some(subprotocol.into()), ..Answer::default() };
        assert_eq!(refuse(&answer), HandshakeMisuse::SubprotocolNotOffered(subprotocol.into()));
    }
    let answer = Answer { extensions: vec![extension("x-b")], ..Answer::default() };
    assert_eq!(refuse(&answer), HandshakeMisuse::ExtensionNotOffered("x-b".into()));
    let mut injected = extension("x-a");
    injected.parameters.push(Parameter { name: "b".into(), value: Some("c\r\nX: y".into()) });
    let answer = Answer { extensions: vec![injected], ..Answer::default() };
    assert!(matches!(refuse(&answer), HandshakeMisuse::ExtensionSyntax(_)));
}

#[test]
fn a_rejection() {
    let mut headers = HeaderMap::new();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    let mut output = BytesMut::new();
    reject(StatusCode::UNAUTHORIZED, &headers, b"who?", &mut output).unwrap();
    assert_eq!(
        output,
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nWww-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?"
    );
    output.clear();
    reject(StatusCode::from_u16(299).unwrap(), &HeaderMap::new(), b"", &mut output).unwrap();
    assert_eq!(output, "HTTP/1.1 299 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    output.clear();
    // RFC 9110 section 8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
    // (Informational) or 204 (No Content)."
    reject(StatusCode::NO_CONTENT, &HeaderMap::new(), b"x", &mut output).unwrap();
    assert_eq!(output, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");

    output.clear();
    let error = reject(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new(), b"", &mut output).unwrap_err();
    assert_eq!(error, HandshakeError::Misuse(HandshakeMisuse::Status(StatusCode::SWITCHING_PROTOCOLS)));
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("0"))]);
        let error = reject(StatusCode::FORBIDDEN, &headers, b"", &mut output).unwrap_err();
        assert_eq!(error, HandshakeError::Misuse(HandshakeMisuse::OwnedHeader(name)));
    }
    assert!(output.is_empty());
}

#[test]
fn errors_are_answered() {
    let respond = |error: &HandshakeError| {
        let mut output = BytesMut::new();
        error.respond(&mut output);
        String::from_utf8(output.to_vec()).unwrap()
    };
    assert_eq!(
        respond(&request(rfc_with("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8"])).unwrap_err()),
        "HTTP/1.1 426 Upgrade Required\r\n\
         Connection: close, Upgrade\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Content-Length: 44\r\n\
         \r\n\
         Sec-WebSocket-Version must be 13, found \"8\"\n"
    );
    let plain = respond(&request("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err());
    assert!(plain.starts_with("HTTP/1.1 426 ") && plain.contains("\r\nUpgrade: websocket\r\n"), "{plain}");
    let post = respond(&request("POST /echo HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err());
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("\r\nAllow: GET\r\n"), "{post}");
    assert!(respond(&HandshakeError::TimedOut).starts_with("HTTP/1.1 408 "));
    assert!(respond(&HandshakeError::Truncated).starts_with("HTTP/1.1 400 "));
    // What a peer sent is quoted with its control characters escaped.
    let host = respond(&request(rfc_with("Host", &["Host: <a>\t\u{9b}31m"])).unwrap_err());
    assert!(host.ends_with("found \"<a>\\t\\u{9b}31m\"\n"), "{host:?}");
    // The caller's mistakes are not the client's business.
    let misuse = respond(&HandshakeMisuse::SubprotocolNotOffered("secret".into()).into());
    assert!(misuse.starts_with("HTTP/1.1 500 ") && !misuse.contains("secret"), "{misuse}");
    assert_eq!(respond(&HandshakeError::Accept { found: String::new() }), "");
}

#[test]
fn a_plain_request_keeps_its_bytes() {
    for (bytes, asks) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", false),
        ("\r\nGET / HTTP/1.0\n\n", false),
        ("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", false),
        ("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", false),
        // RFC 9110 section 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
        ("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nUpgrade: h2c, WebSocket\r\n\r\n", true),
    ] {
        let head = read(bytes).unwrap();
        assert_eq!(head.asks_for_websocket(), asks, "{bytes:?}");
    }
}

#[test]
fn bytes_behind_the_request_are_kept() {
    let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let (head, rest) = read_with(&[RFC.as_bytes(), frame].concat(), &Config::default()).unwrap();
    assert_eq!(head.unwrap().bytes, RFC);
    assert_eq!(rest, &frame[..]);
    let (_, rest) = read_with(format!("{RFC}\r\n\r\n").as_bytes(), &Config::default()).unwrap();
    assert_eq!(rest, "\r\n\r\n");
}

#[test]
fn the_limits_hold_to_the_byte() {
    let mut config = Config::default();
    for bytes in [RFC.to_owned(), format!("\r\n\r\n{RFC}"), rfc_with("none", &["X: y"])] {
        config.max_header_block = bytes.len();
        assert!(read_with(bytes.as_bytes(), &config).unwrap().0.is_some());
        assert!(read_with(format!("{bytes}more").as_bytes(), &config).unwrap().0.is_some());
        config.max_header_block -= 1;
        let error = read_with(bytes.as_bytes(), &config).unwrap_err();
        assert_eq!(error, HandshakeError::HeaderBlockTooLong { limit: bytes.len() - 1 });
        assert_eq!(error.status().unwrap(), 431);
    }
    config.max_header_block = 0;
    assert_eq!(read_with(b"G", &config).unwrap_err(), HandshakeError::HeaderBlockTooLong { limit: 0 });

    let mut config = Config::default();
    config.max_headers = 7;
    assert!(read_with(RFC.as_bytes(), &config).unwrap().0.is_some());
    let error = read_with(rfc_with("none", &["X: y"]).as_bytes(), &config).unwrap_err();
    assert_eq!(error, HandshakeError::TooManyHeaders { limit: 7 });
    assert_eq!(error.status().unwrap(), 431);
    config.max_headers = 0;
    assert!(read_with(b"GET / HTTP/1.1\r\n\r\n", &config).unwrap().0.is_some());
}

#[test]
fn more_headers_than_a_map_can_hold() {
    let mut config = Config::default();
    (config.max_header_block, config.max_headers) = (usize::MAX, usize::MAX);
    let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
    for i in 0..40_000 {
        bytes.extend(format!("x{i}:\n").bytes());
    }
    bytes.extend(b"\n");
    let error = feed([&bytes[..]], &config).unwrap_err();
    assert!(matches!(error, HandshakeError::TooManyHeaders { .. }), "{error}");
}

#[test]
fn time_runs_out() {
    let start = Instant::now();
    let config = Config::default();
    let deadline = start + Duration::from_secs(10);
    let mut handshake = ServerHandshake::new(&config, start);
    assert_eq!(handshake.deadline(), Some(deadline));
    let mut input = BytesMut::from(&RFC[..RFC.len() - 1]);
    let just_before = deadline.checked_sub(Duration::from_nanos(1)).unwrap();
    assert!(handshake.receive(&mut input, just_before).unwrap().is_none());
    assert_eq!(handshake.receive(&mut input, deadline).unwrap_err(), HandshakeError::TimedOut);
    // At the deadline one more look is taken.
    input.extend_from_slice(b"\n");
    assert!(handshake.receive(&mut input, deadline).unwrap().is_some());

    let mut config = Config::default();
    config.open_timeout = None;
    assert_eq!(ServerHandshake::new(&config, start).deadline(), None);
    config.open_timeout = Some(Duration::MAX);
    assert_eq!(ServerHandshake::new(&config, start).deadline(), None);
}

#[test]
fn the_client_hangs_up() {
    let now = Instant::now();
    let mut handshake = ServerHandshake::new(&Config::default(), now);
    assert!(handshake.receive(&mut BytesMut::from("GET /"), now).unwrap().is_none());
    assert_eq!(handshake.receive_end(), HandshakeError::Truncated);
}

#[test]
fn a_request_that_an_http_server_has_read_is_held_to_the_same_rules() {
    let of_server = |text: &str| {
        let head = read(text)?;
        let uri = head.target.parse().map_err(|_| HandshakeError::Target(head.target.clone()))?;
        Request::new(Head::new(head.method, &uri, head.version, head.headers)?)
    };
    let absolute = RFC.replace("/chat", "http://other.example:81?a=1");
    for good in [RFC, &absolute] {
        let (direct, indirect) = (request(good).unwrap(), of_server(good).unwrap());
        assert_eq!(
            (direct.host(), direct.path(), direct.query()),
            (indirect.host(), indirect.path(), indirect.query())
        );
        let answer = Answer {
            subprotocol: Some("chat".into()),
            headers: HeaderMap::from_iter([(header::SERVER, HeaderValue::from_static("test"))]),
            ..Answer::default()
        };
        let mut written = BytesMut::new();
        direct.accept(&answer, &mut written).unwrap();
        let response = indirect.accept_response(&answer).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let written = String::from_utf8(written.to_vec()).unwrap().to_lowercase();
        assert_eq!(written.lines().count(), 1 + response.headers().len() + 1, "{written}");
        for (name, value) in response.headers() {
            let line = format!("\r\n{name}: {}\r\n", value.to_str().unwrap().to_lowercase());
            assert!(written.contains(&line), "{line} in {written}");
        }
    }
    for (name, bad) in [
        ("method", RFC.replace("GET", "POST")),
        ("key", RFC.replace("dGhl", "!")),
        ("no host", RFC.replace("Host", "Ghost")),
        ("version", RFC.replace("Version: 13", "Version: 8")),
        ("body", RFC.replace("Origin: http://example.com", "Content-Length: 1")),
        ("target", RFC.replace("/chat", "*")),
    ] {
        assert_eq!(of_server(&bad).unwrap_err(), request(&bad).unwrap_err(), "{name}");
    }
    let beyond_ascii = "/\u{e9}".parse().unwrap();
    let head = Head::new(Method::GET, &beyond_ascii, Version::HTTP_11, HeaderMap::new());
    assert_eq!(head.unwrap_err(), HandshakeError::Target("/\u{e9}".into()));
    let head = Head::new(Method::CONNECT, &"/chat".parse().unwrap(), Version::HTTP_2, HeaderMap::new());
    let error = Request::new(head.unwrap()).unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED), "{error}");
}
