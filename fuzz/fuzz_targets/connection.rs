//! A connection takes any bytes in any split: the same comes of them, whole or in parts, and the memory stays under its bounds.
//!
//! The first byte is a set of flags, the second gives the length of the chunks; the rest is what the peer sends.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use libfuzzer_sys::fuzz_target;
use sockeye_proto::frame::MAX_HEADER;
use sockeye_proto::{
    BytesMut, CloseInfo, Config, Connection, Event, Message, MessageKind, Output, ProtocolError, Role,
    Utf8Bytes,
};

const IS_SERVER: u8 = 1;
const HAS_TIGHT_LIMITS: u8 = 2;
const CLOSES_FIRST: u8 = 4;
const IN_PARTS: u8 = 8;

/// The longest control frame.
const MAX_CONTROL: usize = 2 + 4 + 125;

#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Event>,
    error: Option<ProtocolError>,
    output: Vec<u8>,
    info: Option<CloseInfo>,
}

fn config(flags: u8) -> Config {
    let mut config = Config::default();
    config.masking_key = || [1, 2, 3, 4];
    if flags & HAS_TIGHT_LIMITS != 0 {
        config.max_message_size = 40;
        config.max_frame_size = 30;
        config.max_fragments = 4;
        config.max_buffered = 20;
        config.fragment_size = Some(7);
    }
    config
}

fn role(flags: u8) -> (Role, Role) {
    if flags & IS_SERVER == 0 { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) }
}

/// Parts as whole messages, each where its last part was; what is unfinished is left out, since how much of it came before something
/// wrong depends on how the bytes came.
fn put_together(events: Vec<Event>) -> Vec<Event> {
    let (mut whole, mut message) = (Vec::new(), None);
    for event in events {
        let Event::Part(part) = event else {
            whole.push(event);
            continue;
        };
        assert!(part.last || !part.data.is_empty(), "an empty part that is not the last");
        let (kind, mut payload) = message.take().unwrap_or((part.data.kind(), BytesMut::new()));
        assert_eq!(kind, part.data.kind());
        payload.extend_from_slice(part.data.as_bytes());
        if !part.last {
            message = Some((kind, payload));
            continue;
        }
        whole.push(Event::Message(match kind {
            MessageKind::Text => {
                Message::Text(Utf8Bytes::try_from(payload.freeze()).expect("parts are text"))
            }
            MessageKind::Binary => Message::Binary(payload.freeze()),
        }));
    }
    whole
}

/// Takes turns between the two ways, at every chunk: no promise but the bounds.
fn take_turns(flags: u8, chunks: impl Iterator<Item = Vec<u8>>) {
    let (config, now) = (Arc::new(config(flags)), Instant::now());
    let mut connection = Connection::new(role(flags).0, config.clone(), now);
    let (mut input, mut output) = (BytesMut::new(), Output::new());
    for (i, chunk) in chunks.enumerate() {
        input.extend_from_slice(&chunk);
        loop {
            let received = match i % 3 {
                0 => connection.receive_part(&mut input, &mut output, || now),
                1 => connection.receive(&mut input, &mut output, || now),
                _ => connection.receive_control(&mut input, &mut output, || now),
            };
            if matches!(received, Ok(None)) {
                break;
            }
        }
        assert!(connection.held() <= 2 * config.max_message_size);
        assert!(output.remaining() <= config.max_buffered + 3 * MAX_CONTROL);
    }
}

fn run<'a>(flags: u8, chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (config, now) = (Arc::new(config(flags)), Instant::now());
    let mut connection = Connection::new(role(flags).0, config.clone(), now);
    let (mut input, mut output) = (BytesMut::new(), Output::new());
    let (mut events, mut error) = (Vec::new(), None);
    if flags & CLOSES_FIRST != 0 {
        connection.start_close(None, &mut output, now).expect("it is open");
    }
    for chunk in chunks {
        input.extend_from_slice(chunk);
        connection.on_read(now);
        loop {
            let received = match flags & IN_PARTS {
                0 => connection.receive(&mut input, &mut output, || now),
                _ => connection.receive_part(&mut input, &mut output, || now),
            };
            match received {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(found) => assert_eq!(error.replace(found), None, "it fails once"),
            }
        }
        assert!(input.is_empty() || input.len() < connection.input_wanted());
        assert!(flags & IN_PARTS == 0 || input.len() < MAX_HEADER.max(MAX_CONTROL));
        assert!(
            flags & IN_PARTS != 0
                || connection.input_wanted() <= config.max_frame_size.max(MAX_CONTROL) + MAX_HEADER
        );
        assert!(connection.held() <= 2 * config.max_message_size);
        assert!(output.remaining() <= config.max_buffered + 3 * MAX_CONTROL);
    }
    let info = connection.close_info().cloned();
    let events = put_together(events);
    Outcome { events, error, output: output.copy_to_bytes(output.remaining()).to_vec(), info }
}

/// What one end received, the other end would have sent.
fn send_back(flags: u8, events: &[Event]) {
    let (mut config, now) = (config(flags), Instant::now());
    // Parts are bound by no limit.
    (config.max_message_size, config.max_frame_size, config.max_fragments) = (1 << 20, 1 << 20, 1000);
    let (config, (role, peer)) = (Arc::new(config), role(flags));
    let mut sender = Connection::new(peer, config.clone(), now);
    let mut receiver = Connection::new(role, config, now);
    let mut output = Output::new();
    for event in events {
        let Event::Message(message) = event else { continue };
        if flags & IN_PARTS == 0 {
            sender.send(message.clone(), &mut output).expect("it is open");
        } else {
            let mut first = message.clone().into_bytes();
            let rest = first.split_off(first.len() / 2);
            sender.send_chunk(message.kind(), first, false, &mut output).expect("it is open");
            sender.send_chunk(message.kind(), rest, true, &mut output).expect("it is open");
        }
        let mut input = BytesMut::from(&output.copy_to_bytes(output.remaining())[..]);
        let came = receiver.receive(&mut input, &mut output, || now);
        assert_eq!(came, Ok(Some(event.clone())));
        assert!(input.is_empty());
    }
}

fuzz_target!(|data: &[u8]| {
    let [flags, step, bytes @ ..] = data else { return };
    let whole = run(*flags, [bytes].into_iter());
    assert_eq!(run(*flags, bytes.chunks(1)), whole);
    assert_eq!(run(*flags, bytes.chunks(usize::from(*step) + 1)), whole);
    send_back(*flags, &whole.events);
    take_turns(*flags, bytes.chunks(usize::from(*step) + 1).map(<[u8]>::to_vec));
});
