//! The WebSocket that browsers have ([WHATWG WebSockets]), for Rust: the same names, states, events, rules and order.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sockeye_web::DomException> {
//! let socket = sockeye_web::WebSocket::new("wss://example.com/lamp")?;
//! socket.set_onmessage(|_, event| match event.data.as_text() {
//!     Some("on") => println!("it is light"),
//!     Some("off") => println!("it is dark"),
//!     _ => {}
//! });
//! # Ok(())
//! # }
//! ```
//!
//! - [`WebSocket`]: events and handlers; how they run, and on which runtime, is told there.
//! - [`WebSocketStream`]: the same connection as a `Stream` and a `Sink`, with back-pressure (WHATWG WebSockets pull request 48).
//! - [`Options`]: what a page and a browser bring along: a [`sockeye::Client`] with its TLS, proxies and limits, a base URL, an origin.
//!
//! It is built on [`sockeye`], which has more to say about a connection, and is what to use where no browser is to be matched.
//!
//! Types of [`sockeye`], and of what is part of its API, are part of this one.
//!
//! [WHATWG WebSockets]: https://websockets.spec.whatwg.org/

#![warn(clippy::unwrap_used)]

mod abort;
mod algorithms;
mod connection;
mod deferred;
mod error;
mod events;
mod link;
mod meter;
mod object;
mod options;
mod readable;
mod stream;
mod url;
mod websocket;
mod writable;

pub use abort::{AbortController, AbortSignal};
pub use deferred::DeferredMessage;
pub use error::{DomException, ErrorName, Exception, WebSocketError};
pub use events::{CloseEvent, Event, EventType, ListenerId, ListenerOptions, MessageEvent};
pub use options::{EventLoop, Options, Task, config};
pub use readable::Readable;
pub use stream::{WebSocketCloseInfo, WebSocketOpenInfo, WebSocketStream, WebSocketStreamOptions};
pub use websocket::{BinaryType, WebSocket};
pub use writable::Writable;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
