//! WHATWG WebSockets section 3.1, "new WebSocket(url, protocols)", and section 2.2: what is thrown, what is sent, what is failed.

mod support;

use sockeye::{Client, HeaderValue, Resolve, Resolving, header};
use sockeye_web::{BinaryType, ErrorName, Options, WebSocket};
use support::{Log, answer, echo, field, open_with, opened, read_head, tcp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// The serialized URL of a socket that is made and thrown away.
fn url(text: &str, base: Option<&str>) -> Result<String, ErrorName> {
    let mut options = Options::default();
    options.base_url = base.map(str::to_owned);
    let socket = WebSocket::with_options(text, &[], options, |_| {});
    socket.map(|socket| socket.url()).map_err(|error| error.kind())
}

#[tokio::test]
async fn urls_are_read_as_the_url_standard_has_it() {
    let page = Some("https://example.com/a/b?c#d");
    for (text, base, expected) in [
        ("ws://example.com", None, "ws://example.com/"),
        ("WSS://Example.COM:443/x", None, "wss://example.com/x"),
        ("ws://example.com:80/", None, "ws://example.com/"),
        ("ws://example.com:443/", None, "ws://example.com:443/"),
        ("ws://example.com/a b?c d", None, "ws://example.com/a%20b?c%20d"),
        ("ws://example.com/a|b^c?^", None, "ws://example.com/a|b%5Ec?^"),
        ("  ws://example.com/\n", None, "ws://example.com/"),
        ("ws:example.com", None, "ws://example.com/"),
        ("ws:\\\\example.com\\x", None, "ws://example.com/x"),
        ("ws://bücher.example/ü", None, "ws://xn--bcher-kva.example/%C3%BC"),
        ("ws://[0:0::1]/", None, "ws://[::1]/"),
        ("ws://0x7f.1/", None, "ws://127.0.0.1/"),
        ("ws://user:word@example.com/", None, "ws://user:word@example.com/"),
        // "If urlRecord's scheme is "http", then set urlRecord's scheme to "ws"."
        ("http://example.com/", None, "ws://example.com/"),
        ("http://example.com:80/", None, "ws://example.com/"),
        ("http://example.com:443/", None, "ws://example.com:443/"),
        // "if urlRecord's scheme is "https", set urlRecord's scheme to "wss"."
        ("https://example.com/", None, "wss://example.com/"),
        ("https://example.com:443/", None, "wss://example.com/"),
        ("https://example.com:80/", None, "wss://example.com:80/"),
        // "applying the URL parser to url with baseURL"
        ("/x", page, "wss://example.com/x"),
        ("x", page, "wss://example.com/a/x"),
        ("?x", page, "wss://example.com/a/b?x"),
        ("", page, "wss://example.com/a/b?c"),
        ("//other.example/x", page, "wss://other.example/x"),
        ("ws://other.example/x", page, "ws://other.example/x"),
        ("x", Some("http://example.com:8080/"), "ws://example.com:8080/x"),
    ] {
        assert_eq!(url(text, base).as_deref(), Ok(expected), "{text:?} at {base:?}");
    }
}

#[tokio::test]
async fn other_urls_are_syntax_errors() {
    let page = Some("https://example.com/");
    for (text, base) in [
        // "If urlRecord is failure"
        ("", None),
        ("/x", None),
        ("example.com", None),
        ("ws://", None),
        ("ws://example.com:99999/", None),
        ("ws://exa mple.com/", None),
        ("wss://[::1/", page),
        ("x", Some("no base")),
        ("x", Some("data:text/plain,x")),
        // "If urlRecord's scheme is not "ws" or "wss""
        ("ftp://example.com/", None),
        ("file:///x", page),
        ("about:blank", page),
        ("mailto:someone@example.com", page),
        ("example.com:80", None),
        ("x", Some("file:///")),
        // "If urlRecord's fragment is non-null"
        ("ws://example.com/#", None),
        ("ws://example.com/#x", None),
        ("https://example.com/?#x", None),
        ("#x", page),
    ] {
        assert_eq!(url(text, base), Err(ErrorName::Syntax), "{text:?} at {base:?}");
    }
}

#[tokio::test]
async fn exceptions_have_names_and_legacy_codes() {
    let error = WebSocket::new("no URL").unwrap_err();
    assert_eq!((error.name(), error.code()), ("SyntaxError", 12));
    assert!(!error.message().is_empty() && error.to_string().starts_with("SyntaxError: "));
    let socket = WebSocket::new("ws://127.0.0.1:1/").unwrap();
    let error = socket.send("x").unwrap_err();
    assert_eq!((error.name(), error.code()), ("InvalidStateError", 11));
    let error = socket.close(1, None).unwrap_err();
    assert_eq!((error.name(), error.code()), ("InvalidAccessError", 15));
}

#[tokio::test]
async fn subprotocols_are_tokens_each_of_them_once() {
    let all_tokens = "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
    // Once, and with regard to case: "If any of the values in protocols occur more than once"
    for protocols in [&[][..], &["chat"], &["a", "b"], &["chat", "Chat"], &[all_tokens]] {
        let socket = WebSocket::with_protocols("ws://127.0.0.1:1/", protocols.iter().copied());
        assert!(socket.is_ok(), "{protocols:?}");
    }
    let mut wrong =
        vec![vec![""], vec!["a", ""], vec!["a", "a"], vec!["a", "b", "a"], vec!["ü"], vec!["a,b"]];
    let separators: Vec<String> =
        "()<>@,;:\\\"/[]?={} \t\u{7f}\0\r\n".chars().map(|c| format!("a{c}b")).collect();
    wrong.extend(separators.iter().map(|protocol| vec![protocol.as_str()]));
    for protocols in wrong {
        let socket = WebSocket::with_protocols("ws://127.0.0.1:1/", protocols.clone());
        assert_eq!(socket.map(|_| ()).map_err(|error| error.kind()), Err(ErrorName::Syntax), "{protocols:?}");
    }
}

#[tokio::test]
async fn attributes_have_their_first_values() {
    let socket = WebSocket::with_protocols("ws://127.0.0.1:1/", ["chat"]).unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CONNECTING);
    assert_eq!((socket.extensions(), socket.protocol()), (String::new(), String::new()));
    assert_eq!(socket.buffered_amount(), 0);
    assert_eq!(socket.binary_type(), BinaryType::Blob);
    assert_eq!(socket.binary_type().as_str(), "blob");
    socket.set_binary_type(BinaryType::ArrayBuffer);
    assert_eq!(socket.binary_type().as_str(), "arraybuffer");
    let constants = [WebSocket::CONNECTING, WebSocket::OPEN, WebSocket::CLOSING, WebSocket::CLOSED];
    assert_eq!(constants, [0, 1, 2, 3]);
}

/// The request that a socket sends.
async fn request(path: &str, protocols: &[&str], options: Options) -> String {
    let log = Log::default();
    let server = tcp(async move |mut stream| read_head(&mut stream).await).await;
    let _socket =
        open_with(&server.url.replace("ws://", "http://").replace("1:", path), protocols, options, &log)
            .unwrap();
    let request = server.end().await;
    log.until("close").await;
    request
}

#[tokio::test]
async fn the_request_is_that_of_the_standard() {
    let request = request("1:", &[], Options::default()).await;
    assert!(request.starts_with("GET / HTTP/1.1\r\n"));
    assert_eq!(field(&request, "Upgrade"), Some("websocket"));
    assert_eq!(field(&request, "Connection"), Some("Upgrade"));
    assert_eq!(field(&request, "Sec-WebSocket-Version"), Some("13"));
    assert_eq!(
        field(&request, "Sec-WebSocket-Extensions"),
        Some("permessage-deflate; client_max_window_bits")
    );
    assert_eq!(field(&request, "Sec-WebSocket-Protocol"), None);
    assert_eq!(field(&request, "Origin"), None);
}

#[tokio::test]
async fn subprotocols_origin_and_the_clients_fields_are_sent() {
    let mut options = Options::default();
    options.client = Client::new().header(header::COOKIE, HeaderValue::from_static("theme=dark"));
    options.origin = Some(HeaderValue::from_static("https://example.com"));
    let request = request("1:", &["chat", "superchat"], options).await;
    assert_eq!(field(&request, "Sec-WebSocket-Protocol"), Some("chat, superchat"));
    assert_eq!(field(&request, "origin").or(field(&request, "Origin")), Some("https://example.com"));
    assert_eq!(field(&request, "cookie").or(field(&request, "Cookie")), Some("theme=dark"));
}

#[tokio::test]
async fn credentials_are_left_out_of_the_request() {
    let log = Log::default();
    let server = tcp(async move |mut stream| read_head(&mut stream).await).await;
    let url = server.url.replace("ws://", "ws://user:pass@") + "path";
    let socket = open_with(&url, &[], Options::default(), &log).unwrap();
    assert_eq!(socket.url(), url);
    let request = server.end().await;
    assert!(request.starts_with("GET /path HTTP/1.1\r\n") && !request.contains("user"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("authorization"), "{request}");
    log.until("close").await;
}

#[tokio::test]
async fn a_subprotocol_must_be_chosen_where_some_are_offered_and_only_one_of_them() {
    for (offered, fields, expected) in [
        (&[][..], "", "open 1"),
        (&["chat"], "Sec-WebSocket-Protocol: chat\r\n", "open 1"),
        (&["a", "b"], "Sec-WebSocket-Protocol: b\r\n", "open 1"),
        // "If protocols is not the empty list and extracting header list values [..] results in null, failure, or the empty byte sequence"
        (&["chat"], "", "error 3"),
        (&["chat"], "Sec-WebSocket-Protocol: \r\n", "error 3"),
        // RFC 6455 section 4.1: "a subprotocol not requested by the client"
        (&["chat"], "Sec-WebSocket-Protocol: other\r\n", "error 3"),
        (&["chat"], "Sec-WebSocket-Protocol: Chat\r\n", "error 3"),
        (&["a", "b"], "Sec-WebSocket-Protocol: a, b\r\n", "error 3"),
        (&["a", "b"], "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n", "error 3"),
        (&[], "Sec-WebSocket-Protocol: chat\r\n", "error 3"),
        // and an extension
        (&[], "Sec-WebSocket-Extensions: x-other\r\n", "error 3"),
        (&[], "Sec-WebSocket-Extensions: permessage-deflate; x=1\r\n", "error 3"),
    ] {
        let log = Log::default();
        let server = tcp(async move |mut stream| {
            let request = read_head(&mut stream).await;
            answer(&mut stream, &request, fields).await;
            echo(stream).await;
        })
        .await;
        let socket = open_with(&server.url, offered, Options::default(), &log).unwrap();
        log.until(expected).await;
        assert_eq!(log.lines()[0], expected, "{offered:?} {fields:?}");
        let chosen =
            if expected == "open 1" { fields.split(": ").nth(1).unwrap_or_default().trim() } else { "" };
        assert_eq!(socket.protocol(), chosen);
        socket.make_disappear();
        server.end().await;
    }
}

#[tokio::test]
async fn extensions_in_use_are_told_from_open_on() {
    let log = Log::default();
    let server = tcp(async move |mut stream| {
        let request = read_head(&mut stream).await;
        let extension = "Sec-WebSocket-Extensions: permessage-deflate;server_no_context_takeover ;client_max_window_bits=12\r\n";
        answer(&mut stream, &request, extension).await;
        echo(stream).await;
    })
    .await;
    let socket = open_with(&server.url, &[], Options::default(), &log).unwrap();
    log.until("open").await;
    let extensions = "permessage-deflate; server_no_context_takeover; client_max_window_bits=12";
    assert_eq!(socket.extensions(), extensions);
    socket.make_disappear();
    server.end().await;
}

#[tokio::test]
async fn bad_ports_are_blocked_when_asked() {
    // The table of the Fetch standard has 83; the tests of browsers list them too.
    for port in [1, 22, 25, 587, 6000, 6669, 10080] {
        let log = Log::default();
        let mut options = Options::default();
        options.block_bad_ports = true;
        let url = format!("ws://127.0.0.1:{port}/");
        let socket = open_with(&url, &[], options, &log).unwrap();
        assert_eq!(log.until("close").await, ["error 3", "close false 1006 \"\" 3"], "{port}");
        assert_eq!(socket.url(), url);
    }
    for block_bad_ports in [false, true] {
        let log = Log::default();
        let server = opened(echo).await;
        let mut options = Options::default();
        options.block_bad_ports = block_bad_ports;
        let socket = open_with(&server.url, &[], options, &log).unwrap();
        log.until("open").await;
        socket.close(None, None).unwrap();
        log.until("close").await;
    }
}

#[tokio::test]
async fn the_clients_proxy_is_used() {
    let log = Log::default();
    let proxy = tcp(async |mut stream| {
        let connect = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let request = read_head(&mut stream).await;
        answer(&mut stream, &request, "").await;
        echo(stream).await;
        (connect, request)
    })
    .await;
    let mut options = Options::default();
    let url: sockeye::Proxy = proxy.url.replace("ws://", "http://").parse().unwrap();
    options.client = options.client.proxy(url);
    let socket = open_with("ws://far.example/x", &[], options, &log).unwrap();
    log.until("open").await;
    socket.close(None, None).unwrap();
    log.until("close true").await;
    let (connect, request) = proxy.end().await;
    assert!(connect.starts_with("CONNECT far.example:80 "), "{connect}");
    assert!(request.starts_with("GET /x ") && field(&request, "Host") == Some("far.example"), "{request}");
}

/// Knows no name.
#[derive(Debug)]
struct NoNames;

impl Resolve for NoNames {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolving<'a> {
        Box::pin(async { Err(std::io::ErrorKind::NotFound.into()) })
    }
}

#[tokio::test]
async fn no_page_can_tell_why_it_was_not_opened() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("ws://{}/", free.local_addr().unwrap());
    drop(free);
    let status = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let redirect = "HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let wrong_accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    let mut urls = vec![refused, "ws://no-such-name.invalid/".to_owned()];
    let mut options = Options::default();
    options.client = options.client.resolver(NoNames).proxy(None);
    for response in [status, redirect, wrong_accept, "SSH-2.0-OpenSSH_9\r\n", ""] {
        let server = tcp(async move |mut stream| {
            read_head(&mut stream).await;
            stream.write_all(response.as_bytes()).await.unwrap();
        })
        .await;
        urls.push(server.url);
    }
    let not_tls = tcp(async |mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        support::read_end(&mut stream).await;
    })
    .await;
    urls.push(not_tls.url.replace("ws://", "wss://"));
    for url in urls {
        let log = Log::default();
        let socket = open_with(&url, &[], options.clone(), &log).unwrap();
        assert_eq!(log.until("close").await, ["error 3", "close false 1006 \"\" 3"], "{url}");
        assert_eq!(socket.ready_state(), WebSocket::CLOSED);
    }
}
