//! Ping, pong and deadlines (RFC 6455 sections 5.5.2 and 5.5.3), and an output that is not drained.
#![allow(clippy::unchecked_time_subtraction, reason = "the instants are far from the clock's beginning")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use sockeye_proto::{Config, Connection, Event, Role, Side};
use support::{BINARY, CLOSE, End, Frame, PING, PONG, Pair, ROLES, SECOND, TEXT, config, frame};

const NANO: Duration = Duration::from_nanos(1);

/// A ping after 20 s, and 10 s to answer it.
fn keepalive() -> Arc<Config> {
    config(|config| {
        config.ping_interval = Some(20 * SECOND);
        config.ping_timeout = Some(10 * SECOND);
    })
}

#[test]
fn a_silence_is_broken_by_a_ping_and_ended_by_the_deadline() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        let start = end.now;
        assert_eq!(end.connection.deadline(), Some(start + 20 * SECOND));
        end.tick(start + 20 * SECOND - NANO);
        assert_eq!(end.frames(), [], "{role:?}, too early");
        end.tick(start + 20 * SECOND);
        assert_eq!(end.frames(), [frame(PING, "")], "{role:?}");
        assert_eq!(end.connection.deadline(), Some(start + 30 * SECOND));
        end.tick(start + 30 * SECOND - NANO);
        assert_eq!((end.frames(), end.pong_timeout), (vec![], None), "{role:?}, too early");
        assert!(end.connection.is_open());
        end.tick(start + 30 * SECOND);
        assert!(end.pong_timeout.is_some() && end.connection.is_ended(), "{role:?}");
        assert_eq!(end.frames(), [], "{role:?}: nobody reads a Close");
        let info = end.info();
        assert_eq!((info.initiator, u16::from(info.code), info.clean), (Side::Local, 1006, false));
        assert_eq!(end.connection.deadline(), None);
    }
}

#[test]
fn any_byte_is_life() {
    let cases = [
        ("a pong", frame(PONG, "")),
        ("a pong that nobody asked for", frame(PONG, "of my own")),
        ("a ping", frame(PING, "")),
        ("a message", frame(TEXT, "a")),
        ("half a frame", frame(BINARY, [0; 200])),
    ];
    for (name, sign) in cases {
        for role in ROLES {
            let mut end = End::new(role, &keepalive());
            let start = end.now;
            end.tick(start + 20 * SECOND);
            end.frames();
            end.now = start + 29 * SECOND;
            let bytes = sign.clone().to(role);
            end.feed(&bytes[..bytes.len().div_ceil(2)]);
            assert_eq!(end.connection.deadline(), Some(start + 49 * SECOND), "{role:?}, {name}");
            end.tick(start + 30 * SECOND);
            assert_eq!(end.pong_timeout, None, "{role:?}, {name}");
        }
    }
}

#[test]
fn a_busy_connection_is_not_pinged() {
    let mut pair = Pair::new(&keepalive());
    for _ in 0..20 {
        pair.advance(19 * SECOND);
        pair.client.send("busy").unwrap();
        pair.server.send("busy").unwrap();
        pair.deliver();
    }
    assert!(pair.client.events == vec![Event::Message("busy".into()); 20]);
    assert!(pair.server.events == vec![Event::Message("busy".into()); 20]);
}

#[test]
fn a_healthy_pair_lives_through_a_long_silence() {
    let mut pair = Pair::new(&keepalive());
    pair.advance(3600 * SECOND);
    for end in [&pair.client, &pair.server] {
        assert!(end.connection.is_open() && end.error.is_none());
        let pings = end.events.iter().filter(|event| matches!(event, Event::Ping(_))).count();
        assert!((170..=180).contains(&pings), "{pings} pings in an hour");
        assert!(pings <= end.events.len() && end.messages().is_empty());
    }
}

#[test]
fn a_peer_that_goes_away_is_found_by_both() {
    let mut pair = Pair::new(&keepalive());
    pair.advance(SECOND);
    (pair.client.reads, pair.server.reads) = (false, false);
    pair.advance(29 * SECOND - NANO);
    assert_eq!((pair.client.pong_timeout, pair.server.pong_timeout), (None, None));
    pair.advance(SECOND);
    assert!(pair.client.connection.is_ended() && pair.server.connection.is_ended());
}

#[test]
fn a_long_upload_holds_the_deadline_off() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        end.send(vec![1; 100_000]).unwrap();
        for _ in 0..1000 {
            end.pass(9 * SECOND);
            assert_eq!(end.pong_timeout, None, "{role:?}, {} bytes to go", end.output.remaining());
            end.write(100);
        }
        assert!((1..100).contains(&end.output.remaining()), "the ping and the frame's header are left");
        end.write(100);
        end.pass(10 * SECOND - NANO);
        assert_eq!(end.pong_timeout, None, "{role:?}: the ping has only just gone out");
        end.pass(NANO);
        assert!(end.pong_timeout.is_some(), "{role:?}: and nobody answered it");
    }
}

#[test]
fn an_upload_that_stands_still_is_a_death() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        end.send(vec![1; 100_000]).unwrap();
        end.pass(20 * SECOND);
        end.write(100);
        for _ in 0..10 {
            end.pass(SECOND);
            end.connection.on_written(0, || end.now);
        }
        assert!(end.pong_timeout.is_some(), "{role:?}: a write of nothing is no sign of life");
    }
}

#[test]
fn what_is_written_behind_the_ping_is_no_life() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        end.pass(20 * SECOND);
        end.write_all();
        for _ in 0..10 {
            end.pass(SECOND);
            // The connection may have ended by then.
            let _ = end.send("into the void");
            end.write_all();
        }
        assert!(end.pong_timeout.is_some(), "{role:?}");
    }
}

#[test]
fn a_slow_handler_does_not_kill_the_peer() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        end.pass(500 * SECOND);
        assert_eq!((end.frames(), end.pong_timeout), (vec![frame(PING, "")], None), "{role:?}: first a ping");
        end.now += 500 * SECOND;
        end.feed_frame(frame(PONG, ""));
        end.tick(end.now);
        assert_eq!(
            (end.frames(), end.pong_timeout),
            (vec![], None),
            "{role:?}: the pong was there to be read"
        );
        assert_eq!(end.connection.deadline(), Some(end.now + 20 * SECOND), "{role:?}");
    }
}

#[test]
fn calls_before_the_deadline_do_nothing() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        let start = end.now;
        (0..20).for_each(|second| end.tick(start + second * SECOND));
        assert_eq!((end.frames(), end.connection.deadline()), (vec![], Some(start + 20 * SECOND)));
    }
}

#[test]
fn what_is_off_never_comes_due() {
    let year = 365 * 86_400 * SECOND;
    for role in ROLES {
        for never in [None, Some(Duration::MAX)] {
            let mut end = End::new(role, &config(|config| config.ping_interval = never));
            assert_eq!(end.connection.deadline(), None, "{role:?}");
            end.pass(year);
            assert_eq!((end.frames(), end.pong_timeout), (vec![], None), "{role:?}");

            let mut end = End::new(role, &config(|config| config.ping_timeout = never));
            end.pass(year);
            assert_eq!(end.frames(), [frame(PING, "")], "{role:?}");
            assert_eq!(end.connection.deadline(), None, "{role:?}");
            end.pass(year);
            assert_eq!((end.frames(), end.pong_timeout), (vec![], None), "{role:?}: one ping, for ever");
        }
    }
}

#[test]
fn no_keepalive_after_the_end() {
    for role in ROLES {
        let mut end = End::new(role, &keepalive());
        end.feed_frame(frame(CLOSE, ""));
        end.write_all();
        assert_eq!(
            end.connection.deadline(),
            Some(end.now + 5 * SECOND),
            "{role:?}: the closing deadline instead"
        );
        end.pass(5 * SECOND);
        end.pass(100 * SECOND);
        assert_eq!(
            (end.frames(), end.pong_timeout, end.connection.deadline()),
            (vec![], None, None),
            "{role:?}"
        );
    }
}

#[test]
fn each_ping_is_answered_while_the_output_is_drained() {
    let mut pair = Pair::new(&config(|_| {}));
    for n in 0..100_u8 {
        pair.client.ping([n]).unwrap();
        pair.server.ping([n, n]).unwrap();
        pair.deliver();
    }
    let pongs = |end: &End| {
        let pongs = end.events.iter().filter_map(|event| match event {
            Event::Pong(payload) => Some(payload.to_vec()),
            _ => None,
        });
        pongs.collect::<Vec<_>>()
    };
    assert_eq!(pongs(&pair.client), (0..100).map(|n| vec![n]).collect::<Vec<_>>());
    assert_eq!(pongs(&pair.server), (0..100).map(|n| vec![n, n]).collect::<Vec<_>>());
}

#[test]
fn a_million_pings_to_an_output_that_nobody_drains() {
    const COUNT: u32 = 1_000_000;
    let ping = |n: u32| [&n.to_be_bytes()[..], &[0; 121]].concat();
    let mut client = End::client();
    let limit = client.connection.config().max_buffered;
    let mut events = 0;
    let mut wire = Vec::new();
    for n in 0..COUNT {
        // `Frame` would do too, but is slow without optimization.
        wire.extend_from_slice(&[0x89, 125]);
        wire.extend_from_slice(&n.to_be_bytes());
        wire.extend_from_slice(&[0; 121]);
        if wire.len() > 60_000 || n + 1 == COUNT {
            client.input.extend_from_slice(&wire);
            wire.clear();
            while let Ok(Some(Event::Ping(_))) =
                client.connection.receive(&mut client.input, &mut client.output, || client.now)
            {
                events += 1;
            }
            assert!(
                client.output.remaining() <= limit + 131,
                "{} bytes of output",
                client.output.remaining()
            );
        }
    }
    assert_eq!(events, COUNT);
    assert!(client.connection.owes_pong());
    // RFC 6455 section 5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous
    // Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
    let frames = client.frames();
    assert!(*frames.last().unwrap() == frame(PONG, ping(COUNT - 1)), "the newest is answered");
    assert!(frames[0] == frame(PONG, ping(0)) && frames.len() < 1000);
    assert!(!client.connection.owes_pong());
}

#[test]
fn an_owed_pong_goes_out_before_the_next_message() {
    for role in ROLES {
        let mut end = End::new(role, &config(|config| config.max_buffered = 10));
        end.send("more than ten bytes").unwrap();
        end.feed_frame(frame(PING, "1"));
        end.feed_frame(frame(PING, "2"));
        assert!(end.connection.owes_pong(), "{role:?}");
        let remaining = end.output.remaining();
        end.output.advance(remaining);
        end.send("next").unwrap();
        assert_eq!(end.frames(), [frame(PONG, "2"), frame(TEXT, "next")], "{role:?}");
    }
}

#[test]
fn pings_are_answered_without_any_buffer() {
    for role in ROLES {
        let mut end = End::new(role, &config(|config| config.max_buffered = 0));
        end.feed_frame(frame(PING, "1"));
        assert_eq!(end.frames(), [frame(PONG, "1")], "{role:?}");
        end.send("a").unwrap();
        end.feed_frame(frame(PING, "2"));
        assert_eq!(end.frames(), [frame(TEXT, "a"), frame(PONG, "2")], "{role:?}");
    }
}

#[test]
fn an_output_that_is_never_quite_drained_does_not_grow() {
    for waiting in [1, 1000, 60_000] {
        let mut server = End::server();
        server.send(vec![0; 15_000]).unwrap();
        (0..4).for_each(|_| server.send(vec![0; 15_000]).unwrap());
        let mut sent = 0;
        while sent < 10_000_000 {
            let over = server.output.remaining() - waiting;
            server.write(over);
            server.send(vec![1; 1000]).unwrap();
            sent += 1000;
        }
        server.write_all();
        let capacity = server.output.capacity();
        assert!(capacity <= 300_000, "a block of {capacity} bytes for {waiting} bytes that wait");
    }
}

#[test]
fn a_ping_of_the_callers_is_checked() {
    let mut client = End::client();
    assert!(client.ping([0; 125]).is_ok() && client.pong([0; 125]).is_ok());
    assert!(client.ping([0; 126]).is_err() && client.pong([0; 126]).is_err());
    assert_eq!(client.frames(), [frame(PING, [0; 125]), frame(PONG, [0; 125])]);
}

#[test]
fn time_may_stand_still_or_go_back() {
    let start = std::time::Instant::now() + 100 * SECOND;
    let mut connection = Connection::new(Role::Client, keepalive(), start);
    let mut end = End::client();
    connection.on_read(start - 50 * SECOND);
    connection.on_written(10, || start - 60 * SECOND);
    assert!(connection.handle_deadline(&mut end.output, start - 70 * SECOND).is_ok());
    assert_eq!(Frame::read_all(&end.write_all()), []);
    assert_eq!(connection.deadline(), Some(start - 30 * SECOND));
}
