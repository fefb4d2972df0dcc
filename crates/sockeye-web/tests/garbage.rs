//! WHATWG WebSockets section 7, "Garbage collection": what becomes of a socket that nobody can reach.

mod support;

use sockeye_web::{AbortController, EventType, ListenerOptions, Options, WebSocket};
use support::{
    BINARY, CLOSE, EVENTS, Log, PING, PONG, TEXT, close_payload, frame, open, opened, read_end, read_frame,
    read_head, soon, tcp, until_close,
};
use tokio::io::AsyncWriteExt;

/// A socket that is open, and with no listener.
async fn open_bare(url: &str) -> WebSocket {
    let log = Log::default();
    let socket = open(url, &log);
    log.until("open").await;
    for event_type in EVENTS {
        socket.remove_handler(event_type);
    }
    socket
}

#[tokio::test]
async fn an_open_socket_that_nobody_listens_to_is_closed_without_a_code() {
    // "If a WebSocket object is garbage collected while its connection is still open, the user agent must start the WebSocket closing
    // handshake, with no status code for the Close message."
    for listens_to_open in [false, true] {
        let server = opened(until_close).await;
        let socket = open_bare(&server.url).await;
        if listens_to_open {
            socket.set_onopen(|_| ());
        }
        let second = socket.clone();
        drop(socket);
        assert_eq!(second.ready_state(), WebSocket::OPEN);
        drop(second);
        assert_eq!(server.end().await, [(CLOSE, vec![])]);
    }
}

#[tokio::test]
async fn one_that_somebody_listens_to_lives_on() {
    // "must not be garbage collected if there are any event listeners registered for message events, error, or close events"
    for event_type in [EventType::Message, EventType::Error, EventType::Close] {
        let server = opened(async |mut stream| {
            // Once it has said that nobody holds it any more, nothing but the answer to a ping may come.
            assert_eq!(read_frame(&mut stream).await, (TEXT, b"dropped".to_vec()));
            stream.write_all(&frame(TEXT, b"still there?")).await.unwrap();
            stream.write_all(&frame(PING, b"?")).await.unwrap();
            assert_eq!(read_frame(&mut stream).await, (PONG, b"?".to_vec()));
            stream.write_all(&frame(CLOSE, &close_payload(4000, ""))).await.unwrap();
            read_frame(&mut stream).await
        })
        .await;
        let socket = open_bare(&server.url).await;
        socket.add_event_listener(event_type, |_, _| ());
        socket.send("dropped").unwrap();
        drop(socket);
        assert_eq!(server.end().await, (CLOSE, close_payload(4000, "")), "{event_type:?}");
    }
}

#[tokio::test]
async fn its_listeners_are_called() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, b"still there?")).await.unwrap();
        stream.write_all(&frame(CLOSE, &close_payload(4000, ""))).await.unwrap();
    })
    .await;
    drop(open(&server.url, &log));
    let lines = ["open 1", "message \"still there?\" 1", "close true 4000 \"\" 3"];
    assert_eq!(log.until("close").await, lines);
    server.end().await;
}

#[tokio::test]
async fn both_events_of_a_failure_are_fired() {
    // Between the two the state is CLOSED, and nobody holds a reference but the task itself.
    for bytes in [vec![0xff, 0xff], frame(TEXT, b"\xff")] {
        let log = Log::default();
        let server = opened(async move |mut stream| {
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            read_end(&mut stream).await;
        })
        .await;
        drop(open(&server.url, &log));
        assert_eq!(log.until("close").await, ["open 1", "error 3", "close false 1006 \"\" 3"]);
        server.end().await;
    }
}

#[tokio::test]
async fn it_is_closed_when_the_last_listener_goes() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        read_frame(&mut stream).await;
        stream.write_all(&frame(TEXT, b"1")).await.unwrap();
        until_close(stream).await
    })
    .await;
    let told = log.clone();
    let socket = open_bare(&server.url).await;
    let once = ListenerOptions { once: true, signal: None };
    socket.add_event_listener_with(EventType::Message, once, move |_, _| told.add("message"));
    socket.send("dropped").unwrap();
    drop(socket);
    assert_eq!(server.end().await, [(CLOSE, vec![])]);
    assert_eq!(log.lines(), ["message"]);

    // A raised signal is the end of its listeners; a socket that nobody reaches finds out with the next event.
    let controller = AbortController::new();
    let server = opened(until_close).await;
    let socket = open_bare(&server.url).await;
    let options = ListenerOptions { once: false, signal: Some(controller.signal()) };
    socket.add_event_listener_with(EventType::Message, options, |_, _| ());
    controller.abort();
    drop(socket);
    assert_eq!(server.end().await, [(CLOSE, vec![])]);
}

#[tokio::test]
async fn data_that_is_queued_is_sent_before() {
    // "A WebSocket object with an established connection that has data queued to be transmitted to the network must not be garbage
    // collected."
    let server = opened(until_close).await;
    let socket = open_bare(&server.url).await;
    socket.send("first").unwrap();
    socket.send(vec![1; 4 << 20]).unwrap();
    drop(socket);
    let frames = server.end().await;
    assert_eq!(frames[0], (TEXT, b"first".to_vec()));
    assert!(frames[1] == (BINARY, vec![1; 4 << 20]));
    assert_eq!(frames[2..], [(CLOSE, vec![])]);
}

#[tokio::test]
async fn a_connecting_socket_lives_on_if_anybody_listens_to_anything() {
    // "if there are any event listeners registered for open events, message events, error events, or close events"
    for event_type in EVENTS {
        let server = opened(async |mut stream| {
            stream.write_all(&frame(CLOSE, &close_payload(4000, ""))).await.unwrap();
            read_frame(&mut stream).await
        })
        .await;
        let socket = WebSocket::new(&server.url).unwrap();
        socket.add_event_listener(event_type, |_, _| ());
        drop(socket);
        let (opcode, _) = server.end().await;
        assert_eq!(opcode, CLOSE, "{event_type:?}");
    }
    let server = tcp(async |mut stream| read_end(&mut stream).await).await;
    drop(WebSocket::new(&server.url).unwrap());
    tokio::select! {
        biased;
        _ = server.end() => panic!("it connected, though nobody could ever have known"),
        () = async { for _ in 0..200 { tokio::task::yield_now().await } } => {}
    }
}

#[tokio::test]
async fn a_closing_socket_is_closed_whoever_listens() {
    for listens in [false, true] {
        let (server, log) = (opened(until_close).await, Log::default());
        let socket = open_bare(&server.url).await;
        if listens {
            log.listen(&socket);
        }
        socket.close(4000, "bye").unwrap();
        drop(socket);
        assert_eq!(server.end().await, [(CLOSE, close_payload(4000, "bye"))]);
        if listens {
            assert_eq!(log.until("close").await, ["close true 4000 \"bye\" 3"]);
        }
    }
}

#[tokio::test]
async fn to_disappear_is_to_be_closed_with_1001() {
    // "Start the WebSocket closing handshake, with the status code to use in the WebSocket Close message being 1001."
    let (server, log) = (opened(until_close).await, Log::default());
    let socket = open(&server.url, &log);
    log.until("open").await;
    let other = socket.clone();
    socket.make_disappear();
    assert_eq!(other.ready_state(), WebSocket::CLOSING);
    assert_eq!(server.end().await, [(CLOSE, close_payload(1001, ""))]);
    soon(async {
        while other.ready_state() != WebSocket::CLOSED {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // "Otherwise: Do nothing."
    other.make_disappear();
    assert_eq!(log.lines(), ["open 1"]);

    // "If the WebSocket connection is not yet established: Fail the WebSocket connection."
    let log = Log::default();
    let (answering, asked) = tokio::sync::oneshot::channel();
    let server = tcp(async move |mut stream| {
        read_head(&mut stream).await;
        answering.send(()).unwrap();
        read_end(&mut stream).await
    })
    .await;
    let socket = open(&server.url, &log);
    soon(asked).await.unwrap();
    socket.make_disappear();
    assert_eq!(server.end().await, b"");
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test]
async fn the_socket_that_a_handler_gets_is_a_reference_too() {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keeper = std::sync::Arc::clone(&kept);
    let server = opened(async |mut stream| {
        stream.write_all(&frame(TEXT, b"1")).await.unwrap();
        until_close(stream).await
    })
    .await;
    let log = Log::default();
    let told = log.clone();
    drop(WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        let once = ListenerOptions { once: true, signal: None };
        socket.add_event_listener_with(EventType::Message, once, move |socket, _| {
            *keeper.lock().unwrap() = Some(socket.clone());
            told.add("kept");
        });
    }));
    log.until("kept").await;
    let socket = kept.lock().unwrap().take().unwrap();
    assert_eq!(socket.ready_state(), WebSocket::OPEN);
    socket.send("alive").unwrap();
    drop(socket);
    assert_eq!(server.end().await, [(TEXT, b"alive".to_vec()), (CLOSE, vec![])]);
}
