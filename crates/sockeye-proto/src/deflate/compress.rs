//! Sending: messages into compressed payloads (RFC 7692 section 7.2.1).

use std::cell::RefCell;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use zlib_rs::{DeflateConfig, DeflateFlush};

use super::{Deflate, Prepared, TAIL, with_scratch};
use crate::config::Config;

/// How many deflaters of different settings a thread keeps.
const KEPT: usize = 8;

/// A payload of at most so many bytes shares a block with others.
const SHARED: usize = 16 << 10;

/// With context takeover a message of at most so many bytes is sent compressed even if it grows, by some [bytes](LESSON): it teaches
/// the context, without which messages as short as that would grow one after the other for ever.
const SHORT: usize = 1 << 10;

/// How much such a message may grow. Deflate needs 5 bytes for what it cannot compress.
const LESSON: usize = 8;

/// How big that block is.
const BLOCK: usize = 64 << 10;

/// How long a part may become that has to be sent compressed.
const ANY: usize = usize::MAX - TAIL.len();

/// RFC 7692 section 7.2.3.6: "The single octet 0x00 contains the header bits with "BFINAL" set to 0 and "BTYPE" set to 00": an empty
/// block without compression, of which the tail is removed.
const EMPTY: [u8; 1] = [0x00];

/// Level, memory level and window bits of a deflater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    level: u8,
    /// Never zero, which makes room for "no compressor".
    mem_level: NonZeroU8,
    window_bits: u8,
}

impl Settings {
    /// Those of an end that is configured like that and has agreed to a window.
    pub(super) fn new(deflate: &Deflate, window_bits: u8) -> Self {
        Self {
            level: deflate.level.min(9),
            mem_level: NonZeroU8::new(deflate.mem_level.min(9)).unwrap_or(NonZeroU8::MIN),
            // zlib has no window of 8 bits to deflate with; with 9 bits its matches are at most 512 - 262 bytes back.
            window_bits: window_bits.clamp(9, 15),
        }
    }

    fn deflater(self) -> zlib_rs::Deflate {
        zlib_rs::Deflate::new_with_config(DeflateConfig {
            level: self.level.into(),
            mem_level: self.mem_level.get().into(),
            window_bits: -i32::from(self.window_bits),
            ..DeflateConfig::default()
        })
    }

    /// How many bytes of memory a deflater takes, about: hash table, window and chains, output and symbols, and some 3 KiB of state.
    fn held(self) -> usize {
        let literals = 1 << (self.mem_level.get() + 6);
        (128 << 10) + 4 * (1 << self.window_bits) + 7 * literals + (3 << 10)
    }

    /// The compressed form of a message that stands for itself and is not empty; `None` if it is better sent plain.
    pub(crate) fn compress(self, payload: &[u8]) -> Option<Bytes> {
        with_block(|deflaters, block| {
            let deflater = deflaters.get(self);
            deflater.reset();
            compress(deflater, payload, payload.len() - 1, block)
        })
    }
}

/// A thread's deflaters, for connections that have none of their own.
#[derive(Default)]
struct Deflaters(Vec<(Settings, zlib_rs::Deflate)>);

#[derive(Default)]
struct Thread {
    deflaters: Deflaters,
    block: BytesMut,
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

/// Compresses the messages that one end sends. Two words, since every connection has one.
pub(crate) struct Compressor {
    settings: Settings,
    takes_over: bool,
    /// Boxed, since without takeover there is none, but for a message that is sent in parts.
    context: Option<Box<Context>>,
}

/// What is taken over from message to message.
struct Context {
    /// Made when it is first needed, and let go after a quiet time: a deflater may always forget, since nobody has to
    /// refer to what the other end remembers.
    deflater: Option<zlib_rs::Deflate>,
    quiet: Option<Duration>,
    /// When to look whether it was used; set once a message compressed with it is written.
    deadline: Option<Instant>,
    used: bool,
}

impl Compressor {
    pub(crate) fn new(deflate: &Deflate, window_bits: u8, takes_over: bool) -> Self {
        let settings = Settings::new(deflate, window_bits);
        let context = takes_over.then(|| Box::new(Context::new(deflate.quiet)));
        Self { settings, takes_over, context }
    }

    /// The compressed form of a message, which must not be empty; `None` if it is better sent plain.
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Option<Bytes> {
        let Some(context) = &mut self.context else { return self.settings.compress(payload) };
        let lesson = if payload.len() <= SHORT { 1 + LESSON } else { 0 };
        let most = payload.len() - 1 + lesson;
        with_block(|_, block| context.try_compress(self.settings, payload, most, block))
    }

    /// As [`compress`](Self::compress), for a message that others send too: without a context to take over, what they made of it under the same
    /// settings will do.
    pub(crate) fn compress_prepared(&mut self, prepared: &Prepared) -> Option<Bytes> {
        if self.context.is_some() {
            return self.compress(prepared.message().as_bytes());
        }
        prepared.compressed(self.settings, |payload| self.settings.compress(payload))
    }

    /// The compressed form of the first part of a message; `None` if the message is better sent plain. Without context takeover
    /// there is a context for this message alone.
    pub(crate) fn first_part(&mut self, part: &[u8], config: &Config) -> Option<Bytes> {
        let quiet = config.deflate.unwrap_or_default().quiet;
        let context = self.context.get_or_insert_with(|| Box::new(Context::new(quiet)));
        let most = if part.len() < SHORT { ANY } else { part.len() - 1 };
        let payload = if part.is_empty() {
            Some(Bytes::new())
        } else {
            with_block(|_, block| {
                let is_worth_it = context.try_compress(self.settings, part, most, block);
                block.extend_from_slice(&TAIL);
                is_worth_it
            })
        };
        if payload.is_none() {
            self.end_parts();
        }
        payload
    }

    /// The compressed form of a further part.
    pub(crate) fn part(&mut self, part: &[u8], last: bool) -> Bytes {
        let payload = match &mut self.context {
            Some(context) if !part.is_empty() => with_block(|_, block| {
                if !context.try_compress(self.settings, part, ANY, block) {
                    block.clear();
                    store(part, block);
                }
                if !last {
                    block.extend_from_slice(&TAIL);
                }
                true
            }),
            // An empty block behind the one that has ended the part before.
            _ => last.then_some(Bytes::from_static(&EMPTY)),
        };
        if last {
            self.end_parts();
        }
        payload.unwrap_or_default()
    }

    /// A message in parts is over.
    fn end_parts(&mut self) {
        if !self.takes_over {
            self.context = None;
        }
    }

    /// How many bytes of memory its deflater takes, about.
    pub(crate) fn held(&self) -> usize {
        let deflater = self.context.as_ref().and_then(|context| context.deflater.as_ref());
        deflater.map_or(0, |_| self.settings.held())
    }

    /// Whether a deflater was used, and since when is to be noted.
    pub(crate) fn wants_clock(&self) -> bool {
        self.context.as_ref().is_some_and(|context| {
            context.deadline.is_none() && context.deflater.is_some() && context.quiet.is_some()
        })
    }

    /// Something was written.
    pub(crate) fn written(&mut self, now: Instant) {
        if let Some(context) = &mut self.context {
            context.deadline = context.quiet.and_then(|quiet| now.checked_add(quiet));
        }
    }

    /// When [`handle_deadline`](Self::handle_deadline) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.context.as_ref()?.deadline
    }

    /// Lets a deflater go that was not used since the last deadline.
    pub(crate) fn handle_deadline(&mut self, now: Instant) {
        let Some(context) = &mut self.context else { return };
        if context.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        if std::mem::take(&mut context.used) {
            context.deadline = context.quiet.and_then(|quiet| now.checked_add(quiet));
        } else {
            context.deflater = None;
            context.deadline = None;
        }
    }
}

impl Context {
    fn new(quiet: Option<Duration>) -> Self {
        Self { deflater: None, quiet, deadline: None, used: false }
    }

    /// Compresses into `block`; false if it becomes longer than `most`, and is forgotten.
    fn try_compress(
        &mut self,
        settings: Settings,
        payload: &[u8],
        most: usize,
        block: &mut BytesMut,
    ) -> bool {
        self.used = true;
        let deflater = self.deflater.get_or_insert_with(|| settings.deflater());
        let is_worth_it = compress(deflater, payload, most, block);
        if !is_worth_it {
            // The other end will never see what is remembered now.
            deflater.reset();
        }
        is_worth_it
    }
}

impl Deflaters {
    /// The one of those settings.
    fn get(&mut self, settings: Settings) -> &mut zlib_rs::Deflate {
        let Self(deflaters) = self;
        let place = deflaters.iter().position(|(known, _)| *known == settings).unwrap_or_else(|| {
            if deflaters.len() == KEPT {
                deflaters.remove(0);
            }
            deflaters.push((settings, settings.deflater()));
            deflaters.len() - 1
        });
        &mut deflaters[place].1
    }
}

/// Runs `compress` with the thread's deflaters and an empty block, from which the result is cut if it is of use.
fn with_block(compress: impl FnOnce(&mut Deflaters, &mut BytesMut) -> bool) -> Option<Bytes> {
    THREAD.with_borrow_mut(|Thread { deflaters, block }| {
        if block.capacity() < SHARED && !block.try_reclaim(BLOCK) {
            *block = BytesMut::with_capacity(BLOCK);
        }
        if !compress(deflaters, block) {
            block.clear();
            return None;
        }
        let is_small = block.len() <= SHARED;
        let payload = if is_small { block.split() } else { std::mem::take(block) };
        Some(payload.freeze())
    })
}

/// Compresses a message into `block`; false as soon as it is clear that it becomes longer than `most`.
fn compress(deflater: &mut zlib_rs::Deflate, payload: &[u8], most: usize, block: &mut BytesMut) -> bool {
    // RFC 7692 section 7.2.1: "Compress all the octets of the payload of the message using DEFLATE." "If the resulting data does
    // not end with an empty DEFLATE block with no compression (the "BTYPE" bits are set to 00), append an empty DEFLATE block
    // with no compression to the tail end." "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
    let mut input = payload;
    loop {
        let (read, written, size) = with_scratch(|scratch| {
            let before = (deflater.total_in(), deflater.total_out());
            let result = deflater.compress(input, scratch, DeflateFlush::SyncFlush);
            let length = |total: u64, before| usize::try_from(total - before).unwrap_or(usize::MAX);
            let written = length(deflater.total_out(), before.1);
            block.extend_from_slice(&scratch[..written]);
            (result.ok().map(|_| length(deflater.total_in(), before.0)), written, scratch.len())
        });
        let Some(read) = read else { return false };
        input = &input[read..];
        if block.len() > most + TAIL.len() {
            return false;
        }
        if written < size {
            break;
        }
    }
    if !input.is_empty() || !block.ends_with(&TAIL) {
        return false;
    }
    block.truncate(block.len() - TAIL.len());
    true
}

/// Puts `payload` into `block` without compression, as whole messages end: with an empty block of which the tail is removed. For the
/// case that a deflater fails in the midst of a message, which then has to go on as it began.
fn store(payload: &[u8], block: &mut BytesMut) {
    for piece in payload.chunks(usize::from(u16::MAX)) {
        // RFC 1951 section 3.2.4: "LEN is the number of data bytes in the block. NLEN is the one's complement of LEN."
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        block.put_u8(0x00);
        block.put_u16_le(length);
        block.put_u16_le(!length);
        block.put_slice(piece);
    }
    block.put_slice(&EMPTY);
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_inflates_to_itself() {
        for length in [1, 1000, 65_535, 65_536, 200_000] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let mut block = BytesMut::new();
            store(&payload, &mut block);
            block.extend_from_slice(&TAIL);
            let mut out = vec![0; length + 1];
            let mut inflater = zlib_rs::Inflate::new(false, 15);
            inflater.decompress(&block, &mut out, zlib_rs::InflateFlush::SyncFlush).unwrap();
            assert_eq!((inflater.total_in(), inflater.total_out()), (block.len() as u64, length as u64));
            assert!(out[..length] == payload);
        }
    }
}
