//! Messages in one frame and in many (RFC 6455 sections 5.4, 5.6, 6 and 8.1).

mod support;

use sockeye_proto::{Config, Event, Message, ProtocolError as Error, Role};
use support::{BINARY, CONTINUATION, End, Frame, PING, PONG, Pair, ROLES, TEXT, config, frame};

/// A message in the given fragments.
fn fragments<P: AsRef<[u8]>>(opcode: u8, payloads: &[P]) -> Vec<Frame> {
    let last = payloads.len() - 1;
    let of = |(i, payload)| {
        let frame = frame(if i == 0 { opcode } else { CONTINUATION }, payload);
        if i == last { frame } else { frame.part() }
    };
    payloads.iter().enumerate().map(of).collect()
}

fn bytes_to(role: Role, frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
    frames.into_iter().flat_map(|frame| frame.to(role)).collect()
}

#[test]
fn messages_are_fragmented_as_the_configuration_says() {
    let cases: &[(&str, Option<usize>, &[&str])] = &[
        ("off", None, &["abcdefg"]),
        ("0, taken as 1", Some(0), &["a", "b", "c", "d", "e", "f", "g"]),
        ("1", Some(1), &["a", "b", "c", "d", "e", "f", "g"]),
        ("a rest of 1", Some(3), &["abc", "def", "g"]),
        ("one less", Some(6), &["abcdef", "g"]),
        ("the message's length", Some(7), &["abcdefg"]),
        ("one more", Some(8), &["abcdefg"]),
    ];
    for (name, fragment_size, expected) in cases {
        let config = config(|config| config.fragment_size = *fragment_size);
        for role in ROLES {
            let mut end = End::new(role, &config);
            end.send("abcdefg").unwrap();
            end.send(b"abcdefg").unwrap();
            end.send("").unwrap();
            let mut frames = fragments(TEXT, expected);
            frames.extend(fragments(BINARY, expected));
            frames.push(frame(TEXT, ""));
            assert_eq!(end.frames(), frames, "{role:?}, {name}");

            let mut pair = Pair::new(&config);
            let (from, _) = pair.ends(role);
            from.send("abcdefg").unwrap();
            from.send(b"abcdefg").unwrap();
            from.send("").unwrap();
            pair.deliver();
            let (_, to) = pair.ends(role);
            assert_eq!(
                to.messages(),
                ["abcdefg".into(), b"abcdefg".into(), Message::from("")],
                "{role:?}, {name}"
            );
        }
    }
}

#[test]
fn text_may_be_fragmented_within_a_character() {
    for size in 1..=10 {
        let mut pair = Pair::new(&config(|config| config.fragment_size = Some(size)));
        pair.client.send("κόσμε 🐟").unwrap();
        pair.server.send("κόσμε 🐟").unwrap();
        pair.deliver();
        assert_eq!(pair.server.messages(), [Message::from("κόσμε 🐟")], "fragments of {size} bytes");
        assert_eq!(pair.client.messages(), [Message::from("κόσμε 🐟")], "fragments of {size} bytes");
    }
}

#[test]
fn fragments_make_a_message() {
    let cases: &[(&str, &[&str])] = &[
        ("two", &["ab", "cd"]),
        ("an empty first", &["", "abcd"]),
        ("an empty last", &["abcd", ""]),
        ("an empty one between", &["ab", "", "cd"]),
        ("nothing but empty ones", &["", "", "", ""]),
        ("two empty ones", &["", ""]),
    ];
    for (name, parts) in cases {
        for role in ROLES {
            for opcode in [TEXT, BINARY] {
                let mut end = End::new(role, &config(|_| {}));
                end.feed(&bytes_to(role, fragments(opcode, parts)));
                end.feed_frame(frame(opcode, "next"));
                let message = |text: &str| match opcode {
                    TEXT => Message::from(text),
                    _ => Message::from(text.as_bytes()),
                };
                assert_eq!(end.messages(), [message(&parts.concat()), message("next")], "{role:?}, {name}");
                assert_eq!((end.error, end.connection.held()), (None, 0), "{role:?}, {name}");
            }
        }
    }
}

#[test]
fn control_frames_come_between_fragments() {
    // RFC 6455 section 5.4: "Control frames MAY be injected in the middle of a fragmented message."
    for role in ROLES {
        for step in 1..50 {
            let mut frames = fragments(TEXT, &["κόσ".as_bytes(), b"\xCE", b"\xBC", "ε".as_bytes()]);
            frames.insert(3, frame(PONG, "asked"));
            frames.insert(2, frame(PING, ""));
            frames.insert(2, frame(PING, [0xFF; 125]));
            frames.insert(1, frame(PONG, [0xCE]));
            let mut end = End::new(role, &config(|_| {}));
            bytes_to(role, frames).chunks(step).for_each(|chunk| end.feed(chunk));
            let expected = [
                Event::Pong(vec![0xCE].into()),
                Event::Ping(vec![0xFF; 125].into()),
                Event::Ping("".into()),
                Event::Pong("asked".into()),
                Event::Message("κόσμε".into()),
            ];
            assert_eq!(end.events, expected, "{role:?}, {step} bytes at a time");
            assert_eq!(end.frames(), [frame(PONG, [0xFF; 125]), frame(PONG, "")]);
        }
    }
}

#[test]
fn a_control_frame_is_answered_before_its_message_ends() {
    let mut server = End::server();
    let begun = frame(TEXT, "a long message").part().to(Role::Server);
    server.feed(&begun[..begun.len() - 3]);
    assert_eq!(server.events, []);
    server.feed(&begun[begun.len() - 3..]);
    server.feed_frame(frame(PING, "now"));
    assert_eq!(server.frames(), [frame(PONG, "now")]);
}

#[test]
fn limits_hold_to_the_byte() {
    let of = |change: fn(&mut Config)| config(change);
    let frame_size = of(|config| config.max_frame_size = 1000);
    let message_size = of(|config| config.max_message_size = 1000);
    let count = of(|config| config.max_fragments = 4);
    let (frame_error, message_error, count_error) = (
        Error::FrameTooBig { length: 1001, limit: 1000 },
        Error::MessageTooBig { limit: 1000 },
        Error::TooManyFragments { limit: 4 },
    );
    let parts = |lengths: &[usize]| {
        let parts: Vec<_> = lengths.iter().map(|length| vec![b'a'; *length]).collect();
        fragments(TEXT, &parts)
    };
    let cases = [
        ("frame", &frame_size, parts(&[1000]), parts(&[1001]), frame_error.clone()),
        ("frame of more", &frame_size, parts(&[1000, 1000, 1000]), parts(&[1000, 1001]), frame_error.clone()),
        ("message", &message_size, parts(&[1000]), parts(&[1001]), message_error.clone()),
        ("message in two", &message_size, parts(&[1, 999]), parts(&[1, 1000]), message_error.clone()),
        ("first fragment", &message_size, parts(&[1000, 0]), parts(&[1001, 0]), message_error.clone()),
        ("last fragment", &message_size, parts(&[500, 500, 0]), parts(&[500, 500, 1]), message_error),
        ("fragments", &count, parts(&[1, 1, 1, 1]), parts(&[1, 1, 1, 1, 1]), count_error.clone()),
        ("empty fragments", &count, parts(&[0, 0, 0, 0]), parts(&[0, 0, 0, 0, 0]), count_error),
    ];
    for (name, config, fits, over, error) in cases {
        for role in ROLES {
            let mut end = End::new(role, config);
            let length = fits.iter().map(|frame| frame.payload.len()).sum();
            // Twice: what one message used up is there again for the next.
            for _ in 0..2 {
                end.feed(&bytes_to(role, fits.clone()));
            }
            let expected = Message::from("a".repeat(length));
            assert_eq!(
                (&end.error, end.messages()),
                (&None, vec![expected.clone(), expected]),
                "{role:?}, {name}"
            );

            let bytes = bytes_to(role, over.clone());
            // It fails at the header: the last frame's payload does not have to come.
            let header = bytes.len() - over.last().map_or(0, |frame| frame.payload.len());
            end.feed(&bytes[..header]);
            assert_eq!(end.error.as_ref(), Some(&error), "{role:?}, {name}, one more");
            assert_eq!(end.frames(), [frame(8, 1009_u16.to_be_bytes())], "{role:?}, {name}, one more");
            assert_eq!(end.messages().len(), 2, "{role:?}, {name}, one more");
        }
    }
}

#[test]
fn control_frames_do_not_count_as_fragments() {
    let mut client = End::new(
        Role::Client,
        &config(|config| {
            config.max_fragments = 2;
            config.max_message_size = 4;
        }),
    );
    client.feed_frame(frame(BINARY, "ab").part());
    (0..10).for_each(|_| client.feed_frame(frame(PONG, "longer than 4")));
    client.feed_frame(frame(CONTINUATION, "cd"));
    assert_eq!(client.messages(), [Message::from(b"abcd")]);
}

const TEXTS: &[&str] =
    &["", "a", "é", "€", "🐟", "κόσμε", "a\u{0}b", "\u{FEFF}\u{FFFF}\u{10FFFF}\u{D7FF}\u{E000}", "x🐟é€y"];

#[test]
fn text_may_be_split_at_every_byte() {
    for text in TEXTS {
        for split in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(split);
            for role in ROLES {
                let mut chunks = End::new(role, &config(|_| {}));
                let bytes = frame(TEXT, text).to(role);
                let (first, second) = bytes.split_at(bytes.len() - tail.len());
                chunks.feed(first);
                chunks.feed(second);
                assert_eq!(
                    chunks.messages(),
                    [Message::from(*text)],
                    "{role:?}, {text:?}, chunks at {split}"
                );

                let mut frames = End::new(role, &config(|_| {}));
                frames.feed(&bytes_to(role, fragments(TEXT, &[head, tail])));
                assert_eq!(
                    frames.messages(),
                    [Message::from(*text)],
                    "{role:?}, {text:?}, frames at {split}"
                );
            }
        }
    }
}

/// What no text holds, and how many of its bytes are still fine.
const WRONG: &[(&str, &[u8], usize)] = &[
    ("a continuation byte alone", &[0x80], 0),
    ("an overlong slash", &[0xC0, 0xAF], 0),
    ("0xC1", &[0xC1, 0x80], 0),
    ("ASCII within two bytes", &[0xC3, 0x28], 1),
    ("an overlong form of three bytes", &[0xE0, 0x9F, 0xBF], 1),
    ("a surrogate", &[0xED, 0xA0, 0x80], 1),
    ("the last surrogate", &[0xED, 0xBF, 0xBF], 1),
    ("the third of three bytes", &[0xE2, 0x82, 0x28], 2),
    ("an overlong form of four bytes", &[0xF0, 0x8F, 0xBF, 0xBF], 1),
    ("beyond U+10FFFF", &[0xF4, 0x90, 0x80, 0x80], 1),
    ("the fourth of four bytes", &[0xF0, 0x9F, 0x90, 0x28], 3),
    ("0xF5", &[0xF5, 0x80, 0x80, 0x80], 0),
    ("0xFE", &[0xFE], 0),
    ("0xFF", &[0xFF], 0),
];

#[test]
fn text_fails_at_its_first_wrong_byte() {
    for before in TEXTS {
        for (name, wrong, fine) in WRONG {
            let name = format!("{name}, behind {before:?}");
            let text = [before.as_bytes(), wrong, b"and much more"].concat();
            let fine = before.len() + fine;
            for role in ROLES {
                let mut end = End::new(role, &config(|_| {}));
                let bytes = frame(TEXT, &text).to(role);
                let (head, payload) = bytes.split_at(bytes.len() - text.len());
                end.feed(head);
                for (at, byte) in payload[..=fine].iter().enumerate() {
                    assert_eq!(end.error, None, "{role:?}, {name}, in a frame, at {at}");
                    end.feed(&[*byte]);
                }
                assert_eq!(end.error, Some(Error::TextNotUtf8), "{role:?}, {name}, in a frame");
                assert_eq!(end.frames(), [frame(8, 1007_u16.to_be_bytes())], "{role:?}, {name}, in a frame");

                let mut end = End::new(role, &config(|_| {}));
                for (at, byte) in text[..=fine].iter().enumerate() {
                    assert_eq!(end.error, None, "{role:?}, {name}, in fragments, at {at}");
                    end.feed_frame(frame(if at == 0 { TEXT } else { CONTINUATION }, [*byte]).part());
                }
                assert_eq!(end.error, Some(Error::TextNotUtf8), "{role:?}, {name}, in fragments");
            }
        }
    }
}

#[test]
fn text_must_end_with_a_whole_character() {
    for character in ["é", "€", "🐟"] {
        for length in 1..character.len() {
            let cut = &character.as_bytes()[..length];
            for role in ROLES {
                for parts in [vec![cut], vec![b"ab", cut], vec![cut, b""], cut.chunks(1).collect()] {
                    let mut end = End::new(role, &config(|_| {}));
                    end.feed(&bytes_to(role, fragments(TEXT, &parts)));
                    assert_eq!(end.error, Some(Error::TextNotUtf8), "{role:?}, {parts:x?}");
                    assert_eq!(end.events, [], "{role:?}, {parts:x?}");
                }
            }
        }
    }
}

#[test]
fn a_message_starts_its_text_anew() {
    let mut server = End::server();
    server.feed(&bytes_to(Role::Server, fragments(BINARY, &[b"\xF0\x9F"])));
    server.feed(&bytes_to(Role::Server, fragments(BINARY, &[&b"\xF0\x9F"[..], b"\xFF"])));
    server.feed(&bytes_to(Role::Server, fragments(TEXT, &["κό", "σμε"])));
    server.feed_frame(frame(TEXT, "a"));
    let expected = [
        Message::from(b"\xF0\x9F"),
        Message::from(b"\xF0\x9F\xFF"),
        Message::from("κόσμε"),
        Message::from("a"),
    ];
    assert_eq!((server.error.take(), server.messages()), (None, expected.into()));
    server.feed_frame(frame(TEXT, b"\x90\x90"));
    assert_eq!(server.error, Some(Error::TextNotUtf8));
}

#[test]
fn many_small_fragments_are_cheap() {
    // Quadratic work would be 20,000 million bytes here.
    const COUNT: usize = 200_000;
    let text = "🐟".repeat(COUNT / 4);
    let parts: Vec<_> = text.as_bytes().chunks(1).collect();
    let bytes = bytes_to(Role::Server, fragments(TEXT, &parts));
    let mut server = End::server();
    for chunk in bytes.chunks(4096) {
        server.feed(chunk);
        assert!(server.connection.held() <= 2 * COUNT, "{} bytes held", server.connection.held());
        assert!(server.input.len() < 14, "{} bytes left in the input", server.input.len());
    }
    assert!(server.messages() == [Message::from(text)]);
    assert_eq!(server.connection.held(), 0);
}

#[test]
fn a_message_byte_by_byte_is_cheap() {
    let text = "🐟".repeat(50_000);
    let mut server = End::server();
    frame(TEXT, &text).to(Role::Server).chunks(1).for_each(|byte| server.feed(byte));
    assert!(server.messages() == [Message::from(text)]);
}

#[test]
fn a_gathered_message_takes_at_most_twice_its_limit() {
    for limit in [8, 100, 4096, 100_000] {
        let mut server = End::new(Role::Server, &config(|config| config.max_message_size = limit));
        let mut most = 0;
        server.feed_frame(frame(BINARY, "").part());
        for _ in 0..limit {
            server.feed_frame(frame(CONTINUATION, "a").part());
            most = most.max(server.connection.held());
        }
        assert!(most <= 2 * limit, "{most} bytes for a message of {limit}");
        server.feed_frame(frame(CONTINUATION, ""));
        assert_eq!((server.messages()[0].len(), server.connection.held()), (limit, 0));
    }
}

#[test]
fn a_detached_message_equals_its_origin() {
    let mut server = End::server();
    server.feed_frame(frame(TEXT, "κόσμε"));
    server.feed_frame(frame(BINARY, b"\xFF"));
    for message in server.messages() {
        assert_eq!(message.clone().detach(), message);
        assert_ne!(message.clone().detach().as_bytes().as_ptr(), message.as_bytes().as_ptr());
    }
}
