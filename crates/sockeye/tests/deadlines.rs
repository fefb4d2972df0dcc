//! Every deadline, in virtual time.

mod support;

use std::time::Duration;

use sockeye::{Client, Config, Error, Incoming, OpenCause, accept, connect, pair, pair_with};
use support::open;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn timed_out(error: &Error) -> bool {
    matches!(error, Error::Open(error) if matches!(error.cause, OpenCause::Timeout))
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_opening_10_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let start = Instant::now();
    let error = connect(&url).await.unwrap_err();
    assert!(timed_out(&error), "{error}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_server_waits_for_the_opening_10_seconds_however_slow_the_bytes_come() {
    let (mut client, server) = tokio::io::duplex(1000);
    let start = Instant::now();
    let slow = async move {
        for byte in b"GET / HTTP/1.1\r\nHost: test\r\n" {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(SECOND).await;
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (accepted, _answer) = tokio::join!(accept(server), slow);
    assert!(timed_out(&accepted.unwrap_err()));
    assert!(start.elapsed() < 40 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_byte_that_comes_at_the_deadline_of_the_opening_makes_no_other_error_of_it() {
    let (mut client, server) = tokio::io::duplex(1000);
    let late = async {
        sleep(10 * SECOND).await;
        client.write_all(b"G").await.unwrap();
    };
    let ((), accepted) = tokio::join!(biased; late, accept(server));
    let error = accepted.unwrap_err();
    assert!(timed_out(&error), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_found_after_interval_and_timeout() {
    let (mut client, _silent) = pair();
    let start = Instant::now();
    let error = client.recv().await.unwrap_err();
    assert!(matches!(error, Error::PongTimeout(_)), "{error}");
    assert_eq!(start.elapsed().as_secs(), 40);
    assert!(client.close_info().unwrap().code == 1006);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_only_receives_is_kept_alive() {
    let (mut client, mut server) = pair();
    tokio::spawn(async move { client.recv().await });
    let waiting = tokio::time::timeout(1000 * SECOND, server.recv()).await;
    assert!(waiting.is_err(), "it ended: {waiting:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_does_not_kill_a_healthy_peer() {
    let (client, server) = tokio::io::duplex(1000);
    let mut patient = Config::default();
    patient.ping_interval = None;
    let opening = Client::new().config(patient);
    let (client, server) = tokio::join!(opening.connect_over(client, "ws://test/"), accept(server));
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    client.send("work").await.unwrap();
    let client = tokio::spawn(async move {
        let mut received = Vec::new();
        while let Some(message) = client.recv().await.unwrap() {
            received.push(message);
        }
        received
    });
    assert!(server.recv().await.unwrap().is_some());
    for _ in 0..3 {
        sleep(300 * SECOND).await;
        server.send("still at it").await.unwrap();
    }
    let waiting = tokio::time::timeout(100 * SECOND, server.recv()).await;
    assert!(waiting.is_err(), "it ended: {waiting:?}");
    server.close(1000, "").await.unwrap();
    assert_eq!(client.await.unwrap().len(), 3);
}

/// Passes on what the client sends, 64 KiB a second, and what the server sends, at once.
async fn slow_link(from_client: DuplexStream, from_server: DuplexStream) {
    let (mut client_reads, mut client_writes) = tokio::io::split(from_client);
    let (mut server_reads, mut server_writes) = tokio::io::split(from_server);
    let up = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(count @ 1..) = client_reads.read(&mut piece).await {
            sleep(SECOND).await;
            server_writes.write_all(&piece[..count]).await.unwrap();
        }
    };
    let down = async { tokio::io::copy(&mut server_reads, &mut client_writes).await };
    let _ = tokio::join!(up, down);
}

#[tokio::test(start_paused = true)]
async fn an_upload_over_a_slow_link_is_not_a_death() {
    let (client, near) = tokio::io::duplex(256 << 10);
    let (far, server) = tokio::io::duplex(256 << 10);
    tokio::spawn(slow_link(near, far));
    let (mut client, mut server) = open(client, server, Config::default()).await;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        let message = server.recv().await.unwrap().unwrap();
        server.close(1000, "").await.unwrap();
        message.len()
    });
    client.send(vec![0; 16 << 20]).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), None);
    assert!(client.close_info().unwrap().clean);
    assert_eq!(receiving.await.unwrap(), 16 << 20);
    assert!(start.elapsed() > 200 * SECOND, "the link was not slow");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_send_finds_a_dead_peer_too() {
    let (mut client, _silent) = pair();
    let start = Instant::now();
    let error = loop {
        if let Err(error) = client.send(vec![0; 10_000]).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Closed), "{error}");
    assert!(start.elapsed() <= 41 * SECOND, "{:?}", start.elapsed());
    assert!(matches!(client.recv().await, Err(Error::PongTimeout(_))));
}

#[tokio::test(start_paused = true)]
async fn the_closing_handshake_has_5_seconds() {
    let (mut client, _silent) = pair();
    let start = Instant::now();
    let info = client.close(1000, "").await.unwrap();
    assert!(!info.clean && info.code == 1006);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_for_ever_does_not_put_off_the_end() {
    let (mut client, mut server) = pair();
    let flood = tokio::spawn(async move {
        while server.send(vec![0; 100]).await.is_ok() {
            // Some time passes, or the clock would stand still.
            advance(Duration::from_millis(1)).await;
        }
    });
    let info = client.close(1000, "").await.unwrap();
    assert!(!info.clean);
    flood.abort();
}

#[tokio::test(start_paused = true)]
async fn deadlines_can_be_turned_off() {
    let mut config = Config::default();
    config.ping_interval = None;
    config.close_timeout = None;
    config.open_timeout = None;
    let (mut client, _silent) = pair_with(config.clone());
    assert!(tokio::time::timeout(1_000_000 * SECOND, client.recv()).await.is_err());
    assert!(tokio::time::timeout(1_000_000 * SECOND, client.close(1000, "")).await.is_err());
    let (_silent, stream) = tokio::io::duplex(10);
    assert!(tokio::time::timeout(1_000_000 * SECOND, Incoming::read(stream, config)).await.is_err());
}
