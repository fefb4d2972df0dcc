//! WebSockets on others' servers: hyper's, axum's, and services of `tower`.

mod support;

#[path = "support/certificates.rs"]
mod certificates;

#[path = "../examples/axum_server.rs"]
#[allow(dead_code, reason = "main is not run here")]
mod axum_server;
#[path = "../examples/hyper_server.rs"]
#[allow(dead_code, reason = "main is not run here")]
mod hyper_server;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use certificates::Ca;
use hyper::ext::Protocol;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sockeye::{
    Answer, Client, Config, Error, HeaderMap, HeaderValue, OpenCause, Origins, Phase, StatusCode, Tls,
    UpgradeError, Upgrading, WebSocket, WebSocketUpgrade, connect, header,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceExt;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves with axum until the test's runtime ends.
async fn serve(router: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// The two examples.
async fn examples() -> [(&'static str, SocketAddr); 2] {
    let (listener, hyper) = listen().await;
    tokio::spawn(hyper_server::serve(listener));
    [("axum", serve(axum_server::router()).await), ("hyper", hyper)]
}

/// An opening handshake as it is on the wire.
fn handshake(more: &str) -> String {
    format!(
        "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Sends a request and gives the response, all of it; the server is asked to close the connection.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn echo_with_compression_and_subprotocols() {
    for (name, address) in examples().await {
        let client = Client::new().subprotocol("v0.echo").subprotocol("v1.echo").subprotocol("v2.echo");
        let mut ws = client.connect(&format!("ws://{address}/echo?a=1")).await.unwrap();
        assert_eq!(ws.subprotocol(), Some("v1.echo"), "{name}");
        let extensions = &ws.handshake().unwrap().extensions;
        assert_eq!(extensions[0].name, "permessage-deflate", "{name}");
        for length in [0, 1, 1 << 10, 1 << 20] {
            let text = "0123456789abcdef".repeat(length / 16 + 1)[..length].to_owned();
            ws.send(text.as_str()).await.unwrap();
            assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some(&text[..]), "{name}");
        }
        assert!(ws.close(1000, "").await.unwrap().clean, "{name}");

        let ws = Client::new().subprotocol("v0.echo").connect(&format!("ws://{address}/echo")).await.unwrap();
        assert_eq!(ws.subprotocol(), None, "{name}");
    }
}

#[tokio::test]
async fn what_comes_with_the_handshake_is_not_lost() {
    const LENGTH: usize = 300_000;
    for (name, address) in examples().await {
        let mut bytes = handshake("").into_bytes();
        // A binary message, masked with zeros.
        bytes.extend([0x82, 0xff]);
        bytes.extend((LENGTH as u64).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend((0..=250).cycle().take(LENGTH));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{name}: {}", String::from_utf8_lossy(&head));
        let mut frame = vec![0; 10 + LENGTH];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[..2], [0x82, 127], "{name}");
        assert!(frame[2..10] == bytes[bytes.len() - LENGTH - 12..][..8], "{name}");
        assert!(frame[10..] == bytes[bytes.len() - LENGTH..], "{name}");
    }
}

#[tokio::test]
async fn what_is_not_to_be_a_websocket_is_answered_by_http() {
    let bad_key = handshake("").replace("dGhl", "");
    let cases: &[(&str, &str, &[&str])] = &[
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", &["\r\n\r\nThere is a WebSocket at /echo.\n"]),
        (
            "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n",
            "426 Upgrade Required",
            &[
                "\r\nupgrade: websocket\r\n",
                "\r\nconnection: Upgrade",
                "\r\n\r\nthere is no Upgrade header field\n",
            ],
        ),
        ("GET /echo HTTP/1.0\r\nHost: h\r\n\r\n", "400 Bad Request", &["the HTTP version must be 1.1"]),
        (
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "405 Method Not Allowed",
            &["\r\nallow: GET"],
        ),
        (&bad_key, "400 Bad Request", &["Sec-WebSocket-Key must be 16 bytes in base64"]),
        (
            &handshake("").replace("Version: 13", "Version: 8"),
            "426 Upgrade Required",
            &["\r\nsec-websocket-version: 13\r\n"],
        ),
        (
            &handshake("Origin: http://evil.example\r\n"),
            "403 Forbidden",
            &["\r\n\r\nThis origin may not connect.\n"],
        ),
    ];
    for (name, address) in examples().await {
        for (request, status, parts) in cases {
            let response = raw(address, request).await;
            let line = response.lines().next().unwrap_or_default();
            assert!(line.ends_with(status), "{name}: {request} was answered with {response}");
            for part in *parts {
                assert!(response.contains(part), "{name}: {part} is not in {response}");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_the_same_origin_and_of_those_listed_come_in() {
    for (name, address) in examples().await {
        for origin in [format!("http://{address}"), "https://app.example".to_owned()] {
            let client = Client::new().header(header::ORIGIN, HeaderValue::from_str(&origin).unwrap());
            let mut ws = client.connect(&format!("ws://{address}/echo")).await.unwrap();
            assert!(ws.close(1000, "").await.unwrap().clean, "{name}: {origin}");
        }
    }
    let router = Router::new().route(
        "/",
        any(|upgrade: WebSocketUpgrade| async {
            upgrade.allow_any_origin().on_upgrade::<_, _, Body>(drop_it)
        }),
    );
    let address = serve(router).await;
    let client = Client::new().header(header::ORIGIN, HeaderValue::from_static("null"));
    client.connect(&format!("ws://{address}/")).await.unwrap();

    let origins = Arc::new(Origins::new(["https://*.example"]).unwrap());
    let listed =
        any(|upgrade: WebSocketUpgrade| async { upgrade.origins(origins).on_upgrade::<_, _, Body>(drop_it) });
    let address = serve(Router::new().route("/", listed)).await;
    for (origin, is_let_in) in [("https://a.example", true), ("https://example", false), ("null", false)] {
        let client = Client::new().header(header::ORIGIN, HeaderValue::from_static(origin));
        let result = client.connect(&format!("ws://{address}/")).await;
        assert_eq!(result.is_ok(), is_let_in, "{origin}");
    }
}

async fn drop_it(_: WebSocket) {}

#[tokio::test]
async fn a_handler_can_have_a_page_for_the_same_path() {
    async fn either(upgrade: Option<WebSocketUpgrade>) -> Response {
        match upgrade {
            Some(upgrade) => upgrade.on_upgrade(drop_it),
            None => "a page\n".into_response(),
        }
    }
    let address = serve(Router::new().route("/echo", any(either))).await;
    connect(&format!("ws://{address}/echo")).await.unwrap();
    let page = raw(address, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(page.ends_with("a page\n"), "{page}");
    let bad = raw(address, &handshake("").replace("Version: 13", "Version: 0")).await;
    assert!(bad.starts_with("HTTP/1.1 426 "), "{bad}");
}

#[tokio::test]
async fn any_service_of_tower_can_upgrade() {
    let mut config = Config::default();
    (config.deflate, config.max_message_size) = (None, 5);
    let config = Arc::new(config);
    let service = tower::service_fn(move |mut request: Request| {
        let config = Arc::clone(&config);
        let echo = async |mut ws: WebSocket| {
            assert_eq!(ws.handshake().unwrap().resource_name, "/?a=1");
            assert!(ws.handshake().unwrap().peer_addr.is_some());
            while let Ok(Some(message)) = ws.recv().await {
                ws.send(message).await.unwrap();
            }
        };
        let response: Response = match sockeye::upgrade(&mut request) {
            Ok(upgrade) => upgrade.config(config).on_upgrade(echo),
            Err(error) => error.into_response(),
        };
        async { Ok::<_, Infallible>(response) }
    });
    let address = serve(Router::new().route_service("/", service)).await;
    let mut ws = connect(&format!("ws://{address}/?a=1")).await.unwrap();
    assert!(ws.handshake().unwrap().extensions.is_empty());
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("hello"));
    ws.send("longer").await.unwrap();
    assert!(ws.recv().await.unwrap().is_none());
    assert_eq!(ws.close_info().unwrap().code, 1009);
}

#[tokio::test]
async fn by_tls_and_a_server_of_any_version() {
    let ca = Ca::new("upgrade");
    let address = certificates::serve(ca.issue(&["127.0.0.1"]).server(), |stream| async {
        let service = service_fn(|mut request| {
            let upgrade = sockeye::upgrade(&mut request).unwrap();
            let response: Response = upgrade.on_upgrade(async |mut ws| {
                while let Ok(Some(message)) = ws.recv().await {
                    ws.send(message).await.unwrap();
                }
            });
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await.unwrap();
    })
    .await;
    let client = Client::new().tls(Tls::default().only_ca_pem(ca.pem.as_bytes()).unwrap());
    let mut ws = client.connect(&format!("wss://{address}/")).await.unwrap();
    for message in [vec![7; 1], vec![7; 1 << 20]] {
        ws.send(message.clone()).await.unwrap();
        assert!(ws.recv().await.unwrap().unwrap().as_bytes() == message);
    }
    assert!(ws.close(1000, "").await.unwrap().clean);
}

#[tokio::test]
async fn the_answer_can_be_the_callers_and_the_task_too() {
    let (sender, mut upgrading) = mpsc::unbounded_channel::<Upgrading>();
    let accept = any(async move |upgrade: WebSocketUpgrade| {
        let mut headers = HeaderMap::new();
        headers.insert("x-served-by", HeaderValue::from_static("test"));
        let subprotocol = upgrade.request().subprotocols().last().cloned();
        let answer = Answer { subprotocol, headers, ..Answer::default() };
        let (response, upgrading): (Response, _) = upgrade.accept_with(answer)?;
        sender.send(upgrading).unwrap();
        Ok::<_, UpgradeError>(response)
    });
    let address = serve(Router::new().route("/", accept)).await;
    let client = Client::new().subprotocol("a").subprotocol("b");
    let client = client.connect(&format!("ws://{address}/")).await.unwrap();
    assert_eq!(client.subprotocol(), Some("b"));
    assert_eq!(client.handshake().unwrap().headers["x-served-by"], "test");
    let ws = upgrading.recv().await.unwrap().await.unwrap();
    assert_eq!(ws.subprotocol(), Some("b"));
}

#[tokio::test]
async fn whoever_waits_is_told_that_there_will_be_no_websocket() {
    let (listener, address) = listen().await;
    let (sender, mut upgrading) = mpsc::unbounded_channel::<Upgrading>();
    let service = service_fn(move |mut request| {
        let (response, upgrading) = sockeye::upgrade(&mut request).unwrap().accept::<String>().unwrap();
        sender.send(upgrading).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // Without upgrades.
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
    });
    let mut ws = connect(&format!("ws://{address}/")).await.unwrap();
    let error = upgrading.recv().await.unwrap().await.unwrap_err();
    let Error::Open(open) = &error else { panic!("{error}") };
    assert!(matches!(open.cause, OpenCause::Upgrade(_)) && open.phase == Phase::Upgrade, "{error}");
    assert!(matches!(ws.recv().await, Err(Error::Io(_))));
}

#[tokio::test]
async fn an_answer_that_was_not_offered_is_the_servers_fault() {
    let accept = any(|upgrade: WebSocketUpgrade| async {
        let answer = Answer { subprotocol: Some("mine".into()), ..Answer::default() };
        let (response, _): (Response, _) = upgrade.accept_with(answer)?;
        Ok::<_, UpgradeError>(response)
    });
    let address = serve(Router::new().route("/", accept)).await;
    let error = connect(&format!("ws://{address}/")).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(refusal.body, "internal server error\n");
}

fn request() -> http::request::Builder {
    let request = Request::get("/echo").header("host", "h").header("connection", "upgrade");
    let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
    request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn a_request_without_a_connection_is_told_apart() {
    let mut request = request().body(()).unwrap();
    assert!(sockeye::asks_for_websocket(&request));
    let error = sockeye::upgrade(&mut request).unwrap_err();
    assert!(matches!(error, UpgradeError::NotUpgradable), "{error}");
    assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let answer = axum_server::router().oneshot(request.map(|()| Body::empty())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn http_2_is_refused() {
    let request = request().version(http::Version::HTTP_2).method("CONNECT");
    let mut request = request.extension(Protocol::from_static("websocket")).body(()).unwrap();
    assert!(sockeye::asks_for_websocket(&request));
    let error = sockeye::upgrade(&mut request).unwrap_err();
    let response = error.into_response::<String>();
    assert_eq!(response.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    assert_eq!(response.body(), "the HTTP version must be 1.1, found \"HTTP/2.0\"\n");
}
