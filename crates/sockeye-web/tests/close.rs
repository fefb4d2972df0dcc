//! WHATWG WebSockets section 3.1, "close(code, reason)", section 4's end of a connection, and the codes that come of it.

mod support;

use std::time::Duration;

use sockeye::Client;
use sockeye_web::{ErrorName, Options, WebSocket};
use support::{
    BINARY, CLOSE, Log, TEXT, close_payload, echo, frame, open, open_with, opened, read_end, read_frame,
    read_head, tcp, until_close,
};
use tokio::io::AsyncWriteExt;

/// Options with which a server that does not close is waited for only for a moment.
fn impatient() -> Options {
    let mut config = sockeye_web::config();
    config.close_timeout = Some(Duration::from_millis(100));
    config.open_timeout = Some(Duration::from_millis(100));
    let mut options = Options::default();
    options.client = Client::new().config(config);
    options
}

/// Arguments of `close`, and what becomes of them: the Close frame's payload, or what is thrown.
type Arguments = (Option<u16>, Option<String>, Result<Vec<u8>, ErrorName>);

fn arguments() -> Vec<Arguments> {
    let long = "x".repeat(123);
    let too_long = "x".repeat(124);
    let text = |text: &str| Some(text.to_owned());
    let mut table = vec![
        // "If neither code nor reason is present, the WebSocket Close message must not have a body."
        (None, None, Ok(vec![])),
        (None, text(""), Ok(vec![])),
        // "If code is present, then the status code to use in the WebSocket Close message must be the integer given by code."
        (Some(1000), None, Ok(close_payload(1000, ""))),
        (Some(3000), text(""), Ok(close_payload(3000, ""))),
        (Some(4999), None, Ok(close_payload(4999, ""))),
        // "If reason is also present, then reasonBytes must be provided in the Close message after the status code."
        (Some(1000), text("done"), Ok(close_payload(1000, "done"))),
        (Some(4000), text("für 世界"), Ok(close_payload(4000, "für 世界"))),
        (Some(3999), text(&long), Ok(close_payload(3999, &long))),
        // "If reason is also present": there is no place for it without a code.
        (None, text("done"), Ok(vec![])),
        // "If reasonBytes is longer than 123 bytes": bytes, not characters.
        (Some(1000), text(&too_long), Err(ErrorName::Syntax)),
        (None, text(&too_long), Err(ErrorName::Syntax)),
        (Some(1000), text(&"ü".repeat(61)), Ok(close_payload(1000, &"ü".repeat(61)))),
        (Some(1000), text(&"ü".repeat(62)), Err(ErrorName::Syntax)),
        (Some(1000), text(&"世".repeat(41)), Ok(close_payload(1000, &"世".repeat(41)))),
        // The code is looked at first.
        (Some(1001), text(&too_long), Err(ErrorName::InvalidAccess)),
    ];
    // "neither an integer equal to 1000 nor an integer in the range 3000 to 4999, inclusive"
    for code in [0, 1, 999, 1001, 1002, 1003, 1005, 1006, 1011, 1015, 2000, 2999, 5000, 65535] {
        table.push((Some(code), None, Err(ErrorName::InvalidAccess)));
    }
    table
}

#[tokio::test]
async fn arguments_are_checked_and_sent() {
    for (code, reason, expected) in arguments() {
        let log = Log::default();
        let server = opened(until_close).await;
        let socket = open(&server.url, &log);
        log.until("open").await;
        let result = socket.close(code, reason.as_deref()).map_err(|error| error.kind());
        let sent = match expected {
            Err(name) => {
                assert_eq!(result, Err(name), "{code:?} {reason:?}");
                assert_eq!(socket.ready_state(), WebSocket::OPEN, "nothing happens");
                socket.close(None, None).unwrap();
                vec![]
            }
            Ok(sent) => {
                assert_eq!(result, Ok(()), "{code:?} {reason:?}");
                sent
            }
        };
        assert_eq!(socket.ready_state(), WebSocket::CLOSING);
        log.until("close true").await;
        assert_eq!(server.end().await, [(CLOSE, sent)], "{code:?} {reason:?}");
    }
}

#[tokio::test]
async fn arguments_are_checked_in_every_state() {
    let check = |socket: &WebSocket| {
        for (code, reason, expected) in arguments() {
            if let Err(name) = expected {
                let state = socket.ready_state();
                let result = socket.close(code, reason.as_deref());
                assert_eq!(result.map_err(|error| error.kind()), Err(name), "{code:?} in {state}");
                assert_eq!(socket.ready_state(), state);
            }
        }
    };
    let log = Log::default();
    let server = opened(echo).await;
    let socket = open(&server.url, &log);
    check(&socket);
    log.until("open").await;
    check(&socket);
    socket.close(None, None).unwrap();
    check(&socket);
    log.until("close").await;
    check(&socket);
}

#[tokio::test]
async fn closing_again_does_nothing() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        let first = read_frame(&mut stream).await;
        stream.write_all(&frame(CLOSE, &close_payload(4321, "server"))).await.unwrap();
        stream.shutdown().await.unwrap();
        (first, read_end(&mut stream).await)
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    socket.close(3001, "first").unwrap();
    socket.close(3002, "second").unwrap();
    assert_eq!(log.until("close").await, ["open 1", "close true 4321 \"server\" 3"]);
    socket.close(3003, "third").unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CLOSED);
    let (first, rest) = server.end().await;
    assert_eq!(first, (CLOSE, close_payload(3001, "first")));
    assert_eq!(rest, b"", "and nothing else");
    assert_eq!(log.lines().len(), 2, "no event after close");
}

#[tokio::test]
async fn closing_while_connecting_fails_the_connection() {
    // "If the WebSocket connection is not yet established: Fail the WebSocket connection and set this's ready state to CLOSING (2)."
    let log = Log::default();
    let server = tcp(async |mut stream| {
        read_head(&mut stream).await;
        read_end(&mut stream).await
    })
    .await;
    let socket = open(&server.url, &log);
    socket.close(4000, "never mind").unwrap();
    assert_eq!(socket.ready_state(), WebSocket::CLOSING);
    assert_eq!(log.lines(), [""; 0], "events come later");
    assert_eq!(log.until("close").await, ["error 3", "close false 1006 \"\" 3"]);
    drop(server);

    // The same while the server is silent.
    let log = Log::default();
    let server = tcp(async |mut stream| {
        let head = read_head(&mut stream).await;
        (head, read_end(&mut stream).await)
    })
    .await;
    let socket = open(&server.url, &log);
    tokio::task::yield_now().await;
    let closing = socket.clone();
    let silent = tokio::spawn(server.end());
    while !silent.is_finished() {
        tokio::task::yield_now().await;
        if closing.ready_state() == WebSocket::CONNECTING {
            closing.close(None, None).unwrap();
        }
    }
    assert_eq!(log.until("close").await, ["error 3", "close false 1006 \"\" 3"]);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let log = Log::default();
    let server = tcp(async |mut stream| read_end(&mut stream).await).await;
    let _socket = open_with(&server.url, &[], impatient(), &log).unwrap();
    assert_eq!(log.until("close").await, ["error 3", "close false 1006 \"\" 3"]);
    server.end().await;
}

#[tokio::test]
async fn messages_sent_before_are_sent_and_the_close_comes_behind_them() {
    // "The close() method does not discard previously sent messages before starting the WebSocket closing handshake"
    let log = Log::default();
    let server = opened(until_close).await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    socket.send("one").unwrap();
    socket.send(vec![0; 4 << 20]).unwrap();
    socket.send("three").unwrap();
    socket.close(1000, None).unwrap();
    socket.send("too late").unwrap();
    assert_eq!(log.until("close").await.last().unwrap(), "close true 1000 \"\" 3");
    let frames = server.end().await;
    let frames: Vec<_> = frames.iter().map(|(opcode, payload)| (*opcode, payload.len())).collect();
    assert_eq!(frames, [(TEXT, 3), (BINARY, 4 << 20), (TEXT, 5), (CLOSE, 2)]);
    assert_eq!(socket.buffered_amount(), 8);
}

/// The log of a session in which the server sends this behind the handshake, and ends.
async fn session(bytes: Vec<u8>) -> Vec<String> {
    let log = Log::default();
    let server = opened(async move |mut stream| {
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        read_end(&mut stream).await;
    })
    .await;
    let _socket = open(&server.url, &log);
    let lines = log.until("close").await;
    server.end().await;
    lines
}

#[tokio::test]
async fn the_servers_close_is_told_with_its_code_and_reason() {
    let long = "x".repeat(123);
    for (payload, code, reason) in [
        (vec![], 1005, ""),
        (close_payload(1000, ""), 1000, ""),
        (close_payload(1000, "bye"), 1000, "bye"),
        (close_payload(1001, ""), 1001, ""),
        (close_payload(1011, "für 世界"), 1011, "für 世界"),
        (close_payload(3000, &long), 3000, &long),
        // "UTF-8 decode without BOM": a byte order mark is kept.
        (close_payload(4999, "\u{feff}x"), 4999, "\u{feff}x"),
        // Codes that nobody may send, but that browsers take.
        (close_payload(0, ""), 0, ""),
        (close_payload(999, "x"), 999, "x"),
        (close_payload(1004, ""), 1004, ""),
        (close_payload(2999, ""), 2999, ""),
        (close_payload(65535, ""), 65535, ""),
    ] {
        let lines = session(frame(CLOSE, &payload)).await;
        assert_eq!(lines, ["open 1".to_owned(), format!("close true {code} {reason:?} 3")]);
    }
}

#[tokio::test]
async fn violations_fail_the_connection_with_1006() {
    let masked = [0x81, 0x80, 1, 2, 3, 4].to_vec();
    let too_long = close_payload(1000, &"x".repeat(124));
    for (name, bytes) in [
        ("reserved opcode", vec![0x83, 0]),
        ("reserved bit", vec![0xf1, 0]),
        ("masked", masked),
        ("continuation", vec![0x80, 0]),
        ("fragmented ping", vec![0x09, 0]),
        ("length not minimal", vec![0x81, 126, 0, 1, b'x']),
        ("text that is not UTF-8", frame(TEXT, b"\xff")),
        ("text with a surrogate", frame(TEXT, b"\xed\xa0\x80")),
        ("close of one byte", frame(CLOSE, &[3])),
        ("close reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff")),
        ("close that is too long", [&[0x88, 126, 0, 126], &too_long[..]].concat()),
        ("code 1005", frame(CLOSE, &close_payload(1005, ""))),
        ("code 1006", frame(CLOSE, &close_payload(1006, ""))),
        ("code 1015", frame(CLOSE, &close_payload(1015, ""))),
    ] {
        let failed = ["open 1", "error 3", "close false 1006 \"\" 3"];
        assert_eq!(session(bytes.clone()).await, failed, "{name}");
        let mut after_message = frame(TEXT, b"first");
        after_message.extend(bytes);
        let failed = ["open 1", "message \"first\" 1", "error 3", "close false 1006 \"\" 3"];
        assert_eq!(session(after_message).await, failed, "{name}, behind a message");
    }
}

#[tokio::test]
async fn the_end_of_the_bytes_is_an_unclean_close_and_no_failure() {
    for (name, bytes) in [
        ("at once", vec![]),
        ("within a frame", vec![0x81, 5, b'h']),
        ("within a message", vec![0x01, 1, b'h']),
        ("within a Close frame", vec![0x88, 2, 3]),
    ] {
        assert_eq!(session(bytes.clone()).await, ["open 1", "close false 1006 \"\" 3"], "{name}");
        let bytes = [frame(TEXT, b"first"), bytes].concat();
        let lines = ["open 1", "message \"first\" 1", "close false 1006 \"\" 3"];
        assert_eq!(session(bytes).await, lines, "{name}, behind a message");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_fails_the_connection() {
    let mut config = sockeye_web::config();
    assert_eq!((config.max_message_size, config.max_frame_size), (128 << 20, 128 << 20));
    config.max_message_size = 1000;
    let mut options = Options::default();
    options.client = Client::new().config(config);
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, &[b'x'; 1001])).await.unwrap();
        let told = read_frame(&mut stream).await;
        read_end(&mut stream).await;
        told
    })
    .await;
    let _socket = open_with(&server.url, &[], options, &log).unwrap();
    assert_eq!(log.until("close").await, ["open 1", "error 3", "close false 1006 \"\" 3"]);
    assert_eq!(server.end().await, (CLOSE, close_payload(1009, "")));
}

#[tokio::test]
async fn a_failed_connection_is_closed_at_once_and_the_server_is_told_why() {
    // The server does not close its side before the socket has told of it.
    let (log, seen) = (Log::default(), Log::default());
    let released = seen.clone();
    let server = opened(async move |mut stream| {
        stream.write_all(&frame(TEXT, b"\xff")).await.unwrap();
        // More than the socket will ever read, so that to close it with these bytes unread would reset the connection.
        stream.write_all(&frame(TEXT, &vec![b'x'; 100_000])).await.unwrap();
        released.until("closed").await;
        read_frame(&mut stream).await
    })
    .await;
    let _socket = open(&server.url, &log);
    log.until("close false 1006").await;
    seen.add("closed");
    assert_eq!(server.end().await, (CLOSE, close_payload(1007, "")));
}

#[tokio::test]
async fn a_reset_connection_is_a_failed_one() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, b"first")).await.unwrap();
        let _ = read_frame(&mut stream).await;
        reset(&stream);
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("message").await;
    socket.send("x").unwrap();
    let lines = ["open 1", "message \"first\" 1", "error 3", "close false 1006 \"\" 3"];
    assert_eq!(log.until("close").await, lines);
    server.end().await;
}

/// Has the stream reset when it is dropped.
fn reset(stream: &tokio::net::TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_close_is_given_up_without_an_error() {
    // No standard says to fail the connection here: RFC 6455 section 7.1.1: "a client MAY initiate the TCP Close".
    let log = Log::default();
    let server = opened(async |mut stream| read_end(&mut stream).await.len()).await;
    let socket = open_with(&server.url, &[], impatient(), &log).unwrap();
    log.until("open").await;
    socket.close(1000, None).unwrap();
    assert_eq!(log.until("close").await, ["open 1", "close false 1006 \"\" 3"]);
    assert_eq!(server.end().await, 8, "one Close frame");
}

#[tokio::test]
async fn a_close_answered_by_the_end_of_the_bytes_is_not_clean() {
    let log = Log::default();
    let server = opened(async |mut stream| read_frame(&mut stream).await).await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    socket.close(1000, None).unwrap();
    assert_eq!(log.until("close").await, ["open 1", "close false 1006 \"\" 3"]);
    server.end().await;
}

#[tokio::test]
async fn the_state_is_closing_between_the_servers_close_and_the_end() {
    // "When the WebSocket closing handshake is started, the user agent must queue a task to change the ready state to CLOSING (2)."
    let (log, seen) = (Log::default(), Log::default());
    let released = seen.clone();
    let server = opened(async move |mut stream| {
        stream.write_all(&frame(CLOSE, &close_payload(4000, "bye"))).await.unwrap();
        let answer = read_frame(&mut stream).await;
        released.until("closing").await;
        answer
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    support::soon(async {
        while socket.ready_state() == WebSocket::OPEN {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(socket.ready_state(), WebSocket::CLOSING);
    socket.close(4999, "no more").unwrap();
    socket.send("thrown away").unwrap();
    assert_eq!(socket.buffered_amount(), 11);
    seen.add("closing");
    assert_eq!(log.until("close").await, ["open 1", "close true 4000 \"bye\" 3"]);
    assert_eq!(server.end().await, (CLOSE, close_payload(4000, "bye")), "the reason is repeated too");
}
