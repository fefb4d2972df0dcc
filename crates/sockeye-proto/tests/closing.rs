//! The closing handshake (RFC 6455 sections 5.5.1 and 7).

mod support;

use std::time::Duration;

use sockeye_proto::{
    ApiMisuse, CloseFrame, CloseInfo, Event, Message, ProtocolError as Error, Role, SendError, Side,
};
use support::{
    BINARY, CLOSE, CONTINUATION, End, PING, PONG, Pair, ROLES, SECOND, TEXT, close_frame, close_payload,
    config, frame,
};

/// What brings an end into a state.
type Step = fn(&mut End);

/// Initiator, code, reason, clean.
fn told(info: &CloseInfo) -> (Side, u16, &str, bool) {
    (info.initiator, info.code.into(), info.reason.as_str(), info.clean)
}

/// RFC 6455 section 7.4 with the registry of section 11.7.
fn may_be_on_the_wire(code: u16) -> bool {
    // RFC 6455 section 7.4.1: 1004 is "Reserved"; 1005, 1006 and 1015 are reserved values and "MUST NOT be set as a status
    // code in a Close control frame by an endpoint"
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn all_codes() -> impl Iterator<Item = u16> {
    (0..=5000).chain([9999, 32_768, 65_535])
}

#[test]
fn codes_received() {
    for role in ROLES {
        for code in all_codes() {
            let mut end = End::new(role, &config(|_| {}));
            end.feed_frame(frame(CLOSE, close_payload(code, "why")));
            if may_be_on_the_wire(code) {
                assert_eq!(end.error, None, "{code}");
                assert_eq!(end.events, [Event::Close(Some(close_frame(code, "why")))], "{code}");
                // RFC 6455 section 5.5.1: "the endpoint typically echos the status code it received."
                assert_eq!(end.frames(), [frame(CLOSE, close_payload(code, ""))], "{code}");
                assert_eq!(told(&end.info()), (Side::Peer, code, "why", true), "{code}");
            } else {
                assert_eq!((&end.error, &end.events[..]), (&Some(Error::CloseCode(code)), &[][..]), "{code}");
                assert_eq!(end.frames(), [frame(CLOSE, close_payload(1002, ""))], "{code}");
                assert_eq!(told(&end.info()), (Side::Local, 1006, "", false), "{code}");
            }
        }
    }
}

#[test]
fn codes_received_as_browsers_take_them() {
    for role in ROLES {
        for code in all_codes() {
            let mut end = End::new(role, &config(|config| config.close_as_browsers = true));
            end.feed_frame(frame(CLOSE, close_payload(code, "why")));
            // RFC 6455 section 7.4.1: "MUST NOT be set as a status code in a Close control frame by an endpoint"
            if matches!(code, 1005 | 1006 | 1015) {
                assert_eq!((&end.error, &end.events[..]), (&Some(Error::CloseCode(code)), &[][..]), "{code}");
            } else {
                assert_eq!(end.events, [Event::Close(Some(close_frame(code, "why")))], "{code}");
                assert_eq!(end.frames(), [frame(CLOSE, close_payload(code, "why"))], "{code}");
                assert_eq!(told(&end.info()), (Side::Peer, code, "why", true), "{code}");
            }
        }
    }
}

#[test]
fn codes_sent() {
    for role in ROLES {
        for code in all_codes() {
            let mut end = End::new(role, &config(|_| {}));
            let made = CloseFrame::new(code, "why");
            // The fields are public: a frame need not come out of `new`.
            let by_hand = end.close(Some(&close_frame(code, "why")));
            if may_be_on_the_wire(code) {
                assert_eq!((made, by_hand), (Ok(close_frame(code, "why")), Ok(())), "{code}");
                assert_eq!(end.frames(), [frame(CLOSE, close_payload(code, "why"))], "{code}");
            } else {
                assert_eq!(made, Err(ApiMisuse::CloseCode(code)), "{code}");
                assert_eq!(by_hand, Err(SendError::Misuse(ApiMisuse::CloseCode(code))), "{code}");
                assert_eq!(end.frames(), [], "{code}");
                assert!(end.connection.is_open(), "{code}");
            }
        }
    }
}

#[test]
fn reasons() {
    let long = "é".repeat(61) + "a";
    for (name, reason) in
        [("none", ""), ("short", "bye"), ("of 123 bytes", &*long), ("not ASCII", "さようなら")]
    {
        for role in ROLES {
            let mut pair = Pair::new(&config(|_| {}));
            pair.chunk = 7;
            let frame = CloseFrame::new(4000, reason).unwrap();
            pair.ends(role).0.close(Some(&frame)).unwrap();
            pair.deliver();
            let (from, to) = pair.ends(role);
            assert_eq!(to.events, [Event::Close(Some(frame))], "{name}");
            assert_eq!(told(&to.info()), (Side::Peer, 4000, reason, true), "{name}");
            assert_eq!(
                told(&from.info()),
                (Side::Local, 4000, "", true),
                "{name}: the answer holds no reason"
            );
        }
    }
    let longer = "a".repeat(124);
    assert_eq!(CloseFrame::new(1000, &*longer), Err(ApiMisuse::CloseReasonTooLong(124)));
    let mut end = End::client();
    let misuse = SendError::Misuse(ApiMisuse::CloseReasonTooLong(124));
    assert_eq!(end.close(Some(&close_frame(1000, &longer))), Err(misuse));
    assert!(end.frames().is_empty() && end.connection.is_open());
}

#[test]
fn a_close_without_a_code() {
    for role in ROLES {
        let mut pair = Pair::new(&config(|_| {}));
        pair.ends(role).0.close(None).unwrap();
        pair.deliver();
        let (from, to) = pair.ends(role);
        assert_eq!(
            (&from.events[..], &to.events[..]),
            (&[Event::Close(None)][..], &[Event::Close(None)][..])
        );
        // RFC 6455 section 7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection Close
        // Code_ is considered to be 1005."
        assert_eq!(told(&to.info()), (Side::Peer, 1005, "", true));
        assert_eq!(told(&from.info()), (Side::Local, 1005, "", true));
    }
    let mut server = End::server();
    server.feed_frame(frame(CLOSE, ""));
    assert_eq!(server.write_all(), [0x88, 0], "1005 is not on the wire");
}

#[test]
fn the_server_ends_the_byte_stream_first() {
    // RFC 6455 section 7.1.1: "the underlying TCP connection, in most normal cases, SHOULD be closed first by the server"
    for role in ROLES {
        let mut pair = Pair::new(&config(|_| {}));
        pair.ends(role).0.close(Some(&close_frame(1000, ""))).unwrap();
        pair.deliver();
        for end in [&pair.client, &pair.server] {
            assert!(end.connection.is_ended() && end.has_ended && end.connection.deadline().is_none());
        }

        let mut client = End::client();
        let mut server = End::server();
        let (from, to) =
            if role == Role::Client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        from.close(None).unwrap();
        assert!(!from.connection.should_end() && from.connection.close_info().is_none(), "before the answer");
        to.feed(&from.write_all());
        from.feed(&to.write_all());
        assert!(server.connection.should_end() && !server.connection.is_ended());
        assert!(!client.connection.should_end() && !client.connection.is_ended());
        client.connection.on_end();
        assert!(client.connection.is_ended() && client.info().clean);
        server.connection.on_end();
        assert!(server.connection.is_ended() && server.info().clean);
    }
}

#[test]
fn both_close_at_once() {
    let mut pair = Pair::new(&config(|_| {}));
    pair.client.close(Some(&close_frame(3000, "client"))).unwrap();
    pair.server.close(Some(&close_frame(3001, "server"))).unwrap();
    pair.deliver();
    assert_eq!(told(&pair.client.info()), (Side::Local, 3001, "server", true));
    assert_eq!(told(&pair.server.info()), (Side::Local, 3000, "client", true));
    assert_eq!(pair.client.events, [Event::Close(Some(close_frame(3001, "server")))]);
    assert_eq!(pair.server.events, [Event::Close(Some(close_frame(3000, "client")))]);

    for role in ROLES {
        let mut end = End::new(role, &config(|_| {}));
        end.close(None).unwrap();
        assert_eq!(end.frames(), [frame(CLOSE, "")]);
        end.feed_frame(frame(CLOSE, close_payload(1000, "")));
        assert_eq!(end.frames(), [], "{role:?} answers no Close after its own");
    }
}

#[test]
fn messages_come_until_the_peers_close() {
    for role in ROLES {
        let mut end = End::new(role, &config(|_| {}));
        end.feed_frame(frame(TEXT, "be").part());
        end.close(Some(&close_frame(1001, ""))).unwrap();
        assert_eq!(end.frames(), [frame(CLOSE, close_payload(1001, ""))]);
        end.feed_frame(frame(CONTINUATION, "gun"));
        end.feed_frame(frame(BINARY, "whole"));
        let mut last = frame(CLOSE, close_payload(1001, "")).to(role);
        last.extend(frame(TEXT, "too late").to(role));
        last.extend([0xFF; 100]);
        end.feed(&last);
        end.feed_frame(frame(PING, "too late"));
        let expected = [
            Event::Message("begun".into()),
            Event::Message(b"whole".into()),
            Event::Close(Some(close_frame(1001, ""))),
        ];
        assert_eq!((end.frames(), &end.events[..], &end.error), (vec![], &expected[..], &None), "{role:?}");
        assert!(end.input.is_empty(), "{role:?}");
    }
}

#[test]
fn a_close_between_fragments_ends_the_message_too() {
    for role in ROLES {
        let mut end = End::new(role, &config(|_| {}));
        end.feed_frame(frame(TEXT, "never ").part());
        end.feed_frame(frame(CLOSE, ""));
        end.feed_frame(frame(CONTINUATION, "whole"));
        assert_eq!(end.events, [Event::Close(None)], "{role:?}");
        assert_eq!(end.frames(), [frame(CLOSE, "")], "{role:?}");
    }
}

#[test]
fn pings_are_answered_until_the_peers_close() {
    // RFC 6455 section 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already
    // received a Close frame."
    for role in ROLES {
        let mut end = End::new(role, &config(|_| {}));
        end.close(None).unwrap();
        end.feed_frame(frame(PING, "1"));
        assert_eq!(end.frames(), [frame(CLOSE, ""), frame(PONG, "1")], "{role:?}");
        end.feed_frame(frame(CLOSE, ""));
        end.feed_frame(frame(PING, "2"));
        assert_eq!(end.frames(), [], "{role:?}");
    }
}

#[test]
fn a_ping_before_our_close_is_answered_however_full_the_output_is() {
    for role in ROLES {
        let mut end = End::new(role, &config(|config| config.max_buffered = 1));
        end.send("fills it").unwrap();
        end.feed_frame(frame(PING, "owed"));
        assert!(end.connection.owes_pong(), "{role:?}");
        end.close(None).unwrap();
        let frames = end.frames();
        assert!(frames.contains(&frame(PONG, "owed")), "{role:?}: {frames:?}");
        assert!(!end.connection.owes_pong(), "{role:?}");
    }
}

#[test]
fn no_pong_is_owed_after_the_end() {
    let ends: [(&str, Step); 4] = [
        ("the peer's Close", |end| end.feed_frame(frame(CLOSE, ""))),
        ("a violation", |end| end.feed_frame(frame(CONTINUATION, ""))),
        ("the end of the bytes", |end| end.connection.on_end()),
        ("the deadline", |end| end.pass(5 * SECOND)),
    ];
    for (name, finish) in ends {
        for role in ROLES {
            for closing in [false, true] {
                let mut end = End::new(role, &config(|config| config.max_buffered = 1));
                end.send("fills it").unwrap();
                if closing {
                    end.close(None).unwrap();
                }
                end.feed_frame(frame(PING, "owed"));
                assert!(end.connection.owes_pong(), "{role:?}, {name}, closing: {closing}");
                finish(&mut end);
                if end.connection.close_info().is_some() {
                    assert!(!end.connection.owes_pong(), "{role:?}, {name}, closing: {closing}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_sent_once_the_closing_has_begun() {
    let starts: [(&str, Step); 6] = [
        ("our Close", |end| end.close(None).unwrap()),
        ("the peer's Close", |end| end.feed_frame(frame(CLOSE, ""))),
        ("a violation", |end| end.feed_frame(frame(CONTINUATION, ""))),
        ("the end of the bytes", |end| end.connection.on_end()),
        ("a dead peer", |end| {
            end.pass(20 * SECOND);
            end.pass(20 * SECOND);
        }),
        ("the closing deadline", |end| {
            end.close(None).unwrap();
            end.pass(5 * SECOND);
        }),
    ];
    for (name, start) in starts {
        for role in ROLES {
            let mut end = End::new(role, &config(|_| {}));
            assert!(end.connection.is_open(), "{role:?}, {name}");
            start(&mut end);
            end.write_all();
            assert!(!end.connection.is_open(), "{role:?}, {name}");
            assert_eq!(end.send("text"), Err(SendError::Closed), "{role:?}, {name}");
            assert_eq!(end.send(b"binary"), Err(SendError::Closed), "{role:?}, {name}");
            assert_eq!(end.ping(""), Err(SendError::Closed), "{role:?}, {name}");
            assert_eq!(end.pong([0; 126]), Err(SendError::Closed), "{role:?}, {name}");
            assert_eq!(end.close(Some(&close_frame(1005, ""))), Err(SendError::Closed), "{role:?}, {name}");
            end.pass(100 * SECOND);
            assert_eq!(end.frames(), [], "{role:?}, {name}");
        }
    }
}

/// The states a connection can be in, and how it gets there.
const STATES: [(&str, Step); 4] = [
    ("open", |_| {}),
    ("our Close sent", |end| end.close(Some(&close_frame(1000, ""))).unwrap()),
    ("finished by the peer", |end| end.feed_frame(frame(CLOSE, close_payload(3000, "bye")))),
    ("finished by both", |end| {
        end.close(None).unwrap();
        end.feed_frame(frame(CLOSE, close_payload(3000, "bye")));
    }),
];

#[test]
fn the_bytes_end_in_each_state() {
    // RFC 6455 section 7.1.5: "If _The WebSocket Connection is Closed_ and no Close control frame was received by the endpoint
    // [..], _The WebSocket Connection Close Code_ is considered to be 1006."
    let expected = [
        (Side::Peer, 1006, "", false),
        (Side::Local, 1006, "", false),
        (Side::Peer, 3000, "bye", true),
        (Side::Local, 3000, "bye", true),
    ];
    for ((name, go), expected) in STATES.into_iter().zip(expected) {
        for role in ROLES {
            let mut end = End::new(role, &config(|_| {}));
            go(&mut end);
            end.connection.on_end();
            assert!(end.connection.is_ended() && end.connection.deadline().is_none(), "{role:?}, {name}");
            assert_eq!(told(&end.info()), expected, "{role:?}, {name}");
            end.connection.on_end();
            end.feed_frame(frame(CLOSE, close_payload(4000, "")));
            end.pass(100 * SECOND);
            assert_eq!(told(&end.info()), expected, "{role:?}, {name}, and then more");
            assert_eq!((&end.error, end.pong_timeout), (&None, None), "{role:?}, {name}");
        }
    }
}

#[test]
fn a_violation_in_each_state() {
    let expected = [
        (vec![frame(CLOSE, close_payload(1002, ""))], (Side::Local, 1006, "", false), true),
        (vec![frame(CLOSE, close_payload(1000, ""))], (Side::Local, 1006, "", false), true),
        (vec![frame(CLOSE, close_payload(3000, ""))], (Side::Peer, 3000, "bye", true), false),
        (vec![frame(CLOSE, "")], (Side::Local, 3000, "bye", true), false),
    ];
    for ((name, go), (frames, info, fails)) in STATES.into_iter().zip(expected) {
        for role in ROLES {
            let mut end = End::new(role, &config(|_| {}));
            go(&mut end);
            end.feed_frame(frame(CONTINUATION, ""));
            assert_eq!(end.error.is_some(), fails, "{role:?}, {name}");
            assert_eq!(end.frames(), frames, "{role:?}, {name}: one Close, and no second");
            assert_eq!(told(&end.info()), info, "{role:?}, {name}");
            let waits = role == Role::Client && end.info().clean;
            assert_eq!(end.connection.should_end(), !waits, "{role:?}, {name}");
        }
    }
}

#[test]
fn the_closing_deadline_in_each_state() {
    let expected = [
        None,
        Some((Side::Local, 1006, "", false)),
        Some((Side::Peer, 3000, "bye", true)),
        Some((Side::Local, 3000, "bye", true)),
    ];
    for ((name, go), expected) in STATES.into_iter().zip(expected) {
        for role in ROLES {
            let mut end = End::new(role, &config(|config| config.close_timeout = Some(3 * SECOND)));
            let start = end.now;
            go(&mut end);
            let Some(expected) = expected else { continue };
            assert_eq!(end.connection.deadline(), Some(start + 3 * SECOND), "{role:?}, {name}");
            end.feed_frame(frame(PONG, ""));
            end.tick(start + Duration::from_millis(2999));
            assert!(!end.connection.is_ended(), "{role:?}, {name}");
            end.tick(start + 3 * SECOND);
            assert!(end.connection.is_ended(), "{role:?}, {name}");
            assert_eq!((told(&end.info()), end.pong_timeout), (expected, None), "{role:?}, {name}");
            assert_eq!(end.connection.deadline(), None, "{role:?}, {name}");
        }
    }
}

#[test]
fn a_closing_without_a_deadline() {
    for timeout in [None, Some(Duration::MAX)] {
        for (name, go) in STATES.into_iter().skip(1) {
            for role in ROLES {
                let mut end = End::new(
                    role,
                    &config(|config| {
                        config.close_timeout = timeout;
                        config.ping_interval = None;
                    }),
                );
                go(&mut end);
                assert_eq!(end.connection.deadline(), None, "{role:?}, {name}");
                end.pass(1_000_000 * SECOND);
                assert!(!end.connection.is_ended(), "{role:?}, {name}");
            }
        }
    }
}

#[test]
fn a_closing_without_a_deadline_still_finds_a_dead_peer() {
    for role in ROLES {
        let mut end = End::new(role, &config(|config| config.close_timeout = None));
        end.close(None).unwrap();
        end.frames();
        end.pass(20 * SECOND);
        assert_eq!(end.frames(), [], "{role:?}: no ping after our Close");
        end.pass(20 * SECOND);
        assert!(end.pong_timeout.is_some() && end.connection.is_ended(), "{role:?}");
        assert_eq!(told(&end.info()), (Side::Local, 1006, "", false), "{role:?}");
    }
}

#[test]
fn a_peer_that_never_answers_a_close() {
    let mut pair = Pair::new(&config(|_| {}));
    pair.server.reads = false;
    pair.client.close(Some(&close_frame(1000, ""))).unwrap();
    pair.advance(4 * SECOND);
    pair.server.send("still here").unwrap();
    pair.advance(SECOND / 2);
    assert_eq!(pair.client.messages(), [Message::from("still here")]);
    assert!(!pair.client.connection.is_ended());
    pair.advance(SECOND / 2);
    assert_eq!(told(&pair.client.info()), (Side::Local, 1006, "", false));
}

#[test]
fn a_cut_stream() {
    let mut pair = Pair::new(&config(|_| {}));
    pair.client.send("never arrives").unwrap();
    pair.cut();
    pair.deliver();
    for end in [&pair.client, &pair.server] {
        assert_eq!(told(&end.info()), (Side::Peer, 1006, "", false));
        assert_eq!(end.events, []);
    }
}

#[test]
fn a_server_that_does_not_end_the_stream_is_not_waited_for_longer_than_the_deadline() {
    let mut client = End::client();
    client.feed_frame(frame(CLOSE, close_payload(1000, "")));
    assert!(!client.connection.should_end());
    client.pass(5 * SECOND);
    assert!(client.connection.is_ended());
    assert_eq!(told(&client.info()), (Side::Peer, 1000, "", true));
}

#[test]
fn what_was_sent_before_the_close_goes_out_before_it() {
    for role in ROLES {
        let mut pair = Pair::new(&config(|config| config.fragment_size = Some(10)));
        pair.chunk = 3;
        let (from, _) = pair.ends(role);
        from.send("a message in many fragments").unwrap();
        from.send(vec![1; 30_000]).unwrap();
        from.close(Some(&close_frame(1000, ""))).unwrap();
        pair.deliver();
        let (_, to) = pair.ends(role);
        assert_eq!(to.messages(), ["a message in many fragments".into(), Message::from(vec![1; 30_000])]);
        assert_eq!(told(&to.info()), (Side::Peer, 1000, "", true));
    }
}
