//! `sockeye serve`.

#![cfg(unix)]

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use sockeye::{Client, Error, HeaderValue, Message, WebSocket};
use support::*;

fn get(address: &str, path: &str) -> (String, String) {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

fn status(head: &str) -> &str {
    head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or_else(|| panic!("{head}"))
}

/// Runs what is asynchronous, within the limit.
fn within<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, work).await.expect("it ends in time") })
}

/// The HTTP status with which an opening handshake is refused, and the body.
fn refused(result: Result<WebSocket, Error>) -> (u16, String) {
    let error = result.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
    (refusal.status.as_u16(), String::from_utf8(refusal.body.to_vec()).unwrap())
}

#[test]
fn the_page_comes_with_a_policy_that_lets_in_nothing_else() {
    let serve = Serve::start(&[]);
    let address = serve.address();
    let (head, page) = get(address, "/");
    assert_eq!(status(&head), "200 OK");
    assert_eq!(field(&head, "content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(field(&head, "x-content-type-options"), Some("nosniff"));
    assert_eq!(field(&head, "referrer-policy"), Some("no-referrer"));
    assert_eq!(field(&head, "cache-control"), Some("no-cache"));
    let policy = field(&head, "content-security-policy").unwrap();
    let directives: Vec<_> = policy.split("; ").collect();
    for directive in [
        "default-src 'none'",
        "img-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        &format!("connect-src 'self' ws://{address} wss://{address}"),
    ] {
        assert!(directives.contains(&directive), "{directive} in {policy}");
    }
    for (element, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (start, end) = (format!("<{element}>"), format!("</{element}>"));
        assert_eq!((page.matches(&start).count(), page.matches(&end).count()), (1, 1));
        let text = page.split_once(&start).unwrap().1.split_once(&end).unwrap().0;
        let hash = STANDARD.encode(hmac_sha256::Hash::hash(text.as_bytes()));
        assert!(directives.contains(&&*format!("{directive} 'sha256-{hash}'")), "{element} in {policy}");
    }

    // HEAD tells the same, without the page.
    let (same, body) = http(address, &format!("HEAD / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(body, "");
    assert_eq!(field(&same, "content-length"), Some(&*page.len().to_string()));
    assert_eq!(field(&same, "content-security-policy"), Some(policy));
}

#[test]
fn other_requests_are_told_what_there_is() {
    let serve = Serve::start(&[]);
    let address = serve.address();
    let (head, body) = get(address, "/healthz");
    assert_eq!((status(&head), &body[..]), ("200 OK", "ok\n"));

    for path in ["/nothing", "/echo/", "/index.html", "/?"] {
        let (head, body) = get(address, path);
        if path == "/?" {
            assert_eq!(status(&head), "200 OK", "a query changes nothing");
            continue;
        }
        assert_eq!(status(&head), "404 Not Found", "{path}");
        for part in ["/echo", "/healthz"] {
            assert!(body.contains(part), "{body}");
        }
    }

    let (head, body) = get(address, "/echo");
    assert_eq!(status(&head), "426 Upgrade Required");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert!(field(&head, "connection").unwrap().to_lowercase().contains("upgrade"), "{head}");
    assert!(body.contains(&format!("sockeye connect ws://{address}/echo")), "{body}");
    assert!(body.contains(&format!("new WebSocket(\"ws://{address}/echo\")")), "{body}");

    for path in ["/", "/echo", "/healthz"] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1\r\n\r\nx");
        let (head, _) = http(address, &request);
        assert_eq!(status(&head), "405 Method Not Allowed", "{path}");
        assert_eq!(field(&head, "allow"), Some("GET, HEAD"), "{path}");
    }
}

#[test]
fn one_request_a_connection_so_that_no_handshake_slips_past() {
    let serve = Serve::start(&[]);
    let address = serve.address();
    let healthz = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let (head, body) = http(address, &healthz.repeat(2));
    assert_eq!(field(&head, "connection"), Some("close"));
    assert_eq!(body, "ok\n", "one answer");
}

#[test]
fn names_of_other_hosts_are_not_answered_to() {
    let serve = Serve::start(&["--allow-host", "dev.example"]);
    let (address, port) = (serve.address(), serve.address().rsplit_once(':').unwrap().1);
    let asked = |fields: &str| http(address, &format!("GET /healthz HTTP/1.1\r\n{fields}\r\n")).0;
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "dev.example", "Dev.Example:8080"] {
        assert_eq!(status(&asked(&format!("Host: {host}\r\n"))), "200 OK", "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::2]", ""] {
        assert_eq!(status(&asked(&format!("Host: {host}\r\n"))), "421 Misdirected Request", "{host}");
    }
    assert_eq!(status(&asked("")), "400 Bad Request");
    assert_eq!(status(&asked("Host: localhost\r\nHost: evil.example\r\n")), "400 Bad Request");
    let absolute = "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(status(&http(address, absolute).0), "421 Misdirected Request");
    let (probe, _) = http(address, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(probe.contains(" 200 OK"), "an HTTP/1.0 probe need not name a host: {probe}");

    // The same for opening handshakes: a rebound name makes the origin the same.
    let connect = |host: String| {
        let origin = HeaderValue::from_str(&format!("http://{host}")).unwrap();
        let client = Client::new().header(sockeye::header::HOST, HeaderValue::from_str(&host).unwrap());
        within(client.origin(origin).connect(&serve.url()))
    };
    let (status, body) = refused(connect(format!("evil.example:{port}")));
    assert_eq!(status, 421);
    assert!(body.contains("--allow-host"), "{body}");
    assert!(connect(format!("dev.example:{port}")).is_ok());
}

#[test]
fn an_address_that_is_not_loopback_answers_to_any_name_unless_told_otherwise() {
    let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let serve = Serve::start(&["--listen", "0.0.0.0:0"]);
    let local = serve.address().replace("0.0.0.0", "127.0.0.1");
    let (head, _) = http(&local, &request("any.example"));
    assert_eq!(status(&head), "200 OK");
    assert!(head.contains("connect-src 'self' ws://any.example wss://any.example"), "{head}");
    // What is no host cannot get into the policy.
    let (head, _) = http(&local, &request("a;script-src *"));
    assert!(status(&head).starts_with('4'), "{head}");

    let serve = Serve::start(&["--listen", "0.0.0.0:0", "--allow-host", "ws.example"]);
    let local = serve.address().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(status(&http(&local, &request("ws.example")).0), "200 OK");
    assert_eq!(status(&http(&local, &request("any.example")).0), "421 Misdirected Request");
}

#[test]
fn the_echo_sends_back_the_same() {
    let serve = Serve::start(&[]);
    within(async {
        let client = Client::new().subprotocol("chat");
        let mut ws = client.connect(&format!("{}?a=query", serve.url())).await.unwrap();
        assert_eq!(ws.subprotocol(), None, "it speaks none");
        let messages = [
            Message::from("text"),
            Message::from(""),
            Message::Binary(vec![0, 0xff].into()),
            Message::Binary(vec![7; 1 << 20].into()),
        ];
        for message in messages {
            ws.send(message.clone()).await.unwrap();
            assert!(ws.recv().await.unwrap() == Some(message));
        }
        let info = ws.close(1000, "").await.unwrap();
        assert!(info.clean && info.code == 1000, "{info:?}");
    });
}

#[test]
fn pages_of_other_origins_are_refused_unless_allowed() {
    let connect = |serve: &Serve, origin: &str| {
        within(Client::new().origin(HeaderValue::from_str(origin).unwrap()).connect(&serve.url()))
    };
    let serve = Serve::start(&[]);
    assert!(connect(&serve, &format!("http://{}", serve.address())).is_ok(), "its own page");
    assert_eq!(refused(connect(&serve, "https://app.example")).0, 403);
    let serve = Serve::start(&["--allow-origin", "https://app.example", "--allow-origin", "null"]);
    assert!(connect(&serve, "https://app.example").is_ok() && connect(&serve, "null").is_ok());
    assert_eq!(refused(connect(&serve, "https://other.example")).0, 403);
    let serve = Serve::start(&["--allow-origin", "*"]);
    assert!(connect(&serve, "https://other.example").is_ok());
}

#[test]
fn there_is_no_websocket_elsewhere() {
    let serve = Serve::start(&[]);
    for path in ["/", "/healthz", "/nothing"] {
        let url = format!("ws://{}{path}", serve.address());
        let (status, body) = refused(within(sockeye::connect(&url)));
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("/echo"), "{body}");
    }
}

#[test]
fn it_listens_on_several_addresses() {
    let serve = Serve::start(&["--listen", "127.0.0.1:0", "--listen", "localhost:0"]);
    assert_eq!(serve.addresses.len(), 2);
    for address in &serve.addresses {
        assert!(!address.ends_with(":0"), "{address}");
        assert_eq!(get(address, "/healthz").1, "ok\n", "{address}");
    }
    assert_eq!(serve.stop().code, Some(0));
}

#[test]
fn an_interrupt_closes_every_connection_with_1001_and_exits_with_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let serve = Serve::start(&[]);
        let url = serve.url();
        // A connection that never asks for anything, as browsers open them, holds nobody up.
        let idle = TcpStream::connect(serve.address()).unwrap();
        let clients = async {
            let mut clients = Vec::new();
            for _ in 0..5 {
                let mut ws = sockeye::connect(&url).await.unwrap();
                ws.send("there?").await.unwrap();
                assert!(ws.recv().await.unwrap().is_some());
                clients.push(ws);
            }
            serve.program.signal(signal);
            for mut ws in clients {
                assert_eq!(ws.recv().await.unwrap(), None);
                let info = ws.close_info().unwrap();
                assert!(info.clean && info.code == 1001, "{info:?}");
            }
            Instant::now()
        };
        let closed = within(clients);
        let run = serve.finish();
        assert_eq!((run.code, run.out()), (Some(0), ""));
        assert_eq!(run.stderr, "closing all connections; Ctrl-C again to end at once\n");
        assert!(closed.elapsed() < Duration::from_secs(4), "the closing deadline is 5 s");
        drop(idle);
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let serve = Serve::start(&[]);
    within(async {
        let mut ws = sockeye::connect(&serve.url()).await.unwrap();
        ws.send("there?").await.unwrap();
        assert!(ws.recv().await.unwrap().is_some());
        // A client that does not answer the Close.
        let since = Instant::now();
        serve.program.signal(Signal::INT);
        while TcpStream::connect(serve.address()).is_ok() {}
        serve.program.signal(Signal::INT);
        let run = serve.finish();
        assert_eq!(run.code, Some(130));
        assert!(since.elapsed() < Duration::from_secs(4), "the closing deadline is 5 s");
        drop(ws);
    });
}

#[test]
fn compression_is_agreed_on_unless_it_is_turned_off() {
    for (flags, compressed) in [(&[][..], true), (&["--no-deflate"], false)] {
        let serve = Serve::start(flags);
        within(async {
            let mut ws = sockeye::connect(&format!("ws://{}/echo", serve.address())).await.unwrap();
            let agreed =
                ws.handshake().unwrap().extensions.iter().any(|agreed| agreed.name == "permessage-deflate");
            assert_eq!(agreed, compressed, "{flags:?}");
            let text = "the same again and again, ".repeat(100);
            ws.send(text.as_str()).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some(text.into()));
            ws.close(1000, "").await.unwrap();
        });
    }
}
