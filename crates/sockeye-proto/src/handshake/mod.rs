//! The opening handshake (RFC 6455 section 4) over HTTP/1.1, both roles; and the request for a tunnel to a proxy in front.
//!
//! ```text
//!  client                                                                            server
//!
//!  ClientHandshake::new ──────────────── request ───────────────▶ ServerHandshake::receive ─▶ Head
//!     (an Offer)                                                     Request::new(head)
//!                                                                       │ look at it, then
//!  ClientHandshake::receive ◀───────────── 101 ─────────────────── Request::accept (an Answer)
//!     └▶ Response, or HandshakeError::Refused ◀── 4xx, 5xx, .. ─── reject, HandshakeError::respond
//! ```
//!
//! Bytes may arrive in any pieces, and those behind the handshake stay in the buffer that they came in. What is held is
//! bounded: by [`Config::max_header_block`](crate::Config::max_header_block) for a head, by
//! [`Config::max_refusal_body`](crate::Config::max_refusal_body) for a refusal's body.
//!
//! ```
//! use std::time::Instant;
//!
//! use sockeye_proto::handshake::{Answer, ClientHandshake, Offer, Request, ServerHandshake, random_key};
//! use sockeye_proto::{BytesMut, Config};
//!
//! let (config, now) = (Config::default(), Instant::now());
//! let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
//!
//! let url = "ws://example.com/chat".parse()?;
//! let offer = Offer { subprotocols: vec!["superchat".into(), "chat".into()], ..Offer::default() };
//! let mut client = ClientHandshake::new(&url, &offer, random_key(), &config, now, &mut to_server)?;
//!
//! let mut server = ServerHandshake::new(&config, now);
//! let head = server.receive(&mut to_server, now)?.expect("the whole request was written");
//! let request = Request::new(head)?;
//! assert_eq!((request.host(), request.path()), ("example.com", "/chat"));
//! let answer = Answer { subprotocol: Some("chat".into()), ..Answer::default() };
//! request.accept(&answer, &mut to_client)?;
//!
//! let response = client.receive(&mut to_client, now)?.expect("the whole response was written");
//! assert_eq!(response.subprotocol.as_deref(), Some("chat"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod http1;
mod negotiate;
mod refusal;
mod server;
mod target;
mod tunnel;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use sha1_smol::Sha1;

use crate::error::{HandshakeError, HandshakeMisuse};

pub use client::{ClientHandshake, Offer, Response};
pub use negotiate::{Extension, Parameter, has_token, parse_extensions, parse_subprotocols};
pub use server::{Answer, Head, Request, ServerHandshake, asks_for_websocket, reject};
pub use tunnel::TunnelHandshake;

pub(crate) use http1::write_response;

const ACCEPT: &str = "Sec-WebSocket-Accept";
const CONNECTION: &str = "Connection";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
const HOST: &str = "Host";
const KEY: &str = "Sec-WebSocket-Key";
const ORIGIN: &str = "Origin";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const UPGRADE: &str = "Upgrade";
const VERSION: &str = "Sec-WebSocket-Version";

/// The value of `Sec-WebSocket-Accept` that goes with that of a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
///
/// ```
/// use sockeye_proto::handshake::accept_key;
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: impl AsRef<[u8]>) -> String {
    // RFC 6455 section 4.2.2: "concatenating /key/, defined above in step 4 in Section 4.2.2, with the string
    // "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this concatenated value to obtain a 20-byte value and
    // base64-encoding (see Section 4 of [RFC4648]) this 20-byte hash"
    let mut hash = Sha1::new();
    hash.update(key.as_ref());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

/// A fresh key for [`ClientHandshake::new`], from the operating system's random numbers.
///
/// # Panics
///
/// If the operating system has no random numbers to give.
pub fn random_key() -> [u8; 16] {
    // RFC 6455 section 4.1: "The nonce MUST be selected randomly for each connection."
    let mut key = [0; 16];
    getrandom::fill(&mut key).expect("the operating system's random number generator");
    key
}

/// The header field's value if the field is there, and there once.
fn at_most_one<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, HandshakeError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(HandshakeError::DuplicateHeader(name)),
    }
}

/// The header field's value, which must be there once.
fn exactly_one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a HeaderValue, HandshakeError> {
    at_most_one(headers, name)?.ok_or(HandshakeError::MissingHeader(name))
}

/// `Connection` must hold the token `Upgrade`, among others or not.
fn check_connection(headers: &HeaderMap) -> Result<(), HandshakeError> {
    // RFC 6455 section 4.2.1: "A |Connection| header field that includes the token "Upgrade", treated as an ASCII
    // case-insensitive value."
    if has_token(headers, CONNECTION, "upgrade") {
        return Ok(());
    }
    Err(if headers.contains_key(CONNECTION) {
        HandshakeError::Connection { found: found_in(headers, CONNECTION) }
    } else {
        HandshakeError::MissingHeader(CONNECTION)
    })
}

/// The caller's own header fields must not be ones that the handshake writes, or that would announce a body.
fn check_owned(headers: &HeaderMap) -> Result<(), HandshakeMisuse> {
    let owned = headers.keys().find(|name| {
        name.as_str().starts_with("sec-websocket-")
            || matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding" | "upgrade")
    });
    owned.map_or(Ok(()), |name| Err(HandshakeMisuse::OwnedHeader(name.clone())))
}

/// The same for a request, in which `Host` may be there but once.
fn check_request_fields(headers: &HeaderMap) -> Result<(), HandshakeMisuse> {
    check_owned(headers)?;
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(HandshakeMisuse::HostTwice);
    }
    Ok(())
}

/// What was received, for an error's message: enough of it to be recognised.
pub(crate) fn found(value: &[u8]) -> String {
    const SHOWN: usize = 100;
    let cut = value.len() > SHOWN;
    let mut text = String::from_utf8_lossy(&value[..value.len().min(SHOWN)]).into_owned();
    if cut {
        text.push('…');
    }
    text
}

/// The values of all the fields of that name, for an error's message.
fn found_in(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    found(&values.join(&b", "[..]))
}
