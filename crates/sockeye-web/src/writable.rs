//! The half of a `WebSocketStream` that is written.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use sockeye::Message;

use crate::error::{DomException, ErrorName, Exception, WebSocketError};
use crate::stream::{Handle, Slots};

/// Takes the messages that go: the `writable` of a [`WebSocketStream`](crate::WebSocketStream), as a [`Sink`].
///
/// There is room while the message before has been encoded, for which fewer than `max_buffered` (64 KiB) bytes of the
/// client's configuration may wait to be written. Flushed is what has been transmitted to the network. Closing it closes the connection,
/// without a code, and waits until it is closed.
///
/// What is written once the closing handshake has started is thrown away; once the connection is closed it is an `InvalidStateError`, or the
/// [`WebSocketError`] with which it ended.
///
/// Dropped, it leaves the connection open for the [`Readable`](crate::Readable)'s sake.
pub struct Writable {
    handle: Arc<Handle>,
}

impl Writable {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// `abort(reason)`: closes the connection, with code and reason of a [`WebSocketError`] if there is one.
    pub fn abort(self, reason: Option<&WebSocketError>) {
        self.handle.0.close_using(reason);
    }
}

/// What writing to a closed connection fails with.
fn closed(slots: &Slots) -> Option<Exception> {
    // "Error stream's writable stream with an "InvalidStateError" DOMException indicating that a closed WebSocketStream cannot be written to."
    let written_to = || {
        let message = "a closed WebSocketStream cannot be written to";
        DomException::new(ErrorName::InvalidState, message).into()
    };
    Some(slots.closed()?.err().unwrap_or_else(written_to))
}

impl Sink<Message> for Writable {
    type Error = Exception;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Exception>> {
        let shared = &self.handle.0;
        // "Wait until there is sufficient buffer space in stream to send the message."
        shared.poll_slots(cx, |slots| match closed(slots) {
            Some(exception) => Some(Err(exception)),
            None => (!shared.link.has_message()).then_some(Ok(())),
        })
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Exception> {
        let shared = &self.handle.0;
        shared.update(|slots| {
            if let Some(exception) = closed(slots) {
                return Err(exception);
            }
            // "If the closing handshake has not yet started, Send a WebSocket Message to stream comprised of data using opcode."
            if slots.ready_state == crate::WebSocket::OPEN {
                slots.written += message.len() as u64;
                shared.link.send(message);
            }
            Ok(())
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Exception>> {
        self.handle.0.poll_slots(cx, |slots| match closed(slots) {
            _ if slots.transmitted == slots.written => Some(Ok(())),
            closed => closed.map(Err),
        })
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Exception>> {
        let shared = &self.handle.0;
        shared.close_using(None);
        ready!(shared.poll_closed(cx))?;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}
