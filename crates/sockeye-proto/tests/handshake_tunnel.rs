//! Asking an HTTP proxy for a tunnel (RFC 9110 section 9.3.6), through the public API.

use sockeye_proto::handshake::TunnelHandshake;
use sockeye_proto::{
    BytesMut, Config, HandshakeError, HandshakeMisuse, HeaderMap, HeaderName, HeaderValue, Refusal, header,
};

fn request(url: &str, headers: &[(HeaderName, &'static str)]) -> Result<String, HandshakeMisuse> {
    let url = url.parse().expect("a URL");
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        fields.append(name, HeaderValue::from_static(value));
    }
    let mut output = BytesMut::new();
    match TunnelHandshake::new(&url, &fields, &Config::default(), &mut output) {
        Ok(_) => Ok(String::from_utf8(output.to_vec()).expect("ASCII")),
        Err(HandshakeError::Misuse(misuse)) => {
            assert!(output.is_empty(), "nothing is written");
            Err(misuse)
        }
        Err(error) => panic!("{error}"),
    }
}

/// How it ends, and what is left of the input then; if `ends`, the bytes end behind the pieces.
fn feed<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    ends: bool,
    config: &Config,
) -> Result<(Option<()>, BytesMut), HandshakeError> {
    let url = "ws://example.com/".parse().expect("a URL");
    let mut tunnel = TunnelHandshake::new(&url, &HeaderMap::new(), config, &mut BytesMut::new())?;
    let (mut input, mut opened) = (BytesMut::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        if opened.is_none() {
            opened = tunnel.receive(&mut input)?;
        }
    }
    if ends && opened.is_none() {
        return Err(tunnel.receive_end(&mut input));
    }
    Ok((opened, input))
}

/// Whole, split in two everywhere, and byte by byte: the outcome must always be the same.
fn read_with(bytes: &str, ends: bool, config: &Config) -> Result<(Option<()>, BytesMut), HandshakeError> {
    let bytes = bytes.as_bytes();
    let whole = feed([bytes], ends, config);
    assert_eq!(feed(bytes.chunks(1), ends, config), whole, "byte by byte");
    for at in 0..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(feed([left, right], ends, config), whole, "split at {at}");
    }
    whole
}

fn read(bytes: &str) -> Result<(Option<()>, BytesMut), HandshakeError> {
    read_with(bytes, true, &Config::default())
}

fn refusal(bytes: &str, ends: bool, config: &Config) -> Refusal {
    match read_with(bytes, ends, config) {
        Err(HandshakeError::Refused(refusal)) => *refusal,
        other => panic!("{bytes}: {other:?}"),
    }
}

#[test]
fn the_request_names_host_and_port_and_nothing_else() {
    for (url, target) in [
        ("ws://example.com/secret?token=1", "example.com:80"),
        ("wss://example.com", "example.com:443"),
        ("wss://Example.com:8443", "example.com:8443"),
        ("ws://192.0.2.1", "192.0.2.1:80"),
        ("ws://[2001:db8::1]:9000", "[2001:db8::1]:9000"),
        ("wss://bücher.example", "xn--bcher-kva.example:443"),
    ] {
        let expected = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        assert_eq!(request(url, &[]), Ok(expected), "{url}");
    }
}

#[test]
fn header_fields_of_the_caller() {
    let headers = [
        (header::PROXY_AUTHORIZATION, "Basic YWxpY2U6c2VjcmV0"),
        (header::USER_AGENT, "fish"),
        (header::HOST, "other"),
    ];
    let expected = "CONNECT example.com:80 HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\
        User-Agent: fish\r\n\r\n";
    assert_eq!(request("ws://example.com", &headers).as_deref(), Ok(expected));

    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE] {
        let error = HandshakeMisuse::OwnedHeader(name.clone());
        assert_eq!(request("ws://example.com", &[(name, "0")]), Err(error));
    }
    let twice = [(header::HOST, "a"), (header::HOST, "b")];
    assert_eq!(request("ws://example.com", &twice), Err(HandshakeMisuse::HostTwice));
}

#[test]
fn any_2xx_opens_the_tunnel_and_has_no_body() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy\r\n\r\n",
        "HTTP/1.1 200\n\n",
        "HTTP/1.1 204 \r\n\r\n",
        "HTTP/1.1 299 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        for behind in ["", "H", "HTTP/1.1 503 \r\n\r\n", "\r\n"] {
            let (opened, rest) =
                read(&format!("{head}{behind}")).unwrap_or_else(|error| panic!("{head}: {error}"));
            assert_eq!((opened, &rest[..]), (Some(()), behind.as_bytes()), "{head}");
        }
    }
}

#[test]
fn other_statuses_refuse_it() {
    let wants_auth = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"fish\"\r\n\
        Content-Length: 8\r\n\r\nwho? me?";
    let found = refusal(wants_auth, false, &Config::default());
    assert_eq!((found.status.as_u16(), &found.body[..], found.truncated), (407, &b"who? me?"[..], false));
    assert_eq!(found.headers[header::PROXY_AUTHENTICATE], "Basic realm=\"fish\"");

    for (bytes, ends, status, body, truncated) in [
        ("HTTP/1.1 502 Bad Gateway\r\n\r\nno route", true, 502, "no route", false),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\nno route", true, 502, "no route", true),
        ("HTTP/1.1 403 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", false, 403, "no", false),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", false, 302, "", false),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", false, 101, "", false),
        ("HTTP/1.0 999 \r\n\r\n", true, 999, "", false),
    ] {
        let found = refusal(bytes, ends, &Config::default());
        let text = str::from_utf8(&found.body).expect("ASCII");
        assert_eq!((found.status.as_u16(), text, found.truncated), (status, body, truncated), "{bytes}");
    }
}

#[test]
fn limits() {
    let mut config = Config::default();
    (config.max_header_block, config.max_headers, config.max_refusal_body) = (60, 2, 4);
    let found = refusal("HTTP/1.1 407 \r\n\r\n12345", false, &config);
    assert_eq!((&found.body[..], found.truncated), (&b"1234"[..], true));

    let read = |bytes: &str| read_with(bytes, false, &config).expect_err("over a limit");
    assert_eq!(read(&"HTTP/1.1 100 \r\n\r\n".repeat(10)), HandshakeError::HeaderBlockTooLong { limit: 60 });
    assert_eq!(
        read(&format!("HTTP/1.1 200 {}", "x".repeat(60))),
        HandshakeError::HeaderBlockTooLong { limit: 60 }
    );
    assert_eq!(read("HTTP/1.1 200 \r\na:\r\na:\r\na:\r\n\r\n"), HandshakeError::TooManyHeaders { limit: 2 });
}

#[test]
fn what_is_not_http() {
    for bytes in
        ["\x05\x00", "SSH-2.0-OpenSSH_9.6\r\n", "\r\n", "<html>\r\n", "HTTP/1.1 200 OK\r\nno field\r\n\r\n"]
    {
        let error = read(bytes).expect_err("not HTTP");
        assert!(matches!(error, HandshakeError::HttpSyntax(_)), "{bytes}: {error:?}");
    }
    let error = read("HTTP/2.0 200 OK\r\n\r\n").expect_err("not HTTP/1.1");
    assert_eq!(error, HandshakeError::HttpVersion("HTTP/2.0".into()));
    for bytes in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 \r\n\r\n"] {
        assert_eq!(read(bytes).expect_err("it ends"), HandshakeError::Truncated, "{bytes}");
    }
}
