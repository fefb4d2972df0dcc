//! Messages of any length: in bounded memory, and nothing is lost by dropping a future.

mod support;

use std::io;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use futures_util::stream;
use sockeye::{
    ApiMisuse, Bytes, Config, Error, Event, Message, MessageKind, ProtocolError, WebSocket, pair, pair_with,
};
use support::{Trickle, open, open_as_configured, poll_once};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BINARY: MessageKind = MessageKind::Binary;
const TEXT: MessageKind = MessageKind::Text;

/// What running `test` on this thread holds at the most.
fn most_held(test: impl Future<Output = ()>) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    measure(|| runtime.block_on(test)).bytes_max
}

fn plain() -> Config {
    let mut config = Config::default();
    config.deflate = None;
    config
}

/// How long the next message is, received in parts.
async fn length(ws: &mut WebSocket) -> u64 {
    let mut length = 0;
    while let Some(part) = ws.recv_part().await.unwrap() {
        assert!(part.data.len() <= 66_000, "a part of {} bytes", part.data.len());
        length += part.data.len() as u64;
        if part.last {
            return length;
        }
    }
    panic!("the connection has ended");
}

#[test]
fn a_big_message_each_way_holds_a_few_blocks() {
    const SIZE: u64 = 256 << 20;
    let both_ways = async {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (mut client, mut server) = open(client, server, plain()).await;
        let echo = async {
            assert_eq!(length(&mut server).await, SIZE);
            server.send_reader(BINARY, &mut tokio::io::repeat(2).take(SIZE)).await.unwrap();
            server.flush().await.unwrap();
        };
        let ask = async {
            client.send_reader(BINARY, &mut tokio::io::repeat(1).take(SIZE)).await.unwrap();
            assert_eq!(length(&mut client).await, SIZE);
        };
        tokio::join!(echo, ask);
    };
    let begun = Instant::now();
    let held = most_held(both_ways);
    println!("{held} bytes, {:?}", begun.elapsed());
    assert!(held <= 1 << 20, "{held} bytes");
}

#[test]
fn a_message_that_inflates_to_very_much_holds_little() {
    const SIZE: u64 = 32 << 20;
    let inflated = async {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (mut client, mut server) = open_as_configured(client, server, Config::default()).await;
        let send = async {
            server.send_reader(BINARY, &mut tokio::io::repeat(0).take(SIZE)).await.unwrap();
            server.flush().await.unwrap();
        };
        let (length, ()) = tokio::join!(length(&mut client), send);
        assert_eq!(length, SIZE);
    };
    let held = most_held(inflated);
    // A deflater has 400 KiB.
    assert!(held <= (1 << 20) + (400 << 10), "{held} bytes");
}

/// Text in which most characters have more than one byte.
fn text() -> String {
    "aκόσμε🐟".repeat(40)
}

#[tokio::test]
async fn sending_dropped_at_every_poll_point_loses_nothing() {
    for (kind, max_buffered, deflate) in
        [(TEXT, 1, false), (BINARY, 20, false), (TEXT, 1, true), (TEXT, 1 << 16, true)]
    {
        let mut config = Config::default();
        config.max_buffered = max_buffered;
        config.deflate = config.deflate.filter(|_| deflate);
        let (client, server) = tokio::io::duplex(64);
        let (mut client, mut server) =
            open_as_configured(Trickle::new(client), Trickle::new(server), config).await;
        let receiving = tokio::spawn(async move {
            let mut messages = Vec::new();
            while let Some(message) = server.recv().await.unwrap() {
                messages.push(message);
            }
            messages
        });
        let text = text();
        let mut dropped = 0;
        for _ in 0..2 {
            // One byte at a time, and "not yet" before each.
            let (mut writer, reader) = tokio::io::duplex(text.len());
            writer.write_all(text.as_bytes()).await.unwrap();
            drop(writer);
            let mut reader = Trickle::new(reader);
            while poll_once(client.send_reader(kind, &mut reader)).await.transpose().unwrap().is_none() {
                dropped += 1;
                assert!(dropped < 100_000, "it comes to no end");
                tokio::task::yield_now().await;
            }
        }
        assert!(dropped > 1000, "only {dropped} futures were dropped");
        client.close(1000, "").await.unwrap();
        let expected = if kind == TEXT { Message::from(text) } else { Message::from(text.into_bytes()) };
        assert_eq!(receiving.await.unwrap(), [expected.clone(), expected]);
    }
}

#[tokio::test]
async fn send_part_dropped_at_every_poll_point_sends_all_or_nothing() {
    let mut config = plain();
    config.max_buffered = 1;
    let (client, server) = tokio::io::duplex(64);
    let (mut client, mut server) = open(Trickle::new(client), Trickle::new(server), config).await;
    let receiving = tokio::spawn(async move { server.recv().await.unwrap() });
    let (mut sent, mut dropped) = (String::new(), 0);
    for i in 0..2000 {
        let part = format!("{i}:{} ", "x".repeat(i % 100));
        match poll_once(client.send_part(part.as_str(), false)).await {
            Some(result) => {
                result.unwrap();
                sent.push_str(&part);
            }
            None => dropped += 1,
        }
        tokio::task::yield_now().await;
    }
    client.send_part("", true).await.unwrap();
    client.flush().await.unwrap();
    assert!(sent.len() > 500 && dropped > 1000, "{} bytes sent, {dropped} dropped", sent.len());
    assert_eq!(receiving.await.unwrap(), Some(Message::from(sent)));
}

#[tokio::test]
async fn recv_part_dropped_at_every_poll_point_loses_nothing() {
    for deflate in [false, true] {
        let mut config = Config::default();
        config.deflate = config.deflate.filter(|_| deflate);
        config.fragment_size = Some(101);
        let (client, server) = tokio::io::duplex(64);
        let (mut client, mut server) =
            open_as_configured(Trickle::new(client), Trickle::new(server), config).await;
        let sending = tokio::spawn(async move {
            for _ in 0..3 {
                server.send(text()).await.unwrap();
            }
            server.close(1000, "").await.unwrap();
        });
        let (mut received, mut parts, mut dropped) = (vec![String::new()], 0, 0);
        loop {
            match poll_once(client.recv_part()).await {
                Some(Ok(Some(part))) => {
                    received.last_mut().unwrap().push_str(part.data.as_text().unwrap());
                    parts += 1;
                    if part.last {
                        received.push(String::new());
                    }
                }
                Some(end) => break assert_eq!(end.unwrap(), None),
                None => {
                    dropped += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert_eq!(received, [text(), text(), text(), String::new()]);
        assert!(dropped >= 50 && parts > 10, "{dropped} dropped, {parts} parts");
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn recv_and_recv_part_take_turns() {
    let (mut client, mut server) = pair_with(plain());
    client.send_part("gathered", false).await.unwrap();
    assert!(poll_once(server.recv()).await.is_none());
    let part = server.recv_part().await.unwrap().unwrap();
    assert_eq!((part.data, part.last), (Message::from("gathered"), false));
    client.send_part(" and thrown away", false).await.unwrap();
    client.send_part("", true).await.unwrap();
    client.send("next").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::from("next")));
    client.send("last").await.unwrap();
    let part = server.recv_part().await.unwrap().unwrap();
    assert_eq!((part.data, part.last), (Message::from("last"), true));
}

#[tokio::test]
async fn pings_are_answered_while_a_message_is_sent() {
    let (mut client, mut server) = pair_with(plain());
    // The reader has nothing, or always something.
    let (_writer, silent) = tokio::io::duplex(10);
    for mut reader in
        [Box::new(silent) as Box<dyn tokio::io::AsyncRead + Unpin>, Box::new(tokio::io::repeat(1))]
    {
        let mut ping = client.ping();
        let pinging = async {
            loop {
                tokio::select! {
                    biased;
                    time = &mut ping => break time.unwrap(),
                    part = client.recv_part() => drop(part.unwrap()),
                }
            }
        };
        tokio::select! {
            sent = server.send_reader(BINARY, &mut reader) => panic!("{sent:?}"),
            _ = pinging => {}
        }
    }
}

#[tokio::test]
async fn a_close_of_the_peers_ends_a_message_that_waits() {
    let (mut client, mut server) = pair();
    let (_writer, mut reader) = tokio::io::duplex(10);
    let closing = async { client.close(1000, "enough").await.unwrap() };
    let sending = async {
        let error = server.send_reader(BINARY, &mut reader).await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        assert_eq!(server.recv().await.unwrap(), None);
        assert_eq!(server.close_info().unwrap().reason, "enough");
    };
    let (info, ()) = tokio::join!(closing, sending);
    assert!(info.clean);
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_found_while_the_reader_has_nothing() {
    let (client, server) = tokio::io::duplex(1 << 16);
    let (_client, mut server) = open(client, server, Config::default()).await;
    let (_writer, mut reader) = tokio::io::duplex(10);
    let begun = tokio::time::Instant::now();
    let error = server.send_reader(BINARY, &mut reader).await.unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 40);
    let error = server.recv().await.unwrap_err();
    assert!(matches!(error, Error::PongTimeout(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_live_peer_is_no_dead_one_however_long_the_reader_has_nothing() {
    let (mut client, mut server) = pair();
    let (mut writer, mut reader) = tokio::io::duplex(10);
    let writing = async {
        tokio::time::sleep(Duration::from_secs(1000)).await;
        writer.write_all(b"late").await.unwrap();
        drop(writer);
    };
    let (message, sent, ()) = tokio::join!(client.recv(), server.send_reader(TEXT, &mut reader), writing);
    sent.unwrap();
    assert_eq!(message.unwrap(), Some(Message::from("late")));
}

#[tokio::test]
async fn two_peers_that_both_stream_do_not_wait_for_each_other() {
    const SIZE: u64 = 8 << 20;
    let mut ends = Vec::new();
    let (client, server) = tokio::io::duplex(1000);
    let (client, server) = open(client, server, plain()).await;
    for ws in [client, server] {
        let (sender, mut receiver) = ws.split();
        ends.push(tokio::spawn(async move {
            let mut message = sender.start_message(BINARY).await.unwrap();
            message.send_reader(&mut tokio::io::repeat(1).take(SIZE)).await.unwrap();
            message.finish().unwrap();
        }));
        ends.push(tokio::spawn(async move {
            let mut length = 0;
            while let Some(part) = receiver.recv_part().await.unwrap() {
                length += part.data.len() as u64;
                if part.last {
                    break;
                }
            }
            assert_eq!(length, SIZE);
            // The other's last bytes may still wait for this half to write.
            let _ = receiver.recv_part().await;
        }));
    }
    for end in ends.drain(..).step_by(2) {
        end.await.unwrap();
    }
    // Whole WebSockets, which receive only when they have sent: as much as one buffer takes.
    let (client, server) = tokio::io::duplex(1000);
    let (mut client, mut server) = open(client, server, plain()).await;
    let talk = async |ws: &mut WebSocket| {
        ws.send_reader(BINARY, &mut tokio::io::repeat(1).take(120_000)).await.unwrap();
        assert_eq!(length(ws).await, 120_000);
    };
    tokio::join!(talk(&mut client), talk(&mut server));
}

/// Gives what there is, and then fails once.
struct Failing(&'static [u8], bool);

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if self.0.is_empty() && !std::mem::replace(&mut self.1, true) {
            return std::task::Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_source_is_told_and_the_connection_goes_on() {
    let (mut client, mut server) = pair_with(plain());
    let mut failing = Failing(b"it goes on", false);
    let error = client.send_reader(TEXT, &mut failing).await.unwrap_err();
    assert!(matches!(&error, Error::Source(error) if error.kind() == io::ErrorKind::TimedOut), "{error}");
    let misuse = |result: Result<(), Error>| match result {
        Err(Error::Misuse(misuse)) => misuse,
        other => panic!("{other:?}"),
    };
    assert_eq!(misuse(client.send("no").await), ApiMisuse::MessageUnfinished);
    let mut other = &b"other"[..];
    assert_eq!(misuse(client.send_reader(BINARY, &mut other).await), ApiMisuse::PartKind);
    assert_eq!(other, b"other", "nothing was read");
    assert_eq!(misuse(client.send_reader(TEXT, &mut &b"\xFF"[..]).await), ApiMisuse::TextNotUtf8);
    assert_eq!(misuse(client.send_reader(TEXT, &mut &b" \xCE"[..]).await), ApiMisuse::TextNotUtf8);
    client.send_reader(TEXT, &mut &b"\xBA"[..]).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::from("it goes on κ")));
    let mut items = stream::iter([Ok(Bytes::from("no")), Err(io::Error::other("no more"))]);
    let error = client.send_stream(TEXT, &mut items).await.unwrap_err();
    assert!(matches!(&error, Error::Source(_)), "{error}");
    client.send_part("", true).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::from("no")));
}

#[tokio::test]
async fn a_message_that_is_dropped_half_way_closes_the_connection() {
    let (client, server) = tokio::io::duplex(1 << 16);
    let (client, mut server) = open(client, server, plain()).await;
    let (sender, mut receiver) = client.split();
    let receiving = tokio::spawn(async move { receiver.recv().await });
    let mut message = sender.start_message(TEXT).await.unwrap();
    message.send_part("text").await.unwrap();
    assert_eq!(server.recv_part().await.unwrap().unwrap().data, Message::from("text"));
    drop(message);
    assert!(matches!(sender.send("no").await, Err(Error::Closed)));
    assert_eq!(server.recv_part().await.unwrap(), None);
    assert_eq!(server.close_info().unwrap().code, 1011);
    assert_eq!(receiving.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn other_senders_wait_for_the_end_of_a_message() {
    let (client, mut server) = pair_with(plain());
    let (sender, mut receiver) = client.split();
    let mut message = sender.start_message(TEXT).await.unwrap();
    let other = sender.clone();
    let waiting = tokio::spawn(async move { other.send("second").await });
    let other = sender.clone();
    let third = tokio::spawn(async move {
        let mut message = other.start_message(BINARY).await?;
        message.send_stream(&mut stream::iter([Ok::<_, io::Error>("third")])).await?;
        message.finish()
    });
    for part in ["fi", "rst"] {
        message.send_part(part).await.unwrap();
        tokio::task::yield_now().await;
        assert!(matches!(sender.try_send("no"), Err(sockeye::TrySendError::Full(_))));
    }
    assert!(poll_once(sender.send("no")).await.is_none());
    message.finish().unwrap();
    tokio::spawn(async move { receiver.recv().await });
    assert_eq!(server.recv().await.unwrap(), Some(Message::from("first")));
    let rest = [server.recv().await.unwrap().unwrap(), server.recv().await.unwrap().unwrap()];
    assert!(
        rest.contains(&Message::from("second")) && rest.contains(&Message::from(&b"third"[..])),
        "{rest:?}"
    );
    waiting.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
    // One that was begun and not written keeps nobody from anything.
    drop(sender.start_message(TEXT).await.unwrap());
    sender.send("fourth").await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some(Message::from("fourth")));
}

#[tokio::test]
async fn a_message_can_be_echoed_out_of_the_same_connection() {
    let (mut client, server) = pair_with(plain());
    let (sender, receiver) = server.split();
    let echo = tokio::spawn(async move {
        let mut parts = Box::pin(stream::unfold((receiver, false), |(mut receiver, ended)| async move {
            let part = if ended { None } else { receiver.recv_part().await.unwrap() }?;
            Some((Ok::<_, io::Error>(part.data.into_bytes()), (receiver, part.last)))
        }));
        let mut message = sender.start_message(TEXT).await?;
        message.send_stream(&mut parts).await?;
        message.finish()?;
        sender.flush().await
    });
    let text = text().repeat(10);
    client.send_reader(TEXT, &mut text.as_bytes()).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::from(text)));
    echo.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn control_frames_and_whole_messages_are_told_of_as_ever() {
    let mut config = plain();
    config.max_message_size = 10;
    let (mut client, mut server) = pair_with(config);
    let _ping = client.ping();
    client.send("0123456789").await.unwrap();
    assert!(matches!(server.recv_event().await.unwrap(), Some(Event::Ping(_))));
    assert_eq!(server.recv().await.unwrap(), Some(Message::from("0123456789")));
    client.send_part("0123456789A", false).await.unwrap();
    let error = server.recv().await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::MessageTooBig { limit: 10 })), "{error}");
}
