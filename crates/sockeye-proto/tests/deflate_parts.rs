//! Compressed messages in parts (RFC 7692 section 7.2).

mod support;

use std::time::Duration;

use allocation_counter::measure;
use flate2::{Compress, Compression, FlushCompress};
use sockeye_proto::{Deflate, Event, Message, MessageKind, Part, ProtocolError, Role};
use support::{BINARY, CONTINUATION, End, Frame, PING, ROLES, TEXT, config, frame};

const RSV1: u8 = 4;

/// The most that a part of an inflated message holds.
const MOST: usize = 32 << 10;

fn deflate(takes_over: bool) -> Deflate {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = Some(!takes_over);
    deflate.client_no_context_takeover = Some(!takes_over);
    deflate
}

/// An end that has agreed with another of the same settings.
fn end(role: Role, deflate: Deflate) -> End {
    let mut end = End::new(role, &config(|config| config.deflate = Some(deflate)));
    let (_, agreed) = deflate.answer(&[deflate.offer()]).unwrap();
    end.connection.start_deflate(agreed);
    end
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

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The next part, if one is there.
fn next(end: &mut End) -> Result<Option<Part>, ProtocolError> {
    let End { connection, input, output, now, .. } = end;
    match connection.receive_part(input, output, || *now)? {
        Some(Event::Part(part)) => Ok(Some(part)),
        Some(other) => panic!("{other:?}"),
        None => Ok(None),
    }
}

#[test]
fn a_bomb_comes_in_parts_that_are_small() {
    const SIZE: usize = 64 << 20;
    let bomb = deflated(&vec![0; SIZE]);
    for fragments in [1, 3] {
        let mut end = end(Role::Client, deflate(true));
        let (mut opcode, mut rsv) = (BINARY, RSV1);
        for chunk in bomb.chunks(bomb.len() / fragments + 1) {
            let frame = frame(std::mem::take(&mut opcode), chunk).rsv(std::mem::take(&mut rsv)).part();
            end.input.extend_from_slice(&frame.bytes());
        }
        end.input.extend_from_slice(&frame(CONTINUATION, "").bytes());
        end.input.extend_from_slice(&frame(TEXT, "next").bytes());
        let (mut size, mut ended) = (0, false);
        let info = measure(|| {
            while !ended {
                let part = next(&mut end).unwrap().expect("the rest is there");
                assert!(part.data.len() <= MOST && part.data.as_bytes().iter().all(|byte| *byte == 0));
                (size, ended) = (size + part.data.len(), part.last);
                assert!(end.connection.held() <= (64 << 10) + (48 << 10) + MOST, "{}", end.connection.held());
            }
        });
        assert_eq!(size, SIZE);
        assert!(info.bytes_max <= 300 << 10, "{} bytes at the most", info.bytes_max);
        assert_eq!(next(&mut end).unwrap().unwrap().data, Message::from("next"));
    }
}

#[test]
fn what_is_left_of_a_bomb_is_thrown_away_in_small_steps() {
    let mut end = end(Role::Client, deflate(true));
    end.input.extend_from_slice(&frame(BINARY, deflated(&vec![0; 20 << 20])).rsv(RSV1).bytes());
    assert!(next(&mut end).unwrap().unwrap().data.len() <= MOST);
    let info = measure(|| end.pump());
    assert!(info.bytes_max <= 300 << 10, "{} bytes at the most", info.bytes_max);
    assert!(end.events.is_empty() && end.error.is_none() && end.input.is_empty());
    // The context is what it was, and so is the limit for what is had whole.
    end.feed(&frame(TEXT, "next").bytes());
    assert_eq!(end.messages(), [Message::from("next")]);
    end.feed(&frame(BINARY, deflated(&vec![0; 20 << 20])).rsv(RSV1).bytes());
    assert_eq!(end.error, Some(ProtocolError::MessageTooBig { limit: 16 << 20 }));
}

#[test]
fn text_comes_in_whole_characters() {
    let text = "aκόσμε🐟".repeat(20_000);
    let bytes = frame(TEXT, deflated(text.as_bytes())).rsv(RSV1).bytes();
    for size in [1, 7, 1000, bytes.len()] {
        let mut end = end(Role::Client, deflate(false));
        let (mut got, mut parts) = (String::new(), 0);
        for chunk in bytes.chunks(size) {
            end.input.extend_from_slice(chunk);
            while let Some(part) = next(&mut end).unwrap() {
                assert!(part.data.len() <= MOST + 3 && (part.last || !part.data.is_empty()));
                got.push_str(part.data.as_text().unwrap());
                parts += 1;
            }
        }
        assert!(got == text && parts > 8, "{parts} parts");
    }
}

#[test]
fn a_stream_in_the_midst_may_refer_to_what_was_handed_out() {
    // RFC 7692 section 7.2.3.4: blocks with BFINAL set; what comes behind is another stream, with the same window.
    let first = noise(1, 100_000);
    let (mut payload, mut expected) = (Vec::new(), Vec::<u8>::new());
    for (i, window) in [&first[..0], &first[100_000 - (32 << 10)..]].into_iter().enumerate() {
        let message = if i == 0 { &first[..] } else { &first[70_000..] };
        let mut deflater = zlib_rs::Deflate::new(6, false, 15);
        if !window.is_empty() {
            deflater.set_dictionary(window).unwrap();
        }
        let mut out = vec![0; 200_000];
        deflater.compress(message, &mut out, zlib_rs::DeflateFlush::Finish).unwrap();
        out.truncate(usize::try_from(deflater.total_out()).unwrap());
        assert!(i == 0 || out.len() < 1000, "it refers to what came before");
        payload.extend(out);
        expected.extend(message);
    }
    payload.push(0);
    let bytes = frame(BINARY, payload).rsv(RSV1).bytes();
    for (size, takes_over) in [(1000, false), (1000, true), (bytes.len(), false), (bytes.len(), true)] {
        let mut end = end(Role::Client, deflate(takes_over));
        let mut got = Vec::<u8>::new();
        for chunk in bytes.chunks(size) {
            end.input.extend_from_slice(chunk);
            while let Some(part) = next(&mut end).unwrap() {
                got.extend(part.data.as_bytes());
            }
        }
        assert!(got == expected, "{size} bytes at a time");
    }
}

/// Sends parts, pings in between, to another end; what each part's frames are, and how far the message was there after each.
fn send(from: &mut End, to: &mut End, parts: &[&[u8]]) -> (Vec<Frame>, Vec<usize>) {
    let (mut frames, mut sizes, mut size) = (Vec::new(), Vec::new(), 0);
    for (i, part) in parts.iter().enumerate() {
        from.send_part(*part, i + 1 == parts.len()).unwrap();
        from.ping("p").unwrap();
        let bytes = from.write_all();
        frames.extend(Frame::read_all(&bytes).into_iter().filter(|frame| frame.opcode != PING));
        to.feed_for_parts(&bytes);
        for event in to.events.drain(..) {
            if let Event::Part(part) = event {
                assert!(parts.concat()[size..].starts_with(part.data.as_bytes()));
                size += part.data.len();
            }
        }
        sizes.push(size);
    }
    assert_eq!(to.error, None);
    (frames, sizes)
}

#[test]
fn the_first_part_decides_and_each_is_there_at_once() {
    let (text, noise, other) = ("sockeye ".repeat(300).into_bytes(), noise(1, 3000), noise(2, 3000));
    let cases: [(&str, &[&[u8]], bool, usize); 8] = [
        ("text", &[&text, &text, &text], true, 3),
        ("text, then noise", &[&text, &other, &text], true, 3),
        ("noise, then text", &[&noise, &text, &text], false, 3),
        ("a few bytes first", &[b"x", &text, &text], true, 3),
        ("nothing first", &[b"", &text, b""], true, 3),
        ("nothing but empty parts", &[b"", b"", b""], true, 2),
        ("an empty last part", &[&text, b"", b""], true, 2),
        ("a single part, as short a message goes", &[b"sockeye sockeye sockeye"], false, 1),
    ];
    for role in ROLES {
        for takes_over in [true, false] {
            let other = if role == Role::Client { Role::Server } else { Role::Client };
            let (mut from, mut to) = (end(role, deflate(takes_over)), end(other, deflate(takes_over)));
            for (name, parts, compressed, count) in cases {
                let (frames, sizes) = send(&mut from, &mut to, parts);
                assert_eq!(frames.len(), count, "{name}");
                assert_eq!(frames[0].rsv == RSV1, compressed, "{name}");
                assert!(frames[1..].iter().all(|frame| frame.rsv == 0), "{name}");
                let expected = (1..=parts.len()).map(|count| parts[..count].concat().len());
                assert_eq!(sizes, expected.collect::<Vec<_>>(), "{name}");
                // And a whole message in between.
                from.send(text.clone()).unwrap();
                to.feed(&from.write_all());
                assert_eq!(to.messages(), [Message::from(text.clone())], "{name}");
            }
        }
    }
}

#[test]
fn parts_that_are_not_to_be_compressed_are_not() {
    let mut end = end(Role::Server, deflate(true));
    let part = Message::from("sockeye ".repeat(300));
    end.connection.send_part_uncompressed(part.clone(), false, &mut end.output).unwrap();
    end.send_part(part.clone(), true).unwrap();
    let frames = end.frames();
    assert!(frames.iter().all(|frame| frame.rsv == 0 && frame.payload == part.as_bytes()));
}

#[test]
fn what_is_taken_over_shortens_the_next_part() {
    for takes_over in [true, false] {
        let (mut from, mut to) =
            (end(Role::Server, deflate(takes_over)), end(Role::Client, deflate(takes_over)));
        let noise = noise(1, 500);
        let (frames, _) = send(&mut from, &mut to, &[&noise, &noise, b""]);
        assert!(frames[1].payload.len() < 50, "{} bytes", frames[1].payload.len());
        let (frames, _) = send(&mut from, &mut to, &[&noise, b""]);
        assert_eq!(frames[0].payload.len() < 50, takes_over, "{} bytes", frames[0].payload.len());
    }
}

#[test]
fn a_context_may_be_let_go_in_the_midst_and_is_at_the_end() {
    for takes_over in [true, false] {
        let mut deflate = deflate(takes_over);
        deflate.quiet = Some(Duration::from_secs(5));
        let text = "sockeye ".repeat(300);
        let (mut from, mut to) = (end(Role::Server, deflate), end(Role::Client, deflate));
        // What the thread keeps is made by this, and is not counted.
        from.send(text.clone()).unwrap();
        to.feed(&from.write_all());
        from.send("quiet").unwrap();
        for _ in 0..3 {
            from.pass(Duration::from_secs(6));
            from.connection.on_read(from.now);
        }
        let info = measure(|| {
            for last in [false, false, true] {
                from.send_chunk(MessageKind::Text, text.as_bytes(), last).unwrap();
                to.feed_for_parts(&from.write_all());
                for _ in 0..2 {
                    from.pass(Duration::from_secs(6));
                    from.connection.on_read(from.now);
                }
            }
            to.events.clear();
        });
        assert_eq!((&to.error, &from.pong_timeout), (&None, &None));
        assert!(info.bytes_current <= 50_000, "{} bytes are kept", info.bytes_current);
        assert!(info.bytes_max > 130_000, "a deflater was there");
    }
}
