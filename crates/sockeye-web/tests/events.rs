//! WHATWG WebSockets section 4, "Feedback from the protocol": which events are fired, in which order, with what in them; and what
//! handlers may do.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sockeye_web::{BinaryType, Event, EventType, Options, WebSocket};
use support::{
    BINARY, CLOSE, Log, PING, PONG, TEXT, close_payload, echo, frame, open, open_with, opened, read_end, soon,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

#[tokio::test]
async fn a_session_from_open_to_close() {
    let log = Log::default();
    let server = opened(echo).await;
    let socket = open(&server.url, &log);
    assert_eq!(log.lines(), [""; 0], "no event before the constructor has returned");
    assert_eq!(log.until("open").await, ["open 1"]);
    socket.send("hello").unwrap();
    socket.send(vec![1, 2, 3]).unwrap();
    socket.send("").unwrap();
    log.until("message \"\"").await;
    socket.close(1000, "done").unwrap();
    assert_eq!(
        log.until("close").await,
        [
            "open 1",
            "message \"hello\" 1",
            "message 3 bytes 1",
            "message \"\" 1",
            "close true 1000 \"done\" 3",
        ]
    );
    server.end().await;
}

/// A text of so many bytes.
fn text_of(size: usize) -> String {
    "é".repeat(size / 2) + &"x".repeat(size % 2)
}

#[tokio::test]
async fn messages_of_each_type_and_size_are_told_as_they_came() {
    let log = Log::default();
    let server = opened(echo).await;
    let (done, all) = oneshot::channel();
    let (mut done, mut received) = (Some(done), Vec::new());
    let sizes = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20];
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onmessage(move |_, event| {
            received.push(event.clone());
            if received.len() == 2 * sizes.len() {
                let _ = done.take().unwrap().send(std::mem::take(&mut received));
            }
        });
    })
    .unwrap();
    log.until("open").await;
    socket.set_binary_type(BinaryType::ArrayBuffer);
    for size in sizes {
        socket.send(text_of(size)).unwrap();
        socket.send(vec![0xfe; size]).unwrap();
    }
    let received = soon(all).await.unwrap();
    for (pair, size) in received.chunks(2).zip(sizes) {
        let (text, binary) = (&pair[0], &pair[1]);
        assert!(text.data.is_text() && text.data.as_bytes() == text_of(size).as_bytes(), "{size}");
        assert!(binary.data.is_binary() && *binary.data.as_bytes() == vec![0xfe; size], "{size}");
        // "the origin attribute initialized to the serialization of the WebSocket object's url's origin"
        assert_eq!(format!("{}/", text.origin), server.url);
    }
    assert_eq!(socket.binary_type(), BinaryType::ArrayBuffer);
    socket.close(None, None).unwrap();
    log.until("close").await;
}

#[tokio::test]
async fn the_origin_is_that_of_the_url_without_path_and_credentials() {
    let log = Log::default();
    let server = opened(echo).await;
    let url = server.url.replace("ws://", "http://user:pass@") + "path?query";
    let origin = Log::default();
    let told = origin.clone();
    let socket = open_with(&url, &[], Options::default(), &log).unwrap();
    socket.set_onmessage(move |_, event| told.add(event.origin.as_ref()));
    log.until("open").await;
    socket.send("x").unwrap();
    assert_eq!(origin.until("ws").await, [server.url.trim_end_matches('/')]);
    socket.close(None, None).unwrap();
    log.until("close").await;
}

#[tokio::test]
async fn messages_behind_our_close_are_ignored() {
    // "If ready state is not OPEN (1), then return."
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, b"before")).await.unwrap();
        let close = support::read_frame(&mut stream).await;
        stream.write_all(&frame(TEXT, b"behind")).await.unwrap();
        stream.write_all(&frame(BINARY, b"behind")).await.unwrap();
        stream.write_all(&frame(CLOSE, &close.1)).await.unwrap();
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("message").await;
    socket.close(1000, None).unwrap();
    assert_eq!(log.until("close").await, ["open 1", "message \"before\" 1", "close true 1000 \"\" 3"]);
    server.end().await;
}

#[tokio::test]
async fn messages_that_came_already_are_ignored_once_a_handler_has_closed() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&[frame(TEXT, b"1"), frame(TEXT, b"2"), frame(TEXT, b"3")].concat()).await.unwrap();
        let close = support::read_frame(&mut stream).await;
        stream.write_all(&frame(CLOSE, &close.1)).await.unwrap();
    })
    .await;
    let told = log.clone();
    let _socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onmessage(move |socket, event| {
            told.add(event.data.as_text().unwrap());
            if event.data.as_text() == Some("2") {
                socket.close(None, None).unwrap();
                told.add(format!("closing {}", socket.ready_state()));
            }
        });
    });
    assert_eq!(log.until("close").await, ["open 1", "1", "2", "closing 2", "close true 1005 \"\" 3"]);
}

#[tokio::test]
async fn attributes_change_with_the_event_and_not_before() {
    let log = Log::default();
    let server = support::tcp(async |mut stream| {
        let request = support::read_head(&mut stream).await;
        support::answer(&mut stream, &request, "Sec-WebSocket-Protocol: b\r\n").await;
        echo(stream).await;
    })
    .await;
    let told = log.clone();
    let socket = WebSocket::with_options(&server.url, &["a", "b"], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onopen(move |socket| {
            told.add(format!(
                "open {} {:?} {:?}",
                socket.ready_state(),
                socket.protocol(),
                socket.extensions()
            ));
        });
    })
    .unwrap();
    assert_eq!((socket.ready_state(), socket.protocol()), (0, String::new()));
    assert_eq!(log.until("open").await, ["open 1 \"b\" \"\""]);
    socket.close(None, None).unwrap();
    log.until("close").await;
    assert_eq!((socket.ready_state(), socket.protocol()), (3, "b".to_owned()), "it stays");
}

#[tokio::test]
async fn no_event_comes_after_close() {
    let log = Log::default();
    let server = opened(echo).await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    let told = log.clone();
    socket.set_onclose(move |socket, _| {
        socket.send("x").unwrap();
        socket.close(4000, "again").unwrap();
        let told_too = told.clone();
        socket.add_event_listener(EventType::Close, move |_, _| told_too.add("a second close"));
        told.add("close");
    });
    socket.close(None, None).unwrap();
    log.until("close").await;
    server.end().await;
    socket.close(None, None).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.lines(), ["open 1", "close"]);
}

#[tokio::test]
async fn a_handler_may_panic() {
    let log = Log::default();
    let server = opened(echo).await;
    let told = log.clone();
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onmessage(|_, event| panic!("on purpose, for {:?}", event.data));
        socket.add_event_listener(EventType::Message, move |_, event| told.add(support::describe(event)));
    })
    .unwrap();
    log.until("open").await;
    socket.send("1").unwrap();
    socket.send("2").unwrap();
    log.until("message \"2\"").await;
    socket.set_onclose(|_, _| panic!("on purpose, for close"));
    let told = log.clone();
    socket.add_event_listener(EventType::Close, move |_, event| told.add(support::describe(event)));
    socket.close(None, None).unwrap();
    assert_eq!(
        log.until("close").await,
        ["open 1", "message \"1\"", "message \"2\"", "close true 1005 \"\""]
    );
}

#[tokio::test]
async fn a_handler_may_drop_the_last_reference() {
    let log = Log::default();
    let server = opened(echo).await;
    let told = log.clone();
    let slot = Arc::new(std::sync::Mutex::new(None));
    let held = Arc::clone(&slot);
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onopen(move |socket| {
            drop(held.lock().unwrap().take());
            socket.send("still here").unwrap();
        });
        socket.set_onmessage(move |socket, _| {
            told.add("message");
            // Nobody listens any more when this has returned.
            for event_type in [EventType::Message, EventType::Error, EventType::Close] {
                socket.remove_handler(event_type);
            }
        });
    });
    *slot.lock().unwrap() = Some(socket.unwrap());
    log.until("message").await;
    server.end().await;
    assert_eq!(log.lines(), ["message"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_run_one_at_a_time_in_order() {
    const COUNT: usize = 500;
    let server = opened(async |mut stream| {
        for i in 0..COUNT {
            stream.write_all(&frame(TEXT, i.to_string().as_bytes())).await.unwrap();
        }
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
        stream.shutdown().await.unwrap();
        read_end(&mut stream).await;
    })
    .await;
    let log = Log::default();
    let (running, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&next);
    let closed = log.clone();
    let _socket = WebSocket::with_options(&server.url, &[], Options::default(), move |socket| {
        socket.set_onmessage(move |socket, event| {
            assert!(!running.swap(true, Ordering::SeqCst), "another handler runs");
            let number = next.fetch_add(1, Ordering::SeqCst);
            assert_eq!(event.data.as_text(), Some(number.to_string().as_str()));
            socket.send(vec![0; 10]).unwrap();
            assert!(running.swap(false, Ordering::SeqCst));
        });
        socket.set_onclose(move |_, event| closed.add(format!("close {}", event.code)));
    });
    log.until("close 1000").await;
    assert_eq!(seen.load(Ordering::SeqCst), COUNT);
    server.end().await;
}

#[tokio::test]
async fn pings_are_answered_and_not_told() {
    // Section 5: "These are not currently exposed in the API."
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&[frame(PING, b"1"), frame(PONG, b"2"), frame(TEXT, b"3")].concat()).await.unwrap();
        let pong = support::read_frame(&mut stream).await;
        stream.write_all(&frame(CLOSE, b"")).await.unwrap();
        pong
    })
    .await;
    let _socket = open(&server.url, &log);
    assert_eq!(log.until("close").await, ["open 1", "message \"3\" 1", "close true 1005 \"\" 3"]);
    assert_eq!(server.end().await, (PONG, b"1".to_vec()));
}

#[tokio::test]
async fn whoever_hears_an_answer_knows_that_it_was_sent() {
    let log = Log::default();
    let server = opened(echo).await;
    let told = log.clone();
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onmessage(move |socket, _| told.add(format!("left {}", socket.buffered_amount())));
    })
    .unwrap();
    log.until("open").await;
    socket.send(vec![0; 1 << 20]).unwrap();
    assert_eq!(log.until("left").await, ["open 1", "left 0"]);
    socket.close(None, None).unwrap();
    log.until("close").await;
}

#[tokio::test]
async fn names_of_events() {
    let names: Vec<_> = support::EVENTS.iter().map(|event_type| event_type.as_str()).collect();
    assert_eq!(names, ["open", "message", "error", "close"]);
    assert_eq!(Event::Open.event_type(), EventType::Open);
    assert_eq!(Event::Error.event_type(), EventType::Error);
}
