//! A server going down: at a pace, under load, and to the end.

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye::{Client, CloseCode, Config, Drain, Incoming, Server, WebSocket, connect};
use support::{Running, echo, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

fn drain(change: impl FnOnce(&mut Drain)) -> Drain {
    let mut drain = Drain::default();
    change(&mut drain);
    drain
}

/// A connection whose handler is known to run.
async fn open(server: &Running) -> WebSocket {
    let mut ws = connect(&server.url()).await.unwrap();
    ws.send("there?").await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    ws
}

#[tokio::test]
async fn connections_are_closed_over_a_time_with_the_code_set() {
    const COUNT: u32 = 40;
    let over = Duration::from_millis(400);
    let plan = drain(|drain| (drain.over, drain.code) = (over, CloseCode::SERVICE_RESTART));
    let server = serve(|server| server.drain(plan), echo).await;
    let mut clients = JoinSet::new();
    for _ in 0..COUNT {
        let mut ws = open(&server).await;
        clients.spawn(async move {
            assert_eq!(ws.recv().await.unwrap(), None);
            let info = ws.close_info().unwrap();
            assert!(info.clean && info.code == 1012, "{info:?}");
            Instant::now()
        });
    }
    let start = Instant::now();
    let drained = server.stop().await;
    assert_eq!((drained.clean, drained.lost, drained.aborted), (COUNT as usize, 0, 0));
    let mut closed = clients.join_all().await;
    closed.sort_unstable();
    for (index, closed) in (0u32..).zip(closed) {
        assert!(closed - start >= over * index / COUNT, "number {index} was closed before its time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_message_taken_before_arrives() {
    let taken = Arc::new(Mutex::new(HashMap::new()));
    let counts = taken.clone();
    // Sends as fast as it can, or echoes.
    let handler = move |incoming: Incoming| {
        let counts = counts.clone();
        async move {
            let path = incoming.path().to_owned();
            if path == "/echo" {
                return echo(incoming).await;
            }
            let mut ws = incoming.accept().await?;
            let mut count = 0u64;
            while ws.send(count.to_string()).await.is_ok() {
                count += 1;
            }
            counts.lock().unwrap().insert(path, count);
            Ok(())
        }
    };
    let plan = drain(|drain| drain.over = Duration::from_millis(100));
    let server = serve(|server| server.drain(plan), handler).await;
    let mut clients = JoinSet::new();
    let (arrived, mut arrivals) = mpsc::channel(1);
    for client in 0..20 {
        let (url, has_arrived) = (server.url(), arrived.clone());
        clients.spawn(async move {
            let path = format!("/{client}");
            let mut ws = connect(&format!("{url}{client}")).await.unwrap();
            let mut count = 0u64;
            while let Some(message) = ws.recv().await.unwrap() {
                assert_eq!(message.as_text(), Some(&*count.to_string()));
                count += 1;
                if count == 100 {
                    has_arrived.send(()).await.unwrap();
                }
            }
            assert!(ws.close_info().unwrap().clean);
            (path, Some(count))
        });
        let (url, arrived) = (server.url(), arrived.clone());
        clients.spawn(async move {
            let mut ws = connect(&format!("{url}echo")).await.unwrap();
            arrived.send(()).await.unwrap();
            while ws.send("there").await.is_ok() && ws.recv().await.unwrap().is_some() {}
            while ws.recv().await.unwrap().is_some() {}
            assert!(ws.close_info().unwrap().clean);
            (String::new(), None)
        });
    }
    for _ in 0..40 {
        arrivals.recv().await.unwrap();
    }
    let drained = server.stop().await;
    assert_eq!((drained.clean, drained.lost, drained.aborted), (40, 0, 0));
    for (path, count) in clients.join_all().await {
        let taken = taken.lock().unwrap();
        assert_eq!(count, count.and(taken.get(&path).copied()), "{path}");
    }
}

#[tokio::test]
async fn those_that_do_not_end_are_cut_off_and_counted() {
    let mut config = Config::default();
    config.close_timeout = Some(Duration::from_secs(60));
    let plan = drain(|drain| drain.deadline = Some(Duration::from_millis(200)));
    let server = serve(|server: Server| server.config(config).drain(plan), echo).await;
    let mut good = open(&server).await;
    let mut mute = open(&server).await;
    // One that goes away without an answer.
    let mut rude = TcpStream::connect(server.address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    rude.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(rude.read_u8().await.unwrap());
    }
    let rude = tokio::spawn(async move { assert_eq!(rude.read_u8().await.unwrap(), 0x88) });
    let good = tokio::spawn(async move { assert_eq!(good.recv().await.unwrap(), None) });
    let drained = server.stop().await;
    assert_eq!((drained.clean, drained.lost, drained.aborted), (1, 1, 1));
    good.await.unwrap();
    rude.await.unwrap();
    assert_eq!(mute.recv().await.unwrap(), None);
    assert_eq!(mute.close_info().unwrap().code, CloseCode::GOING_AWAY);
}

#[tokio::test]
async fn connections_in_tasks_of_others_are_closed_and_waited_for() {
    let server = serve(
        |server| server,
        |incoming| async move {
            let (sender, mut receiver) = incoming.accept().await?.split();
            sender.send("here").await?;
            tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
            Ok(())
        },
    )
    .await;
    let mut ws = Client::new().connect(&server.url()).await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    let client = tokio::spawn(async move { assert_eq!(ws.recv().await.unwrap(), None) });
    assert_eq!(server.stop().await.clean, 1);
    client.await.unwrap();
}

#[tokio::test]
async fn a_code_that_may_not_be_sent_is_told_at_once() {
    let plan = drain(|drain| drain.code = CloseCode::ABNORMAL_CLOSURE);
    let server = Server::bind("127.0.0.1:0").await.unwrap().drain(plan);
    assert_eq!(server.run(echo).await.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}
