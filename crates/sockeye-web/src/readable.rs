//! The half of a `WebSocketStream` that is read.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use sockeye::Message;

use crate::error::{Exception, WebSocketError};
use crate::stream::Handle;

/// The messages that come: the `readable` of a [`WebSocketStream`](crate::WebSocketStream), as a [`Stream`].
///
/// One message is received ahead; the next one when that has been taken. It ends once the connection is closed cleanly; otherwise a
/// [`WebSocketError`] comes before the end.
///
/// Dropped, it lets the connection go on for the [`Writable`](crate::Writable)'s sake, and throws away what comes.
pub struct Readable {
    handle: Arc<Handle>,
    is_over: bool,
}

impl Readable {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, is_over: false }
    }

    /// `cancel(reason)`: closes the connection, with code and reason of a [`WebSocketError`] if there is one, and throws away what
    /// still comes.
    pub fn cancel(self, reason: Option<&WebSocketError>) {
        self.handle.0.close_using(reason);
    }
}

impl Stream for Readable {
    type Item = Result<Message, Exception>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = self.handle.0.poll_slots(cx, |slots| {
            let chunk = slots.chunk.take().map(|chunk| Some(Ok(chunk)));
            chunk.or_else(|| slots.closed().map(|closed| closed.err().map(Err)))
        });
        match &next {
            // "To pull bytes from a WebSocketStream stream, if stream is currently applying backpressure, release backpressure."
            Poll::Ready(Some(Ok(_))) => self.handle.0.link.wake(),
            Poll::Ready(_) => self.is_over = true,
            Poll::Pending => {}
        }
        next
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        let unread = self.handle.0.update(|slots| {
            slots.is_unread = true;
            slots.chunk.take()
        });
        drop(unread);
        self.handle.0.link.wake();
    }
}

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}
