//! What can go wrong, by blame: the peer, the opening handshake, the caller, the clock.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::CloseCode;

/// The peer broke the protocol, or a limit that we set it: the connection is failed (RFC 6455 section 7.1.7).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A close code that must not be on the wire (RFC 6455 section 7.4).
    #[error("close code {0} must not be sent in a Close frame")]
    CloseCode(u16),
    /// A Close frame with a payload of one byte (RFC 6455 section 5.5.1).
    #[error("a Close frame's payload of one byte cannot hold a close code")]
    ClosePayload,
    /// A close reason that is not UTF-8 (RFC 6455 section 5.5.1).
    #[error("the close reason is not UTF-8")]
    CloseReason,
    /// A continuation frame with no message to continue (RFC 6455 section 5.4).
    #[error("a continuation frame without a message to continue")]
    ContinuationUnexpected,
    /// A control frame in fragments (RFC 6455 section 5.5).
    #[error("a fragmented control frame")]
    ControlFragmented,
    /// A control frame's payload of more than 125 bytes (RFC 6455 section 5.5).
    #[error("a control frame's payload of more than 125 bytes")]
    ControlTooLong,
    /// A new message before the fragmented one had ended (RFC 6455 section 5.4).
    #[error("a new message inside a fragmented one")]
    DataInterleaved,
    /// A frame longer than [`Config::max_frame_size`](crate::Config::max_frame_size) (RFC 6455 section 10.4).
    #[error("a frame of {length} bytes, over the limit of {limit}")]
    FrameTooBig {
        /// The length that the frame's header declared.
        length: u64,
        /// The limit in force.
        limit: usize,
    },
    /// A payload length not in its shortest form (RFC 6455 section 5.2).
    #[error("a payload length that is not in its shortest form")]
    LengthNotMinimal,
    /// A 64-bit payload length with its most significant bit set (RFC 6455 section 5.2).
    #[error("a payload length with its most significant bit set")]
    LengthTopBit,
    /// A masked frame from a server (RFC 6455 section 5.1).
    #[error("a masked frame from a server")]
    Masked,
    /// A message longer than [`Config::max_message_size`](crate::Config::max_message_size) (RFC 6455 section 10.4).
    #[error("a message of more than {limit} bytes")]
    MessageTooBig {
        /// The limit in force.
        limit: usize,
    },
    /// An unmasked frame from a client (RFC 6455 section 5.1).
    #[error("an unmasked frame from a client")]
    NotMasked,
    /// A reserved bit without an extension that gives it a meaning (RFC 6455 section 5.2).
    #[error("a reserved bit is set and no extension was negotiated for it")]
    ReservedBits,
    /// A reserved opcode (RFC 6455 section 5.2).
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// Text that is not UTF-8 (RFC 6455 section 8.1).
    #[error("a text message that is not UTF-8")]
    TextNotUtf8,
    /// A message in more frames than [`Config::max_fragments`](crate::Config::max_fragments) (RFC 6455 section 10.4).
    #[error("a message of more than {limit} fragments")]
    TooManyFragments {
        /// The limit in force.
        limit: u32,
    },
}

impl ProtocolError {
    /// The close code that the peer was sent for it (RFC 6455 section 7.4.1).
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::CloseReason | Self::TextNotUtf8 => CloseCode::INVALID_FRAME_PAYLOAD_DATA,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } | Self::TooManyFragments { .. } => {
                CloseCode::MESSAGE_TOO_BIG
            }
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// The caller asked for something that the protocol does not allow; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// A close code that must not be on the wire (RFC 6455 section 7.4).
    #[error("close code {0} must not be sent in a Close frame")]
    CloseCode(u16),
    /// A close reason of more than 123 bytes (RFC 6455 section 5.5).
    #[error("a close reason of {0} bytes, more than the 123 that fit into a Close frame")]
    CloseReasonTooLong(usize),
    /// A ping or pong payload of more than 125 bytes (RFC 6455 section 5.5).
    #[error("a control frame's payload of {0} bytes, more than 125")]
    ControlTooLong(usize),
}

/// Why a message, ping or Close was not taken for sending; nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The closing handshake has begun or the connection has ended: nothing more can be sent (RFC 6455 section 5.5.1).
    #[error("the connection is closing or closed")]
    Closed,
    /// The caller asked for something that the protocol does not allow.
    #[error(transparent)]
    Misuse(#[from] ApiMisuse),
}

/// The peer was silent, and silent after a keepalive ping too: the connection has ended
/// ([`Config::ping_timeout`](crate::Config::ping_timeout)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer did not answer a keepalive ping in time")]
pub struct PongTimeout;

/// The opening handshake failed (RFC 6455 section 4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server refused: a status other than 101 (RFC 6455 section 4.1).
    #[error("the server refused the handshake with HTTP status {}", .0.status)]
    Refused(Box<Refusal>),
}

/// A server's answer other than 101, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The response's header fields.
    pub headers: HeaderMap,
    /// The body, up to [`Config::max_refusal_body`](crate::Config::max_refusal_body) bytes.
    pub body: Bytes,
    /// Whether the body went on beyond what was kept, or ended before its time.
    pub truncated: bool,
}
