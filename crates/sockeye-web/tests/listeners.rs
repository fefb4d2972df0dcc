//! Who is called, in which order: DOM section 2.7 and 2.9, HTML section 8.1.8.

mod support;

use std::sync::Arc;

use sockeye_web::{AbortController, EventType, ListenerOptions, Options, WebSocket};
use support::{Log, echo, opened};

/// Runs a session of three messages with a socket set up so; the log says what was called, and `|` stands behind each message.
async fn session(set_up: impl FnOnce(&WebSocket, &Log)) -> String {
    let log = Log::default();
    let server = opened(echo).await;
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        let ready = log.clone();
        socket.set_onopen(move |_| ready.add("ready"));
        set_up(socket, &log);
        let closed = log.clone();
        socket.set_onclose(move |_, _| closed.add("closed"));
    })
    .unwrap();
    log.until("ready").await;
    for number in 1..=3 {
        let end = log.clone();
        let once = ListenerOptions { once: true, ..ListenerOptions::default() };
        socket.add_event_listener_with(EventType::Message, once, move |_, _| end.add(format!("| {number}")));
        socket.send("x").unwrap();
        log.until(&format!("| {number}")).await;
    }
    socket.close(None, None).unwrap();
    log.until("closed").await;
    let lines = log.lines();
    let calls: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let calls: Vec<_> = calls.into_iter().filter(|call| !["ready", "closed"].contains(call)).collect();
    calls.concat()
}

/// A listener that logs one word.
fn say(log: &Log, word: &'static str) -> impl FnMut(&WebSocket, &sockeye_web::Event) + Send + 'static {
    let log = log.clone();
    move |_, _| log.add(word)
}

#[tokio::test]
async fn listeners_are_called_in_the_order_in_which_they_were_added() {
    let calls = session(|socket, log| {
        socket.add_event_listener(EventType::Message, say(log, "a"));
        socket.add_event_listener(EventType::Open, say(log, "never for a message"));
        socket.add_event_listener(EventType::Message, say(log, "b"));
        socket.add_event_listener(EventType::Message, say(log, "c"));
    });
    assert_eq!(calls.await, "neverabc|abc|abc|");
}

#[tokio::test]
async fn a_handler_has_the_place_where_it_was_first_set() {
    let calls = session(|socket, log| {
        socket.add_event_listener(EventType::Message, say(log, "a"));
        socket.set_handler(EventType::Message, say(log, "x"));
        socket.add_event_listener(EventType::Message, say(log, "b"));
        socket.set_handler(EventType::Message, say(log, "h"));
    });
    assert_eq!(calls.await, "ahb|ahb|ahb|");
    // Set to null, it loses it.
    let calls = session(|socket, log| {
        socket.add_event_listener(EventType::Message, say(log, "a"));
        socket.set_handler(EventType::Message, say(log, "x"));
        socket.add_event_listener(EventType::Message, say(log, "b"));
        socket.remove_handler(EventType::Message);
        socket.set_handler(EventType::Message, say(log, "h"));
    });
    assert_eq!(calls.await, "abh|abh|abh|");
}

#[tokio::test]
async fn the_same_function_added_twice_is_two_listeners() {
    let calls = session(|socket, log| {
        let first = socket.add_event_listener(EventType::Message, say(log, "a"));
        let second = socket.add_event_listener(EventType::Message, say(log, "a"));
        assert_ne!(first, second);
        socket.remove_event_listener(first);
        socket.remove_event_listener(first);
    });
    assert_eq!(calls.await, "a|a|a|");
}

#[tokio::test]
async fn once_is_once_even_if_it_sends_more() {
    let calls = session(|socket, log| {
        let once = ListenerOptions { once: true, signal: None };
        socket.add_event_listener_with(EventType::Message, once, say(log, "a"));
        socket.add_event_listener(EventType::Message, say(log, "b"));
    });
    assert_eq!(calls.await, "ab|b|b|");
}

#[tokio::test]
async fn listeners_added_while_an_event_is_fired_are_called_from_the_next_on() {
    let calls = session(|socket, log| {
        let log = log.clone();
        let once = ListenerOptions { once: true, signal: None };
        socket.add_event_listener_with(EventType::Message, once, move |socket, _| {
            log.add("a");
            socket.add_event_listener(EventType::Message, say(&log, "n"));
        });
    });
    assert_eq!(calls.await, "a|n|n|");
}

#[tokio::test]
async fn listeners_removed_while_an_event_is_fired_are_not_called() {
    let calls = session(|socket, log| {
        let id = Arc::new(std::sync::Mutex::new(None));
        let (remove, told) = (Arc::clone(&id), log.clone());
        socket.add_event_listener(EventType::Message, move |socket, _| {
            told.add("a");
            if let Some(id) = remove.lock().unwrap().take() {
                socket.remove_event_listener(id);
            }
        });
        *id.lock().unwrap() = Some(socket.add_event_listener(EventType::Message, say(log, "b")));
        socket.add_event_listener(EventType::Message, say(log, "c"));
    });
    assert_eq!(calls.await, "ac|ac|ac|");
}

#[tokio::test]
async fn a_listener_may_remove_itself_and_a_handler_replace_itself() {
    let calls = session(|socket, log| {
        let told = log.clone();
        socket.set_onmessage(move |socket, _| {
            told.add("h");
            socket.set_handler(EventType::Message, say(&told, "i"));
        });
        let id = Arc::new(std::sync::Mutex::new(None));
        let (own, told) = (Arc::clone(&id), log.clone());
        *id.lock().unwrap() = Some(socket.add_event_listener(EventType::Message, move |socket, _| {
            told.add("a");
            socket.remove_event_listener(own.lock().unwrap().unwrap());
        }));
    });
    assert_eq!(calls.await, "ha|i|i|");
}

#[tokio::test]
async fn a_raised_signal_removes_all_that_listen_with_it() {
    let calls = session(|socket, log| {
        let controller = AbortController::new();
        let options = || ListenerOptions { once: false, signal: Some(controller.signal()) };
        socket.add_event_listener_with(EventType::Message, options(), say(log, "a"));
        let (raise, told) = (controller.clone(), log.clone());
        let mut count = 0;
        socket.add_event_listener(EventType::Message, move |_, _| {
            told.add("b");
            count += 1;
            if count == 2 {
                raise.abort();
            }
        });
        socket.add_event_listener_with(EventType::Message, options(), say(log, "c"));
        // One that was raised before adds nothing.
        let raised = AbortController::new();
        raised.abort();
        assert!(raised.signal().aborted());
        let options = ListenerOptions { once: false, signal: Some(raised.signal()) };
        socket.add_event_listener_with(EventType::Message, options, say(log, "d"));
    });
    assert_eq!(calls.await, "abc|ab|b|");
}

#[tokio::test]
async fn a_removed_handler_is_not_called() {
    let calls = session(|socket, log| {
        socket.set_handler(EventType::Message, say(log, "h"));
        let told = log.clone();
        let mut count = 0;
        socket.add_event_listener(EventType::Message, move |socket, _| {
            count += 1;
            told.add("a");
            if count == 2 {
                socket.remove_handler(EventType::Message);
                socket.remove_handler(EventType::Error);
            }
        });
    });
    assert_eq!(calls.await, "ha|ha|a|");
}

#[tokio::test]
async fn listeners_and_what_they_hold_are_let_go_after_close() {
    let log = Log::default();
    let server = opened(echo).await;
    let held = Arc::new(());
    let socket = WebSocket::with_options(&server.url, &[], Options::default(), |socket| {
        log.listen(socket);
        let (own, held) = (socket.clone(), Arc::clone(&held));
        socket.add_event_listener(EventType::Message, move |_, _| drop((own.clone(), Arc::clone(&held))));
    })
    .unwrap();
    log.until("open").await;
    assert_eq!(Arc::strong_count(&held), 2);
    socket.close(None, None).unwrap();
    log.until("close").await;
    while Arc::strong_count(&held) == 2 {
        tokio::task::yield_now().await;
    }
    let more = Arc::clone(&held);
    socket.set_onmessage(move |_, _| drop(Arc::clone(&more)));
    assert_eq!(Arc::strong_count(&held), 1, "nor are any kept that come later");
}
