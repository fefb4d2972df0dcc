//! Frames (RFC 6455 section 5.2): their headers, read and written.

use bytes::BufMut;

use crate::error::ProtocolError;

/// The longest header of a frame, in bytes: two, a 64-bit length and a masking key.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// 0x0: more of a fragmented message.
    Continuation,
    /// 0x1: a text message, or its first fragment.
    Text,
    /// 0x2: a binary message, or its first fragment.
    Binary,
    /// 0x8: the closing handshake.
    Close,
    /// 0x9: asks for a pong.
    Ping,
    /// 0xA: answers a ping, or is a heartbeat of its own.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Reads the four bits.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::ReservedOpcode`] for what RFC 6455 section 5.2 reserves.
    pub const fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return Err(ProtocolError::ReservedOpcode(bits)),
        })
    }

    /// Whether it is a control frame (RFC 6455 section 5.5).
    pub const fn is_control(self) -> bool {
        // RFC 6455 section 5.5: "Control frames are identified by opcodes where the most significant bit of the opcode is 1."
        self.bits() & 0x8 != 0
    }
}

/// A frame's header (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The reserved bits RSV1, RSV2 and RSV3, as 4, 2 and 1.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes; at most 2^63 - 1.
    pub length: u64,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes`: the header and its own length, or `None` if more bytes are needed.
    ///
    /// Checks what holds for every frame whatever the role and the extensions, as soon as the byte is there that
    /// breaks it: opcode, shortest form and top bit of the length, and the rules of control frames.
    ///
    /// # Errors
    ///
    /// The [`ProtocolError`] that says which of these is broken.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0F)?;
        let fin = first & 0x80 != 0;
        let short = second & 0x7F;
        if opcode.is_control() {
            // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
            if !fin {
                return Err(ProtocolError::ControlFragmented);
            }
            if usize::from(short) > MAX_CONTROL_PAYLOAD {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let (length, rest) = match short {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                // RFC 6455 section 5.2: "the most significant bit MUST be 0"
                if rest.first().is_some_and(|top| top & 0x80 != 0) {
                    return Err(ProtocolError::LengthTopBit);
                }
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        // RFC 6455 section 5.2: "in all cases, the minimal number of bytes MUST be used to encode the length"
        let least = match short {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if length < least {
            return Err(ProtocolError::LengthNotMinimal);
        }
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        };
        let header = Self { fin, rsv: first >> 4 & 0x7, opcode, mask, length };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Writes the header, at most [`MAX_HEADER`] bytes.
    #[inline]
    pub fn write(&self, output: &mut impl BufMut) {
        let masked = u8::from(self.mask.is_some()) << 7;
        let first = u8::from(self.fin) << 7 | (self.rsv & 0x7) << 4 | self.opcode.bits();
        if let Ok(short @ 0..=0x7D) = u8::try_from(self.length) {
            output.put_slice(&[first, masked | short]);
        } else if let Ok(medium) = u16::try_from(self.length) {
            let [high, low] = medium.to_be_bytes();
            output.put_slice(&[first, masked | 0x7E, high, low]);
        } else {
            output.put_slice(&[first, masked | 0x7F]);
            output.put_u64(self.length);
        }
        if let Some(key) = self.mask {
            output.put_slice(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn header(fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, length: u64) -> FrameHeader {
        FrameHeader { fin, rsv: 0, opcode, mask, length }
    }

    const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

    #[test]
    fn headers_are_read_and_written() {
        let cases: &[(&str, FrameHeader, &[u8])] = &[
            ("empty text", header(true, Opcode::Text, None, 0), &[0x81, 0]),
            (
                "RFC 6455 section 5.7, masked text",
                header(true, Opcode::Text, KEY, 5),
                &[0x81, 0x85, 1, 2, 3, 4],
            ),
            ("first fragment", header(false, Opcode::Text, None, 3), &[0x01, 3]),
            ("last fragment", header(true, Opcode::Continuation, None, 2), &[0x80, 2]),
            ("longest short", header(true, Opcode::Binary, None, 125), &[0x82, 125]),
            ("shortest medium", header(true, Opcode::Binary, None, 126), &[0x82, 126, 0, 126]),
            ("longest medium", header(true, Opcode::Binary, None, 65535), &[0x82, 126, 255, 255]),
            (
                "shortest long",
                header(true, Opcode::Binary, None, 65536),
                &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0],
            ),
            (
                "longest long",
                header(true, Opcode::Binary, None, u64::MAX >> 1),
                &[0x82, 127, 127, 255, 255, 255, 255, 255, 255, 255],
            ),
            ("longest ping", header(true, Opcode::Ping, KEY, 125), &[0x89, 0xFD, 1, 2, 3, 4]),
            ("close", header(true, Opcode::Close, None, 2), &[0x88, 2]),
            ("pong", header(true, Opcode::Pong, None, 0), &[0x8A, 0]),
            ("RSV1", FrameHeader { rsv: 4, ..header(true, Opcode::Text, None, 0) }, &[0xC1, 0]),
            ("RSV3", FrameHeader { rsv: 1, ..header(true, Opcode::Text, None, 0) }, &[0x91, 0]),
        ];
        for (name, header, bytes) in cases {
            let mut written = Vec::new();
            header.write(&mut written);
            assert_eq!(written, *bytes, "{name}, written");
            assert_eq!(FrameHeader::parse(bytes), Ok(Some((*header, bytes.len()))), "{name}, read");
            for end in 0..bytes.len() {
                assert_eq!(FrameHeader::parse(&bytes[..end]), Ok(None), "{name}, its first {end} bytes");
            }
        }
    }

    #[test]
    fn bad_headers_fail_at_the_byte_that_is_wrong() {
        let cases: &[(&str, &[u8], ProtocolError)] = &[
            ("opcode 3", &[0x83, 0], ProtocolError::ReservedOpcode(3)),
            ("opcode 7", &[0x87, 0], ProtocolError::ReservedOpcode(7)),
            ("opcode 11", &[0x8B, 0], ProtocolError::ReservedOpcode(11)),
            ("opcode 15", &[0x8F, 0], ProtocolError::ReservedOpcode(15)),
            ("fragmented ping", &[0x09, 0], ProtocolError::ControlFragmented),
            ("fragmented close", &[0x08, 0], ProtocolError::ControlFragmented),
            ("long pong", &[0x8A, 126], ProtocolError::ControlTooLong),
            ("long masked close", &[0x88, 0xFF], ProtocolError::ControlTooLong),
            ("medium length 125", &[0x82, 126, 0, 125], ProtocolError::LengthNotMinimal),
            ("long length 65535", &[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255], ProtocolError::LengthNotMinimal),
            ("top bit of the length", &[0x82, 127, 128], ProtocolError::LengthTopBit),
        ];
        for (name, bytes, error) in cases {
            assert_eq!(FrameHeader::parse(bytes), Err(error.clone()), "{name}");
            assert_eq!(FrameHeader::parse(&bytes[..bytes.len() - 1]), Ok(None), "{name}, a byte before");
        }
    }
}
