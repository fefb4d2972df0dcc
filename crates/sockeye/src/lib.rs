//! WebSocket ([RFC 6455]) for tokio: client and server, right, fast and safe by default.
//!
//! A client:
//!
//! ```no_run
//! # async fn example() -> Result<(), sockeye::Error> {
//! let mut ws = sockeye::connect("ws://127.0.0.1:9000/echo").await?;
//! ws.send("hello").await?;
//! println!("{:?}", ws.recv().await?);
//! ws.close(1000, "").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A server:
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! let server = sockeye::Server::bind("127.0.0.1:9000").await?;
//! server.run(|incoming| async move {
//!     let mut ws = incoming.accept().await?;
//!     while let Some(message) = ws.recv().await? { ws.send(message).await? }
//!     Ok(())
//! }).await
//! # }
//! ```
//!
//! Pings are answered, silent peers are found, closing handshakes are finished, and every limit and deadline of [`Config`] holds, without
//! a line of yours. It needs a tokio runtime with I/O and time enabled, as `#[tokio::main]` makes it.
//!
//! - [`connect`], [`Client`]: open a connection, to `ws://` or `wss://`; [`Tls`], [`Proxy`], [`Tcp`] for the way there; [`Client::reconnecting`]: one after
//!   the other.
//! - [`Server`], [`accept`](accept()): accept connections, with TLS by [`ServerTls`]; [`Incoming`] to look at each before.
//! - [`WebSocket`]: send and receive [`Message`]s, either end; [`split`](WebSocket::split) into [`Sender`] and [`Receiver`] for two tasks.
//! - [`Prepared`]: a message for many connections, compressed once.
//! - [`pair()`]: two WebSockets joined in memory, for tests.
//!
//! What decides anything about the protocol is in [`sockeye_proto`], which does no I/O.
//!
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455

#![warn(clippy::unwrap_used)]

mod buffers;
mod client;
mod client_addr;
mod connect;
mod dial;
mod drain;
mod driver;
mod error;
mod handshake;
mod incoming;
mod limits;
mod listener;
mod opening;
mod origin;
mod pair;
mod peer;
mod ping;
mod proxy;
mod reconnect;
mod server;
mod socket;
mod split;
mod tls;
mod transport;

pub use sockeye_proto::handshake::{Answer, Extension, Request};
pub use sockeye_proto::{
    ApiMisuse, Bytes, CloseCode, CloseFrame, CloseInfo, Config, Deflate, Event, HandshakeError, HeaderMap,
    HeaderName, HeaderValue, Message, PongTimeout, Prepared, ProtocolError, Refusal, Side, StatusCode,
    UrlError, Utf8Bytes, WebSocketUrl, header,
};

pub use client::{Client, connect};
pub use client_addr::{ForwardedBy, NetworkError, Networks};
pub use dial::{Family, Overrides, Resolve, Resolving, SystemResolver, Tcp};
pub use drain::{Drain, Drained};
pub use error::{Error, TrySendError};
pub use handshake::Handshake;
pub use incoming::{HttpConnection, Incoming, accept};
pub use limits::Connections;
pub use listener::Listener;
pub use opening::{OpenCause, OpenError, Phase, RedirectError, Timings};
pub use pair::{pair, pair_with};
pub use ping::Ping;
pub use proxy::{Proxies, Proxy, ProxyError};
pub use reconnect::{Attempt, Backoff, Failure, Reconnecting};
pub use server::Server;
pub use socket::WebSocket;
pub use split::{Receiver, Sender};
pub use tls::{CertificateProblem, PemError, ServerTls, Tls, TlsError, TlsInfo};

pub use rustls;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
