//! The half that receives.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_core::Stream;
use sockeye_proto::{CloseCode, CloseFrame, CloseInfo, Event, Message, Part, Utf8Bytes};

use super::Shared;
use crate::driver::Driver;
use crate::error::Error;
use crate::handshake::Handshake;
use crate::socket::poll_message;

/// The receiving half of a [`WebSocket`](crate::WebSocket): made by [`split`](crate::WebSocket::split).
///
/// While it is polled, it does all that a whole WebSocket does: it writes too, for all senders. It goes on when they are all
/// dropped. It is also a [`Stream`] of `Result<Message, Error>`.
pub struct Receiver {
    pub(super) shared: Arc<Shared>,
}

impl Receiver {
    /// The next message; as [`WebSocket::recv`](crate::WebSocket::recv), cancel-safety included.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// What has come of the next message; as [`WebSocket::recv_part`](crate::WebSocket::recv_part), cancel-safety included.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn recv_part(&mut self) -> Result<Option<Part>, Error> {
        poll_fn(|cx| self.shared.poll_receiver(cx, Driver::poll_part)).await
    }

    /// The next message, control frame or Close; as [`WebSocket::recv_event`](crate::WebSocket::recv_event).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](crate::WebSocket::recv).
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.shared.poll_receiver(cx, Driver::poll_event)).await
    }

    /// Closes and waits for the end; as [`WebSocket::close`](crate::WebSocket::close).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](crate::WebSocket::close).
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<CloseInfo, Error> {
        Error::unless_closed(self.start_close(code, reason))?;
        while self.recv_event().await?.is_some() {}
        self.close_info().ok_or(Error::Closed)
    }

    /// Queues a Close frame; as [`WebSocket::start_close`](crate::WebSocket::start_close).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::start_close`](crate::WebSocket::start_close).
    pub fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<Utf8Bytes>,
    ) -> Result<(), Error> {
        self.shared.start_close(&CloseFrame::new(code, reason)?)
    }

    /// How the connection ended; `None` before.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.shared.close_info()
    }

    /// What was agreed on in the opening handshake, unless it was taken before the split.
    pub fn handshake(&self) -> Option<&Handshake> {
        self.shared.handshake.as_deref()
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.shared.poll_receiver(cx, poll_message)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.unread.store(true, Ordering::Release);
        // Who waits to send now reads too.
        self.shared.waiting.wake_senders();
    }
}

impl Stream for Receiver {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("close_info", &self.close_info()).finish_non_exhaustive()
    }
}
