//! How many connections a server takes, and how long it waits for them.

mod support;

use std::time::Duration;

use sockeye::{Client, Config, Connections, Error, Server, StatusCode, Tcp, WebSocket, connect};
use support::{Running, echo, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

async fn serve_few(set_up: impl FnOnce(Server) -> Server) -> (Running, Connections) {
    let mut connections = None;
    let server = serve(
        |server| {
            let server = set_up(server);
            connections = Some(server.connections());
            server
        },
        echo,
    );
    (server.await, connections.unwrap())
}

fn is_turned_away(result: Result<WebSocket, Error>) {
    let error = result.unwrap_err();
    let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// Waits until the server has so many connections.
async fn until(connections: &Connections, count: usize) {
    let waiting = async {
        while connections.open() != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap();
}

#[tokio::test]
async fn beyond_the_limit_clients_are_told_503() {
    let (server, connections) = serve_few(|server| server.max_connections(2)).await;
    let first = connect(&server.url()).await.unwrap();
    let mut second = connect(&server.url()).await.unwrap();
    for _ in 0..20 {
        is_turned_away(connect(&server.url()).await);
    }
    assert_eq!((connections.open(), connections.accepted(), connections.refused()), (2, 2, 20));
    second.send("still here").await.unwrap();
    assert!(second.recv().await.unwrap().is_some());
    drop(first);
    until(&connections, 1).await;
    let third = connect(&server.url()).await.unwrap();
    assert_eq!((connections.open(), connections.accepted(), connections.accept_errors()), (2, 3, 0));
    drop((second, third));
    until(&connections, 0).await;
    server.stop().await;
}

// Only Linux has all of 127.0.0.0/8 without asking.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_does_not_take_what_is_there_for_all() {
    let (server, connections) = serve_few(|server| server.max_connections_per_addr(1)).await;
    let from = |host: u8| {
        let mut tcp = Tcp::default();
        tcp.bind = Some([127, 0, 0, host].into());
        Client::new().tcp(tcp)
    };
    let first = from(1).connect(&server.url()).await.unwrap();
    is_turned_away(from(1).connect(&server.url()).await);
    let second = from(2).connect(&server.url()).await.unwrap();
    assert_eq!((connections.open(), connections.refused(), connections.refused_per_addr()), (2, 0, 1));
    drop(first);
    until(&connections, 1).await;
    assert!(from(1).connect(&server.url()).await.is_ok());
    drop(second);
    server.stop().await;
}

#[tokio::test]
async fn connections_that_are_being_opened_have_a_limit_of_their_own() {
    let page = async |mut connection: sockeye::HttpConnection| {
        while connection.read(&mut [0]).await.is_ok_and(|count| count > 0) {}
    };
    let (server, connections) = serve_few(|server| server.max_opening(2).on_http(page)).await;
    // Open connections, and pages, are not among them.
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(connect(&server.url()).await.unwrap());
    }
    let mut http = TcpStream::connect(server.address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    until(&connections, 6).await;
    while connections.opening() > 0 {
        tokio::task::yield_now().await;
    }
    let silent = [TcpStream::connect(server.address).await, TcpStream::connect(server.address).await];
    until(&connections, 8).await;
    assert_eq!(connections.opening(), 2);
    is_turned_away(connect(&server.url()).await);
    assert_eq!((connections.open(), connections.refused()), (8, 1));
    drop(silent);
    until(&connections, 6).await;
    assert_eq!(connections.opening(), 0);
    assert!(connect(&server.url()).await.is_ok());
    drop((open, http));
    server.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn whoever_comes_by_a_unix_socket_is_told_503_too() {
    let path = std::env::temp_dir().join(format!("sockeye-limits-{}", std::process::id()));
    let unix = sockeye::Listener::unix(&path, None).unwrap();
    let (server, connections) = serve_few(|server| server.listen(unix).max_connections(0)).await;
    let mut answer = String::new();
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(connections.refused(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_trickles_in_is_ended_in_time() {
    let mut config = Config::default();
    config.open_timeout = Some(Duration::from_millis(300));
    let (server, connections) = serve_few(|server| server.config(config).max_connections(5)).await;
    let start = Instant::now();
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        slow.spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 1000)) {
                let ended = timeout(Duration::from_millis(10), stream.read(&mut [0])).await;
                if ended.is_ok() || stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
            panic!("it may go on for ten seconds");
        });
    }
    until(&connections, 5).await;
    is_turned_away(connect(&server.url()).await);
    slow.join_all().await;
    assert!(start.elapsed() >= Duration::from_millis(300));
    until(&connections, 0).await;
    assert!(connect(&server.url()).await.is_ok());
    server.stop().await;
}
