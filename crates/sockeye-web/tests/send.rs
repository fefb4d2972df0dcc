//! WHATWG WebSockets section 3.1, "send(data)" in each state, and "bufferedAmount" at each step.

mod support;

use sockeye_web::{ErrorName, Options, WebSocket};
use support::{
    BINARY, CLOSE, Log, TEXT, close_payload, echo, frame, open, opened, read_end, read_frame, soon,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

#[tokio::test]
async fn it_throws_while_connecting() {
    // "If this's ready state is CONNECTING, then throw an "InvalidStateError" DOMException."
    let log = Log::default();
    let server = opened(echo).await;
    let socket = open(&server.url, &log);
    assert_eq!(socket.send("text").unwrap_err().kind(), ErrorName::InvalidState);
    assert_eq!(socket.send(vec![1]).unwrap_err().kind(), ErrorName::InvalidState);
    assert_eq!(socket.buffered_amount(), 0, "what throws does not count");
    log.until("open").await;
    socket.close(None, None).unwrap();
    log.until("close").await;
}

#[tokio::test]
async fn text_and_binary_go_in_frames_of_their_own_opcodes() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        let mut frames = Vec::new();
        for _ in 0..5 {
            frames.push(read_frame(&mut stream).await);
        }
        frames
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    socket.send("für").unwrap();
    socket.send(String::new()).unwrap();
    socket.send(vec![0, 255]).unwrap();
    socket.send(b"").unwrap();
    socket.send(sockeye::Message::from("\u{10ffff}\0")).unwrap();
    let frames = server.end().await;
    let expected = [
        (TEXT, "für".as_bytes().to_vec()),
        (TEXT, vec![]),
        (BINARY, vec![0, 255]),
        (BINARY, vec![]),
        (TEXT, "\u{10ffff}\0".as_bytes().to_vec()),
    ];
    assert_eq!(frames, expected);
    log.until("close").await;
}

#[tokio::test]
async fn it_counts_utf8_bytes_and_no_framing_and_keeps_still_until_the_event_loop_comes_around() {
    let log = Log::default();
    let server = opened(echo).await;
    let (done, amounts) = oneshot::channel();
    let mut done = Some(done);
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        socket.set_onopen(move |socket| {
            let mut amounts = vec![socket.buffered_amount()];
            socket.send("x").unwrap();
            amounts.push(socket.buffered_amount());
            socket.send("ü世𝄞").unwrap();
            amounts.push(socket.buffered_amount());
            socket.send("").unwrap();
            amounts.push(socket.buffered_amount());
            socket.send(vec![0; 100_000]).unwrap();
            // However long the handler takes: the system would have taken it all by now.
            std::thread::sleep(std::time::Duration::from_millis(20));
            amounts.push(socket.buffered_amount());
            let _ = done.take().unwrap().send(amounts);
        });
    })
    .unwrap();
    assert_eq!(soon(amounts).await.unwrap(), [0, 1, 10, 10, 100_010]);
    // When the echo is here, it was transmitted.
    log.until("message 100000 bytes").await;
    assert_eq!(socket.buffered_amount(), 0);
    socket.send("abc").unwrap();
    assert_eq!(socket.buffered_amount(), 3, "outside of a handler as well");
    log.until("message \"abc\"").await;
    assert_eq!(socket.buffered_amount(), 0);
    socket.close(None, None).unwrap();
    log.until("close").await;
}

#[tokio::test]
async fn it_falls_as_a_slow_server_reads() {
    const SIZE: usize = 8 << 20;
    let (log, read) = (Log::default(), Log::default());
    let released = read.clone();
    let server = opened(async move |mut stream| {
        released.until("read").await;
        let frames = [read_frame(&mut stream).await, read_frame(&mut stream).await];
        let close = read_frame(&mut stream).await;
        stream.write_all(&frame(CLOSE, &close.1)).await.unwrap();
        frames.map(|(_, payload)| payload.len())
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    socket.send(vec![7; SIZE]).unwrap();
    socket.send(vec![8; SIZE]).unwrap();
    let all = 2 * SIZE as u64;
    assert_eq!(socket.buffered_amount(), all);
    // Some of it goes into the system's buffers, which hold less than that.
    soon(async {
        while socket.buffered_amount() == all {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let stuck = socket.buffered_amount();
    assert!(stuck > SIZE as u64 && stuck < all, "{stuck}");
    read.add("read");
    let mut last = stuck;
    soon(async {
        while last > 0 {
            tokio::task::yield_now().await;
            let now = socket.buffered_amount();
            assert!(now <= last, "it never rises by itself");
            last = now;
        }
    })
    .await;
    socket.close(None, None).unwrap();
    log.until("close true").await;
    assert_eq!(server.end().await, [SIZE, SIZE]);
}

#[tokio::test]
async fn it_comes_to_zero_with_compression_and_pings() {
    let server = sockeye::Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(stopped, async |incoming: sockeye::Incoming| {
        let mut ws = incoming.accept().await?;
        while let Some(message) = ws.recv().await? {
            drop(ws.ping());
            ws.send(message).await?;
        }
        Ok(())
    }));
    let log = Log::default();
    let socket = open(&url, &log);
    log.until("open").await;
    assert_eq!(
        socket.extensions(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
    for size in [10, 10_000, 3 << 20] {
        socket.send("x".repeat(size)).unwrap();
        assert_eq!(socket.buffered_amount(), size as u64, "not the compressed size");
        soon(async {
            while socket.buffered_amount() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    socket.close(None, None).unwrap();
    log.until("close true").await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn it_only_rises_once_the_connection_is_closing_or_closed() {
    // "If the WebSocket connection is closed, this attribute's value will only increase with each call to the send() method. (The number
    // does not reset to zero once the connection closes.)"
    let log = Log::default();
    let server = opened(async |mut stream| {
        let frames = [read_frame(&mut stream).await, read_frame(&mut stream).await];
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
        stream.shutdown().await.unwrap();
        (frames, read_end(&mut stream).await)
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    socket.send("sent").unwrap();
    socket.close(1000, None).unwrap();
    assert_eq!(socket.buffered_amount(), 4);
    socket.send("closing").unwrap();
    socket.send(vec![0; 10]).unwrap();
    assert_eq!(socket.buffered_amount(), 21);
    log.until("close").await;
    assert_eq!(socket.buffered_amount(), 17, "what was sent before is transmitted");
    socket.send("ü").unwrap();
    assert_eq!(socket.buffered_amount(), 19);
    let (frames, rest) = server.end().await;
    assert_eq!(frames, [(TEXT, b"sent".to_vec()), (CLOSE, close_payload(1000, ""))]);
    assert_eq!(rest, b"", "nothing behind the Close frame");
}

#[tokio::test]
async fn what_a_lost_connection_had_not_taken_stays() {
    const SIZE: u64 = 16 << 20;
    let log = Log::default();
    let server = opened(async |stream| stream.set_zero_linger().unwrap()).await;
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        let log = log.clone();
        socket.set_onopen(move |socket| {
            socket.send(vec![0; 16 << 20]).unwrap();
            log.add("open");
        });
    })
    .unwrap();
    log.until("close false 1006").await;
    let left = socket.buffered_amount();
    assert!(left > 0 && left <= SIZE, "{left}");
    socket.send("abc").unwrap();
    assert_eq!(socket.buffered_amount(), left + 3);
    server.end().await;
}

#[tokio::test]
async fn it_counts_for_a_socket_that_was_never_opened() {
    let log = Log::default();
    let socket = open("ws://127.0.0.1:1/", &log);
    socket.close(None, None).unwrap();
    socket.send("12345").unwrap();
    assert_eq!(socket.buffered_amount(), 5, "in CLOSING it does not throw");
    log.until("close").await;
    socket.send(vec![0; 5]).unwrap();
    assert_eq!(socket.buffered_amount(), 10);
}

#[tokio::test]
async fn many_threads_may_send() {
    const EACH: usize = 200;
    let log = Log::default();
    let server = opened(async |mut stream| {
        let mut last = [None; 4];
        for _ in 0..4 * EACH {
            let (_, payload) = read_frame(&mut stream).await;
            let text = String::from_utf8(payload).unwrap();
            let (thread, number) = text.split_once(' ').unwrap();
            let (thread, number): (usize, usize) = (thread.parse().unwrap(), number.parse().unwrap());
            assert_eq!(last[thread].map_or(0, |last: usize| last + 1), number, "in order");
            last[thread] = Some(number);
        }
    })
    .await;
    let socket = open(&server.url, &log);
    log.until("open").await;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let socket = socket.clone();
            tokio::task::spawn_blocking(move || {
                for number in 0..EACH {
                    socket.send(format!("{thread} {number}")).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.await.unwrap();
    }
    server.end().await;
    log.until("close").await;
}

#[tokio::test]
async fn what_is_behind_a_deferred_message_waits_for_it() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        let mut frames = Vec::new();
        for _ in 0..4 {
            frames.push(read_frame(&mut stream).await);
        }
        stream.write_all(&frame(CLOSE, &[])).await.unwrap();
        frames
    })
    .await;
    let socket = open(&server.url, &log);
    assert_eq!(socket.send_deferred(3).unwrap_err().kind(), ErrorName::InvalidState);
    log.until("open").await;
    socket.send("before").unwrap();
    let deferred = socket.send_deferred(3).unwrap().expect("it is open");
    socket.send("behind").unwrap();
    socket.close(1000, None).unwrap();
    assert_eq!(socket.buffered_amount(), 15, "it counts at once");
    assert!(socket.send_deferred(5).unwrap().is_none(), "it is closing");
    assert_eq!(socket.buffered_amount(), 20);
    tokio::spawn(async move { deferred.resolve(vec![1, 2, 3]) });
    let expected = [
        (TEXT, b"before".to_vec()),
        (BINARY, vec![1, 2, 3]),
        (TEXT, b"behind".to_vec()),
        (CLOSE, close_payload(1000, "")),
    ];
    assert_eq!(server.end().await, expected);
    assert_eq!(log.until("close").await, ["open 1", "close true 1005 \"\" 3"]);
    assert_eq!(socket.buffered_amount(), 5, "what was sent too late");
}

#[tokio::test]
async fn a_deferred_message_that_never_comes_fails_the_connection() {
    for data in [None, Some(vec![1, 2])] {
        let log = Log::default();
        let server = opened(async |mut stream| read_end(&mut stream).await).await;
        let socket = open(&server.url, &log);
        log.until("open").await;
        let deferred = socket.send_deferred(3).unwrap().expect("it is open");
        match data {
            Some(short) => deferred.resolve(short),
            None => drop(deferred),
        }
        assert_eq!(log.until("close").await, ["open 1", "error 3", "close false 1006 \"\" 3"]);
        server.end().await;
        assert_eq!(socket.buffered_amount(), 3);
    }
}

#[tokio::test]
async fn a_deferred_message_of_a_closed_connection_is_nothing() {
    let log = Log::default();
    let server = opened(async |mut stream| {
        stream.write_all(&frame(CLOSE, &close_payload(1000, ""))).await.unwrap();
        read_frame(&mut stream).await
    })
    .await;
    let deferred = std::sync::Arc::new(std::sync::Mutex::new(None));
    let place = std::sync::Arc::clone(&deferred);
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        let log = log.clone();
        socket.set_onopen(move |socket| {
            *place.lock().unwrap() = socket.send_deferred(3).unwrap();
            log.add("open 1");
        });
    })
    .unwrap();
    let lines = log.until("close").await;
    assert_eq!(lines.last().unwrap(), "close true 1000 \"\" 3");
    deferred.lock().unwrap().take().expect("it was open").resolve(vec![1, 2, 3]);
    assert_eq!((socket.buffered_amount(), log.lines()), (3, lines));
    server.end().await;
}
