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
//! - On hyper and axum, with the features `hyper` and `axum`: `upgrade` and `WebSocketUpgrade`, and `Group` to count and close what they give.
//! - [`WebSocket`]: send and receive [`Message`]s, either end; [`split`](WebSocket::split) into [`Sender`] and [`Receiver`] for two tasks.
//! - [`Sender::queued`], [`SlowConsumer`]: messages for peers that may read too slowly, offered without waiting.
//! - [`Metrics`]: what a server's connections do, in figures.
//! - [`Prepared`]: a message for many connections, compressed once.
//! - [`pair()`]: two WebSockets joined in memory, for tests.
//!
//! # Big messages
//!
//! [`recv`](WebSocket::recv) gives whole messages, and none over [`Config::max_message_size`]. A message may also be had piece by piece, and
//! sent so, whatever its length, in memory for a block or two each way:
//!
//! - [`recv_part`](WebSocket::recv_part) gives what has come of a message, inflated, and as text checked so far and cut between characters.
//! - [`send_reader`](WebSocket::send_reader) sends an [`AsyncRead`](tokio::io::AsyncRead) as one message, [`send_stream`](WebSocket::send_stream) a
//!   [`Stream`](futures_core::Stream) of bytes, [`send_part`](WebSocket::send_part) what you have.
//! - To send and receive big messages at the same time, [`split`](WebSocket::split); [`Sender::start_message`] makes the other senders wait.
//!
//! ```no_run
//! # use sockeye::MessageKind;
//! # use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
//! # async fn example(mut film: impl AsyncRead + Unpin, mut copy: impl AsyncWrite + Unpin) -> Result<(), Box<dyn std::error::Error>> {
//! # let mut ws = sockeye::connect("ws://127.0.0.1:9000/echo").await?;
//! ws.send_reader(MessageKind::Binary, &mut film).await?;
//! while let Some(part) = ws.recv_part().await? {
//!     copy.write_all(part.data.as_bytes()).await?;
//!     if part.last { break }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What decides anything about the protocol is in [`sockeye_proto`], which does no I/O.
//!
//! Types of other crates are part of this API: of `bytes` 1, `http` 1, `rustls` 0.23 (as [`rustls`]), `tokio` 1, `futures-core` 0.3 and `futures-sink` 0.3,
//! and with their features of `hyper` 1 and `axum-core` 0.5. A version of one of these that is not compatible makes one of this crate that is not.
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
mod http_connection;
mod incoming;
mod limits;
mod listener;
mod meter;
mod metrics;
mod network;
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
mod trace;
mod transport;
#[cfg(feature = "hyper")]
mod upgrade;

pub use sockeye_proto::handshake::{Answer, Extension, Parameter, Request};
pub use sockeye_proto::{
    ApiMisuse, Bytes, CloseCode, CloseFrame, CloseInfo, Config, Deflate, Event, HandshakeError,
    HandshakeMisuse, HeaderMap, HeaderName, HeaderValue, Message, MessageKind, Part, PongTimeout, Prepared,
    ProtocolError, Refusal, Side, StatusCode, UrlError, Utf8Bytes, WebSocketUrl, header,
};

pub use client::{Client, connect};
pub use client_addr::{ForwardedBy, NetworkError, Networks};
pub use dial::{Family, Overrides, Resolve, Resolving, SystemResolver, Tcp};
pub use drain::{Drain, Drained};
pub use error::{Error, TrySendError};
pub use handshake::Handshake;
pub use http_connection::HttpConnection;
pub use incoming::{Incoming, accept};
pub use limits::Connections;
pub use listener::Listener;
pub use metrics::{Buffered, Closed, Metrics, ROUND_TRIP_BUCKETS, Refused, RoundTrips, Snapshot, Traffic};
pub use opening::{OpenCause, OpenError, Phase, RedirectError, Timings};
pub use origin::{OriginError, Origins};
pub use pair::{pair, pair_with};
pub use ping::Ping;
pub use proxy::{Proxies, Proxy, ProxyError};
pub use reconnect::{Attempt, Backoff, Failure, Reconnecting};
pub use server::{Control, Server, Settings};
pub use socket::WebSocket;
pub use split::{MessageWriter, Offered, QueueCounters, QueuedSender, Receiver, Sender, SlowConsumer};
pub use tls::{CertificateProblem, PemError, ServerTls, Tls, TlsError, TlsInfo};
#[cfg(feature = "hyper")]
pub use upgrade::{Group, UpgradeError, Upgrading, WebSocketUpgrade, asks_for_websocket, upgrade};

pub use rustls;

/// The README's examples, compiled: the repository's, and this crate's own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/README.md")]
struct Readme;

/// Those for who comes from another library.
#[cfg(doctest)]
#[doc = include_str!("../docs/migrating.md")]
struct Migrating;
