//! The closing handshake (RFC 6455 section 7): codes, frames, states.

use std::fmt;
use std::time::Instant;

use crate::config::Config;
use crate::error::{ApiMisuse, ProtocolError};
use crate::message::Utf8Bytes;

/// The code in a Close frame (RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL_CLOSURE: Self = Self(1000);
    /// 1001: a server goes down, or a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: no code was in the Close frame received; never on the wire.
    pub const NO_STATUS_RECEIVED: Self = Self(1005);
    /// 1006: the connection ended without a Close frame; never on the wire.
    pub const ABNORMAL_CLOSURE: Self = Self(1006);
    /// 1007: data within a message that is not what the message's type says, such as text that is not UTF-8.
    pub const INVALID_FRAME_PAYLOAD_DATA: Self = Self(1007);
    /// 1008: a message that breaks the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to be processed.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service is restarted.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed; never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether the code may be in a Close frame (RFC 6455 section 7.4 and the registry that it founds).
    pub fn may_be_sent(self) -> bool {
        // RFC 6455 section 7.4.2: "Status codes in the range 3000-3999 are reserved for use by libraries, frameworks, and
        // applications", "4000-4999 are reserved for private use"
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl PartialEq<u16> for CloseCode {
    fn eq(&self, other: &u16) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close frame that is not empty says (RFC 6455 section 5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code.
    pub code: CloseCode,
    /// The reason, at most 123 bytes, for people who debug.
    pub reason: Utf8Bytes,
}

impl CloseFrame {
    /// A Close frame's contents, if they may be sent: a code that may be on the wire, a reason that fits.
    ///
    /// # Errors
    ///
    /// [`ApiMisuse::CloseCode`] or [`ApiMisuse::CloseReasonTooLong`] if they may not.
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<Utf8Bytes>) -> Result<Self, ApiMisuse> {
        let frame = Self { code: code.into(), reason: reason.into() };
        frame.check()?;
        Ok(frame)
    }

    /// Whether it may be sent; the fields are public, so that it need not come out of [`new`](Self::new).
    pub(crate) fn check(&self) -> Result<(), ApiMisuse> {
        if !self.code.may_be_sent() {
            return Err(ApiMisuse::CloseCode(self.code.into()));
        }
        // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less"
        if self.reason.len() > 123 {
            return Err(ApiMisuse::CloseReasonTooLong(self.reason.len()));
        }
        Ok(())
    }

    /// Reads a Close frame's payload.
    pub(crate) fn parse(payload: &[u8], config: &Config) -> Result<Option<Self>, ProtocolError> {
        // RFC 6455 section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer"
        let code = match payload[..] {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::ClosePayload),
            [high, low, ..] => CloseCode(u16::from_be_bytes([high, low])),
        };
        // RFC 6455 section 7.4.1, of 1005, 1006 and 1015: "MUST NOT be set as a status code in a Close control frame by an endpoint."
        let is_accepted =
            code.may_be_sent() || config.close_as_browsers && !matches!(code.0, 1005 | 1006 | 1015);
        if !is_accepted {
            return Err(ProtocolError::CloseCode(code.into()));
        }
        let reason = std::str::from_utf8(&payload[2..]).map_err(|_| ProtocolError::CloseReason)?;
        Ok(Some(Self { code, reason: reason.into() }))
    }

    /// The payload of the frame.
    pub(crate) fn payload(&self) -> Vec<u8> {
        [&self.code.0.to_be_bytes(), self.reason.as_bytes()].concat()
    }
}

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This end.
    Local,
    /// The other end.
    Peer,
}

/// How a connection ended (RFC 6455 sections 7.1.4 to 7.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseInfo {
    /// Who began: who sent the first Close, or who let the connection go without one.
    pub initiator: Side,
    /// The code in the peer's Close frame; 1005 if it held none, 1006 if there was no such frame.
    pub code: CloseCode,
    /// The reason in the peer's Close frame, or nothing.
    pub reason: Utf8Bytes,
    /// Whether both ends sent a Close frame (RFC 6455 section 7.1.4).
    pub clean: bool,
}

/// Where the connection stands.
///
/// ```text
///          start_close             peer's Close
///   Open ──────────────▶ CloseSent ────────────▶ Finished ──────────▶ Ended
///    │  peer's Close, answered at once              ▲  │  end of       ▲
///    ├──────────────────────────────────────────────┤  │  the bytes,   │
///    │  violation, its Close queued (from           │  │  deadline     │
///    ├── CloseSent too) ────────────────────────────┘                  │
///    │  end of the bytes, dead peer; from CloseSent the deadline too   │
///    └─────────────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Messages go both ways.
    Open,
    /// Our Close is sent; the peer's is awaited, and messages before it are delivered.
    CloseSent,
    /// No more frames either way; the byte stream is to be closed.
    Finished,
    /// The byte stream is over.
    Ended,
}

/// The closing handshake of one connection.
#[derive(Debug)]
pub(crate) struct Close {
    state: State,
    deadline: Option<Instant>,
    info: Option<Box<CloseInfo>>,
}

impl Close {
    pub(crate) fn new() -> Self {
        Self { state: State::Open, deadline: None, info: None }
    }

    /// Whether messages may be sent.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        self.state == State::Open
    }

    /// Whether frames of the peer still mean something.
    #[inline]
    pub(crate) fn may_receive(&self) -> bool {
        matches!(self.state, State::Open | State::CloseSent)
    }

    /// Whether no more frames go either way, so that the byte stream may be closed.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished | State::Ended)
    }

    /// Whether the byte stream is over.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn info(&self) -> Option<&CloseInfo> {
        self.info.as_deref().filter(|_| self.is_finished())
    }

    /// Our Close was queued, the first of the two.
    pub(crate) fn sent(&mut self, config: &Config, now: Instant) {
        self.state = State::CloseSent;
        self.deadline = config.close_timeout.and_then(|timeout| now.checked_add(timeout));
        self.note(Side::Local, None, false);
    }

    /// The peer's Close was read; the answer to it, if one is due, was queued.
    pub(crate) fn received(&mut self, frame: Option<CloseFrame>, config: &Config, now: Instant) {
        let initiator = if self.state == State::Open { Side::Peer } else { Side::Local };
        // RFC 6455 section 7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection Close
        // Code_ is considered to be 1005."
        let frame =
            frame.unwrap_or(CloseFrame { code: CloseCode::NO_STATUS_RECEIVED, reason: Utf8Bytes::new() });
        self.note(initiator, Some(frame), true);
        self.finish(config, now);
    }

    /// The peer broke the protocol; a Close, if one could still be sent, was queued.
    pub(crate) fn failed(&mut self, config: &Config, now: Instant) {
        self.note(Side::Local, None, false);
        self.finish(config, now);
    }

    /// The byte stream has ended, or is given up; `by` is who let it go, if nobody had begun to close.
    pub(crate) fn ended(&mut self, by: Side) {
        if self.state == State::Open {
            self.note(by, None, false);
        }
        self.state = State::Ended;
        self.deadline = None;
    }

    fn finish(&mut self, config: &Config, now: Instant) {
        self.state = State::Finished;
        self.deadline = config.close_timeout.and_then(|timeout| now.checked_add(timeout));
    }

    fn note(&mut self, initiator: Side, frame: Option<CloseFrame>, clean: bool) {
        let initiator = self.info.as_ref().map_or(initiator, |info| info.initiator);
        // RFC 6455 section 7.1.5: "If _The WebSocket Connection is Closed_ and no Close control frame was received by
        // the endpoint [..], _The WebSocket Connection Close Code_ is considered to be 1006."
        let frame =
            frame.unwrap_or(CloseFrame { code: CloseCode::ABNORMAL_CLOSURE, reason: Utf8Bytes::new() });
        let info = CloseInfo { initiator, code: frame.code, reason: frame.reason, clean };
        self.info = Some(Box::new(info));
    }
}
