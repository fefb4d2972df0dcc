//! `WebSocketStream`: WHATWG WebSockets pull request 48.

mod support;

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use sockeye::Client;
use sockeye_web::{
    AbortController, ErrorName, Exception, WebSocketCloseInfo, WebSocketError, WebSocketOpenInfo,
    WebSocketStream, WebSocketStreamOptions,
};
use support::{
    BINARY, CLOSE, PING, PONG, TEXT, answer, close_payload, echo, frame, opened, read_end, read_frame,
    read_head, soon, tcp, until_close,
};
use tokio::io::AsyncWriteExt;

async fn open(url: &str) -> (WebSocketStream, WebSocketOpenInfo) {
    let mut stream = WebSocketStream::new(url).unwrap();
    let halves = soon(stream.opened()).await.unwrap();
    (stream, halves)
}

fn info(close_code: impl Into<Option<u16>>, reason: &str) -> WebSocketCloseInfo {
    WebSocketCloseInfo { close_code: close_code.into(), reason: reason.to_owned() }
}

/// The code and the reason of a `WebSocketError`.
fn failure<T: std::fmt::Debug>(result: Result<T, Exception>) -> (Option<u16>, String) {
    match result {
        Err(Exception::WebSocket(error)) => (error.close_code(), error.reason().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn exception<T: std::fmt::Debug>(result: Result<T, Exception>) -> ErrorName {
    match result {
        Err(Exception::Dom(error)) => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_go_both_ways_and_the_close_is_told() {
    let server = opened(echo).await;
    let (stream, mut halves) = open(&server.url).await;
    assert_eq!(stream.url(), server.url);
    assert_eq!((halves.extensions.as_str(), halves.protocol.as_str()), ("", ""));
    halves.writable.send("text".into()).await.unwrap();
    halves.writable.send(vec![1, 2].into()).await.unwrap();
    assert_eq!(halves.readable.next().await.unwrap().unwrap().as_text(), Some("text"));
    assert_eq!(halves.readable.next().await.unwrap().unwrap().as_bytes(), [1, 2]);
    stream.close(info(3456, "pizza")).unwrap();
    assert_eq!(soon(stream.closed()).await.unwrap(), info(3456, "pizza"));
    assert_eq!(stream.closed().await.unwrap(), info(3456, "pizza"), "and again");
    assert!(halves.readable.next().await.is_none());
    assert!(halves.readable.next().await.is_none());
    // "Error stream's writable stream with an "InvalidStateError" DOMException indicating that a closed WebSocketStream cannot be written to."
    assert_eq!(exception(halves.writable.send("late".into()).await), ErrorName::InvalidState);
    server.end().await;
}

#[tokio::test]
async fn subprotocols_and_extensions_are_told() {
    let server = tcp(async |mut stream| {
        let request = read_head(&mut stream).await;
        assert_eq!(support::field(&request, "Sec-WebSocket-Protocol"), Some("a, b"));
        let fields = "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
        answer(&mut stream, &request, fields).await;
        echo(stream).await;
    })
    .await;
    let mut options = WebSocketStreamOptions::default();
    options.protocols = vec!["a".to_owned(), "b".to_owned()];
    let mut stream = WebSocketStream::with_options(&server.url, options).unwrap();
    let halves = soon(stream.opened()).await.unwrap();
    assert_eq!((halves.extensions.as_str(), halves.protocol.as_str()), ("permessage-deflate", "b"));
    // They are given out once.
    assert_eq!(exception(stream.opened().await), ErrorName::InvalidState);
    drop((stream, halves));
    server.end().await;
}

#[tokio::test]
async fn wrong_arguments_throw() {
    for url in ["", "/x", "ftp://example.com/", "ws://example.com/#x"] {
        assert_eq!(WebSocketStream::new(url).unwrap_err().kind(), ErrorName::Syntax, "{url}");
    }
    let mut options = WebSocketStreamOptions::default();
    options.protocols = vec!["a".to_owned(), "a".to_owned()];
    let twice = WebSocketStream::with_options("ws://127.0.0.1:1/", options);
    assert_eq!(twice.unwrap_err().kind(), ErrorName::Syntax);
    let server = opened(echo).await;
    let (stream, _halves) = open(&server.url).await;
    for code in [0, 999, 1001, 1005, 2999, 5000] {
        assert_eq!(stream.close(info(code, "")).unwrap_err().kind(), ErrorName::InvalidAccess, "{code}");
    }
    assert_eq!(stream.close(info(None, &"x".repeat(124))).unwrap_err().kind(), ErrorName::Syntax);
    let error =
        |code, reason: &str| WebSocketError::new("message", code, reason).map_err(|error| error.kind());
    assert_eq!(error(Some(1001), ""), Err(ErrorName::InvalidAccess));
    assert_eq!(error(None, &"x".repeat(124)), Err(ErrorName::Syntax));
    let error = error(None, "reason").unwrap();
    assert_eq!((error.close_code(), error.reason(), error.message()), (Some(1000), "reason", "message"));
    assert_eq!(WebSocketError::new("", None, "").unwrap().close_code(), None);
    stream.close(info(None, "")).unwrap();
    assert_eq!(soon(stream.closed()).await.unwrap(), info(1005, ""));
}

#[tokio::test]
async fn each_way_to_close_sends_its_frame() {
    type Way = fn(&WebSocketStream, WebSocketOpenInfo);
    let reason = || WebSocketError::new("", Some(4000), "why").unwrap();
    let ways: [(&str, Way, Vec<u8>); 9] = [
        ("close()", |stream, _| stream.close(WebSocketCloseInfo::default()).unwrap(), vec![]),
        ("close with a code", |stream, _| stream.close(info(1000, "")).unwrap(), close_payload(1000, "")),
        // "If reason is non-empty, but code is not set, then set code to 1000"
        (
            "close with a reason",
            |stream, _| stream.close(info(None, "bye")).unwrap(),
            close_payload(1000, "bye"),
        ),
        ("cancel", |_, halves| halves.readable.cancel(None), vec![]),
        ("abort", |_, halves| halves.writable.abort(None), vec![]),
        (
            "cancel with a reason",
            |_, halves| halves.readable.cancel(WebSocketError::new("", Some(4000), "why").as_ref().ok()),
            close_payload(4000, "why"),
        ),
        (
            "abort with a reason",
            |_, halves| halves.writable.abort(WebSocketError::new("", Some(4000), "why").as_ref().ok()),
            close_payload(4000, "why"),
        ),
        (
            "cancel with a bare error",
            |_, halves| halves.readable.cancel(WebSocketError::new("message", None, "").as_ref().ok()),
            vec![],
        ),
        (
            "the second is too late",
            |stream, halves| {
                stream.close(info(4001, "")).unwrap();
                halves.readable.cancel(None);
                stream.close(info(4002, "")).unwrap();
            },
            close_payload(4001, ""),
        ),
    ];
    assert_eq!(reason().to_string(), "WebSocketError:  (4000)");
    for (name, close, expected) in ways {
        let server = opened(until_close).await;
        let (stream, halves) = open(&server.url).await;
        close(&stream, halves);
        let closed = soon(stream.closed()).await.unwrap();
        let sent = server.end().await;
        assert_eq!(sent, [(CLOSE, expected)], "{name}");
        let code = sent[0].1.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        assert_eq!(closed.close_code, Some(code), "{name}");
    }
}

#[tokio::test]
async fn closing_the_writable_waits_for_the_closing_handshake() {
    let server = opened(async |mut stream| {
        let frames = [read_frame(&mut stream).await, read_frame(&mut stream).await];
        stream.write_all(&frame(TEXT, b"thrown away")).await.unwrap();
        stream.write_all(&frame(CLOSE, &close_payload(4000, "server"))).await.unwrap();
        frames
    })
    .await;
    let (stream, mut halves) = open(&server.url).await;
    halves.writable.feed("last".into()).await.unwrap();
    soon(halves.writable.close()).await.unwrap();
    assert_eq!(stream.closed().now_or_never().unwrap().unwrap(), info(4000, "server"));
    assert!(halves.readable.next().now_or_never().unwrap().is_none());
    assert_eq!(server.end().await, [(TEXT, b"last".to_vec()), (CLOSE, vec![])]);
}

#[tokio::test]
async fn a_stream_that_is_not_opened_rejects_both() {
    for response in ["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ""] {
        let server = tcp(async move |mut stream| {
            read_head(&mut stream).await;
            stream.write_all(response.as_bytes()).await.unwrap();
        })
        .await;
        let mut stream = WebSocketStream::new(&server.url).unwrap();
        assert_eq!(failure(soon(stream.opened()).await), (None, String::new()));
        assert_eq!(failure(soon(stream.closed()).await), (Some(1006), String::new()));
        assert_eq!(failure(stream.opened().await).0, None, "again");
    }
}

#[tokio::test]
async fn closing_while_connecting_rejects_both() {
    let server = tcp(async |mut stream| read_end(&mut stream).await).await;
    let mut stream = WebSocketStream::new(&server.url).unwrap();
    stream.close(info(4000, "never mind")).unwrap();
    assert_eq!(failure(soon(stream.opened()).await).0, None);
    assert_eq!(failure(soon(stream.closed()).await).0, Some(1006));
}

#[tokio::test]
async fn a_signal_gives_up_the_opening_and_nothing_later() {
    let with_signal = |controller: &AbortController| {
        let mut options = WebSocketStreamOptions::default();
        options.signal = Some(controller.signal());
        options
    };
    // Raised before.
    let controller = AbortController::new();
    controller.abort();
    let mut stream = WebSocketStream::with_options("ws://127.0.0.1:1/", with_signal(&controller)).unwrap();
    assert_eq!(exception(soon(stream.opened()).await), ErrorName::Abort);
    assert_eq!(exception(soon(stream.closed()).await), ErrorName::Abort);

    // Raised while the server is silent.
    let controller = AbortController::new();
    let (answering, asked) = tokio::sync::oneshot::channel();
    let server = tcp(async move |mut stream| {
        read_head(&mut stream).await;
        answering.send(()).unwrap();
        read_end(&mut stream).await
    })
    .await;
    let mut stream = WebSocketStream::with_options(&server.url, with_signal(&controller)).unwrap();
    soon(asked).await.unwrap();
    controller.abort();
    assert_eq!(exception(soon(stream.opened()).await), ErrorName::Abort);
    let aborted = soon(stream.closed()).await;
    assert!(
        matches!(&aborted, Err(Exception::Dom(error)) if error.name() == "AbortError" && error.code() == 20)
    );
    server.end().await;
    assert_eq!(stream.closed().await, aborted, "the end of the connection changes nothing");

    // Raised when it is open.
    let controller = AbortController::new();
    let server = opened(echo).await;
    let mut stream = WebSocketStream::with_options(&server.url, with_signal(&controller)).unwrap();
    let mut halves = soon(stream.opened()).await.unwrap();
    controller.abort();
    halves.writable.send("still here".into()).await.unwrap();
    assert!(soon(halves.readable.next()).await.unwrap().is_ok());
    halves.writable.close().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn an_unclean_end_is_an_error_for_all() {
    for (bytes, name) in [(vec![], "lost"), (frame(TEXT, b"\xff"), "violation")] {
        let server = opened(async move |mut stream| {
            stream.write_all(&frame(BINARY, b"last")).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            read_end(&mut stream).await;
        })
        .await;
        let (stream, mut halves) = open(&server.url).await;
        assert_eq!(halves.readable.next().await.unwrap().unwrap().as_bytes(), b"last", "{name}");
        assert_eq!(failure(soon(halves.readable.next()).await.unwrap()).0, Some(1006), "{name}");
        assert!(halves.readable.next().await.is_none(), "{name}: an error is told once");
        assert_eq!(failure(stream.closed().await).0, Some(1006), "{name}");
        assert_eq!(failure(halves.writable.send("x".into()).await).0, Some(1006), "{name}");
        assert_eq!(failure(halves.writable.close().await).0, Some(1006), "{name}");
        server.end().await;
    }
}

#[tokio::test]
async fn the_servers_close_is_told() {
    let server = opened(async |mut stream| {
        stream.write_all(&frame(CLOSE, &close_payload(4321, "bye"))).await.unwrap();
        read_frame(&mut stream).await
    })
    .await;
    let (stream, mut halves) = open(&server.url).await;
    assert_eq!(soon(stream.closed()).await.unwrap(), info(4321, "bye"));
    assert!(halves.readable.next().await.is_none());
    assert_eq!(server.end().await, (CLOSE, close_payload(4321, "bye")));
}

#[tokio::test]
async fn a_server_waits_for_whoever_reads() {
    let (answered, answer) = tokio::sync::oneshot::channel();
    let server = opened(async move |mut stream| {
        stream.write_all(&[frame(TEXT, b"1"), frame(TEXT, b"2"), frame(PING, b"")].concat()).await.unwrap();
        // The answer comes once the message before the ping has been taken.
        answered.send(read_frame(&mut stream).await.0).unwrap();
        let close = read_frame(&mut stream).await;
        stream.write_all(&frame(CLOSE, &close.1)).await.unwrap();
    })
    .await;
    let (stream, mut halves) = open(&server.url).await;
    let mut answer = std::pin::pin!(answer);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(halves.readable.next().now_or_never().is_some(), "one is there");
    assert!(halves.readable.next().now_or_never().is_none(), "and no other yet");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(answer.as_mut().now_or_never().is_none(), "nothing behind the second is read");
    assert_eq!(soon(halves.readable.next()).await.unwrap().unwrap().as_text(), Some("2"));
    assert_eq!(soon(answer).await.unwrap(), PONG);
    halves.writable.close().await.unwrap();
    assert_eq!(soon(stream.closed()).await.unwrap(), info(1005, ""));
    server.end().await;
}

#[tokio::test]
async fn whoever_writes_waits_for_the_server() {
    let (read, reading) = tokio::sync::oneshot::channel::<()>();
    let server = opened(async |mut stream| {
        reading.await.unwrap();
        let mut sizes = Vec::new();
        loop {
            let (opcode, payload) = read_frame(&mut stream).await;
            if opcode == CLOSE {
                stream.write_all(&frame(CLOSE, &payload)).await.unwrap();
                return sizes;
            }
            sizes.push(payload.len());
        }
    })
    .await;
    let (_stream, mut halves) = open(&server.url).await;
    let mut written = 0;
    // The system's buffers take some of them; then there is no room.
    while let Ok(result) =
        tokio::time::timeout(Duration::from_millis(200), halves.writable.feed(vec![0; 1 << 20].into())).await
    {
        result.unwrap();
        written += 1;
        assert!(written < 100, "nothing holds it back");
    }
    assert!(halves.writable.flush().now_or_never().is_none(), "it is not transmitted");
    read.send(()).unwrap();
    soon(halves.writable.flush()).await.unwrap();
    soon(halves.writable.close()).await.unwrap();
    assert_eq!(server.end().await, vec![1 << 20; written]);
}

#[tokio::test]
async fn a_reader_that_stops_reading_can_close() {
    let server = opened(async |mut stream| {
        let messages = frame(TEXT, &[b'x'; 1000]).repeat(10);
        stream.write_all(&messages).await.unwrap();
        let (_, payload) = read_frame(&mut stream).await;
        stream.write_all(&messages).await.unwrap();
        stream.write_all(&frame(CLOSE, &payload)).await.unwrap();
    })
    .await;
    let (stream, mut halves) = open(&server.url).await;
    assert!(halves.readable.next().await.unwrap().is_ok());
    stream.close(info(1000, "")).unwrap();
    assert_eq!(soon(stream.closed()).await.unwrap(), info(1000, ""));
    server.end().await;
}

#[tokio::test]
async fn dropped_halves_leave_the_other_and_all_dropped_is_closed() {
    // Without the readable, what comes is thrown away.
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, &[b'x'; 1000]).repeat(10)).await.unwrap();
        stream.write_all(&frame(PING, b"")).await.unwrap();
        let pong = read_frame(&mut stream).await.0;
        let rest = [read_frame(&mut stream).await, read_frame(&mut stream).await];
        stream.write_all(&frame(CLOSE, b"")).await.unwrap();
        (pong, rest)
    })
    .await;
    let (stream, halves) = open(&server.url).await;
    let WebSocketOpenInfo { readable, mut writable, .. } = halves;
    drop((stream, readable));
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    writable.send("last".into()).await.unwrap();
    drop(writable);
    let last = [(TEXT, b"last".to_vec()), (CLOSE, vec![])];
    assert_eq!(server.end().await, (PONG, last));

    // Without the writable, messages go on coming.
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, b"x").repeat(10)).await.unwrap();
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
    })
    .await;
    let (stream, halves) = open(&server.url).await;
    let WebSocketOpenInfo { readable, writable, .. } = halves;
    drop((stream, writable));
    assert_eq!(soon(readable.collect::<Vec<_>>()).await.len(), 10);
    server.end().await;

    // One that nobody waits for is given up.
    let server = tcp(async |mut stream| {
        read_head(&mut stream).await;
        read_end(&mut stream).await
    })
    .await;
    let mut stream = WebSocketStream::new(&server.url).unwrap();
    let _ = tokio::time::timeout(Duration::from_millis(50), stream.opened()).await;
    drop(stream);
    assert_eq!(server.end().await, b"");
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_close_is_given_up() {
    let mut config = sockeye_web::config();
    config.close_timeout = Some(Duration::from_millis(50));
    let mut options = WebSocketStreamOptions::default();
    options.options.client = Client::new().config(config);
    let server = opened(async |mut stream| read_end(&mut stream).await).await;
    let mut stream = WebSocketStream::with_options(&server.url, options).unwrap();
    let _halves = soon(stream.opened()).await.unwrap();
    stream.close(info(1000, "")).unwrap();
    assert_eq!(failure(soon(stream.closed()).await), (Some(1006), String::new()));
    server.end().await;
}

#[test]
fn exceptions_convert() {
    let error = WebSocketError::new("message", Some(4000), "reason").unwrap();
    assert_eq!(WebSocketError::NAME, "WebSocketError");
    let errors: [Box<dyn std::error::Error + Send + Sync>; 2] =
        [Exception::from(error.clone()).into(), error.into()];
    assert_eq!(errors.map(|error| error.to_string()), ["WebSocketError: message (4000)"; 2]);
}
