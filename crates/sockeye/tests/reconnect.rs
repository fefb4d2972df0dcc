//! Reconnecting: when, how often, with what, and when no longer.

mod support;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use sockeye::{
    Backoff, Client, Error, HeaderMap, HeaderValue, Incoming, OpenCause, StatusCode, connect, header,
};
use support::serve;
use tokio::net::TcpListener;

/// Pauses that are known, and short.
fn backoff() -> Backoff {
    let mut backoff = Backoff::default();
    backoff.first = Duration::from_millis(1);
    backoff.cap = Duration::from_millis(4);
    backoff.random = || 1.0;
    backoff
}

/// What was told of failures: whether there was an error, how many in a row, how long the pause.
type Told = Arc<Mutex<Vec<(bool, u32, Duration)>>>;

fn told() -> (Told, impl FnMut(&sockeye::Failure<'_>) + Send + 'static) {
    let told = Told::default();
    let all = told.clone();
    (told, move |failure| {
        all.lock().unwrap().push((failure.error.is_some(), failure.failures, failure.wait));
    })
}

/// Refuses the first so many connections with a status and header fields, and echoes on the others.
fn refuse_first(
    count: u32,
    status: u16,
    headers: HeaderMap,
) -> impl Fn(Incoming) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> + Send + Sync + 'static
{
    let seen = Arc::new(AtomicU32::new(0));
    move |incoming| {
        let (headers, refuses) = (headers.clone(), seen.fetch_add(1, Ordering::Relaxed) < count);
        Box::pin(async move {
            if refuses {
                return incoming.reject_with(StatusCode::from_u16(status).unwrap(), &headers, b"").await;
            }
            let mut ws = incoming.accept().await?;
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn it_goes_on_until_the_server_is_there() {
    let server = serve(|server| server, refuse_first(4, 503, HeaderMap::new())).await;
    let (told, tell) = told();
    let mut connections = Client::new().reconnecting(server.url()).backoff(backoff()).on_failure(tell);
    let mut ws = connections.connect().await.unwrap();
    ws.send("hello").await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap(), "hello".into());
    let millis = [1, 2, 4, 4].map(Duration::from_millis);
    let expected: Vec<_> = (1..).zip(millis).map(|(n, wait)| (true, n, wait)).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(connections.failures(), 4);
    ws.close(1000, "").await.unwrap();

    // It did not last: that is a failure as well.
    drop(connections.connect().await.unwrap());
    assert_eq!(told.lock().unwrap().last(), Some(&(false, 5, Duration::from_millis(4))));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_lasted_makes_it_count_anew() {
    let server = serve(|server| server, refuse_first(2, 503, HeaderMap::new())).await;
    let (told, tell) = told();
    let mut backoff = backoff();
    backoff.stable = Duration::ZERO;
    let mut connections = Client::new().reconnecting(server.url()).backoff(backoff).on_failure(tell);
    for _ in 0..3 {
        drop(connections.connect().await.unwrap());
    }
    let counts: Vec<_> = told.lock().unwrap().iter().map(|(error, count, _)| (*error, *count)).collect();
    assert_eq!(counts, [(true, 1), (true, 2), (false, 1), (false, 1)]);
    server.stop().await;
}

#[tokio::test]
async fn it_stops_at_what_will_not_heal() {
    for status in [401, 403, 404] {
        let server = serve(|server| server, refuse_first(u32::MAX, status, HeaderMap::new())).await;
        let mut connections = Client::new().reconnecting(server.url()).backoff(backoff());
        let error = connections.connect().await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status, status);
        assert!(!error.is_temporary());
        assert!(matches!(connections.connect().await, Err(Error::Closed)));
        server.stop().await;
    }
    let error = Client::new().reconnecting("http://127.0.0.1/").connect().await.unwrap_err();
    assert!(matches!(error, Error::Url(_)) && !error.is_temporary(), "{error}");
}

#[tokio::test]
async fn it_stops_after_so_many_failures() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (told, tell) = told();
    let mut backoff = backoff();
    backoff.failures = Some(3);
    let connections = Client::new().reconnecting(format!("ws://{closed}/")).backoff(backoff).on_failure(tell);
    let all: Vec<_> = connections.collect().await;
    let [Err(Error::Open(error))] = &all[..] else { panic!("{all:?}") };
    assert!(matches!(error.cause, OpenCause::Connect { .. }), "{error}");
    assert_eq!(told.lock().unwrap().len(), 2, "pauses between three attempts");
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("30"))]);
    let server = serve(|server| server, refuse_first(u32::MAX, 503, headers)).await;
    let (told, tell) = told();
    let told_once = Arc::new(tokio::sync::Notify::new());
    let (tell, notify) = (Mutex::new(tell), told_once.clone());
    let mut connections =
        Client::new().reconnecting(server.url()).backoff(backoff()).on_failure(move |failure| {
            tell.lock().unwrap()(failure);
            notify.notify_one();
        });
    tokio::select! {
        result = connections.connect() => panic!("{result:?}"),
        () = told_once.notified() => {}
    }
    assert_eq!(*told.lock().unwrap(), [(true, 1, Duration::from_millis(30_001))]);
    server.stop().await;
}

#[tokio::test]
async fn the_hook_gives_each_attempt_its_own_token() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tokens = seen.clone();
    let server = serve(
        |server| server,
        move |incoming| {
            let token = incoming.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
            let count = {
                let mut tokens = tokens.lock().unwrap();
                tokens.push(token);
                tokens.len()
            };
            async move {
                if count < 3 {
                    return incoming.reject(StatusCode::BAD_GATEWAY, "").await;
                }
                incoming.accept().await.map(drop)
            }
        },
    )
    .await;
    let mut number = 0;
    let mut connections =
        Client::new().reconnecting(server.url()).backoff(backoff()).before_attempt(move |mut attempt| {
            number += 1;
            async move {
                attempt.client = attempt.client.bearer_auth(&format!("t{number}")).unwrap();
                Ok(attempt)
            }
        });
    connections.connect().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["Bearer t1", "Bearer t2", "Bearer t3"]);
    server.stop().await;

    let mut calls = 0;
    let mut connections =
        Client::new().reconnecting("ws://127.0.0.1:1/").backoff(backoff()).before_attempt(move |_| {
            calls += 1;
            let kind = if calls < 3 { io::ErrorKind::Other } else { io::ErrorKind::PermissionDenied };
            async move { Err(kind.into()) }
        });
    let error = connections.connect().await.unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied), "{error}");
    assert_eq!(connections.failures(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_it_waits_the_pause_goes_on() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let mut backoff = Backoff::default();
    backoff.random = || 1.0;
    let mut connections = Client::new()
        .reconnecting(format!("ws://{closed}/"))
        .backoff(backoff)
        .before_attempt(move |attempt| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok(attempt) }
        });
    // 1 + 2 + 4 + 8 + 16 + 32 s, then 60 s each: 122 s have seen 7 attempts, however often the future was dropped.
    for _ in 0..244 {
        let asked = tokio::time::timeout(Duration::from_millis(500), connections.connect()).await;
        assert!(asked.is_err());
    }
    assert_eq!(attempts.load(Ordering::Relaxed), 7);
    assert!(connect(&format!("ws://{closed}/")).await.is_err());
}
