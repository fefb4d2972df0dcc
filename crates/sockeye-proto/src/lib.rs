//! The WebSocket protocol ([RFC 6455], [RFC 7692]) without I/O: no socket, no task, no clock, no runtime.
//!
//! Bytes and [`Instant`](std::time::Instant)s go in, [`Event`]s and bytes come out. What reads and writes the bytes, and when,
//! is the caller's: the `sockeye` crate drives this one with tokio; a test drives it with two buffers.
//!
//! ```text
//!                    ClientHandshake / ServerHandshake          opening handshake, section 4
//!                                  │ the bytes behind it
//!  bytes from the peer             ▼
//!  ────────────────▶ input ─▶ Connection::receive ─▶ Event      messages, pings, pongs, the close
//!                                  │ pongs, close replies
//!                                  ▼
//!  ◀──────────────── Output ◀─ Connection::send ◀─ Message      messages of the application
//!  bytes to the peer
//!                             Connection::deadline,
//!                             Connection::handle_deadline       keepalive and the closing deadline
//! ```
//!
//! Types of `bytes` 1, `http` 1 and `url` 2 are part of this API: another major version of one of these is another one of this crate.
//!
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455
//! [RFC 7692]: https://www.rfc-editor.org/rfc/rfc7692

#![warn(clippy::unwrap_used)]

mod close;
mod config;
mod connection;
mod deflate;
mod error;
pub mod frame;
mod gather;
pub mod handshake;
mod keepalive;
mod mask;
mod message;
mod output;
mod receive;
mod send;
mod url;
mod utf8;

pub use bytes::{Bytes, BytesMut};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

pub use close::{CloseCode, CloseFrame, CloseInfo, Side};
pub use config::Config;
pub use connection::{Connection, Event, Role};
pub use deflate::{Deflate, PerMessageDeflate, Prepared};
pub use error::{ApiMisuse, HandshakeError, HandshakeMisuse, PongTimeout, ProtocolError, Refusal, SendError};
pub use mask::{mask, random_masking_key};
pub use message::{Message, MessageKind, Part, Utf8Bytes};
pub use output::Output;
pub use url::{UrlError, UserInfo, WebSocketUrl};
