//! Memory, counted: none for a message in the steady state, little for a connection, bounded whatever the peer does.

mod support;

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::{BufMut, BytesMut};
use sockeye::{Config, Error, Incoming, WebSocket, accept};
use support::{open, poll_once};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

/// What running `test` on this thread allocates.
fn counted(test: impl Future<Output = ()>) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut test = Some(test);
    measure(|| test.take().into_iter().for_each(|test| runtime.block_on(test)))
}

/// A masked frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.put_u8(0x80 | u8::try_from(length).unwrap()),
        length => {
            frame.put_u8(0xFE);
            frame.put_u16(u16::try_from(length).unwrap());
        }
    }
    frame.put_slice(&[0; 4]);
    frame.put_slice(payload);
    frame
}

/// A server on a stream whose other end is a client's bytes, behind the handshake.
async fn raw_client(config: Config) -> (DuplexStream, WebSocket) {
    let (mut client, server) = tokio::io::duplex(1024);
    let request = "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let server = Incoming::read(server, config).await.unwrap().accept().await.unwrap();
    let mut response = BytesMut::new();
    while !response.ends_with(b"\r\n\r\n") {
        client.read_buf(&mut response).await.unwrap();
    }
    (client, server)
}

#[test]
fn an_echoed_message_of_up_to_16_kib_allocates_nothing() {
    let echo = async |size: usize, in_flight: usize, messages: usize| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut ws = accept(listener.accept().await.unwrap().0).await?;
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok::<_, Error>(())
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut response = vec![0; 4096];
        let length = client.read(&mut response).await.unwrap();
        assert!(response[..length].ends_with(b"\r\n\r\n"));
        let batch = frame(0x81, &vec![b'x'; size]).repeat(in_flight);
        // A reply has no masking key.
        let mut replies = vec![0; batch.len() - 4 * in_flight];
        for _ in 0..messages / in_flight {
            client.write_all(&batch).await.unwrap();
            client.read_exact(&mut replies).await.unwrap();
        }
        drop(client);
        let _ = server.await.unwrap();
    };
    for (size, in_flight) in [(20, 1), (20, 16), (1024, 16), (16 << 10, 1), (16 << 10, 8)] {
        let few = counted(echo(size, in_flight, 400)).count_total;
        let many = counted(echo(size, in_flight, 2000)).count_total;
        assert!(many <= few + 2, "{size} bytes, {in_flight} in flight: {few} allocations, then {many}");
    }
}

#[test]
fn an_idle_connection_holds_little() {
    const CONNECTIONS: usize = 100;
    let idle = async |connections: usize| {
        let mut held = Vec::new();
        for _ in 0..connections {
            let (mut client, mut server) = raw_client(Config::default()).await;
            // One message, so that everything has been used that there is; then the half of another.
            client.write_all(&frame(0x81, b"hello")).await.unwrap();
            let message = server.recv().await.unwrap().unwrap();
            server.send(message).await.unwrap();
            client.write_all(&frame(0x81, b"hello")[..8]).await.unwrap();
            server.take_handshake();
            assert!(poll_once(server.recv()).await.is_none());
            held.push((client, server));
        }
        std::hint::black_box(&held);
    };
    // What is the thread's is there afterwards.
    counted(idle(1));
    let one = counted(idle(1)).bytes_max;
    let all = counted(idle(CONNECTIONS)).bytes_max;
    let each = (all - one) / (CONNECTIONS as u64 - 1);
    // The transport itself holds up to 3,000 bytes of it.
    assert!(each <= 4500, "{each} bytes for each connection");
}

/// A server whose clients, on a thread of their own so that what they allocate is not counted, each exchange compressed messages, and one more once
/// all are there.
async fn busy_then_idle(connections: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let clients = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let text = "{\"type\":\"update\",\"items\":[]}".repeat(40);
            let echoed = async |ws: &mut WebSocket| {
                ws.send(text.as_str()).await.unwrap();
                assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some(text.as_str()));
            };
            let mut members = Vec::new();
            for _ in 0..connections {
                let mut ws = sockeye::connect(&url).await.unwrap();
                assert_eq!(ws.handshake().unwrap().extensions[0].name, "permessage-deflate");
                for _ in 0..3 {
                    echoed(&mut ws).await;
                }
                members.push(ws);
            }
            for ws in &mut members {
                echoed(ws).await;
            }
        });
    });
    let mut handlers = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (stream, _) = listener.accept().await.unwrap();
        handlers.spawn(async move {
            let mut ws = accept(stream).await?;
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok::<_, Error>(())
        });
    }
    handlers.join_all().await;
    clients.join().unwrap();
}

#[test]
fn an_idle_connection_that_exchanged_compressed_messages_holds_little() {
    const CONNECTIONS: usize = 200;
    // What is the thread's is there afterwards.
    counted(busy_then_idle(1));
    let one = counted(busy_then_idle(1)).bytes_max;
    let all = counted(busy_then_idle(CONNECTIONS)).bytes_max;
    let each = (all - one) / (CONNECTIONS as u64 - 1);
    // Its task and its handshake, which it need not keep, are in it.
    assert!((1000..8 << 10).contains(&each), "{each} bytes for each connection");
}

fn size_of_output<A, F: Future>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_connection_is_small() {
    let size = size_of::<WebSocket>();
    assert!(size <= 400, "{size} bytes");
    let handler = async |incoming: Incoming| {
        let mut ws = incoming.accept().await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok::<_, Error>(())
    };
    let size = size_of_output(handler);
    assert!(size <= 1100, "the simplest handler's future has {size} bytes");
}

/// What a server holds at the most while `bytes` are sent to it over and over, and it only receives.
fn held_by_a_flood(config: Config, bytes: &[u8], times: usize) -> u64 {
    let flood = async {
        let (mut client, mut server) = raw_client(config).await;
        let receiving = tokio::spawn(async move { while let Ok(Some(_)) = server.recv().await {} });
        for _ in 0..times {
            // The peer never reads.
            if tokio::time::timeout(Duration::from_secs(1), client.write_all(bytes)).await.is_err() {
                break;
            }
        }
        receiving.abort();
    };
    let before = counted(async { drop(raw_client(Config::default()).await) }).bytes_max;
    counted(flood).bytes_max - before
}

#[test]
fn floods_do_not_grow_memory() {
    // A block for each direction, and what a block grows to for the last few bytes.
    const BUFFERS: u64 = 4 * (64 << 10);
    let cases = [
        ("pings", frame(0x89, &[1; 125]).repeat(100), 500),
        ("empty messages", frame(0x81, b"").repeat(1000), 400),
        (
            "unfinished messages of empty fragments",
            {
                let mut bytes = frame(0x01, b"");
                bytes.extend(frame(0x00, b"").repeat(2000));
                bytes.extend(frame(0x80, b""));
                bytes
            },
            100,
        ),
        (
            "messages of tiny fragments",
            {
                let mut bytes = frame(0x01, b"a");
                bytes.extend(frame(0x00, b"b").repeat(2000));
                bytes.extend(frame(0x80, b"c"));
                bytes
            },
            100,
        ),
    ];
    for (name, bytes, times) in cases {
        let held = held_by_a_flood(Config::default(), &bytes, times);
        assert!(held <= BUFFERS + (64 << 10), "a flood of {name} holds {held} bytes");
    }
}

#[test]
fn a_peer_that_does_not_read_holds_send_and_no_more_than_configured() {
    let mut config = Config::default();
    config.max_buffered = 10_000;
    config.ping_interval = None;
    let blocked = async {
        let (client, server) = tokio::io::duplex(1000);
        let (_client, mut server) = open(client, server, config.clone()).await;
        let mut sent = 0;
        while poll_once(server.send(vec![0; 500])).await.is_some() {
            sent += 1;
            assert!(sent < 100, "there is no bound");
        }
        assert!((10_000..10_600).contains(&server.buffered_amount()), "{}", server.buffered_amount());
    };
    let before = counted(async {
        let (client, server) = tokio::io::duplex(1000);
        drop(open(client, server, config.clone()).await);
    });
    let held = counted(blocked).bytes_max - before.bytes_max;
    // The queue in a block that grows by doubling, the input's block, and one message.
    assert!(held <= (32 << 10) + (64 << 10), "{held} bytes");
}

#[test]
fn a_header_reserves_nothing() {
    let declared = async {
        let (mut client, mut server) = raw_client(Config::default()).await;
        // 16 MiB are declared, and 100 bytes come.
        client.write_all(b"\x82\xFF\0\0\0\0\x01\0\0\0\x01\x02\x03\x04").await.unwrap();
        client.write_all(&[0; 100]).await.unwrap();
        assert!(poll_once(server.recv()).await.is_none());
    };
    let before = counted(async { drop(raw_client(Config::default()).await) }).bytes_max;
    let held = counted(declared).bytes_max - before;
    assert!(held <= 140_000, "{held} bytes");
}
