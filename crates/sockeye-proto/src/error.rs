//! What can go wrong, by blame: the peer, the opening handshake, the caller, the clock.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{CloseCode, handshake};

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
    /// A message's payload that cannot be inflated, or that ends within a block (RFC 7692 section 7.2.2).
    #[error("a compressed message that cannot be inflated")]
    CompressedData,
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
    /// A reserved bit without an extension that gives it a meaning there (RFC 6455 section 5.2, RFC 7692 section 6).
    #[error("a reserved bit is set where no negotiated extension gives it a meaning")]
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
            // RFC 7692 names no code; the data is "not consistent with the type of the message" (RFC 6455 section 7.4.1).
            Self::CloseReason | Self::CompressedData | Self::TextNotUtf8 => {
                CloseCode::INVALID_FRAME_PAYLOAD_DATA
            }
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
    /// A message while another one, sent in parts, was not at its end (RFC 6455 section 5.4).
    #[error("a message before the last part of the one that is being sent in parts")]
    MessageUnfinished,
    /// A part of another kind than the parts before it (RFC 6455 section 5.4).
    #[error("a part of another kind than the first part of its message")]
    PartKind,
    /// Bytes for a text message that are not UTF-8, or that end within a character (RFC 6455 section 5.6).
    #[error("bytes for a text message that are not UTF-8")]
    TextNotUtf8,
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
///
/// A server answers the peer with [`respond`](Self::respond); what was received is quoted in the messages, cut short and
/// with control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server's `Sec-WebSocket-Accept` does not go with our key (RFC 6455 section 4.1).
    #[error("Sec-WebSocket-Accept is {found:?}, which does not go with the key that was sent")]
    Accept {
        /// The value received.
        found: String,
    },
    /// The request announces a body, and an opening handshake has none (RFC 9110 section 9.3.1).
    #[error(
        "the request announces a body (Content-Length or Transfer-Encoding); an opening handshake has none"
    )]
    Body,
    /// `Connection` does not hold the token `Upgrade` (RFC 6455 sections 4.1 and 4.2.1).
    #[error("Connection must hold the token Upgrade, found {found:?}")]
    Connection {
        /// The value received.
        found: String,
    },
    /// A header field that may be there but once is there more often (RFC 6455 section 11.3; for `Host` RFC 9112 section
    /// 3.2, for `Origin` RFC 6454 section 7.3).
    #[error("more than one {0} header field")]
    DuplicateHeader(&'static str),
    /// The server chose an extension that was not offered (RFC 6455 section 4.1).
    #[error("Sec-WebSocket-Extensions names {0:?}, which was not offered")]
    ExtensionNotOffered(String),
    /// The server chose parameters of an extension that the offer does not allow (RFC 7692 section 7.1).
    #[error("Sec-WebSocket-Extensions is {0:?}, which the offer does not allow")]
    ExtensionParameters(String),
    /// A head longer than [`Config::max_header_block`](crate::Config::max_header_block) (RFC 6455 section 10.4, RFC 6585
    /// section 5).
    #[error("a header block of more than {limit} bytes")]
    HeaderBlockTooLong {
        /// The limit in force.
        limit: usize,
    },
    /// A header field whose value breaks its grammar (RFC 6455 section 4.3; for `Host` RFC 9112 section 3.2).
    #[error("{name} must be {expected}, found {found:?}")]
    HeaderSyntax {
        /// The header field.
        name: &'static str,
        /// What its value has to be.
        expected: &'static str,
        /// The value received.
        found: String,
    },
    /// Bytes that are no HTTP/1.1 message (RFC 9112 section 2.1).
    #[error("not HTTP/1.1: {0}")]
    HttpSyntax(&'static str),
    /// An HTTP version other than 1.1 (RFC 6455 sections 4.1 and 4.2.1).
    #[error("the HTTP version must be 1.1, found {0:?}")]
    HttpVersion(String),
    /// A method other than GET (RFC 6455 section 4.2.1).
    #[error("the method must be GET, found {0}")]
    Method(Method),
    /// A header field that must be there is not (RFC 6455 sections 4.1 and 4.2.1).
    #[error("there is no {0} header field")]
    MissingHeader(&'static str),
    /// The caller asked for something that the protocol does not allow; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] HandshakeMisuse),
    /// The server refused: a status other than 101 (RFC 6455 section 4.1).
    #[error("the server refused the handshake with HTTP status {}", .0.status)]
    Refused(Box<Refusal>),
    /// The server chose a subprotocol that was not offered (RFC 6455 section 4.1).
    #[error("Sec-WebSocket-Protocol is {0:?}, which was not offered")]
    SubprotocolNotOffered(String),
    /// A request target that is no resource name (RFC 6455 section 4.2.1, RFC 9112 section 3.2).
    #[error("the request target must be a path or an absolute URL, found {0:?}")]
    Target(String),
    /// The opening handshake took longer than [`Config::open_timeout`](crate::Config::open_timeout) (RFC 9110 section
    /// 15.5.9).
    #[error("the opening handshake took too long")]
    TimedOut,
    /// More header fields than [`Config::max_headers`](crate::Config::max_headers) (RFC 6455 section 10.4, RFC 6585 section
    /// 5).
    #[error("more than {limit} header fields")]
    TooManyHeaders {
        /// The limit in force.
        limit: usize,
    },
    /// The peer closed the byte stream before its part of the handshake was whole (RFC 9112 section 8).
    #[error("the peer closed the connection before its part of the opening handshake was whole")]
    Truncated,
    /// `Upgrade` does not name `websocket`, or in a response something else (RFC 6455 sections 4.1 and 4.2.1).
    #[error("Upgrade must be websocket, found {found:?}")]
    Upgrade {
        /// The value received.
        found: String,
    },
    /// A `Sec-WebSocket-Version` other than 13 (RFC 6455 sections 4.2.1 and 4.4).
    #[error("Sec-WebSocket-Version must be 13, found {0:?}")]
    WebSocketVersion(String),
}

impl HandshakeError {
    /// The HTTP status that goes with it: the one with which the server [refused](Self::Refused) us, or else the one with
    /// which a server answers the peer; `None` for what only a client meets.
    pub fn status(&self) -> Option<StatusCode> {
        Some(match self {
            Self::Accept { .. }
            | Self::ExtensionNotOffered(_)
            | Self::ExtensionParameters(_)
            | Self::SubprotocolNotOffered(_) => return None,
            Self::Refused(refusal) => refusal.status,
            Self::Misuse(_) => StatusCode::INTERNAL_SERVER_ERROR,
            // RFC 9110 section 15.6.6: "the server does not support, or refuses to support, the major version of HTTP that was
            // used in the request message"; 1.0 has the major version that we do support.
            Self::HttpVersion(found) if !found.starts_with("HTTP/1.") => {
                StatusCode::HTTP_VERSION_NOT_SUPPORTED
            }
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            // RFC 6585 section 5: "the server is unwilling to process the request because its header fields are too large"
            Self::HeaderBlockTooLong { .. } | Self::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            // RFC 6455 section 4.2.2: "If this version does not match a version understood by the server, the server MUST abort
            // the WebSocket handshake described in this section and instead send an appropriate HTTP error code (such as 426
            // Upgrade Required)"
            Self::WebSocketVersion(_) | Self::Upgrade { .. } | Self::MissingHeader("Upgrade") => {
                StatusCode::UPGRADE_REQUIRED
            }
            // RFC 6455 section 4.2.1: "return an HTTP response with an appropriate error code (such as 400 Bad Request)"
            Self::Body
            | Self::Connection { .. }
            | Self::DuplicateHeader(_)
            | Self::HeaderSyntax { .. }
            | Self::HttpSyntax(_)
            | Self::HttpVersion(_)
            | Self::MissingHeader(_)
            | Self::Target(_)
            | Self::Truncated => StatusCode::BAD_REQUEST,
        })
    }

    /// Writes the HTTP response with which a server answers the peer: the [status](Self::status), the header fields that
    /// go with it, and this error's message as a body of plain text. The connection is to be closed behind it.
    ///
    /// A [misuse](Self::Misuse) is told to the peer as a bare 500. For what only a client meets nothing is written.
    pub fn respond(&self, output: &mut BytesMut) {
        if matches!(self, Self::Refused(_)) {
            return;
        }
        let Some(status) = self.status() else { return };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match status {
            // RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field in a 426 response to indicate the required
            // protocol(s)"
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                // RFC 6455 section 4.4: "If the server doesn't support the requested version, it MUST respond with a
                // |Sec-WebSocket-Version| header field"
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            // RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field in a 405 response"
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            _ => {}
        }
        let body = match self {
            Self::Misuse(_) => "internal server error\n".to_owned(),
            error => format!("{error}\n"),
        };
        handshake::write_response(status, &headers, body.as_bytes(), output);
    }
}

/// What the caller asked of an opening handshake and the protocol does not allow; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeMisuse {
    /// The answer holds an extension that the client did not offer (RFC 6455 section 4.2.2).
    #[error("the extension {0:?} was not offered by the client")]
    ExtensionNotOffered(String),
    /// An extension whose name, or whose parameter's name or value, is not a token (RFC 6455 section 9.1).
    #[error("in the extension {0:?} something is not a token")]
    ExtensionSyntax(String),
    /// More than one `Host` header field (RFC 9112 section 3.2).
    #[error("more than one Host header field")]
    HostTwice,
    /// The answer holds an extension that the library itself negotiates, as [`Config`](crate::Config) says (RFC 7692 section 5).
    #[error("the extension {0} is negotiated by the library and cannot be set")]
    OwnedExtension(&'static str),
    /// A header field that the library itself writes (RFC 6455 sections 4.1 and 4.2.2, RFC 9112 section 6).
    #[error("the header field {0} is written by the library and cannot be set")]
    OwnedHeader(HeaderName),
    /// A status that cannot end a handshake: an interim one, or 101 (RFC 9110 section 15.2).
    #[error("the status {0} is no refusal")]
    Status(StatusCode),
    /// The answer holds a subprotocol that the client did not offer (RFC 6455 section 4.2.2).
    #[error("the subprotocol {0:?} was not offered by the client")]
    SubprotocolNotOffered(String),
    /// A subprotocol that is not a token (RFC 6455 section 4.1).
    #[error("the subprotocol {0:?} is not a token")]
    SubprotocolSyntax(String),
    /// A subprotocol offered twice (RFC 6455 section 4.1).
    #[error("the subprotocol {0:?} is offered twice")]
    SubprotocolTwice(String),
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
