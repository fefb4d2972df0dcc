//! Servers and clients on real sockets.

mod support;

use std::net::SocketAddr;

use sockeye::{
    Answer, Client, Config, Error, HandshakeError, HeaderMap, HeaderValue, OpenCause, Phase, Server,
    StatusCode, connect, header,
};
use support::{echo, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn opening(error: &Error) -> (Phase, &OpenCause) {
    let Error::Open(error) = error else { panic!("{error}") };
    (error.phase, &error.cause)
}

fn refused(result: Result<sockeye::WebSocket, Error>) -> sockeye::Refusal {
    let error = result.unwrap_err();
    error.refusal().unwrap_or_else(|| panic!("not refused: {error}")).clone()
}

/// Sends `request` as it is and gives what comes back, all of it.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn many_connections_echo_at_once() {
    let server = serve(|server| server, echo).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..50 {
        let url = server.url();
        clients.spawn(async move {
            let mut ws = connect(&url).await.unwrap();
            for i in 0..20 {
                let text = format!("message {i} of client {client}");
                ws.send(text.as_str()).await.unwrap();
                assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some(text.as_str()));
            }
            assert!(ws.close(1000, "").await.unwrap().clean);
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn the_handshake_can_be_looked_at_from_both_ends() {
    let server = serve(
        |server| server,
        |incoming| async move {
            let seen = format!(
                "{} {:?} {:?} {:?} {}",
                incoming.path(),
                incoming.request().query(),
                incoming.request().cookies().collect::<Vec<_>>(),
                incoming.request().subprotocols(),
                incoming.peer_addr().unwrap().ip(),
            );
            let mut headers = HeaderMap::new();
            headers.insert("x-served-by", HeaderValue::from_static("test"));
            let answer = Answer { subprotocol: Some("superchat".into()), headers, ..Answer::default() };
            let mut ws = incoming.accept_with(answer).await?;
            ws.send(seen).await?;
            assert_eq!(ws.handshake().unwrap().resource_name, "/chat?room=1");
            assert_eq!(ws.subprotocol(), Some("superchat"));
            while ws.recv().await?.is_some() {}
            Ok(())
        },
    )
    .await;
    let client = Client::new()
        .subprotocol("chat")
        .subprotocol("superchat")
        .header(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
    let mut ws = client.connect(&format!("{}chat?room=1", server.url())).await.unwrap();
    assert_eq!(ws.subprotocol(), Some("superchat"));
    assert_eq!(ws.handshake().unwrap().headers["x-served-by"], "test");
    let seen = ws.recv().await.unwrap().unwrap();
    let expected = r#"/chat Some("room=1") [("a", "1"), ("b", "2")] ["chat", "superchat"] 127.0.0.1"#;
    assert_eq!(seen.as_text(), Some(expected));
    assert!(ws.take_handshake().is_some() && ws.handshake().is_none());
    ws.close(1000, "").await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn the_server_chooses_among_the_subprotocols_offered() {
    let server = serve(
        |server| server,
        |incoming| async move {
            let mut ws = incoming.accept_subprotocol(&["b", "c"]).await?;
            while ws.recv().await?.is_some() {}
            Ok(())
        },
    )
    .await;
    let cases: &[(&[&str], Option<&str>)] =
        &[(&["a", "c", "b"], Some("c")), (&["a"], None), (&["B"], None), (&[], None)];
    for (offered, chosen) in cases {
        let client = offered.iter().fold(Client::new(), |client, name| client.subprotocol(*name));
        let ws = client.connect(&server.url()).await.unwrap();
        assert_eq!(ws.subprotocol(), *chosen, "of {offered:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_rejection_reaches_the_caller_whole() {
    let server = serve(
        |server| server,
        |incoming| async move {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("7"))]);
            incoming.reject_with(StatusCode::SERVICE_UNAVAILABLE, &headers, b"come back later").await
        },
    )
    .await;
    let refusal = refused(connect(&server.url()).await);
    assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refusal.headers[header::RETRY_AFTER], "7");
    assert_eq!(refusal.body, "come back later");
    assert!(!refusal.truncated);
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_let_in() {
    let page = |origin| Client::new().origin(HeaderValue::from_static(origin));
    let server = serve(|server| server.allow_origin("https://app.example"), echo).await;
    assert!(page("https://app.example").connect(&server.url()).await.is_ok());
    assert!(connect(&server.url()).await.is_ok(), "who sends no origin is not a page");
    let same = HeaderValue::from_str(&format!("http://{}", server.address)).unwrap();
    assert!(Client::new().origin(same).connect(&server.url()).await.is_ok());
    assert_eq!(
        refused(page("https://evil.example").connect(&server.url()).await).status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(refused(page("null").connect(&server.url()).await).status, StatusCode::FORBIDDEN);
    server.stop().await;

    let server = serve(Server::allow_any_origin, echo).await;
    assert!(page("https://evil.example").connect(&server.url()).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn other_requests_go_to_the_http_handler_with_their_bytes() {
    let server = serve(
        |server| {
            server.on_http(|mut connection| async move {
                let mut request = Vec::new();
                while !request.ends_with(b"body") {
                    assert!(connection.read_buf(&mut request).await.unwrap() > 0);
                }
                let answer = format!("{} got {} bytes", connection.peer_addr().unwrap().ip(), request.len());
                connection.write_all(answer.as_bytes()).await.unwrap();
            })
        },
        echo,
    )
    .await;
    let request = "POST /page HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(raw(server.address, request).await, format!("127.0.0.1 got {} bytes", request.len()));
    assert!(connect(&server.url()).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn without_one_they_are_told_to_upgrade() {
    let server = serve(|server| server, echo).await;
    let answer = raw(server.address, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("websocket"), "{answer}");
    let answer = raw(server.address, "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = raw(server.address, "\x16\x03\x01\x02\x00 is TLS\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn going_down_closes_each_connection_with_1001() {
    let server = serve(|server| server, echo).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut ws = connect(&server.url()).await.unwrap();
        ws.send("here").await.unwrap();
        assert!(ws.recv().await.unwrap().is_some());
        clients.push(tokio::spawn(async move {
            assert_eq!(ws.recv().await.unwrap(), None);
            ws.close_info().cloned().unwrap()
        }));
    }
    let address = server.address;
    server.stop().await;
    for client in clients {
        let info = client.await.unwrap();
        assert!(info.code == 1001 && info.clean, "{info:?}");
    }
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn going_down_in_the_midst_of_an_exchange_is_clean_for_the_simplest_handler() {
    let server = serve(|server| server, echo).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut ws = connect(&server.url()).await.unwrap();
        clients.push(tokio::spawn(async move {
            // Four messages are always on their way, so that some of them meet the server's Close.
            for _ in 0..4 {
                ws.send("first").await.unwrap();
            }
            while ws.recv().await.unwrap().is_some() {
                let _ = ws.send("more").await;
            }
            ws.close_info().cloned().unwrap()
        }));
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    for client in clients {
        let info = client.await.unwrap();
        assert!(info.code == 1001 && info.clean, "{info:?}");
    }
}

#[tokio::test]
async fn a_connection_dropped_while_it_closes_is_closed_cleanly() {
    let server = serve(
        |server| server,
        |incoming| async move {
            let mut ws = incoming.accept().await?;
            ws.start_close(4001, "enough")
        },
    )
    .await;
    let mut ws = connect(&server.url()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), None);
    assert!(ws.close_info().is_some_and(|info| info.clean && info.code == 4001));
    server.stop().await;
}

#[tokio::test]
async fn going_down_waits_for_no_request() {
    let mut config = Config::default();
    (config.open_timeout, config.close_timeout) = (None, None);
    let server = serve(|server| server.config(config), echo).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    let mut begun = TcpStream::connect(server.address).await.unwrap();
    begun.write_all(b"GET / HT").await.unwrap();
    // Connections are accepted in order: those two are.
    assert!(connect(&server.url()).await.is_ok());
    tokio::time::timeout(std::time::Duration::from_secs(10), server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_never_ends_does_not_hold_the_server() {
    let mut config = Config::default();
    config.close_timeout = Some(std::time::Duration::ZERO);
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let server = serve(
        |server| server.config(config),
        move |incoming| {
            let entered = entered.clone();
            async move {
                let _ws = incoming.accept().await?;
                entered.send(()).await.unwrap();
                std::future::pending().await
            }
        },
    )
    .await;
    let mut ws = connect(&server.url()).await.unwrap();
    has_entered.recv().await.unwrap();
    server.stop().await;
    assert!(matches!(ws.recv().await, Err(Error::Io(_))));
}

#[tokio::test]
async fn phases_of_opening_fail_each_by_its_name() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = connect(&format!("ws://{closed}/")).await.unwrap_err();
    assert!(matches!(opening(&error), (Phase::Connect, OpenCause::Connect { .. })), "{error}");
    let error = Client::new().proxy(None).connect("ws://name.invalid/").await.unwrap_err();
    assert!(matches!(opening(&error), (Phase::Resolve, OpenCause::Resolve { .. })), "{error}");
    let error = connect("http://127.0.0.1/").await.unwrap_err();
    assert!(matches!(error, Error::Url(_)), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let hang_up = async { drop(listener.accept().await.unwrap()) };
    let (opened, ()) = tokio::join!(connect(&url), hang_up);
    let error = opened.unwrap_err();
    let lost = |cause| matches!(cause, &OpenCause::Handshake(HandshakeError::Truncated) | &OpenCause::Io(_));
    let (phase, cause) = opening(&error);
    assert!(phase == Phase::Upgrade && lost(cause), "{error}");
}

/// A handler may lend it to whoever has to be asked.
#[test]
fn what_handlers_hold_can_be_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<sockeye::Incoming>();
    is_shared::<sockeye::Control>();
    is_shared::<sockeye::Settings>();
    is_shared::<Server>();
}
