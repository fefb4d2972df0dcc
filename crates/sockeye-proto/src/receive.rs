//! Bytes into frames, frames into messages (RFC 6455 sections 5 and 6.2).

use std::cell::RefCell;

use bytes::{Buf, Bytes, BytesMut};

use crate::close::CloseFrame;
use crate::config::Config;
use crate::connection::{Event, Role};
use crate::deflate::{History, Inflater};
use crate::error::ProtocolError;
use crate::frame::{FrameHeader, MAX_HEADER, Opcode};
use crate::mask::mask;
use crate::message::{Message, Utf8Bytes};
use crate::send::RSV1;
use crate::utf8::valid_prefix;

/// The receiving half of a connection's state.
///
/// A message in one frame is unmasked, checked and cut out where it was read, so that its payload is never copied. A
/// message in several frames, or a compressed one, is gathered piece by piece, as the bytes come.
#[derive(Debug)]
pub(crate) struct Receive {
    role: Role,
    frame: Option<Frame>,
    /// Boxed, since most connections hold no such message most of the time.
    message: Option<Box<Gathered>>,
    /// How far the text of the message in hand is checked.
    checked: usize,
    /// Whether there may be compressed messages.
    inflates: bool,
    /// What compressed messages may refer to; none if each stands for itself. Boxed, since many connections have none.
    history: Option<Box<History>>,
}

/// A frame whose header is read and whose payload is not yet whole.
#[derive(Debug)]
struct Frame {
    fin: bool,
    /// Whether it is the first of a compressed message.
    compressed: bool,
    opcode: Opcode,
    length: usize,
    /// The masking key, turned for the payload's next byte.
    key: Option<[u8; 4]>,
    /// How many bytes of the payload are unmasked.
    done: usize,
}

/// A message that is gathered: of which a frame without FIN was read, or that is compressed.
#[derive(Debug, Default)]
struct Gathered {
    text: bool,
    fragments: u32,
    payload: BytesMut,
    inflater: Option<Inflater>,
}

/// How much is had at once for the payloads of compressed messages.
const BLOCK: usize = 64 << 10;

/// How many of those for compressed messages a thread keeps.
const KEPT: usize = 4;

thread_local! {
    /// Inflaters, with the blocks they inflate into. A connection has one only while a compressed message comes.
    #[expect(clippy::vec_box, reason = "the box itself is what is rented")]
    static POOL: RefCell<Vec<Box<Gathered>>> = const { RefCell::new(Vec::new()) };
}

impl Gathered {
    /// For a compressed message.
    fn rent() -> Box<Self> {
        let mut rented = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
        // A block of which somebody still holds a message cannot be used again.
        if rented.payload.capacity() < BLOCK / 4 && !rented.payload.try_reclaim(BLOCK) {
            rented.payload = BytesMut::with_capacity(BLOCK);
        }
        rented.inflater.get_or_insert_with(Inflater::new);
        rented
    }

    /// Takes the payload. What grew beyond a block goes with it.
    fn take(&mut self) -> Bytes {
        let payload = &mut self.payload;
        let is_short = self.inflater.is_some() && payload.len() <= BLOCK / 4;
        if is_short { payload.split().freeze() } else { std::mem::take(payload).freeze() }
    }

    fn give_back(self: Box<Self>) {
        if self.inflater.is_some() {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(self);
                }
            });
        }
    }
}

impl Receive {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, frame: None, message: None, checked: 0, inflates: false, history: None }
    }

    /// Takes compressed messages from now on.
    pub(crate) fn start_inflating(&mut self, history: Option<History>) {
        (self.inflates, self.history) = (true, history.map(Box::new));
    }

    /// How many bytes of memory the message in hand takes, beside the input.
    pub(crate) fn held(&self) -> usize {
        let inflater = |message: &Gathered| if message.inflater.is_some() { Inflater::held() } else { 0 };
        let message =
            self.message.as_ref().map_or(0, |message| message.payload.capacity() + inflater(message));
        message + self.history.as_ref().map_or(0, |history| history.held())
    }

    /// How long the input must get before the frame in hand is whole.
    pub(crate) fn wanted(&self) -> usize {
        match &self.frame {
            Some(frame) if frame.opcode.is_control() || self.is_whole(frame) => frame.length,
            Some(frame) => frame.length - frame.done,
            None => MAX_HEADER,
        }
    }

    /// Whether a whole frame stands at the start of `input`; a header that breaks the rules counts, being something to tell.
    #[inline]
    pub(crate) fn has_frame(&self, input: &[u8]) -> bool {
        if input.is_empty() {
            return false;
        }
        if self.frame.is_some() {
            return input.len() >= self.wanted();
        }
        match FrameHeader::parse(input) {
            Ok(Some((header, start))) => (input.len() - start) as u64 >= header.length,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Takes the next frame out of `input`, or the next message: `None` if more bytes are needed.
    #[inline]
    pub(crate) fn next_frame(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Option<Event>, ProtocolError> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(input, config)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let payload = if frame.opcode.is_control() || self.is_whole(&frame) {
                self.read_whole(&mut frame, input)?
            } else {
                self.gather(&mut frame, input, config)?
            };
            let Some(payload) = payload else {
                self.frame = Some(frame);
                return Ok(None);
            };
            if let Some(event) = self.on_frame(&frame, payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// Whether the frame is a message of its own, as it stands.
    #[inline]
    fn is_whole(&self, frame: &Frame) -> bool {
        frame.fin && self.message.is_none() && !frame.compressed
    }

    #[inline]
    fn read_header(&mut self, input: &mut BytesMut, config: &Config) -> Result<Option<Frame>, ProtocolError> {
        let Some((header, length)) = FrameHeader::parse(input)? else { return Ok(None) };
        input.advance(length);
        // RFC 6455 section 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        // RFC 7692 section 6: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments
        // of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
        let compressed =
            header.rsv == RSV1 && self.inflates && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv != 0 && !compressed {
            return Err(ProtocolError::ReservedBits);
        }
        // RFC 6455 section 5.1: "The server MUST close the connection upon receiving a frame that is not masked." and "A
        // client MUST close a connection if it detects a masked frame."
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(ProtocolError::NotMasked),
            (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if !header.opcode.is_control() {
            self.check_sequence(&header, config)?;
            if length > config.max_frame_size {
                let limit = config.max_frame_size;
                return Err(ProtocolError::FrameTooBig { length: header.length, limit });
            }
            // How long a compressed message becomes is seen when it is inflated.
            let before = match &self.message {
                Some(message) if message.inflater.is_some() => None,
                Some(message) => Some(message.payload.len()),
                None if compressed => None,
                None => Some(0),
            };
            if before.is_some_and(|before| length > config.max_message_size.saturating_sub(before)) {
                return Err(ProtocolError::MessageTooBig { limit: config.max_message_size });
            }
        }
        Ok(Some(Frame {
            fin: header.fin,
            compressed,
            opcode: header.opcode,
            length,
            key: header.mask,
            done: 0,
        }))
    }

    /// Checks that a data frame may follow those before it, and counts it.
    fn check_sequence(&mut self, header: &FrameHeader, config: &Config) -> Result<(), ProtocolError> {
        match (&mut self.message, header.opcode) {
            (None, Opcode::Continuation) => Err(ProtocolError::ContinuationUnexpected),
            // RFC 6455 section 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of
            // another message unless an extension has been negotiated"
            (Some(_), Opcode::Text | Opcode::Binary) => Err(ProtocolError::DataInterleaved),
            (Some(message), _) if message.fragments >= config.max_fragments => {
                Err(ProtocolError::TooManyFragments { limit: config.max_fragments })
            }
            (Some(message), _) => {
                message.fragments += 1;
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Unmasks and checks a payload where it stands, and cuts it out once it is whole.
    #[inline]
    fn read_whole(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let here = input.len().min(frame.length);
        if let Some(key) = &mut frame.key {
            *key = mask(&mut input[frame.done..here], *key);
        }
        frame.done = here;
        if frame.opcode == Opcode::Text {
            self.checked += valid_prefix(&input[self.checked..here]).ok_or(ProtocolError::TextNotUtf8)?;
        }
        if here < frame.length {
            return Ok(None);
        }
        // An empty slice would keep the whole block from being used again.
        Ok(Some(if here == 0 { Bytes::new() } else { input.split_to(here).freeze() }))
    }

    /// Moves what is there of a fragment's payload to the message's other fragments, inflating it if it is compressed.
    fn gather(
        &mut self,
        frame: &mut Frame,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let message = match &mut self.message {
            Some(message) => message,
            none => {
                let mut message = if frame.compressed { Gathered::rent() } else { Box::default() };
                (message.text, message.fragments) = (frame.opcode == Opcode::Text, 1);
                if let Some(inflater) = &mut message.inflater {
                    inflater.start(self.history.as_deref())?;
                }
                none.insert(message)
            }
        };
        let count = input.len().min(frame.length - frame.done);
        if let Some(key) = &mut frame.key {
            *key = mask(&mut input[..count], *key);
        }
        frame.done += count;
        let is_last = frame.fin && frame.done == frame.length;
        let mut inflated = Ok(());
        if let Some(inflater) = &mut message.inflater {
            let (payload, limit) = (&mut message.payload, config.max_message_size);
            inflated = inflater.inflate(&input[..count], payload, limit, self.history.as_deref());
            if is_last && inflated.is_ok() {
                inflated = inflater.finish(payload, limit, self.history.as_deref());
                if let Some(history) = &mut self.history {
                    history.extend(payload);
                }
            }
        } else {
            message.payload.extend_from_slice(&input[..count]);
        }
        input.advance(count);
        if message.text {
            let unchecked = &message.payload[self.checked..];
            self.checked += valid_prefix(unchecked).ok_or(ProtocolError::TextNotUtf8)?;
        }
        // What is wrong first is told, however the bytes came.
        inflated?;
        if frame.done < frame.length {
            return Ok(None);
        }
        Ok(Some(if frame.fin { message.take() } else { Bytes::new() }))
    }

    /// What a whole frame means: an event, or nothing if its message goes on.
    #[inline]
    fn on_frame(&mut self, frame: &Frame, payload: Bytes) -> Result<Option<Event>, ProtocolError> {
        Ok(Some(match frame.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => Event::Close(CloseFrame::parse(&payload)?),
            _ if !frame.fin => return Ok(None),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                let text = match self.message.take() {
                    None => frame.opcode == Opcode::Text,
                    Some(message) => {
                        let text = message.text;
                        message.give_back();
                        text
                    }
                };
                // RFC 6455 section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
                // stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
                if text && std::mem::take(&mut self.checked) != payload.len() {
                    return Err(ProtocolError::TextNotUtf8);
                }
                Event::Message(if text {
                    Message::Text(Utf8Bytes::from_checked(payload))
                } else {
                    Message::Binary(payload)
                })
            }
        }))
    }
}
