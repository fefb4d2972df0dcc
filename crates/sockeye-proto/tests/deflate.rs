//! Compressed messages (RFC 7692 sections 6 and 7.2).

mod support;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Buf;
use flate2::{Compress, Compression, FlushCompress};
use sockeye_proto::{BytesMut, Config, Deflate, Event, Message, Output, ProtocolError, Role};
use support::{BINARY, CONTINUATION, End, Frame, KEY, PING, ROLES, TEXT, config, frame};

const RSV1: u8 = 4;

/// What RFC 7692 section 7.2.3.1 makes of "Hello".
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// Settings under which contexts are taken over, and every message is compressed that gets smaller.
fn takeover() -> Deflate {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = Some(false);
    deflate.client_no_context_takeover = Some(false);
    deflate.threshold = 0;
    deflate.level = 6;
    deflate
}

fn no_takeover() -> Deflate {
    let mut deflate = takeover();
    deflate.server_no_context_takeover = Some(true);
    deflate.client_no_context_takeover = Some(true);
    deflate
}

/// An end that has agreed with another of the same settings.
fn end_with(role: Role, deflate: Deflate, change: impl FnOnce(&mut Config)) -> End {
    let config = config(|config| {
        config.deflate = Some(deflate);
        change(config);
    });
    let mut end = End::new(role, &config);
    let (_, agreed) = deflate.answer(&[deflate.offer()]).unwrap();
    end.connection.start_deflate(agreed);
    end
}

fn end(role: Role, deflate: Deflate) -> End {
    end_with(role, deflate, |_| {})
}

/// The first frame of a compressed message.
fn compressed(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    frame(opcode, payload).rsv(RSV1)
}

/// What C zlib makes of a message, as it goes over the wire.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1000);
    let mut deflater = Compress::new_with_window_bits(Compression::new(6), false, 15);
    deflater.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = || Message::from("Hello");
    let long = [&[0x00, 0x05, 0x00, 0xfa, 0xff][..], b"Hello", &[0x00]].concat();
    for (name, frames, expected) in [
        ("7.2.3.1", vec![compressed(TEXT, HELLO)], vec![hello()]),
        (
            "7.2.3.1, fragmented",
            vec![compressed(TEXT, &HELLO[..3]).part(), frame(CONTINUATION, &HELLO[3..])],
            vec![hello()],
        ),
        (
            "7.2.3.2: sharing the window",
            vec![compressed(TEXT, HELLO), compressed(TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00])],
            vec![hello(), hello()],
        ),
        ("7.2.3.3: no compression", vec![compressed(TEXT, &long)], vec![hello()]),
        (
            "7.2.3.4: BFINAL=1",
            vec![compressed(TEXT, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00])],
            vec![hello()],
        ),
        (
            "7.2.3.4, with the window shared afterwards",
            vec![
                compressed(TEXT, [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
                compressed(TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00]),
                compressed(TEXT, HELLO),
            ],
            vec![hello(), hello(), hello()],
        ),
        (
            "7.2.3.5: two blocks",
            vec![compressed(
                TEXT,
                [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            )],
            vec![hello()],
        ),
        ("7.2.3.6: an empty message", vec![compressed(TEXT, [0x00])], vec![Message::from("")]),
        (
            "plain between compressed",
            vec![
                compressed(TEXT, HELLO),
                frame(TEXT, "plain"),
                compressed(TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00]),
            ],
            vec![hello(), "plain".into(), hello()],
        ),
    ] {
        for role in ROLES {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.clone().to(role)).collect();
            for step in [1, 2, 3, bytes.len()] {
                let mut end = end(role, takeover());
                bytes.chunks(step).for_each(|chunk| end.feed(chunk));
                assert_eq!((end.messages(), end.error), (expected.clone(), None), "{name}, {step} at a time");
            }
        }
    }
}

#[test]
fn what_others_send_against_the_letter_is_read_too() {
    for (name, payload, expected) in [
        ("BFINAL=1 without an octet behind it", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], "Hello"),
        ("nothing, which a second flush of zlib gives for an empty message", &[], ""),
        (
            "two streams with BFINAL=1",
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            "HelloHello",
        ),
    ] {
        let mut end = end(Role::Client, no_takeover());
        end.feed_frame(compressed(TEXT, payload));
        end.feed_frame(compressed(TEXT, HELLO));
        assert_eq!(end.messages(), [Message::from(expected), "Hello".into()], "{name}: {:?}", end.error);
    }
}

#[test]
fn what_is_no_deflate_is_1007() {
    let far = {
        // A match that goes 300 bytes back, of which there are five: Hello, then a match.
        let mut deflater = Compress::new_with_window_bits(Compression::new(6), false, 15);
        deflater.set_dictionary(&noise(300)).ok();
        let mut out = Vec::with_capacity(1000);
        deflater.compress_vec(&noise(300), &mut out, FlushCompress::Sync).unwrap();
        assert!(out.len() < 100);
        out.truncate(out.len() - 4);
        out
    };
    for (name, payload) in [
        ("a reserved block type", &[0x06][..]),
        ("a match before the beginning", &[0x02, 0x06, 0x00]),
        ("a match into what another connection sent", &far),
        ("cut off within a block", &HELLO[..4]),
        ("cut off within a stored block", &[0x00, 0x05, 0x00, 0xfa, 0xff, b'H']),
        ("lengths that differ", &[0x00, 0x05, 0x00, 0x05, 0x00, b'H']),
        ("with the four octets left on", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff]),
        ("noise", &noise(1000)),
    ] {
        // So that the thread's inflater holds what is not ours to see.
        end(Role::Client, takeover()).feed_frame(compressed(BINARY, deflated(&noise(300))));
        for (role, deflate) in ROLES.into_iter().flat_map(|role| [(role, takeover()), (role, no_takeover())])
        {
            let mut end = end(role, deflate);
            end.feed_frame(compressed(BINARY, payload));
            assert_eq!(end.error, Some(ProtocolError::CompressedData), "{name}: {:?}", end.messages());
            let close = end.frames().pop().unwrap();
            assert_eq!(close.payload, 1007_u16.to_be_bytes(), "{name}");
        }
    }
}

#[test]
fn without_takeover_nothing_is_remembered() {
    let mut end = end(Role::Server, no_takeover());
    end.feed_frame(compressed(TEXT, HELLO));
    end.feed_frame(compressed(TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00]));
    assert_eq!((end.messages().len(), end.error), (1, Some(ProtocolError::CompressedData)));
}

#[test]
fn reserved_bits_only_where_they_mean_something() {
    let fine = compressed(TEXT, HELLO);
    for (name, frames) in [
        ("a control frame", vec![compressed(PING, HELLO)]),
        ("a continuation", vec![fine.clone().part(), compressed(CONTINUATION, "")]),
        ("a continuation of a plain message", vec![frame(TEXT, "a").part(), compressed(CONTINUATION, HELLO)]),
        ("RSV2", vec![frame(TEXT, HELLO).rsv(2)]),
        ("RSV1 and RSV3", vec![frame(TEXT, HELLO).rsv(5)]),
    ] {
        for role in ROLES {
            let mut end = end(role, takeover());
            for frame in &frames {
                end.feed_frame(frame.clone());
            }
            assert_eq!(end.error, Some(ProtocolError::ReservedBits), "{name}");
        }
    }
    let mut plain = End::new(Role::Client, &config(|_| {}));
    plain.feed_frame(fine);
    assert_eq!(plain.error, Some(ProtocolError::ReservedBits), "without the extension");
}

#[test]
fn text_is_checked_after_inflating_and_fails_fast() {
    let mut bad = "κόσμε".repeat(100).into_bytes();
    bad.push(0xff);
    bad.extend("κόσμε".repeat(100).bytes());
    let whole = deflated(&bad);
    let mut end_whole = end(Role::Server, takeover());
    end_whole.feed_frame(compressed(TEXT, &whole));
    assert_eq!(end_whole.error, Some(ProtocolError::TextNotUtf8));
    // A stored block, so that it is known which byte is where.
    let text = [&[0x00, 0xff, 0x00, 0x00, 0xff][..], &[b'a'; 100], &[0xff]].concat();
    let mut early = end(Role::Server, takeover());
    let bytes = compressed(TEXT, [&text[..], &[b'a'; 154], &[0]].concat()).to(Role::Server);
    let head = bytes.len() - 154 - 1;
    early.feed(&bytes[..head - 1]);
    assert_eq!(early.error, None);
    early.feed(&bytes[head - 1..head]);
    assert_eq!(early.error, Some(ProtocolError::TextNotUtf8), "at the byte that is wrong");
    // Behind it, what is no deflate: however the bytes come, it is the text that was wrong first.
    let both = [&text[..], &[b'a'; 154], &[0x06]].concat();
    for step in [1, 7, 1000] {
        let mut end = end(Role::Server, takeover());
        let bytes = compressed(TEXT, &both).to(Role::Server);
        bytes.chunks(step).for_each(|chunk| end.feed(chunk));
        assert_eq!(end.error, Some(ProtocolError::TextNotUtf8), "{step} bytes at a time");
    }
    let mut cut = end(Role::Server, takeover());
    cut.feed_frame(compressed(TEXT, deflated(&"κ".as_bytes()[..1])));
    assert_eq!(cut.error, Some(ProtocolError::TextNotUtf8), "cut off within a character");
}

#[test]
fn the_limit_holds_for_what_comes_out() {
    const LIMIT: usize = 100_000;
    let limited = |config: &mut Config| config.max_message_size = LIMIT;
    for (length, fits) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false), (50 << 20, false)] {
        let payload = deflated(&vec![0; length]);
        for fragments in [1, 3] {
            let mut end = end_with(Role::Server, takeover(), limited);
            let step = payload.len().div_ceil(fragments);
            let (mut opcode, mut rsv, mut most) = (BINARY, RSV1, 0);
            for (i, part) in payload.chunks(step).enumerate() {
                let is_last = (i + 1) * step >= payload.len();
                end.feed_frame(Frame { fin: is_last, ..frame(opcode, part).rsv(rsv) });
                most = most.max(end.connection.held());
                (opcode, rsv) = (CONTINUATION, 0);
                if end.error.is_some() {
                    break;
                }
            }
            assert!(most <= 2 * LIMIT + (96 << 10) + (64 << 10), "{most} bytes held");
            if fits {
                assert_eq!(end.messages(), [Message::from(vec![0; length])]);
            } else {
                assert_eq!(end.error, Some(ProtocolError::MessageTooBig { limit: LIMIT }));
            }
        }
    }
    // Incompressible, and therefore longer when compressed than the limit.
    let message = noise(LIMIT);
    let payload = deflated(&message);
    assert!(payload.len() > LIMIT);
    let mut end = end_with(Role::Server, takeover(), limited);
    end.feed_frame(compressed(BINARY, payload));
    assert_eq!((end.messages(), end.error), (vec![message.into()], None));
}

#[test]
fn a_message_goes_compressed_if_that_makes_it_smaller() {
    let text = "to be or not to be, ".repeat(20);
    for role in ROLES {
        let mut high = takeover();
        high.threshold = text.len() + 1;
        for (name, deflate, message, is_compressed) in [
            ("text", takeover(), Message::from(text.as_str()), true),
            ("nothing", takeover(), "".into(), false),
            ("one byte", no_takeover(), "a".into(), false),
            ("noise", no_takeover(), noise(1000).into(), false),
            ("much noise", takeover(), noise(100_000).into(), false),
            ("much", no_takeover(), vec![0; 1 << 20].into(), true),
            ("under the threshold", high, text.as_str().into(), false),
        ] {
            let mut end = end(role, deflate);
            end.send(message.clone()).unwrap();
            end.connection.send_uncompressed(message.clone(), &mut end.output).unwrap();
            end.send(message.clone()).unwrap();
            let frames = end.frames();
            let rsv: Vec<u8> = frames.iter().map(|frame| frame.rsv).collect();
            let expected = if is_compressed { RSV1 } else { 0 };
            assert_eq!(rsv, [expected, 0, expected], "{name}");
            assert_eq!(frames[1].payload, message.as_bytes(), "{name}");
            if is_compressed {
                assert!(frames[0].payload.len() < message.len(), "{name}");
            }
        }
    }
}

#[test]
fn short_messages_teach_the_context() {
    let mut end = end(Role::Server, takeover());
    let lengths: Vec<_> = (0..4)
        .map(|i| {
            end.send(format!("{{\"px\":{i}}}")).unwrap();
            end.frames()[0].payload.len()
        })
        .collect();
    assert!(lengths[0] <= 8 + 8 && lengths[1..].iter().all(|length| *length < 8), "{lengths:?}");
}

#[test]
fn our_hello_is_that_of_the_rfc() {
    let mut end = end(Role::Server, takeover());
    let text = "Hello, Hello, Hello";
    end.send(text).unwrap();
    end.send(text).unwrap();
    let frames = end.frames();
    assert!(frames.iter().all(|frame| frame.rsv == RSV1 && frame.payload[0] & 1 == 0), "no BFINAL");
    assert!(frames[1].payload.len() < frames[0].payload.len(), "the window is shared");
    let mut forgetful = self::end(Role::Server, no_takeover());
    forgetful.send(text).unwrap();
    forgetful.send(text).unwrap();
    let frames = forgetful.frames();
    assert_eq!(frames[0].payload, frames[1].payload);
}

#[test]
fn fragments_are_those_of_the_compressed_payload() {
    let text = "to be or not to be, that is the question ".repeat(50);
    let mut sender = end_with(Role::Client, takeover(), |config| config.fragment_size = Some(10));
    sender.send(text.as_str()).unwrap();
    sender.ping("p").unwrap();
    let frames = sender.frames();
    let (ping, data) = frames.split_last().unwrap();
    assert_eq!((ping.opcode, ping.rsv), (PING, 0));
    assert!(data.len() > 2 && data[..data.len() - 1].iter().all(|frame| frame.payload.len() == 10));
    let heads: Vec<_> = data.iter().map(|frame| (frame.opcode, frame.rsv, frame.fin)).collect();
    assert_eq!(heads[0], (TEXT, RSV1, false));
    assert!(heads[1..heads.len() - 1].iter().all(|head| *head == (CONTINUATION, 0, false)));
    assert_eq!(heads[heads.len() - 1], (CONTINUATION, 0, true));
    let mut receiver = end(Role::Server, takeover());
    for frame in data {
        receiver.feed(&frame.clone().masked(KEY).bytes());
    }
    assert_eq!(receiver.messages(), [Message::from(text)]);
}

#[test]
fn control_frames_come_between_compressed_fragments() {
    let mut end = end(Role::Client, takeover());
    end.feed_frame(compressed(TEXT, &HELLO[..2]).part());
    end.feed_frame(frame(PING, "p"));
    end.feed_frame(frame(CONTINUATION, &HELLO[2..]));
    assert_eq!(end.messages(), [Message::from("Hello")]);
    assert_eq!(end.events.len(), 2);
}

#[test]
fn a_context_is_let_go_after_a_quiet_time_and_keepalive_goes_on() {
    let second = Duration::from_secs(1);
    let mut deflate = takeover();
    deflate.quiet = Some(5 * second);
    let mut end = end_with(Role::Server, deflate, |config| {
        config.ping_interval = Some(20 * second);
        config.ping_timeout = Some(20 * second);
    });
    let text = "whether 'tis nobler in the mind to suffer the slings and arrows of outrageous fortune";
    let start = end.now;
    let length = |end: &mut End| {
        end.send(text).unwrap();
        end.frames()[0].payload.len()
    };
    assert_eq!(end.connection.deadline(), Some(start + 20 * second), "nothing to let go");
    let first = length(&mut end);
    assert_eq!(end.connection.deadline(), Some(start + 5 * second));
    assert!(length(&mut end) < first, "the context is taken over");
    end.tick(start + 5 * second);
    assert_eq!(end.connection.deadline(), Some(start + 10 * second), "it was used");
    assert!(length(&mut end) < first);
    end.tick(start + 10 * second);
    end.tick(start + 15 * second);
    assert_eq!(end.connection.deadline(), Some(start + 20 * second), "it is gone, keepalive is next");
    assert!(end.frames().is_empty());
    end.tick(start + 20 * second);
    assert_eq!(end.frames()[0].opcode, PING);
    assert_eq!(length(&mut end), first, "begun anew");
    end.tick(start + 40 * second);
    assert!(end.pong_timeout.is_some());
    assert_eq!(end.connection.deadline(), None);
}

#[test]
fn the_window_is_what_is_held_between_messages() {
    for bits in 8..=15 {
        let mut deflate = takeover();
        (deflate.client_max_window_bits, deflate.server_max_window_bits) = (bits, bits);
        let mut forgetful = no_takeover();
        (forgetful.client_max_window_bits, forgetful.server_max_window_bits) = (bits, bits);
        for role in ROLES {
            let (mut keeps, mut forgets) = (end(role, deflate), end(role, forgetful));
            assert_eq!(keeps.connection.held_contexts(), 0, "before the first compressed message");
            for length in [10, 1000, 100_000, 3] {
                for end in [&mut keeps, &mut forgets] {
                    end.feed_frame(compressed(BINARY, deflated(&vec![b'x'; length])));
                    assert_eq!(end.error, None);
                }
                let held = keeps.connection.held_contexts();
                assert!((1..=1 << bits).contains(&held), "{bits}: {held}");
                assert_eq!((forgets.connection.held_contexts(), forgets.connection.held()), (0, 0));
            }
        }
    }
}

#[test]
fn a_connection_that_agreed_on_nothing_sends_plain() {
    let mut end = End::new(Role::Server, &Arc::new(Config::default()));
    end.send("a".repeat(10_000)).unwrap();
    assert_eq!(end.frames()[0].rsv, 0);
}

#[test]
fn nothing_is_allocated_in_the_steady_state() {
    // A small window, which is filled soon.
    let mut keeps = takeover();
    (keeps.server_max_window_bits, keeps.client_max_window_bits) = (9, 9);
    for (deflate, size) in [no_takeover(), keeps].into_iter().flat_map(|d| [200, 16 << 10].map(|s| (d, s))) {
        let count = |messages: usize| {
            let (mut client, mut server) = (end(Role::Client, deflate), end(Role::Server, deflate));
            let text = Message::from(words(size));
            (client.input, server.input) =
                (BytesMut::with_capacity(1 << 20), BytesMut::with_capacity(1 << 20));
            let info = measure(|| {
                for _ in 0..messages {
                    for (from, to) in [(true, false), (false, true)] {
                        let ends = (&mut client, &mut server);
                        let (from, to) = if from && !to { ends } else { (ends.1, ends.0) };
                        from.send(text.clone()).unwrap();
                        while from.output.has_remaining() {
                            let chunk = from.output.chunk();
                            to.input.extend_from_slice(chunk);
                            let length = chunk.len();
                            from.output.advance(length);
                        }
                        let event = to.connection.receive(&mut to.input, &mut to.output, || to.now).unwrap();
                        assert_eq!(event, Some(Event::Message(text.clone())));
                    }
                }
            });
            info.count_total
        };
        count(10);
        let (few, many) = (count(10), count(60));
        assert!(many <= few + 4, "{size} bytes: {few} allocations, then {many}");
    }
}

/// Text that compresses to a third or so.
fn words(size: usize) -> String {
    let words = noise(size).into_iter().map(|byte| ["be ", "or ", "not ", "to "][usize::from(byte % 4)]);
    let mut text: String = words.collect();
    text.truncate(size);
    text
}

#[test]
fn what_a_deflater_is_said_to_hold_is_what_it_allocates() {
    for (bits, mem_level) in [(9, 1), (11, 4), (15, 8), (15, 9)] {
        let mut deflate = takeover();
        (deflate.server_max_window_bits, deflate.client_max_window_bits) = (bits, bits);
        deflate.mem_level = mem_level;
        let mut sender = end(Role::Server, deflate);
        assert_eq!(sender.connection.held_contexts(), 0, "before the first message");
        // What is the thread's is there afterwards.
        end(Role::Server, deflate).send("the same again, ".repeat(100)).unwrap();
        let info = measure(|| {
            sender.send("the same again, ".repeat(100)).unwrap();
            sender.output = Output::new();
        });
        let (held, allocated) = (sender.connection.held_contexts(), info.bytes_current);
        let difference = i64::try_from(held).unwrap() - allocated;
        assert!(difference.abs() < 2 << 10, "{bits}, {mem_level}: {held} is told of {allocated} bytes");
    }
}
