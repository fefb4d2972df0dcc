//! Messages in parts: received as their bytes come, sent without their length being known.

mod support;

use bytes::{Bytes, BytesMut};
use sockeye_proto::{
    ApiMisuse, CloseCode, Event, Message, MessageKind, Part, ProtocolError, Role, SendError,
};
use support::{BINARY, CLOSE, CONTINUATION, End, Frame, PING, PONG, ROLES, TEXT, config, frame};

/// What comes of `bytes` in parts, without control frames: the text or bytes of each part, and a bar behind the last one.
fn parts(end: &mut End, bytes: &[u8]) -> Vec<String> {
    end.feed_for_parts(bytes);
    let parts = std::mem::take(&mut end.events).into_iter().filter_map(|event| match event {
        Event::Part(Part { data, last, .. }) => {
            let data = String::from_utf8_lossy(data.as_bytes()).into_owned();
            Some(if last { data + "|" } else { data })
        }
        Event::Message(message) => panic!("a whole message: {message:?}"),
        _ => None,
    });
    parts.collect()
}

/// What it is, the bytes as they come, and the parts that each piece of them gives.
type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [&'a [&'a str]]);

#[test]
fn parts_follow_the_bytes_and_not_the_frames() {
    let fish = "🐟".as_bytes();
    let cases: [Case; 9] = [
        ("a message at once", vec![frame(TEXT, "hello").bytes()], &[&["hello|"]]),
        ("an empty message", vec![frame(BINARY, "").bytes()], &[&["|"]]),
        (
            "a frame in three pieces",
            vec![b"\x82\x05".to_vec(), b"he".to_vec(), b"llo".to_vec()],
            &[&[], &["he"], &["llo|"]],
        ),
        (
            "fragments that came at once",
            vec![[frame(TEXT, "a").part().bytes(), frame(CONTINUATION, "b").bytes()].concat()],
            &[&["a", "b|"]],
        ),
        (
            "an empty last fragment",
            vec![frame(BINARY, "ab").part().bytes(), frame(CONTINUATION, "").bytes()],
            &[&["ab"], &["|"]],
        ),
        (
            "empty fragments only",
            vec![frame(BINARY, "").part().bytes(), frame(CONTINUATION, "").bytes()],
            &[&[], &["|"]],
        ),
        (
            "a ping between fragments",
            vec![
                frame(TEXT, "a").part().bytes(),
                [frame(PING, "p").bytes(), frame(CONTINUATION, "b").bytes()].concat(),
            ],
            &[&["a"], &["b|"]],
        ),
        (
            "a character in two fragments",
            vec![
                frame(TEXT, [b"a", &fish[..3]].concat()).part().bytes(),
                frame(CONTINUATION, [&fish[3..], b"b"].concat()).bytes(),
            ],
            &[&["a"], &["🐟b|"]],
        ),
        (
            "a character a byte at a time",
            vec![
                frame(TEXT, &fish[..1]).part().bytes(),
                frame(CONTINUATION, &fish[1..2]).part().bytes(),
                frame(CONTINUATION, &fish[2..]).part().bytes(),
                frame(CONTINUATION, "").bytes(),
            ],
            &[&[], &[], &["🐟"], &["|"]],
        ),
    ];
    for (name, pieces, expected) in cases {
        let mut end = End::client();
        for (piece, expected) in pieces.iter().zip(expected) {
            assert_eq!(parts(&mut end, piece), *expected, "{name}");
        }
        assert_eq!(end.error, None, "{name}");
        assert_eq!(parts(&mut end, &frame(TEXT, "next").bytes()), ["next|"], "{name}, and the next");
    }
}

#[test]
fn text_fails_at_the_first_byte_that_no_text_can_hold() {
    let cases: [(&str, &[&[u8]], usize); 5] = [
        ("a wrong byte", &[b"ab\xFFcd"], 3),
        ("a surrogate", &[b"\xED\xA0\x80"], 2),
        ("in the next frame", &[b"a\xF0\x9F", b"\x90a"], 2),
        ("a character that does not end", &[b"\xF0\x9F\x90"], 3),
        ("one that does not end in its frame", &[b"\xCE", b""], 0),
    ];
    for (name, fragments, at) in cases {
        let mut end = End::client();
        let (last, others) = fragments.split_last().unwrap();
        let mut opcode = TEXT;
        for fragment in others {
            end.feed_for_parts(&frame(std::mem::take(&mut opcode), fragment).part().bytes());
        }
        let bytes = frame(opcode, last).bytes();
        for byte in &bytes[..=at] {
            end.feed_for_parts(&[*byte]);
            assert_eq!(end.error, None, "{name}, too early");
        }
        end.feed_for_parts(&bytes[1 + at..2 + at]);
        assert_eq!(end.error, Some(ProtocolError::TextNotUtf8), "{name}");
        assert_eq!(end.frames().last().unwrap().payload, support::close_payload(1007, ""), "{name}");
    }
}

#[test]
fn no_limit_on_length_applies_to_parts() {
    let tight = config(|config| {
        (config.max_message_size, config.max_frame_size, config.max_fragments) = (10, 10, 2);
        config.deflate = None;
    });
    let mut end = End::new(Role::Client, &tight);
    // 2^62 bytes are declared.
    end.feed_for_parts(b"\x02\x7F\x40\0\0\0\0\0\0\0");
    for _ in 0..1000 {
        assert_eq!(parts(&mut end, &[b'x'; 1000]), ["x".repeat(1000)]);
        assert!(end.connection.held() == 0 && end.input.is_empty());
    }
    let mut end = End::new(Role::Client, &tight);
    end.feed_for_parts(&frame(BINARY, "x").part().bytes());
    for _ in 0..100 {
        end.feed_for_parts(&frame(CONTINUATION, "y".repeat(20)).part().bytes());
    }
    assert_eq!((end.error.clone(), end.events.len()), (None, 101));
    // The rest is thrown away, and is bound by no limit either.
    end.feed(&frame(CONTINUATION, "y".repeat(20)).bytes());
    end.feed(&frame(TEXT, "0123456789").bytes());
    assert_eq!(end.messages(), [Message::from("0123456789")]);
    end.feed(&frame(TEXT, "0123456789A").bytes());
    assert_eq!(end.error, Some(ProtocolError::FrameTooBig { length: 11, limit: 10 }));
}

#[test]
fn a_message_whose_header_alone_was_read_for_parts_is_had_whole_or_is_too_big() {
    for (length, limit, fits) in [(5_u8, 10, true), (11, 10, false)] {
        let mut end = End::new(Role::Client, &config(|config| config.max_message_size = limit));
        end.feed_for_parts(&[0x81, length]);
        end.feed(&vec![b'a'; length.into()]);
        if fits {
            assert_eq!(end.messages(), [Message::from("aaaaa")]);
        } else {
            assert_eq!(end.error, Some(ProtocolError::MessageTooBig { limit }));
        }
    }
    // Two bytes of a character are more than fits already.
    let mut end = End::new(Role::Client, &config(|config| config.max_message_size = 1));
    end.feed_for_parts(&frame(TEXT, &"🐟".as_bytes()[..2]).part().bytes());
    end.feed(&frame(CONTINUATION, &"🐟".as_bytes()[2..]).bytes());
    assert_eq!(end.error, Some(ProtocolError::MessageTooBig { limit: 1 }));
}

#[test]
fn the_two_ways_take_turns() {
    let whole = frame(TEXT, "κόσμε κόσμε").bytes();
    for split in 2..whole.len() {
        // What was gathered is the first part.
        let mut end = End::client();
        end.feed(&whole[..split]);
        assert_eq!(end.messages(), []);
        let mut got = parts(&mut end, b"");
        got.extend(parts(&mut end, &whole[split..]));
        assert_eq!(got.concat(), "κόσμε κόσμε|", "split at {split}");
        // What is left is thrown away, if a part was handed out.
        let mut end = End::client();
        let began = !parts(&mut end, &whole[..split]).is_empty();
        end.feed(&whole[split..]);
        end.feed(&frame(TEXT, "next").bytes());
        let messages = [Message::from("κόσμε κόσμε"), Message::from("next")];
        assert_eq!(end.messages(), messages[usize::from(began)..], "split at {split}");
    }
    let mut end = End::client();
    end.feed(&frame(BINARY, "ab").part().bytes());
    assert_eq!(parts(&mut end, b""), ["ab"]);
    end.feed(&[frame(CONTINUATION, "cd").part().bytes(), frame(PING, "").bytes()].concat());
    assert_eq!(end.events, [Event::Ping(Bytes::new())]);
    end.feed(&frame(CONTINUATION, "ef").bytes());
    assert_eq!(parts(&mut end, &frame(BINARY, "next").bytes()), ["next|"]);
}

#[test]
fn what_is_thrown_away_is_checked_all_the_same() {
    let mut end = End::client();
    assert_eq!(parts(&mut end, &frame(TEXT, "ab").part().bytes()), ["ab"]);
    end.feed(&frame(CONTINUATION, b"\xFF").part().bytes());
    assert_eq!(end.error, Some(ProtocolError::TextNotUtf8));
    let mut end = End::client();
    assert_eq!(parts(&mut end, &frame(TEXT, "ab").part().bytes()), ["ab"]);
    end.feed(&frame(TEXT, "").bytes());
    assert_eq!(end.error, Some(ProtocolError::DataInterleaved));
}

#[test]
fn control_frames_can_be_had_alone() {
    let mut end = End::client();
    let control = |end: &mut End, bytes: &[u8]| {
        end.input.extend_from_slice(bytes);
        let End { connection, input, output, now, .. } = end;
        connection.receive_control(input, output, || *now)
    };
    let ping = frame(PING, "1").bytes();
    assert_eq!(control(&mut end, &ping), Ok(Some(Event::Ping("1".into()))));
    assert_eq!(end.frames(), [frame(PONG, "1")]);
    assert_eq!(control(&mut end, &ping[..2]), Ok(None));
    assert_eq!(control(&mut end, &ping[2..]), Ok(Some(Event::Ping("1".into()))));
    assert_eq!(control(&mut end, &frame(TEXT, "a").part().bytes()), Ok(None));
    assert_eq!(control(&mut end, &frame(PING, "2").bytes()), Ok(None), "data comes first");
    end.pump();
    assert_eq!(end.events, [Event::Ping("2".into())]);
    assert_eq!(control(&mut end, &frame(PING, "3").bytes()), Ok(Some(Event::Ping("3".into()))));
    assert_eq!(control(&mut end, &frame(CONTINUATION, "b").bytes()[..2]), Ok(None));
    end.feed(b"b");
    assert_eq!(end.messages(), [Message::from("ab")]);
    assert_eq!(control(&mut end, &frame(CLOSE, "").bytes()), Ok(Some(Event::Close(None))));
    assert!(!end.connection.is_open());
}

#[test]
fn parts_are_sent_as_fragments() {
    for role in ROLES {
        let mut end = End::new(role, &config(|_| {}));
        end.send_part("a", false).unwrap();
        assert_eq!(end.connection.unfinished(), Some(MessageKind::Text));
        end.ping("p").unwrap();
        end.send_part("", false).unwrap();
        end.send_part("b", false).unwrap();
        end.send_part("", true).unwrap();
        assert_eq!(end.connection.unfinished(), None);
        end.send_part(b"c", true).unwrap();
        let expected = [
            frame(TEXT, "a").part(),
            frame(PING, "p"),
            frame(CONTINUATION, "b").part(),
            frame(CONTINUATION, ""),
            frame(BINARY, "c"),
        ];
        assert_eq!(end.frames(), expected, "{role:?}");
    }
    let mut end = End::new(Role::Server, &config(|config| config.fragment_size = Some(2)));
    end.send_part("abc", false).unwrap();
    end.send_part("def", true).unwrap();
    let payloads: Vec<_> =
        end.frames().into_iter().map(|frame| (frame.opcode, frame.fin, frame.payload)).collect();
    let expected = [(TEXT, "ab"), (CONTINUATION, "c"), (CONTINUATION, "de")]
        .map(|(opcode, payload)| (opcode, false, payload.into()));
    assert_eq!(payloads, [&expected[..], &[(CONTINUATION, true, "f".into())]].concat());
}

#[test]
fn what_may_not_follow_a_part_is_refused_and_nothing_is_sent() {
    type Call = fn(&mut End) -> Result<(), SendError>;
    const TEXT_KIND: MessageKind = MessageKind::Text;
    let letter = (&b"a"[..], "b", &b"b"[..]);
    let half_a_fish = (&b"\xF0\x9F"[..], "🐟", &b"\x90\x9F"[..]);
    let cases: [(&str, _, Call, ApiMisuse); 10] = [
        ("a message", letter, |end| end.send("b"), ApiMisuse::MessageUnfinished),
        (
            "a plain message",
            letter,
            |end| end.connection.send_uncompressed("b".into(), &mut end.output),
            ApiMisuse::MessageUnfinished,
        ),
        ("another kind", letter, |end| end.send_part(b"b", false), ApiMisuse::PartKind),
        ("another kind, empty and last", letter, |end| end.send_part(b"", true), ApiMisuse::PartKind),
        (
            "a chunk of another kind",
            letter,
            |end| end.send_chunk(MessageKind::Binary, b"b", false),
            ApiMisuse::PartKind,
        ),
        (
            "a chunk of no text",
            letter,
            |end| end.send_chunk(TEXT_KIND, b"\xFF", false),
            ApiMisuse::TextNotUtf8,
        ),
        (
            "half a character at the end",
            letter,
            |end| end.send_chunk(TEXT_KIND, b"b\xCE", true),
            ApiMisuse::TextNotUtf8,
        ),
        ("a part behind half a one", half_a_fish, |end| end.send_part("b", false), ApiMisuse::TextNotUtf8),
        ("the end behind half a one", half_a_fish, |end| end.send_part("", true), ApiMisuse::TextNotUtf8),
        (
            "another half",
            half_a_fish,
            |end| end.send_chunk(TEXT_KIND, b"\xF0", false),
            ApiMisuse::TextNotUtf8,
        ),
    ];
    for (name, (before, whole, rest), call, error) in cases {
        let mut end = End::server();
        end.send_chunk(TEXT_KIND, before, false).unwrap();
        end.write_all();
        assert_eq!(call(&mut end), Err(error.into()), "{name}");
        assert!(end.frames().is_empty(), "{name}");
        // The message goes on where it was.
        assert_eq!(end.connection.unfinished(), Some(TEXT_KIND), "{name}");
        end.send_chunk(TEXT_KIND, rest, true).unwrap();
        assert_eq!(end.frames(), [frame(CONTINUATION, whole)], "{name}");
        end.send("next").unwrap();
    }
}

#[test]
fn a_close_may_come_before_the_last_part() {
    let mut end = End::server();
    end.send_part("a", false).unwrap();
    end.close(Some(&support::close_frame(1011, ""))).unwrap();
    assert_eq!(end.send_part("b", true), Err(SendError::Closed));
    let opcodes: Vec<_> = end.frames().into_iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [TEXT, CLOSE]);
    end.feed_frame(frame(CLOSE, support::close_payload(1011, "")));
    assert_eq!(end.info().code, CloseCode::INTERNAL_ERROR);
}

#[test]
fn chunks_of_text_go_in_whole_characters() {
    let text = "aé€🐟";
    for size in 1..=text.len() {
        let mut end = End::server();
        for chunk in text.as_bytes().chunks(size) {
            end.send_chunk(MessageKind::Text, chunk, false).unwrap();
        }
        end.send_chunk(MessageKind::Text, b"", true).unwrap();
        let frames = end.frames();
        assert!(frames.iter().all(|frame: &Frame| std::str::from_utf8(&frame.payload).is_ok()), "{frames:?}");
        let payload: Vec<u8> = frames.into_iter().flat_map(|frame| frame.payload).collect();
        assert_eq!(payload, text.as_bytes(), "{size} bytes at a time");
    }
}

#[test]
fn a_part_holds_no_block_for_a_few_bytes() {
    let mut end = End::client();
    end.input = BytesMut::with_capacity(1 << 16);
    end.feed_for_parts(&frame(TEXT, &"🐟".as_bytes()[..3]).part().bytes());
    assert!(end.connection.held() <= 64, "{} bytes", end.connection.held());
    assert!(end.input.try_reclaim(1 << 15), "the block is in use");
}
