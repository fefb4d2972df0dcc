//! When a write reaches the transport.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::{Config, WebSocket};
use support::{Counted, open, poll_once};

/// A client, a server, and how often the server has written since the handshake.
async fn counted() -> (WebSocket, WebSocket, impl Fn() -> usize) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (server, writes): (_, Arc<AtomicUsize>) = Counted::new(server);
    let (client, server) = open(client, server, Config::default()).await;
    let before = writes.load(Ordering::Relaxed);
    (client, server, move || writes.load(Ordering::Relaxed) - before)
}

/// Sends `count` messages that arrive as one piece.
async fn at_once(client: &mut WebSocket, count: usize) {
    for i in 0..count {
        client.send(format!("message {i}")).await.unwrap();
    }
}

/// What a scenario gives when no tick of the coarse clock falls into it: with one, the server rightly writes earlier.
async fn between_ticks<T>(scenario: impl AsyncFn() -> T) -> T {
    for _ in 0..1000 {
        let before = coarsetime::Instant::now();
        let result = scenario().await;
        if coarsetime::Instant::now() == before {
            return result;
        }
    }
    panic!("the machine is too slow to run anything between two ticks");
}

#[tokio::test]
async fn sixteen_ready_replies_are_one_write() {
    let writes = between_ticks(async || {
        let (mut client, mut server, writes) = counted().await;
        at_once(&mut client, 16).await;
        for _ in 0..16 {
            let message = server.recv().await.unwrap().unwrap();
            server.send(message).await.unwrap();
        }
        for i in 0..16 {
            let reply = client.recv().await.unwrap().unwrap();
            assert_eq!(reply.as_text(), Some(format!("message {i}").as_str()));
        }
        writes()
    });
    assert_eq!(writes.await, 1);
}

#[tokio::test]
async fn a_lone_reply_is_written_before_send_returns() {
    let (mut client, mut server, writes) = counted().await;
    for count in 1..5 {
        at_once(&mut client, 1).await;
        let message = server.recv().await.unwrap().unwrap();
        server.send(message).await.unwrap();
        assert_eq!((writes(), server.buffered_amount()), (count, 0));
    }
}

#[tokio::test]
async fn a_reply_does_not_wait_for_a_frame_that_is_not_whole() {
    let (mut client, mut server, writes) = counted().await;
    at_once(&mut client, 1).await;
    // A second message of which only a part arrives, since the transport does not hold it.
    assert!(poll_once(async { client.send(vec![0; 2 << 20]).await }).await.is_some());
    let message = server.recv().await.unwrap().unwrap();
    server.send(message).await.unwrap();
    assert_eq!(writes(), 1);
}

#[tokio::test]
async fn a_reply_waits_for_at_most_one_run_of_a_slow_handler() {
    const RUNS: usize = 6;
    let (mut client, mut server, _) = counted().await;
    at_once(&mut client, RUNS).await;
    let mut arrived = 0;
    for run in 0..RUNS {
        let message = server.recv().await.unwrap().unwrap();
        while poll_once(client.recv()).await.is_some() {
            arrived += 1;
        }
        // All have arrived but that of the last run, which waits for this one.
        assert!(arrived + 1 >= run, "run {run}: {arrived} replies have arrived");
        // What the handler takes its time for; nothing is waited for.
        std::thread::sleep(Duration::from_millis(50));
        server.send(message).await.unwrap();
    }
    assert_eq!(server.buffered_amount(), 0);
}

#[tokio::test]
async fn what_is_sent_late_does_not_wait_for_a_frame_in_hand() {
    let (mut client, mut server, writes) = counted().await;
    at_once(&mut client, 2).await;
    server.recv().await.unwrap();
    for count in 1..5 {
        // As a feed of prices does, which has something to say from time to time and receives rarely.
        std::thread::sleep(Duration::from_millis(30));
        server.send("price").await.unwrap();
        assert_eq!((writes(), server.buffered_amount()), (count, 0));
    }
}

#[tokio::test]
async fn recv_writes_before_it_waits_and_flush_at_once() {
    let writes = between_ticks(async || {
        let (mut client, mut server, writes) = counted().await;
        at_once(&mut client, 3).await;
        let message = server.recv().await.unwrap().unwrap();
        server.send(message.clone()).await.unwrap();
        let two_in_hand = writes();
        server.flush().await.unwrap();
        let flushed = writes();
        server.recv().await.unwrap();
        server.send(message).await.unwrap();
        let one_in_hand = writes();
        server.recv().await.unwrap();
        let none_in_hand = writes();
        assert!(poll_once(server.recv()).await.is_none());
        [two_in_hand, flushed, one_in_hand, none_in_hand, writes()]
    });
    assert_eq!(writes.await, [0, 1, 1, 1, 2]);
}

#[tokio::test]
async fn much_is_written_without_waiting_for_more() {
    let (mut client, mut server, writes) = counted().await;
    for _ in 0..60 {
        client.send(vec![0; 4000]).await.unwrap();
    }
    let mut most = 0;
    for _ in 0..10 {
        let message = server.recv().await.unwrap().unwrap();
        for _ in 0..6 {
            server.send(message.clone()).await.unwrap();
            most = most.max(server.buffered_amount());
        }
    }
    assert!(writes() >= 2, "{} writes of 240,000 bytes", writes());
    assert!(most <= 70_000, "{most} bytes waited");
}

#[tokio::test]
async fn a_big_payload_is_queued_with_its_header() {
    let (mut client, mut server, _) = counted().await;
    let big: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    server.send("before").await.unwrap();
    server.send(big.clone()).await.unwrap();
    server.send("after").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some("before".into()));
    assert_eq!(client.recv().await.unwrap(), Some(big.into()));
    assert_eq!(client.recv().await.unwrap(), Some("after".into()));
}
