//! Messages and control frames into output (RFC 6455 sections 5 and 6.1).

use bytes::{Buf, Bytes, BytesMut};

use crate::close::CloseFrame;
use crate::config::Config;
use crate::connection::Role;
use crate::deflate::Compressor;
use crate::error::ApiMisuse;
use crate::frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode};
use crate::mask::mask;
use crate::message::{Message, MessageKind, Utf8Bytes};
use crate::output::Output;
use crate::utf8::valid_prefix;

/// From this size on a payload is queued as it is instead of being copied behind its header.
const COPY_BELOW: usize = 16 << 10;

/// The first reserved bit: RFC 7692 section 6: "the "Per-Message Compressed" bit, which indicates whether or not the message is compressed".
pub(crate) const RSV1: u8 = 0b100;

/// The sending half of a connection's state.
#[derive(Debug)]
pub(crate) struct Send {
    role: Role,
    /// The payload of the newest ping that could not be answered at once.
    pong: Option<Box<[u8]>>,
    compressor: Option<Compressor>,
    /// The message that is being sent in parts.
    unfinished: Option<Unfinished>,
    carry: Carry,
}

/// The first bytes of a character of which the others are not there yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carry {
    bytes: [u8; 3],
    length: u8,
}

/// A message of which parts were sent, and not the last.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    kind: MessageKind,
    compressed: bool,
}

/// How long a message has to be to be compressed: an empty one never is.
fn threshold(config: &Config) -> usize {
    config.deflate.unwrap_or_default().threshold.max(1)
}

impl Send {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, pong: None, compressor: None, unfinished: None, carry: Carry::default() }
    }

    /// Compresses messages from now on, or no longer.
    pub(crate) fn set_compressor(&mut self, compressor: Option<Compressor>) {
        self.compressor = compressor;
    }

    pub(crate) fn compressor(&self) -> Option<&Compressor> {
        self.compressor.as_ref()
    }

    pub(crate) fn compressor_mut(&mut self) -> Option<&mut Compressor> {
        self.compressor.as_mut()
    }

    /// Encodes a message, in fragments if the configuration asks for them, and compressed if that was agreed on and `compress` gives a
    /// compressed form of the payload.
    #[inline]
    pub(crate) fn message(
        &mut self,
        message: Message,
        compress: impl FnOnce(&mut Compressor, &[u8]) -> Option<Bytes>,
        config: &Config,
        output: &mut Output,
    ) {
        let opcode = opcode(message.kind());
        let mut payload = message.into_bytes();
        let mut rsv = 0;
        if let Some(compressor) = &mut self.compressor
            && payload.len() >= threshold(config)
            && let Some(compressed) = compress(compressor, &payload)
        {
            (payload, rsv) = (compressed, RSV1);
        }
        match config.fragment_size {
            None => self.encode(true, rsv, opcode, payload, config, output),
            Some(_) => self.frames(true, rsv, opcode, payload, config, output),
        }
    }

    /// Encodes a message or a part of one, in fragments if the configuration asks for them; `fin` is for the last.
    fn frames(
        &mut self,
        fin: bool,
        mut rsv: u8,
        mut opcode: Opcode,
        mut payload: Bytes,
        config: &Config,
        output: &mut Output,
    ) {
        // RFC 6455 section 5.4: "a single frame with the FIN bit clear and an opcode other than 0, followed by zero or
        // more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with the FIN bit
        // set and an opcode of 0"
        if let Some(size) = config.fragment_size.map(|size| size.max(1)) {
            while payload.len() > size {
                self.encode(false, rsv, opcode, payload.split_to(size), config, output);
                // RFC 7692 section 6.1: "Set the "Per-Message Compressed" bit of the first frame" and of no other.
                (opcode, rsv) = (Opcode::Continuation, 0);
            }
        }
        self.encode(fin, rsv, opcode, payload, config, output);
    }

    /// Which kind of message is being sent in parts.
    #[inline]
    pub(crate) fn unfinished(&self) -> Option<MessageKind> {
        self.unfinished.map(|message| message.kind)
    }

    /// Encodes a part of a message that has more than one. The first decides whether the message is compressed.
    pub(crate) fn part(
        &mut self,
        data: Message,
        last: bool,
        compress: bool,
        config: &Config,
        output: &mut Output,
    ) -> Result<(), ApiMisuse> {
        if self.carry.length > 0 && (last || !data.is_empty()) {
            return Err(ApiMisuse::TextNotUtf8);
        }
        let kind = data.kind();
        let Some(message) = self.unfinished else {
            let mut payload = data.into_bytes();
            let compressor = self.compressor.as_mut().filter(|_| compress);
            let first = compressor.and_then(|compressor| compressor.first_part(&payload, config));
            let (compressed, rsv) = (first.is_some(), if first.is_some() { RSV1 } else { 0 });
            payload = first.unwrap_or(payload);
            self.unfinished = Some(Unfinished { kind, compressed });
            self.frames(false, rsv, opcode(kind), payload, config, output);
            return Ok(());
        };
        if message.kind != kind {
            return Err(ApiMisuse::PartKind);
        }
        if data.is_empty() && !last {
            return Ok(());
        }
        let mut payload = data.into_bytes();
        if let Some(compressor) = self.compressor.as_mut().filter(|_| message.compressed) {
            payload = compressor.part(&payload, last);
        }
        self.unfinished = (!last).then_some(message);
        self.frames(last, 0, Opcode::Continuation, payload, config, output);
        Ok(())
    }

    /// Cuts bytes of a message, as they come, into what is to be sent of them and, of text, the first bytes of a character, to be
    /// [carried](Self::carry) over to the next. What was carried goes first.
    pub(crate) fn cut(
        &mut self,
        kind: MessageKind,
        mut bytes: Bytes,
        last: bool,
    ) -> Result<(Message, Carry), ApiMisuse> {
        if kind == MessageKind::Binary {
            return Ok((Message::Binary(bytes), self.carry));
        }
        let carried = &self.carry.bytes[..self.carry.length.into()];
        if !carried.is_empty() {
            bytes = [carried, &bytes].concat().into();
        }
        let valid = valid_prefix(&bytes).ok_or(ApiMisuse::TextNotUtf8)?;
        let mut carry = Carry::default();
        for (byte, place) in bytes[valid..].iter().zip(&mut carry.bytes) {
            *place = *byte;
            carry.length += 1;
        }
        if last && carry.length > 0 {
            return Err(ApiMisuse::TextNotUtf8);
        }
        bytes.truncate(valid);
        self.carry = Carry::default();
        Ok((Message::Text(Utf8Bytes::from_checked(bytes)), carry))
    }

    /// Keeps what was [cut](Self::cut) off.
    pub(crate) fn carry(&mut self, carry: Carry) {
        self.carry = carry;
    }

    /// Encodes a ping or a pong of the caller's.
    pub(crate) fn control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        config: &Config,
        output: &mut Output,
    ) -> Result<(), ApiMisuse> {
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(ApiMisuse::ControlTooLong(payload.len()));
        }
        self.encode(true, 0, opcode, Bytes::copy_from_slice(payload), config, output);
        Ok(())
    }

    /// Answers a ping, now or as soon as there is room again.
    pub(crate) fn pong(&mut self, payload: &[u8], config: &Config, output: &mut Output) {
        // RFC 6455 section 5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to
        // previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
        self.pong = Some(payload.into());
        self.pending_pong(config, output);
    }

    /// Encodes the pong that is owed, if there is room: a peer that pings and does not read costs one payload.
    #[inline]
    pub(crate) fn pending_pong(&mut self, config: &Config, output: &mut Output) {
        if self.owes_pong()
            && output.remaining() < config.max_buffered.max(1)
            && let Some(payload) = self.pong.take()
        {
            self.encode(true, 0, Opcode::Pong, payload.into(), config, output);
        }
    }

    /// Whether a pong waits for room.
    pub(crate) fn owes_pong(&self) -> bool {
        self.pong.is_some()
    }

    /// Encodes a Close frame; no data may follow it, but pongs do until the peer's Close.
    pub(crate) fn close(&mut self, frame: Option<&CloseFrame>, config: &Config, output: &mut Output) {
        let payload = frame.map(CloseFrame::payload).unwrap_or_default();
        self.encode(true, 0, Opcode::Close, payload.into(), config, output);
    }

    #[inline]
    fn encode(
        &mut self,
        fin: bool,
        rsv: u8,
        opcode: Opcode,
        payload: Bytes,
        config: &Config,
        output: &mut Output,
    ) {
        // RFC 6455 section 5.3: "The masking key is a 32-bit value chosen at random by the client. When preparing a masked
        // frame, the client MUST pick a fresh masking key"
        let key = (self.role == Role::Client).then(config.masking_key);
        let header = FrameHeader { fin, rsv, opcode, mask: key, length: payload.len() as u64 };
        let block = output.block();
        if payload.len() < COPY_BELOW {
            block.reserve(MAX_HEADER + payload.len());
            header.write(block);
            let start = block.len();
            block.extend_from_slice(&payload);
            if let Some(key) = key {
                let _ = mask(&mut block[start..], key);
            }
            return;
        }
        header.write(block);
        output.push(match key {
            None => payload,
            Some(key) => {
                let mut payload = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                let _ = mask(&mut payload, key);
                payload.freeze()
            }
        });
    }
}

/// What the first frame of a message is.
#[inline]
fn opcode(kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    }
}
