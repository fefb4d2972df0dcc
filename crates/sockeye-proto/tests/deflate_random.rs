//! Both ends' contexts agree, whatever was sent, how, and when: held against zlib itself.

mod support;

use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use sockeye_proto::{Deflate, Event, Message, PerMessageDeflate, Role};
use support::{BINARY, CONTINUATION, End, Frame, PING, TEXT, config, frame};

const RSV1: u8 = 4;

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The same cases at every run.
fn runs(cases: u32) -> Runs {
    Runs { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(7692), ..Runs::default() }
}

#[derive(Clone, Debug)]
enum Step {
    /// We send.
    Send { message: Message, compress: bool },
    /// We send in parts of so many bytes, and an empty one at the end perhaps.
    SendParts { message: Message, size: usize, empty_last: bool },
    /// zlib sends.
    Receive { message: Message, compress: bool, fragment: usize, final_block: bool, way: Way },
    /// Time passes.
    Wait(u64),
}

/// How a message is received.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Whole,
    Parts,
    /// In parts, of which only the first is wanted.
    Abandoned,
}

#[derive(Clone, Debug)]
struct Plan {
    role: Role,
    deflate: Deflate,
    fragment_size: Option<usize>,
    chunk: usize,
    steps: Vec<Step>,
}

fn message() -> impl Strategy<Value = Message> {
    let word = prop_oneof!["[a-z]{1,8} ", Just("sockeye ".to_owned()), Just("κόσμε ".to_owned())];
    let size = prop_oneof![4 => 0..300_usize, 2 => 300..5_000_usize, 1 => 30_000..70_000_usize];
    prop_oneof![
        4 => vec(word, 0..60).prop_map(|words| Message::from(words.concat())),
        2 => (vec(any::<u8>(), 1..40), size.clone()).prop_map(|(bytes, size)| {
            Message::from(bytes.into_iter().cycle().take(size).collect::<Vec<_>>())
        }),
        // What is seen again at a distance.
        2 => (any::<u8>(), 200..300_usize).prop_map(|(seed, size)| Message::from(noise(seed, size))),
        1 => (any::<u8>(), size).prop_map(|(seed, size)| Message::from(noise(seed % 3, size))),
    ]
}

fn noise(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u32::from(seed);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn step() -> impl Strategy<Value = Step> {
    let fragment = prop_oneof![Just(usize::MAX), 1..200_usize];
    let size = prop_oneof![1..100_usize, 1_000..40_000_usize];
    let way = prop_oneof![2 => Just(Way::Whole), 1 => Just(Way::Parts), 1 => Just(Way::Abandoned)];
    prop_oneof![
        5 => (message(), prop::bool::weighted(0.8)).prop_map(|(message, compress)| Step::Send { message, compress }),
        3 => (message(), size, any::<bool>())
            .prop_map(|(message, size, empty_last)| Step::SendParts { message, size, empty_last }),
        5 => (message(), prop::bool::weighted(0.8), fragment, prop::bool::weighted(0.2), way).prop_map(
            |(message, compress, fragment, final_block, way)| {
                Step::Receive { message, compress, fragment, final_block, way }
            }
        ),
        1 => (0..20_u64).prop_map(Step::Wait),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let takes_over = prop::bool::weighted(0.7);
    let settings = (8..=15_u8, 8..=15_u8, takes_over, takes_over, 1..=9_u8, 1..=9_u8);
    let settings = settings.prop_map(|(server, client, server_keeps, client_keeps, level, mem_level)| {
        let mut deflate = Deflate::default();
        deflate.server_max_window_bits = server;
        deflate.client_max_window_bits = client;
        deflate.server_no_context_takeover = Some(!server_keeps);
        deflate.client_no_context_takeover = Some(!client_keeps);
        (deflate.level, deflate.mem_level, deflate.threshold) = (level, mem_level, 0);
        deflate.quiet = Some(Duration::from_secs(5));
        deflate
    });
    let role = prop_oneof![Just(Role::Client), Just(Role::Server)];
    let fragment_size = prop_oneof![Just(None), (1..300_usize).prop_map(Some)];
    let chunk = prop_oneof![Just(usize::MAX), 1..500_usize];
    (role, settings, fragment_size, chunk, vec(step(), 1..25)).prop_map(
        |(role, deflate, fragment_size, chunk, steps)| Plan { role, deflate, fragment_size, chunk, steps },
    )
}

/// The other end, made of zlib alone.
struct Zlib {
    deflater: Compress,
    deflates_with: u8,
    deflater_forgets: bool,
    inflater: Decompress,
    inflates_with: u8,
    inflater_forgets: bool,
}

impl Zlib {
    fn new(role: Role, agreed: PerMessageDeflate) -> Self {
        let server = (agreed.server_max_window_bits, agreed.server_no_context_takeover);
        let client = (agreed.client_max_window_bits, agreed.client_no_context_takeover);
        let (ours, theirs) = if role == Role::Client { (client, server) } else { (server, client) };
        // zlib deflates with 9 bits at least, and stays within 8 then; flate2 takes no less for inflating either.
        let (ours, theirs) = ((ours.0.max(9), ours.1), (theirs.0.max(9), theirs.1));
        Self {
            deflater: Compress::new_with_window_bits(Compression::new(6), false, ours.0),
            deflates_with: ours.0,
            deflater_forgets: ours.1,
            inflater: Decompress::new_with_window_bits(false, theirs.0),
            inflates_with: theirs.0,
            inflater_forgets: theirs.1,
        }
    }

    fn deflate(&mut self, message: &[u8], final_block: bool) -> Vec<u8> {
        if self.deflater_forgets {
            self.deflater = Compress::new_with_window_bits(Compression::new(6), false, self.deflates_with);
        }
        let flush = if final_block { FlushCompress::Finish } else { FlushCompress::Sync };
        let mut out = Vec::with_capacity(message.len() + 1000);
        let before = self.deflater.total_in();
        self.deflater.compress_vec(message, &mut out, flush).unwrap();
        assert_eq!(self.deflater.total_in() - before, message.len() as u64);
        if final_block {
            self.deflater = Compress::new_with_window_bits(Compression::new(6), false, self.deflates_with);
            out.push(0);
        } else if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        } else {
            assert!(out.is_empty() && message.is_empty(), "a second flush gives nothing");
        }
        out
    }

    fn inflate(&mut self, payload: &[u8], length: usize) -> Vec<u8> {
        if self.inflater_forgets {
            self.inflater = Decompress::new_with_window_bits(false, self.inflates_with);
        }
        let mut out = Vec::with_capacity(length + 100);
        for part in [payload, &TAIL] {
            let before = self.inflater.total_in();
            self.inflater.decompress_vec(part, &mut out, FlushDecompress::Sync).unwrap();
            assert_eq!(self.inflater.total_in() - before, part.len() as u64);
        }
        out
    }
}

/// A peer of its own making: frames of a message.
fn frames(message: &Message, zlib: &mut Zlib, step: &Step) -> Vec<Frame> {
    let Step::Receive { compress, fragment, final_block, .. } = step else { unreachable!() };
    let mut opcode = if message.is_text() { TEXT } else { BINARY };
    let (payload, mut rsv) = if *compress {
        (zlib.deflate(message.as_bytes(), *final_block), RSV1)
    } else {
        (message.as_bytes().to_vec(), 0)
    };
    let mut frames: Vec<_> = payload
        .chunks(*fragment)
        .map(|part| {
            let frame = frame(opcode, part).rsv(rsv).part();
            (opcode, rsv) = (CONTINUATION, 0);
            frame
        })
        .collect();
    if frames.is_empty() {
        frames.push(frame(opcode, "").rsv(rsv));
    }
    frames.last_mut().unwrap().fin = true;
    frames
}

/// Checks that what was sent is the message, in as many bytes at most.
fn check_sent(
    frames: &[Frame],
    message: &Message,
    zlib: &mut Zlib,
    growth: usize,
) -> Result<(), TestCaseError> {
    let data: Vec<_> = frames.iter().filter(|frame| frame.opcode < 8).collect();
    let (last, others) = data.split_last().expect("a frame");
    prop_assert!(last.fin && others.iter().all(|frame| !frame.fin));
    prop_assert!(data[1..].iter().all(|frame| frame.rsv == 0 && frame.opcode == CONTINUATION));
    prop_assert!(frames.iter().all(|frame| frame.opcode < 8 || frame.rsv == 0));
    let payload: Vec<u8> = data.iter().flat_map(|frame| frame.payload.clone()).collect();
    prop_assert!(payload.len() <= message.len() + growth, "it has grown");
    let plain = match data[0].rsv {
        0 => payload,
        RSV1 => zlib.inflate(&payload, message.len()),
        rsv => return Err(TestCaseError::fail(format!("reserved bits {rsv}"))),
    };
    prop_assert!(plain == message.as_bytes(), "what zlib has inflated");
    Ok(())
}

proptest! {
    #![proptest_config(runs(250))]

    #[test]
    fn both_contexts_agree_with_zlib(plan in plan()) {
        let Plan { role, deflate, fragment_size, chunk, steps } = plan;
        let mut end = End::new(role, &config(|config| {
            config.deflate = Some(deflate);
            config.fragment_size = fragment_size;
        }));
        let (response, agreed) = deflate.answer(&[deflate.offer()]).unwrap();
        prop_assert_eq!(deflate.accept_response(&[response]), Ok(Some(agreed)));
        end.connection.start_deflate(agreed);
        let mut zlib = Zlib::new(other(role), agreed);
        for step in &steps {
            match step {
                Step::Send { message, compress } => {
                    match compress {
                        true => end.send(message.clone()).unwrap(),
                        false => end.connection.send_uncompressed(message.clone(), &mut end.output).unwrap(),
                    }
                    check_sent(&end.frames(), message, &mut zlib, 8)?;
                }
                Step::SendParts { message, size, empty_last } => {
                    let (mut frames, chunks) = (Vec::new(), message.as_bytes().chunks(*size));
                    let count = chunks.len();
                    for (i, chunk) in chunks.enumerate() {
                        end.send_chunk(message.kind(), chunk, i + 1 == count && !empty_last).unwrap();
                        end.ping("p").unwrap();
                        frames.extend(end.frames());
                    }
                    if count == 0 || *empty_last {
                        end.send_chunk(message.kind(), b"", true).unwrap();
                        frames.extend(end.frames());
                    }
                    check_sent(&frames, message, &mut zlib, message.len() / 1000 + 20 * (count + 1))?;
                }
                Step::Receive { message, way, .. } => {
                    let mut wants_parts = *way != Way::Whole;
                    end.events.clear();
                    for frame in frames(message, &mut zlib, step) {
                        for chunk in frame.to(role).chunks(chunk) {
                            if wants_parts { end.feed_for_parts(chunk) } else { end.feed(chunk) }
                            let has_part = end.events.iter().any(|event| matches!(event, Event::Part(_)));
                            wants_parts &= *way == Way::Parts || !has_part;
                        }
                        end.feed_frame(support::frame(PING, "p"));
                        if wants_parts {
                            end.feed_for_parts(b"");
                        }
                    }
                    prop_assert_eq!(&end.error, &None);
                    let parts = end.events.iter().filter_map(|event| match event {
                        Event::Part(part) => Some(part.data.as_bytes()),
                        _ => None,
                    });
                    let (parts, whole) = (parts.collect::<Vec<_>>().concat(), end.messages());
                    let is_right = match whole.first() {
                        Some(whole) => whole == message && parts.is_empty(),
                        None if *way == Way::Parts => parts == message.as_bytes(),
                        None => message.as_bytes().starts_with(&parts),
                    };
                    prop_assert!(is_right, "what we have inflated, {:?}", way);
                    end.output = sockeye_proto::Output::new();
                }
                Step::Wait(seconds) => {
                    end.pass(Duration::from_secs(*seconds));
                    end.write_all();
                    end.connection.on_read(end.now);
                }
            }
        }
    }

    #[test]
    fn a_window_of_8_bits_is_kept(messages in vec(message(), 1..8)) {
        let mut deflate = Deflate::default();
        deflate.server_no_context_takeover = Some(false);
        (deflate.server_max_window_bits, deflate.threshold) = (8, 0);
        let mut end = End::new(Role::Server, &config(|config| config.deflate = Some(deflate)));
        let (_, agreed) = deflate.answer(&[deflate.offer()]).unwrap();
        end.connection.start_deflate(agreed);
        // A window of 8 bits, and no more: zlib-rs, since flate2 refuses it.
        let mut inflater = zlib_rs::Inflate::new(false, 8);
        for message in messages {
            end.send(message.clone()).unwrap();
            let frame = end.frames().remove(0);
            if frame.rsv == 0 {
                continue;
            }
            let mut out = vec![0; message.len() + 100];
            let before = inflater.total_out();
            let payload = [&frame.payload[..], &TAIL].concat();
            inflater.decompress(&payload, &mut out, zlib_rs::InflateFlush::SyncFlush).unwrap();
            out.truncate(usize::try_from(inflater.total_out() - before).unwrap());
            prop_assert!(out == message.as_bytes());
        }
    }
}

fn other(role: Role) -> Role {
    if role == Role::Client { Role::Server } else { Role::Client }
}
