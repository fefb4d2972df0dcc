//! What holds for any bytes, any split of them and any order of calls.

mod support;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use sockeye_proto::frame::MAX_HEADER;
use sockeye_proto::{
    BytesMut, CloseInfo, Config, Connection, Event, Message, MessageKind, Output, ProtocolError, Role,
};
use support::{CLOSE, End, Frame, KEY, Pair, config, frame};

/// The longest control frame.
const MAX_CONTROL: usize = 2 + 4 + 125;

/// The same cases at every run; the fuzz targets are there to look for new ones.
fn runs(cases: u32) -> Runs {
    Runs { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(6455), ..Runs::default() }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zé€🐟]{0,20}", "a{100,300}"]
}

fn message() -> impl Strategy<Value = Message> {
    let big = prop_oneof![Just(16_383_usize), Just(16_384), 16_000..40_000_usize];
    prop_oneof![
        4 => text().prop_map(Message::from),
        4 => vec(any::<u8>(), 0..300).prop_map(Message::from),
        1 => big.clone().prop_map(|length| Message::from("é".repeat(length / 2))),
        1 => big.prop_map(|length| Message::from(vec![0xA5; length])),
    ]
}

/// A frame that is fine in itself, mostly.
fn one_frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        text().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
        Just("🐟".as_bytes()[..2].to_vec()),
        Just("🐟".as_bytes()[2..].to_vec()),
        Just(vec![3, 232]),
    ];
    let opcode =
        prop_oneof![8 => Just(0), 8 => Just(1), 4 => Just(2), 1 => Just(8), 3 => Just(9), 2 => Just(10)];
    (opcode, payload, any::<bool>()).prop_map(|(opcode, payload, fin)| {
        let short = payload.len().min(if opcode >= 8 { 125 } else { usize::MAX });
        Frame { fin: fin || opcode >= 8, ..frame(opcode, &payload[..short]) }
    })
}

/// What a peer might send: mostly right, sometimes with a few bytes changed, cut or put in.
fn bytes_for(role: Role) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop_oneof![2 => Just(vec![]), 1 => vec(change, 1..4)];
    (vec(one_frame(), 0..12), changes, vec(any::<u8>(), 0..3)).prop_map(move |(frames, changes, end)| {
        let mut bytes: Vec<u8> = frames.into_iter().flat_map(|frame| frame.to(role)).collect();
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] ^= byte;
            }
        }
        bytes.extend(end);
        bytes
    })
}

fn small() -> Arc<Config> {
    config(|config| {
        config.max_message_size = 500;
        config.max_frame_size = 250;
        config.max_fragments = 5;
        config.max_buffered = 1000;
        config.masking_key = || KEY;
    })
}

/// All that a peer's bytes bring about.
fn outcome(
    role: Role,
    bytes: &[u8],
    splits: &[usize],
) -> (Vec<Event>, Option<ProtocolError>, Vec<u8>, Option<CloseInfo>) {
    let mut end = End::new(role, &small());
    let (mut rest, mut splits) = (bytes, splits.iter().cycle());
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(rest.len().min(*splits.next().unwrap_or(&rest.len())));
        end.feed(chunk);
        rest = tail;
    }
    let info = end.connection.close_info().cloned();
    let output = end.write_all();
    (end.events, end.error, output, info)
}

proptest! {
    #![proptest_config(runs(400))]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(
        (role, bytes) in role().prop_flat_map(|role| (Just(role), bytes_for(role))),
        splits in vec(1..40_usize, 1..8),
    ) {
        let whole = outcome(role, &bytes, &[]);
        prop_assert_eq!(&outcome(role, &bytes, &[1]), &whole, "a byte at a time");
        prop_assert_eq!(&outcome(role, &bytes, &splits), &whole, "split at {:?}", splits);
    }

    #[test]
    fn parts_put_together_are_what_comes_whole(
        (role, bytes) in role().prop_flat_map(|role| (Just(role), bytes_for(role))),
        splits in vec(1..40_usize, 1..8),
    ) {
        let config = config(|config| (config.max_buffered, config.masking_key) = (1000, || KEY));
        let mut whole = End::new(role, &config);
        whole.feed(&bytes);
        for splits in [&[usize::MAX][..], &[1], &splits] {
            let mut end = End::new(role, &config);
            feed_in_parts(&mut end, &bytes, splits);
            let events = put_together(std::mem::take(&mut end.events))?;
            prop_assert_eq!(&events, &whole.events, "split at {:?}", splits);
            prop_assert_eq!((&end.error, end.connection.close_info()), (&whole.error, whole.connection.close_info()));
            prop_assert_eq!(end.write_all(), whole.output.chunk());
        }
    }

    #[test]
    fn the_two_ways_take_turns_and_lose_nothing_but_what_is_thrown_away(
        role in role(),
        messages in vec((message(), 1..60_000_usize, any::<bool>()), 1..10),
        turns in vec((1..200_000_usize, any::<bool>()), 1..12),
    ) {
        let mut bytes = Vec::new();
        for (message, size, pings) in &messages {
            let mut opcode = if message.is_text() { support::TEXT } else { support::BINARY };
            for chunk in message.as_bytes().chunks(*size) {
                bytes.extend(frame(std::mem::take(&mut opcode), chunk).part().to(role));
                if *pings {
                    bytes.extend(frame(support::PING, "p").to(role));
                }
            }
            bytes.extend(frame(opcode, "").to(role));
        }
        let mut end = End::new(role, &config(|config| config.masking_key = || KEY));
        let (mut rest, mut turns) = (&bytes[..], turns.iter().cycle());
        while !rest.is_empty() {
            let (size, in_parts) = turns.next().expect("it goes round");
            let (chunk, tail) = rest.split_at(rest.len().min(*size));
            if *in_parts { end.feed_for_parts(chunk) } else { end.feed(chunk) }
            rest = tail;
        }
        prop_assert_eq!(&end.error, &None);
        let (mut expected, mut begun): (_, Option<Vec<u8>>) = (messages.iter().map(|(message, ..)| message).peekable(), None);
        for event in &end.events {
            match event {
                Event::Message(message) => {
                    if begun.take().is_some() {
                        expected.next();
                    }
                    prop_assert!(expected.next() == Some(message));
                }
                Event::Part(part) => {
                    let so_far = begun.get_or_insert_default();
                    let from = so_far.len();
                    so_far.extend(part.data.as_bytes());
                    if expected.peek().is_none_or(|message| !message.as_bytes().starts_with(so_far)) {
                        // It is the first part of the next message.
                        so_far.drain(..from);
                        expected.next();
                    }
                    let message = expected.peek().expect("one of the messages");
                    prop_assert!(message.kind() == part.data.kind() && message.as_bytes().starts_with(so_far));
                    prop_assert!(!part.last || message.len() == so_far.len());
                    if part.last {
                        (begun, _) = (None, expected.next());
                    }
                }
                _ => {}
            }
        }
        if begun.is_some() {
            expected.next();
        }
        prop_assert_eq!(expected.next(), None);
    }
}

fn feed_in_parts(end: &mut End, bytes: &[u8], splits: &[usize]) {
    let (mut rest, mut splits) = (bytes, splits.iter().cycle());
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(rest.len().min(*splits.next().expect("it goes round")));
        end.feed_for_parts(chunk);
        rest = tail;
    }
}

/// Parts as whole messages, each where its last part was; what is unfinished is left out.
fn put_together(events: Vec<Event>) -> Result<Vec<Event>, TestCaseError> {
    let (mut whole, mut message) = (Vec::new(), None);
    for event in events {
        let Event::Part(part) = event else {
            prop_assert!(!matches!(event, Event::Message(_)));
            whole.push(event);
            continue;
        };
        prop_assert!(part.last || !part.data.is_empty(), "an empty part that is not the last");
        let (kind, payload) = message.get_or_insert((part.data.kind(), Vec::new()));
        prop_assert_eq!(*kind, part.data.kind());
        payload.extend(part.data.as_bytes());
        if part.last {
            let payload = std::mem::take(payload);
            let data = if *kind == MessageKind::Text {
                Message::from(String::from_utf8(payload).expect("parts that are text"))
            } else {
                Message::from(payload)
            };
            whole.push(Event::Message(data));
            message = None;
        }
    }
    Ok(whole)
}

#[derive(Clone, Debug)]
enum Call {
    /// Bytes come, and nobody looks at them yet.
    Arrive(Vec<u8>),
    Bytes(Vec<u8>),
    Close(Option<(u16, usize)>),
    Deadline,
    End,
    Ping(usize),
    Pong(usize),
    Receive,
    ReceiveControl,
    ReceivePart,
    Send(Message),
    SendChunk(Message, bool),
    SendPart(Message, bool),
    Time(u64),
    Write(usize),
    Written(usize),
}

fn call(role: Role) -> impl Strategy<Value = Call> {
    let code = prop_oneof![4 => Just(1000), 1 => any::<u16>()];
    prop_oneof![
        2 => bytes_for(role).prop_map(Call::Arrive),
        8 => bytes_for(role).prop_map(Call::Bytes),
        3 => vec(one_frame(), 1..3)
            .prop_map(move |frames| Call::Bytes(frames.into_iter().flat_map(|frame| frame.to(role)).collect())),
        1 => prop::option::of((code, 0..200_usize)).prop_map(Call::Close),
        4 => Just(Call::Deadline),
        1 => Just(Call::End),
        2 => (0..200_usize).prop_map(Call::Ping),
        2 => (0..200_usize).prop_map(Call::Pong),
        3 => Just(Call::Receive),
        1 => Just(Call::ReceiveControl),
        3 => Just(Call::ReceivePart),
        3 => message().prop_map(Call::Send),
        1 => (message(), any::<bool>()).prop_map(|(message, last)| Call::SendChunk(message, last)),
        2 => (message(), any::<bool>()).prop_map(|(message, last)| Call::SendPart(message, last)),
        4 => (0..30_000_u64).prop_map(Call::Time),
        3 => (0..2000_usize).prop_map(Call::Write),
        1 => any::<usize>().prop_map(Call::Written),
    ]
}

/// A connection under arbitrary calls, with what must hold after each of them.
struct Subject {
    end: End,
    wire: Vec<u8>,
    was_open: bool,
}

impl Subject {
    fn new(role: Role, fragment_size: Option<usize>, timeouts: [Option<u64>; 3]) -> Self {
        let mut config = (*small()).clone();
        config.fragment_size = fragment_size;
        [config.close_timeout, config.ping_interval, config.ping_timeout] =
            timeouts.map(|seconds| seconds.map(Duration::from_secs));
        Self { end: End::new(role, &Arc::new(config)), wire: Vec::new(), was_open: true }
    }

    fn call(&mut self, call: &Call) -> Result<(), TestCaseError> {
        let (before, info) = (self.end.output.remaining(), self.end.connection.close_info().cloned());
        let max_buffered = self.end.connection.config().max_buffered;
        let mut most = before + 2 * MAX_CONTROL;
        match call {
            Call::Arrive(bytes) => self.end.input.extend_from_slice(bytes),
            Call::Bytes(bytes) => {
                self.end.feed(bytes);
                most = before.max(max_buffered) + 2 * MAX_CONTROL;
                let input = self.end.input.len();
                let wanted = self.end.connection.input_wanted();
                prop_assert!(
                    input == 0 || input < wanted,
                    "{} bytes lie there, {} are wanted",
                    input,
                    wanted
                );
                prop_assert!(
                    !self.end.connection.has_frame(&self.end.input),
                    "all that can be had was taken"
                );
                let limit = self.end.connection.config().max_frame_size + MAX_HEADER;
                prop_assert!(wanted <= limit, "{} bytes are wanted", wanted);
            }
            Call::Close(None) => drop(self.end.close(None)),
            Call::Close(Some((code, length))) => {
                let frame = support::close_frame(*code, &"a".repeat(*length));
                drop(self.end.close(Some(&frame)));
            }
            Call::Deadline => self.deadline()?,
            Call::End => self.end.connection.on_end(),
            Call::Ping(length) => drop(self.end.ping(vec![0; *length])),
            Call::Pong(length) => drop(self.end.pong(vec![0; *length])),
            Call::Receive | Call::ReceiveControl | Call::ReceivePart => {
                let End { connection, input, output, now, .. } = &mut self.end;
                most = before.max(max_buffered) + 2 * MAX_CONTROL;
                drop(match call {
                    Call::Receive => connection.receive(input, output, || *now),
                    Call::ReceiveControl => connection.receive_control(input, output, || *now),
                    _ => connection.receive_part(input, output, || *now),
                });
            }
            Call::Send(message) | Call::SendChunk(message, _) | Call::SendPart(message, _) => {
                let frames =
                    message.len() / self.end.connection.config().fragment_size.unwrap_or(usize::MAX) + 1;
                most += message.len() + 3 + frames * MAX_HEADER;
                drop(match call {
                    // Of text, as often as not, without the last byte of a character.
                    Call::SendChunk(message, last) => {
                        let bytes = &message.as_bytes()[..message.len() - message.len() % 2];
                        self.end.send_chunk(message.kind(), bytes, *last)
                    }
                    Call::SendPart(message, last) => self.end.send_part(message.clone(), *last),
                    _ => self.end.send(message.clone()),
                });
            }
            Call::Time(milliseconds) => self.end.now += Duration::from_millis(*milliseconds),
            Call::Write(count) => {
                let written = self.end.write(*count);
                self.wire.extend(written);
            }
            Call::Written(count) => self.end.connection.on_written(*count, || self.end.now),
        }
        let after = self.end.output.remaining();
        prop_assert!(after <= most, "{} bytes of output, after {}", after, before);
        self.check()?;
        if let Some(info) = info {
            prop_assert_eq!(self.end.connection.close_info(), Some(&info), "how it ended does not change");
            prop_assert!(!matches!(call, Call::Bytes(_)) || self.end.input.is_empty());
            prop_assert!(after <= before, "nothing is said after the end");
        }
        Ok(())
    }

    fn deadline(&mut self) -> Result<(), TestCaseError> {
        let (deadline, before, now) =
            (self.end.connection.deadline(), self.end.output.remaining(), self.end.now);
        self.end.tick(now);
        let next = self.end.connection.deadline();
        if deadline.is_some_and(|deadline| deadline <= now) {
            prop_assert!(next.is_none_or(|next| next > now), "the deadline has passed, and stays");
        } else {
            prop_assert_eq!(
                (next, self.end.output.remaining()),
                (deadline, before),
                "too early, and not for nothing"
            );
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let connection = &self.end.connection;
        let limit = 2 * connection.config().max_message_size;
        prop_assert!(connection.held() <= limit, "{} bytes held", connection.held());
        let ended = connection.close_info().is_some();
        prop_assert!(self.was_open || !connection.is_open(), "open again");
        prop_assert!(!connection.is_open() || !ended);
        prop_assert!(ended || !connection.is_ended() && !connection.should_end());
        prop_assert!(!connection.is_ended() || connection.deadline().is_none());
        prop_assert!(!ended || !connection.owes_pong());
        self.was_open = connection.is_open();
        Ok(())
    }

    /// What the peer has read of it by the end.
    fn check_wire(mut self) -> Result<(), TestCaseError> {
        let written = self.end.write_all();
        self.wire.extend(written);
        let frames = Frame::read_all(&self.wire);
        let close = frames.iter().position(|frame| frame.opcode == CLOSE).unwrap_or(frames.len());
        let after = frames.iter().skip(close + 1).all(|frame| frame.opcode == support::PONG);
        prop_assert!(after, "only pongs follow a Close");
        let codes = frames.iter().filter(|frame| frame.opcode == CLOSE && !frame.payload.is_empty());
        for code in codes.map(|frame| (&frame.payload[..]).get_u16()) {
            prop_assert!(
                matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
                "code {} on the wire",
                code
            );
        }
        let mut peer = match self.end.role() {
            Role::Client => End::server(),
            Role::Server => End::client(),
        };
        peer.feed(&self.wire);
        prop_assert_eq!(peer.error, None, "what goes out is in order");
        Ok(())
    }
}

proptest! {
    #![proptest_config(runs(400))]

    #[test]
    fn any_order_of_calls_keeps_the_promises(
        (role, calls) in role().prop_flat_map(|role| (Just(role), vec(call(role), 0..60))),
        fragment_size in prop::option::of(1..100_usize),
        timeouts in prop::array::uniform3(prop::option::weighted(0.8, 1..30_u64)),
    ) {
        let mut subject = Subject::new(role, fragment_size, timeouts);
        for call in &calls {
            subject.call(call)?;
        }
        subject.check_wire()?;
    }
}

fn exchange() -> impl Strategy<Value = Vec<(Role, Message)>> {
    vec((role(), message()), 0..12)
}

proptest! {
    #![proptest_config(runs(60))]

    #[test]
    fn what_is_sent_arrives_in_order(
        messages in exchange(),
        fragment_size in prop_oneof![Just(None), (1..20_usize).prop_map(Some), (1000..20_000_usize).prop_map(Some)],
        chunk in prop_oneof![1..20_usize, 1000..70_000_usize],
        deliver_each in any::<bool>(),
    ) {
        let mut pair = Pair::new(&config(|config| config.fragment_size = fragment_size));
        pair.chunk = chunk;
        for (role, message) in &messages {
            let (from, _) = pair.ends(*role);
            from.send(message.clone()).unwrap();
            if message.len() % 3 == 0 {
                from.ping([1]).unwrap();
            }
            if deliver_each {
                pair.deliver();
            }
        }
        pair.client.close(Some(&support::close_frame(1000, "all said"))).unwrap();
        pair.deliver();
        for role in support::ROLES {
            let sent = messages.iter().filter(|(from, _)| *from == role).map(|(_, message)| message.clone());
            let (_, to) = pair.ends(role);
            prop_assert!(to.messages() == sent.collect::<Vec<_>>(), "what the {:?} said", role);
            prop_assert!(to.info().clean && to.connection.is_ended() && to.error.is_none());
        }
    }

    #[test]
    fn vectored_reading_equals_plain_reading(
        messages in vec(message(), 0..10),
        steps in vec((0..8_usize, 0..50_000_usize), 1..6),
        role in role(),
    ) {
        let config = config(|config| config.masking_key = || KEY);
        let (mut connection, mut plain) = (Connection::new(role, config, Instant::now()), Vec::new());
        let (mut output, mut other) = (Output::new(), Output::new());
        let (mut vectored, mut steps) = (Vec::<u8>::new(), steps.iter().cycle());
        let mut read = |output: &mut Output| {
            let (slots, most) = *steps.next().expect("it goes round");
            let mut slices = [IoSlice::new(&[]); 8];
            let used = output.chunks_vectored(&mut slices[..slots.max(1)]);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!bytes.is_empty() && slices[..used].iter().all(|slice| !slice.is_empty()));
            let count = bytes.len().min(most.max(1));
            vectored.extend(&bytes[..count]);
            output.advance(count);
        };
        for message in messages {
            connection.send(message.clone(), &mut output).unwrap();
            connection.send(message, &mut other).unwrap();
            prop_assert!(output.has_remaining());
            read(&mut output);
        }
        while output.has_remaining() {
            read(&mut output);
        }
        while other.has_remaining() {
            let chunk = other.chunk();
            plain.extend_from_slice(chunk);
            let length = chunk.len();
            other.advance(length);
        }
        prop_assert!(vectored == plain);
    }

    #[test]
    fn any_bytes_are_a_header_or_none(bytes in vec(any::<u8>(), 0..20)) {
        use sockeye_proto::frame::FrameHeader;
        if let Ok(Some((header, length))) = FrameHeader::parse(&bytes) {
            let mut written = BytesMut::new();
            header.write(&mut written);
            prop_assert_eq!(&written[..], &bytes[..length]);
        }
    }
}
