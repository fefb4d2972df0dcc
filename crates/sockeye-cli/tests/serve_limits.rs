//! `sockeye serve`: limits and deadlines. Each test would fail with the defaults.

#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sockeye::{Client, Config};
use support::*;

#[test]
fn a_silent_client_is_pinged_and_given_up() {
    let serve = Serve::start(&["--ping-interval", "0.1", "--ping-timeout", "0.1"]);
    within(async {
        let start = Instant::now();
        let ws = sockeye::connect(&serve.url()).await.unwrap();
        // Whoever does not poll it answers nothing.
        metrics_with(
            serve.address(),
            &[
                "sockeye_pings_total{direction=\"sent\"} 1",
                "sockeye_connections_closed_total{code=\"1006\",initiator=\"local\"} 1",
            ],
        );
        assert!(start.elapsed() < Duration::from_secs(20), "that is the default");
        drop(ws);
    });

    let serve = Serve::start(&["--ping-interval", "0.1", "--ping-timeout", "0"]);
    within(async {
        let ws = sockeye::connect(&serve.url()).await.unwrap();
        metrics_with(serve.address(), &["sockeye_pings_total{direction=\"sent\"} 1"]);
        metrics_with(serve.address(), &["sockeye_connections_open 1"]);
        drop(ws);
    });
}

#[test]
fn who_is_slow_to_ask_is_let_go() {
    let serve = Serve::start(&["--open-timeout", "0.1"]);
    let mut slow = TcpStream::connect(serve.address()).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
    slow.write_all(b"GET /echo HTTP/1.1\r\n").unwrap();
    slow.read_to_end(&mut Vec::new()).expect("the default is 10 s");
}

#[test]
fn who_does_not_answer_the_close_is_cut_off() {
    for flags in [&["--close-timeout", "0.1"][..], &["--close-timeout", "0", "--drain-deadline", "0.1"]] {
        let serve = Serve::start(flags);
        within(async {
            let mut ws = sockeye::connect(&serve.url()).await.unwrap();
            echoes(&mut ws).await;
            let start = Instant::now();
            serve.program.signal(Signal::TERM);
            let run = serve.finish();
            assert!(start.elapsed() < Duration::from_secs(5), "that is the default");
            assert_eq!(run.code, Some(0));
            assert!(run.stderr.ends_with("\n0 closed cleanly, 1 did not\n"), "{}", run.stderr);
            drop(ws);
        });
    }
}

#[test]
fn the_code_in_the_end_can_be_service_restart() {
    let serve = Serve::start(&["--drain-code", "1012"]);
    within(async {
        let mut ws = sockeye::connect(&serve.url()).await.unwrap();
        echoes(&mut ws).await;
        serve.program.signal(Signal::TERM);
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_info().unwrap().code, 1012);
    });
    assert_eq!(serve.finish().code, Some(0));
}

#[test]
fn messages_are_as_long_as_allowed() {
    let serve = Serve::start(&["--max-message-size", "10"]);
    within(async {
        let mut ws = sockeye::connect(&serve.url()).await.unwrap();
        ws.send("0123456789").await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("0123456789"));
        ws.send("0123456789a").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_eq!(ws.close_info().unwrap().code, 1009);
    });
    let long = 17 << 20;
    let serve = Serve::start(&["--max-message-size", &long.to_string()]);
    within(async {
        let mut config = Config::default();
        (config.max_message_size, config.max_frame_size) = (long, long);
        config.deflate = None;
        let mut ws = Client::new().config(config).connect(&serve.url()).await.unwrap();
        ws.send(vec![7; long]).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().map(|message| message.as_bytes().len()), Some(long));
    });
}

#[test]
fn heads_are_as_long_as_allowed() {
    let serve = Serve::start(&["--max-header-size", "600"]);
    for (length, expected) in [(100, "101 Switching Protocols"), (600, "431 Request Header Fields Too Large")]
    {
        let request = format!(
            "GET /echo HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Long: {}\r\n\r\n",
            serve.address(),
            "a".repeat(length),
        );
        let mut stream = TcpStream::connect(serve.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(status(&read_head(&mut stream)), expected);
    }
}

#[test]
fn connections_from_one_address_are_limited() {
    let serve = Serve::start(&["--max-connections-per-addr", "1"]);
    within(async {
        let mut first = sockeye::connect(&serve.url()).await.unwrap();
        let error = sockeye::connect(&serve.url()).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status.as_u16(), 503);
        echoes(&mut first).await;
    });
}

#[test]
fn connections_that_are_being_opened_are_limited() {
    let serve = Serve::start(&["--max-opening", "1"]);
    within(async {
        let mut open = sockeye::connect(&serve.url()).await.unwrap();
        let silent = TcpStream::connect(serve.address()).unwrap();
        let error = sockeye::connect(&serve.url()).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status.as_u16(), 503);
        echoes(&mut open).await;
        drop(silent);
    });
}
