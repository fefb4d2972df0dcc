//! Memory that connections hold, as their server counts it.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use sockeye::{Bytes, Client, Config, Deflate, Incoming, Metrics, Server, Snapshot, connect};
use support::{echo, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What a read has room for.
const BLOCK: u64 = (64 << 10) + 64;

/// Waits until the figures are as told: a server counts in its own time.
async fn until(metrics: &Metrics, are_right: impl Fn(&Snapshot) -> bool) -> Snapshot {
    for _ in 0..5000 {
        let snapshot = metrics.snapshot();
        if are_right(&snapshot) {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never comes to that: {:#?}", metrics.snapshot());
}

fn is_nothing(snapshot: &Snapshot) -> bool {
    (snapshot.buffered.received, snapshot.buffered.sent) == (0, 0)
}

/// A client's bytes, behind the handshake.
async fn raw(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream
}

/// A masked frame of a client, of 126 bytes to 64 KiB.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0xfe];
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// What the output of a connection may hold.
const MOST: u64 = 200_000;

/// A server sends messages of that size to a peer that does not read.
async fn stalled(size: usize, split: bool, bound: u64) {
    let metrics = Metrics::new();
    let mut config = Config::default();
    (config.max_buffered, config.deflate) = (usize::try_from(MOST).unwrap(), None);
    let handler = move |incoming: Incoming| async move {
        let mut ws = incoming.accept().await?;
        let message = Bytes::from(vec![0; size]);
        if !split {
            loop {
                ws.send(message.clone()).await?;
            }
        }
        let (sender, mut receiver) = ws.split();
        let sending = async { while sender.send(message.clone()).await.is_ok() {} };
        tokio::join!(sending, async { while let Ok(Some(_)) = receiver.recv().await {} });
        Ok(())
    };
    let server = serve(|server| server.metrics(metrics.clone()).config(config), handler).await;
    let client = raw(server.address).await;
    until(&metrics, |snapshot| snapshot.buffered.sent >= MOST).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
        let counted = metrics.snapshot().buffered;
        assert!(
            (MOST..=bound).contains(&counted.sent),
            "{size} bytes a message, split: {split}: {counted:?}"
        );
        assert!(counted.received <= BLOCK, "{counted:?}");
    }
    drop(client);
    until(&metrics, |snapshot| snapshot.connections_open == 0 && is_nothing(snapshot)).await;
    server.stop().await;
}

// Each in a thread of its own, since the memory that it rents is the thread's.

#[tokio::test]
async fn a_peer_that_stops_reading_holds_no_more_than_a_block_that_grows_by_doubling() {
    stalled(100, false, 2 * MOST).await;
    stalled(100, true, 2 * MOST).await;
}

#[tokio::test]
async fn a_peer_that_stops_reading_holds_no_more_than_big_messages_as_they_are() {
    stalled(30_000, false, MOST + 30_000 + BLOCK).await;
    stalled(30_000, true, MOST + 30_000 + BLOCK).await;
}

#[test]
fn what_is_told_is_what_is_allocated() {
    for size in [100, 1000, 30_000] {
        let metrics = Metrics::new();
        let mut config = Config::default();
        (config.max_buffered, config.deflate) = (usize::try_from(MOST).unwrap(), None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut client = None;
        let info = measure(|| {
            client = Some(runtime.block_on(async {
                let server = Server::bind("127.0.0.1:0").await.unwrap();
                let address = server.local_addr().unwrap();
                let handler = move |incoming: Incoming| async move {
                    let mut ws = incoming.accept().await?;
                    loop {
                        ws.send(vec![0; size]).await?;
                    }
                };
                tokio::spawn(server.config(config.clone()).metrics(metrics.clone()).run(handler));
                let client = raw(address).await;
                until(&metrics, |snapshot| snapshot.buffered.sent >= MOST).await;
                client
            }));
        });
        let told = metrics.snapshot().buffered;
        let (told, held) = (told.received + told.sent, u64::try_from(info.bytes_current).unwrap());
        // Server, tasks and sockets take some; and so does a message that waits for room, and what of another is written already.
        let others = (24 << 10) + 2 * size as u64;
        assert!((told..=told + others).contains(&held), "{size}: {told} told, {held} held");
    }
}

#[tokio::test]
async fn what_is_not_handed_out_is_counted_and_nothing_at_rest() {
    let metrics = Metrics::new();
    let go_on = Arc::new(Notify::new());
    let (waiting, mut config) = (go_on.clone(), Config::default());
    config.max_fragments = 100;
    let handler = move |incoming: Incoming| {
        let waiting = waiting.clone();
        async move {
            let mut ws = incoming.accept().await?;
            while ws.recv().await?.is_some() {
                waiting.notified().await;
            }
            Ok(())
        }
    };
    let server = serve(|server| server.metrics(metrics.clone()).config(config), handler).await;
    let mut client = raw(server.address).await;
    until(&metrics, |snapshot| snapshot.connections_open == 1 && is_nothing(snapshot)).await;

    // The handler is busy with the first; the second waits in the block.
    client.write_all(&frame(0x82, &[0; 1000]).repeat(2)).await.unwrap();
    until(&metrics, |snapshot| snapshot.buffered.received == BLOCK).await;
    go_on.notify_one();
    until(&metrics, is_nothing).await;
    go_on.notify_one();

    // The first bytes of a frame are put aside.
    let whole = frame(0x82, &[0; 1000]);
    let (head, tail) = whole.split_at(108);
    client.write_all(head).await.unwrap();
    until(&metrics, |snapshot| snapshot.buffered.received == 100).await;
    client.write_all(tail).await.unwrap();
    until(&metrics, is_nothing).await;
    go_on.notify_one();

    // A message in fragments is gathered in at most twice its memory.
    let fragment = vec![0; 50_000];
    client.write_all(&frame(0x02, &fragment)).await.unwrap();
    for _ in 1..20 {
        client.write_all(&frame(0x00, &fragment)).await.unwrap();
    }
    let is_gathered = |snapshot: &Snapshot| snapshot.buffered.received >= 1_000_000;
    let counted = until(&metrics, is_gathered).await.buffered;
    assert!(counted.received <= 2_000_000 + BLOCK && counted.sent == 0, "{counted:?}");
    client.write_all(&frame(0x80, &[0; 126])).await.unwrap();
    until(&metrics, is_nothing).await;
    go_on.notify_one();

    // What is dropped is not counted any more.
    client.write_all(&frame(0x02, &fragment)).await.unwrap();
    until(&metrics, |snapshot| snapshot.buffered.received >= 50_000).await;
    drop(client);
    until(&metrics, |snapshot| snapshot.connections_open == 0 && is_nothing(snapshot)).await;
    server.stop().await;
}

#[tokio::test]
async fn contexts_of_compression_are_counted_for_themselves() {
    let metrics = Metrics::new();
    let mut deflate = Deflate::default();
    (deflate.server_no_context_takeover, deflate.client_no_context_takeover) = (Some(false), Some(false));
    let mut config = Config::default();
    config.deflate = Some(deflate);
    let server = {
        let config = config.clone();
        serve(|server| server.metrics(metrics.clone()).config(config), echo).await
    };
    let mut ws = Client::new().config(config).connect(&server.url()).await.unwrap();
    let plain = connect(&server.url()).await.unwrap();
    until(&metrics, |snapshot| snapshot.connections_open == 2 && snapshot.deflate_contexts == 0).await;
    ws.send("the same again, ".repeat(100)).await.unwrap();
    assert!(ws.recv().await.unwrap().is_some());
    let counted = until(&metrics, |snapshot| snapshot.deflate_contexts > 0 && is_nothing(snapshot)).await;
    assert!((130 << 10..450 << 10).contains(&counted.deflate_contexts), "{}", counted.deflate_contexts);
    assert!(ws.close(1000, "").await.unwrap().clean);
    until(&metrics, |snapshot| snapshot.connections_open == 1 && snapshot.deflate_contexts == 0).await;
    drop(plain);
    server.stop().await;
}
