//! Frames on the wire (RFC 6455 section 5).

mod support;

use std::cell::Cell;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Buf;
use sockeye_proto::frame::MAX_HEADER;
use sockeye_proto::{Bytes, BytesMut, Config, Event, Message, ProtocolError as Error, Role, SendError};
use support::{
    BINARY, CLOSE, CONTINUATION, End, Frame, KEY, PING, PONG, Pair, ROLES, TEXT, close_frame, close_payload,
    config, frame,
};

fn limits() -> Arc<Config> {
    config(|config| {
        config.max_frame_size = 1000;
        config.max_message_size = 1500;
        config.max_fragments = 3;
    })
}

/// A name, the bytes, and what is wrong with them.
type Violation = (&'static str, Vec<u8>, Error);

/// What a peer does wrong to an end of the role.
fn violations(role: Role) -> Vec<(String, Vec<u8>, Error)> {
    let mut cases = [wrong_frames(role), wrong_messages(role), wrong_closes(role)].concat();
    for opcode in (3..=7).chain(0xB..=0xF) {
        cases.push(("reserved opcode", frame(opcode, "").to(role), Error::ReservedOpcode(opcode)));
    }
    cases
        .into_iter()
        .map(|(name, bytes, error)| (format!("{role:?}: {name}, {error}"), bytes, error))
        .collect()
}

fn long(role: Role, second: u8, length: &[u8]) -> Vec<u8> {
    [&[0x82, u8::from(role == Role::Server) << 7 | second], length].concat()
}

fn wrong_frames(role: Role) -> Vec<Violation> {
    vec![
        ("fragmented ping", frame(PING, "").part().to(role), Error::ControlFragmented),
        ("fragmented pong", frame(PONG, "").part().to(role), Error::ControlFragmented),
        ("fragmented close", frame(CLOSE, "").part().to(role), Error::ControlFragmented),
        ("ping of 126 bytes", frame(PING, [0; 126]).to(role), Error::ControlTooLong),
        ("pong of 126 bytes", frame(PONG, [0; 126]).to(role), Error::ControlTooLong),
        ("close of 65536 bytes", frame(CLOSE, vec![0; 65536]).to(role), Error::ControlTooLong),
        ("125 in 16 bits", long(role, 126, &[0, 125]), Error::LengthNotMinimal),
        ("0 in 16 bits", long(role, 126, &[0, 0]), Error::LengthNotMinimal),
        ("65535 in 64 bits", long(role, 127, &65535_u64.to_be_bytes()), Error::LengthNotMinimal),
        ("0 in 64 bits", long(role, 127, &[0; 8]), Error::LengthNotMinimal),
        ("length with its top bit", long(role, 127, &(1_u64 << 63).to_be_bytes()), Error::LengthTopBit),
        ("RSV1", frame(TEXT, "").rsv(4).to(role), Error::ReservedBits),
        ("RSV2", frame(BINARY, "").rsv(2).to(role), Error::ReservedBits),
        ("RSV3", frame(PING, "").rsv(1).to(role), Error::ReservedBits),
        ("all reserved bits of a close", frame(CLOSE, "").rsv(7).to(role), Error::ReservedBits),
        match role {
            Role::Client => ("masked text", frame(TEXT, "a").masked(KEY).bytes(), Error::Masked),
            Role::Server => ("unmasked text", frame(TEXT, "a").bytes(), Error::NotMasked),
        },
        match role {
            Role::Client => ("masked close", frame(CLOSE, "").masked(KEY).bytes(), Error::Masked),
            Role::Server => ("unmasked close", frame(CLOSE, "").bytes(), Error::NotMasked),
        },
        match role {
            // A key of zeroes changes nothing, and is a mask all the same.
            Role::Client => ("zero key", frame(TEXT, "a").masked([0; 4]).bytes(), Error::Masked),
            Role::Server => ("unmasked ping", frame(PING, "").bytes(), Error::NotMasked),
        },
    ]
}

fn wrong_messages(role: Role) -> Vec<Violation> {
    vec![
        ("continuation of nothing", frame(CONTINUATION, "a").to(role), Error::ContinuationUnexpected),
        (
            "first fragment of a continuation",
            frame(CONTINUATION, "a").part().to(role),
            Error::ContinuationUnexpected,
        ),
        (
            "continuation behind an ended message",
            [
                frame(TEXT, "").part().to(role),
                frame(CONTINUATION, "before").to(role),
                frame(CONTINUATION, "").to(role),
            ]
            .concat(),
            Error::ContinuationUnexpected,
        ),
        (
            "text within a message",
            [frame(TEXT, "a").part().to(role), frame(TEXT, "b").to(role)].concat(),
            Error::DataInterleaved,
        ),
        (
            "binary within text",
            [frame(TEXT, "a").part().to(role), frame(BINARY, "b").part().to(role)].concat(),
            Error::DataInterleaved,
        ),
        (
            "frame over the limit",
            frame(BINARY, [0; 1001]).to(role),
            Error::FrameTooBig { length: 1001, limit: 1000 },
        ),
        (
            "frame far over the limit",
            [
                &long(role, 127, &(1_u64 << 62).to_be_bytes())[..],
                if role == Role::Server { &KEY } else { &[] },
            ]
            .concat(),
            Error::FrameTooBig { length: 1 << 62, limit: 1000 },
        ),
        (
            "message over the limit",
            [frame(BINARY, [0; 1000]).part().to(role), frame(CONTINUATION, [0; 501]).to(role)].concat(),
            Error::MessageTooBig { limit: 1500 },
        ),
        ("text of 0xFF", frame(TEXT, [0xFF]).to(role), Error::TextNotUtf8),
        ("text with a surrogate", frame(TEXT, [0xED, 0xA0, 0x80]).to(role), Error::TextNotUtf8),
        ("text cut within a character", frame(TEXT, [b'a', 0xE2, 0x82]).to(role), Error::TextNotUtf8),
        (
            "fragmented text cut within a character",
            [frame(TEXT, [0xE2]).part().to(role), frame(CONTINUATION, [0x82]).to(role)].concat(),
            Error::TextNotUtf8,
        ),
        (
            "fragments over the limit",
            [
                frame(BINARY, "").part().to(role),
                frame(CONTINUATION, "").part().to(role),
                frame(CONTINUATION, "").part().to(role),
                frame(CONTINUATION, "").to(role),
            ]
            .concat(),
            Error::TooManyFragments { limit: 3 },
        ),
    ]
}

fn wrong_closes(role: Role) -> Vec<Violation> {
    vec![
        ("close code 0", frame(CLOSE, [0, 0]).to(role), Error::CloseCode(0)),
        ("close code 999", frame(CLOSE, close_payload(999, "")).to(role), Error::CloseCode(999)),
        ("close code 1005", frame(CLOSE, close_payload(1005, "")).to(role), Error::CloseCode(1005)),
        ("half a close code", frame(CLOSE, [3]).to(role), Error::ClosePayload),
        ("close reason", frame(CLOSE, close_payload(1000, [b'a', 0xFF])).to(role), Error::CloseReason),
        (
            "close reason cut within a character",
            frame(CLOSE, close_payload(1000, [0xCE])).to(role),
            Error::CloseReason,
        ),
    ]
}

/// RFC 6455 section 7.4.1, and where sections 8.1 and 10.4 are applied.
fn code_of(error: &Error) -> u16 {
    match error {
        Error::CloseReason | Error::TextNotUtf8 => 1007,
        Error::FrameTooBig { .. } | Error::MessageTooBig { .. } | Error::TooManyFragments { .. } => 1009,
        _ => 1002,
    }
}

#[test]
fn each_violation_fails_the_connection_with_its_code() {
    for role in ROLES {
        for (name, wrong, error) in violations(role) {
            let before = [frame(TEXT, "before").to(role), frame(PING, "p").to(role)].concat();
            let after = [frame(TEXT, "after").to(role), frame(CLOSE, "").to(role)].concat();
            let all = [before, wrong, after].concat();
            for step in [all.len(), 1] {
                let name = format!("{name}, {step} bytes at a time");
                let mut end = End::new(role, &limits());
                for chunk in all.chunks(step) {
                    end.feed(chunk);
                }
                assert_eq!(end.error.as_ref(), Some(&error), "{name}");
                assert_eq!(end.events[0], Event::Message("before".into()), "{name}");
                assert!(!end.events.contains(&Event::Message("after".into())), "{name}");
                // RFC 6455 section 7.1.7: "the endpoint SHOULD send a Close frame with an appropriate status code"
                let close = frame(CLOSE, close_payload(code_of(&error), ""));
                assert_eq!(end.frames(), [frame(PONG, "p"), close], "{name}");
                assert_eq!(error.close_code(), code_of(&error), "{name}");

                assert!(end.connection.should_end() && !end.connection.is_open(), "{name}");
                assert_eq!(end.send("late"), Err(SendError::Closed), "{name}");
                let info = end.info();
                assert_eq!((u16::from(info.code), info.clean), (1006, false), "{name}");
                // RFC 6455 section 7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a responding
                // Close frame) from the remote endpoint after being instructed to _Fail the WebSocket Connection_."
                let events = end.events.len();
                end.feed_frame(frame(CLOSE, close_payload(1000, "")));
                end.feed_frame(frame(TEXT, "more"));
                assert_eq!((end.events.len(), end.info()), (events, info), "{name}");
                assert!(end.input.is_empty() && !end.output.has_remaining(), "{name}");
            }
        }
    }
}

#[test]
fn bytes_of_a_close_for_a_violation() {
    let mut server = End::server();
    server.feed(&frame(TEXT, "a").bytes());
    assert_eq!(server.write_all(), [0x88, 2, 0x03, 0xEA]);
    let mut client = End::new(Role::Client, &config(|config| config.masking_key = || [1, 2, 3, 4]));
    client.feed(&frame(TEXT, [0x80]).bytes());
    assert_eq!(client.write_all(), [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xEF ^ 2]);
}

#[test]
fn examples_of_the_rfc() {
    // RFC 6455 section 5.7
    let cases: &[(&str, Role, &[u8], Event)] = &[
        ("unmasked text", Role::Client, b"\x81\x05Hello", Event::Message("Hello".into())),
        (
            "masked text",
            Role::Server,
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            Event::Message("Hello".into()),
        ),
        ("fragmented text", Role::Client, b"\x01\x03Hel\x80\x02lo", Event::Message("Hello".into())),
        ("ping", Role::Client, b"\x89\x05Hello", Event::Ping("Hello".into())),
        (
            "masked pong",
            Role::Server,
            b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            Event::Pong("Hello".into()),
        ),
    ];
    for (name, role, bytes, event) in cases {
        let mut end = End::new(*role, &config(|_| {}));
        end.feed(bytes);
        assert_eq!(end.events, std::slice::from_ref(event), "{name}");
    }
}

thread_local! {
    static KEYS: Cell<u32> = const { Cell::new(0) };
}

fn next_key() -> [u8; 4] {
    KEYS.set(KEYS.get() + 0x0101_0101);
    KEYS.get().to_be_bytes()
}

#[test]
fn a_client_masks_each_frame_with_a_fresh_key() {
    let config = config(|config| {
        config.masking_key = next_key;
        config.fragment_size = Some(20_000);
    });
    let say = |end: &mut End| {
        end.send("text").unwrap();
        end.send(vec![7; 50_000]).unwrap();
        end.ping("ping").unwrap();
        end.pong("pong").unwrap();
        end.feed_frame(frame(PING, "answered"));
        end.close(Some(&close_frame(1000, "done"))).unwrap();
        Frame::read_all(&end.write_all())
    };
    let mut client = End::new(Role::Client, &config);
    let sent = say(&mut client);
    let keys: Vec<_> = sent.iter().map(|frame| frame.key).collect();
    assert_eq!(keys, (1..=8).map(|n| Some([n; 4])).collect::<Vec<_>>());

    let mut server = End::new(Role::Server, &config);
    let expected = say(&mut server);
    assert!(expected.iter().all(|frame| frame.key.is_none()));
    let unmasked: Vec<_> = sent.into_iter().map(|frame| Frame { key: None, ..frame }).collect();
    assert!(unmasked == expected, "both say the same but for the mask");
}

#[test]
fn the_default_keys_differ() {
    let mut client = End::client();
    (0..100).for_each(|_| client.send("").unwrap());
    let frames = Frame::read_all(&client.write_all());
    let keys: std::collections::HashSet<_> = frames.iter().map(|frame| frame.key).collect();
    assert!(keys.len() > 95, "{} different keys of 100", keys.len());
}

#[test]
fn lengths_at_every_border_go_both_ways() {
    for length in [0, 1, 125, 126, 127, 16_383, 16_384, 16_385, 65_535, 65_536, 200_000] {
        let binary: Vec<u8> = (0..=255).cycle().take(length).collect();
        let text: String = ('a'..='z').cycle().take(length).collect();
        for role in ROLES {
            let mut end = End::new(role, &config(|_| {}));
            end.send(text.clone()).unwrap();
            end.send(binary.clone()).unwrap();
            let frames = end.frames();
            assert!(frames == [frame(TEXT, &text), frame(BINARY, &binary)], "{role:?} sends {length} bytes");

            let mut end = End::new(role, &config(|_| {}));
            end.feed_frame(frame(TEXT, &text));
            end.feed_frame(frame(BINARY, &binary));
            let messages = end.messages();
            let expected = [Message::from(text.clone()), Message::from(binary.clone())];
            assert!(messages == expected, "{role:?} receives {length} bytes");
        }
        let mut pair = Pair::new(&config(|_| {}));
        for role in ROLES {
            let (from, _) = pair.ends(role);
            from.send(text.clone()).unwrap();
            from.send(binary.clone()).unwrap();
        }
        pair.chunk = 1000;
        pair.deliver();
        for end in [&pair.client, &pair.server] {
            let expected = [Message::from(text.clone()), Message::from(binary.clone())];
            assert!(end.messages() == expected, "{:?} hears {length} bytes", end.role());
        }
    }
}

#[test]
fn the_callers_payload_is_never_modified() {
    static STATIC: [u8; 20_000] = [0x55; 20_000];
    for length in [100, 16_383, 16_384, 16_385, 100_000] {
        for fragment_size in [None, Some(1000), Some(30_000)] {
            let config = config(|config| {
                config.fragment_size = fragment_size;
                config.masking_key = || KEY;
            });
            let plain: Vec<u8> = (0..=255).cycle().take(length).collect();
            let unique = Bytes::from(plain.clone());
            let shared = Bytes::from(plain.clone());
            let behind = Bytes::from([b"head", &plain[..]].concat());
            let kept = [shared.clone(), behind.slice(4..), Bytes::from_static(&STATIC)];
            for role in ROLES {
                let name = format!("{role:?}, {length} bytes in fragments of {fragment_size:?}");
                let mut end = End::new(role, &config);
                let payloads =
                    [unique.clone().to_vec().into(), kept[0].clone(), kept[1].clone(), kept[2].clone()];
                for payload in payloads {
                    let expected = payload.to_vec();
                    end.send(payload).unwrap();
                    let sent: Vec<u8> = end.frames().into_iter().flat_map(|frame| frame.payload).collect();
                    assert!(sent == expected, "{name}");
                }
                assert!(kept[0] == plain && kept[1] == plain && kept[2] == STATIC[..], "{name}");
                assert!(behind[4..] == plain && &behind[..4] == b"head", "{name}");
            }
        }
    }
}

#[test]
fn a_big_payload_of_a_server_is_queued_as_it_is() {
    let payload = Bytes::from(vec![1; 50_000]);
    let mut server = End::server();
    server.send("small").unwrap();
    server.send(payload.clone()).unwrap();
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(server.output.chunks_vectored(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
}

#[test]
fn the_input_wanted_is_enough_and_no_more_for_a_payload() {
    for (name, frame) in [("text", frame(TEXT, [b'a'; 300])), ("ping", frame(PING, [0; 100]))] {
        for role in ROLES {
            let mut end = End::new(role, &config(|_| {}));
            assert_eq!(end.connection.input_wanted(), MAX_HEADER, "{role:?}, {name}");
            let (length, bytes) = (frame.payload.len(), frame.clone().to(role));
            let (head, payload) = bytes.split_at(bytes.len() - length);
            end.feed(head);
            end.feed(&payload[..1]);
            assert_eq!(end.connection.input_wanted(), length, "{role:?}, {name}");
            end.feed(&payload[1..]);
            assert_eq!(
                (end.events.len(), end.connection.input_wanted()),
                (1, MAX_HEADER),
                "{role:?}, {name}"
            );
        }
    }
    let mut client = End::client();
    client.feed(&frame(BINARY, [0; 300]).part().bytes()[..104]);
    assert_eq!(client.connection.input_wanted(), 200, "what has come of a fragment is taken already");
}

#[test]
fn nothing_is_reserved_because_a_header_says_so() {
    let unlimited = config(|config| {
        config.max_frame_size = usize::MAX;
        config.max_message_size = usize::MAX;
    });
    for (name, first) in [("a whole message", 0x82), ("a first fragment", 0x02), ("text", 0x81)] {
        let mut client = End::new(Role::Client, &unlimited);
        client.input = BytesMut::with_capacity(64);
        client.feed(&[first, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!((client.connection.held(), client.input.len()), (0, 0), "{name}");
        assert!(client.input.capacity() <= 64, "{name}");
        client.feed(&[b'a'; 1000]);
        assert!(client.connection.held() <= 2000, "{name}: {} bytes held", client.connection.held());
        assert!(client.input.capacity() <= 2000, "{name}");
        assert_eq!((client.error, client.events.len()), (None, 0), "{name}");
    }
    let mut client = End::client();
    client.feed(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(client.error, Some(Error::FrameTooBig { length: 1 << 40, limit: 16 << 20 }));
}
