//! Messages and control frames into output (RFC 6455 sections 5 and 6.1).

use bytes::{Buf, Bytes, BytesMut};

use crate::close::CloseFrame;
use crate::config::Config;
use crate::connection::Role;
use crate::deflate::Compressor;
use crate::error::ApiMisuse;
use crate::frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode};
use crate::mask::mask;
use crate::message::Message;
use crate::output::Output;

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
}

/// How long a message has to be to be compressed: an empty one never is.
fn threshold(config: &Config) -> usize {
    config.deflate.unwrap_or_default().threshold.max(1)
}

impl Send {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, pong: None, compressor: None }
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
        let mut opcode = if message.is_text() { Opcode::Text } else { Opcode::Binary };
        let mut payload = message.into_bytes();
        let mut rsv = 0;
        if let Some(compressor) = &mut self.compressor
            && payload.len() >= threshold(config)
            && let Some(compressed) = compress(compressor, &payload)
        {
            (payload, rsv) = (compressed, RSV1);
        }
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
        self.encode(true, rsv, opcode, payload, config, output);
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
