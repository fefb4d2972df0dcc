//! Compressed messages of any bytes, under a limit: the same comes of them in any split, and no more than the limit is held.
//!
//! The first byte is a set of flags, the second gives the length of the chunks; the rest is the payloads of messages, each behind
//! a byte that is its length.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use sockeye_proto::frame::{FrameHeader, Opcode};
use sockeye_proto::{BytesMut, Config, Connection, Deflate, Event, Output, ProtocolError, Role};

const TAKES_OVER: u8 = 1;
const IS_TEXT: u8 = 2;
const IS_FRAGMENTED: u8 = 4;
const IS_SMALL: u8 = 8;

const LIMIT: usize = 20_000;

/// What a thread's inflater and its block take.
const RENTED: usize = (48 << 10) + (64 << 10) + (16 << 10);

fn connection(flags: u8) -> Connection {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = Some(flags & TAKES_OVER == 0);
    if flags & IS_SMALL != 0 {
        deflate.server_max_window_bits = 8;
    }
    let mut config = Config::default();
    config.max_message_size = LIMIT;
    config.deflate = Some(deflate);
    let mut connection = Connection::new(Role::Client, Arc::new(config), Instant::now());
    let (_, agreed) = deflate.answer(&[deflate.offer()]).expect("our own offer");
    connection.start_deflate(agreed);
    connection
}

/// The payloads in frames.
fn frames(flags: u8, mut data: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    while let [length, rest @ ..] = data {
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        let mut opcode = if flags & IS_TEXT == 0 { Opcode::Binary } else { Opcode::Text };
        let middle = if flags & IS_FRAGMENTED == 0 { payload.len() } else { payload.len() / 2 };
        let parts = [&payload[..middle], &payload[middle..]];
        let count = if flags & IS_FRAGMENTED == 0 { 1 } else { 2 };
        for (i, part) in parts.into_iter().take(count).enumerate() {
            let rsv = if i == 0 { 0b100 } else { 0 };
            FrameHeader { fin: i + 1 == count, rsv, opcode, mask: None, length: part.len() as u64 }
                .write(&mut bytes);
            bytes.extend_from_slice(part);
            opcode = Opcode::Continuation;
        }
    }
    bytes
}

fn run<'a>(flags: u8, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<ProtocolError>) {
    let (mut connection, now) = (connection(flags), Instant::now());
    let (mut input, mut output) = (BytesMut::new(), Output::new());
    let (mut events, mut error) = (Vec::new(), None);
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match connection.receive(&mut input, &mut output, || now) {
                Ok(Some(Event::Message(message))) => {
                    assert!(message.len() <= LIMIT);
                    events.push(Event::Message(message));
                }
                Ok(Some(event)) => panic!("{event:?} out of nothing"),
                Ok(None) => break,
                Err(found) => assert_eq!(error.replace(found), None, "it fails once"),
            }
        }
        assert!(connection.held() <= 2 * LIMIT + RENTED + (32 << 10), "{} bytes", connection.held());
    }
    (events, error)
}

fuzz_target!(|data: &[u8]| {
    let [flags, step, payloads @ ..] = data else { return };
    let bytes = frames(*flags, payloads);
    let whole = run(*flags, [&bytes[..]].into_iter());
    assert_eq!(run(*flags, bytes.chunks(1)), whole);
    assert_eq!(run(*flags, bytes.chunks(usize::from(*step) + 1)), whole);
});
